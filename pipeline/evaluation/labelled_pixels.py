"""Labelled pixels of a mosaic: their embeddings, and what their imagery looks like beside them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.folds import Ground, blocks_of
from tessera_mosaic.pipeline.evaluation.raw_features import Features, fill_gaps, monthly_medians
from tessera_mosaic.pipeline.imagery.label_raster import Labels
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import lonlat_bounds

BLOCK_METRES = 160.0
"""Side of the squares that spatial folds do not cut, halved where there are fewer than five."""

READ_BLOCK = 256
"""Side in pixels of the blocks in which imagery is read."""

MOST_PIXELS = 1 << 20
"""Labelled pixels that are scored at most: about a gigabyte of features (ours)."""

Numbers = NDArray[np.int32]


class FeatureKind(StrEnum):
    """What a pixel is described by."""

    EMBEDDING = "embedding"
    RAW = "raw"
    """Monthly medians of its observations."""


@dataclass(frozen=True)
class LabelledPixels:
    """All pixels that are labelled and embedded.

    Parameters
    ----------
    features
        Features of the pixels by their kind, float32 (P, D).
    classes
        Classes of the pixels, int32 (P,).
    groups
        Numbers of the fields and of the spatial blocks that they lie in, int32 (P,), under `field`
        and `block`.
    """

    features: dict[FeatureKind, Features]
    classes: Numbers
    groups: dict[str, Numbers]


def gather(
    mosaic: Mosaic,
    labels: Labels,
    year: int,
    source: Source | None = None,
    most_pixels: int = MOST_PIXELS,
) -> LabelledPixels:
    """Gather all labelled pixels that a mosaic holds.

    What is labelled is kept of one tile after the other, so memory is bounded by a tile and
    `most_pixels`.

    Parameters
    ----------
    mosaic, year
        The mosaic, and the calendar year of its embeddings.
    labels
        Labels of the ground.
    source
        Imagery for the raw features beside the embeddings; None for no raw features.
    most_pixels
        Largest number of labelled pixels.

    Raises
    ------
    BadInput
        If there are none, or more than that.
    """
    parts: dict[str, list[Any]] = defaultdict(list)
    pixels = 0
    for part in _labelled_parts(mosaic, labels, year, source):
        pixels += len(part["class"])
        if pixels > most_pixels:
            raise BadInput(f"the labels have more than {most_pixels:,} pixels: thin them")
        for name, values in part.items():
            parts[name].append(values)
    if not parts:
        raise BadInput(f"{mosaic.storage.url} has no embeddings of {year} where the labels are")
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    zone, row, col = (np.ascontiguousarray(of, np.int32) for of in joined["place"].T)
    ground = Ground(zone, row, col, joined["field"])
    blocks = blocks_of(ground, joined["class"].astype(np.float64), BLOCK_METRES)
    numbers = np.zeros_like(joined["field"]) if blocks is None else blocks.numbers
    features = {kind: joined[kind] for kind in FeatureKind if kind in joined}
    if FeatureKind.RAW in features:
        features[FeatureKind.RAW] = fill_gaps(features[FeatureKind.RAW])
    groups = {"field": joined["field"], "block": numbers}
    return LabelledPixels(features, joined["class"], groups)


def _labelled_parts(
    mosaic: Mosaic, labels: Labels, year: int, source: Source | None
) -> Iterator[dict[str, Any]]:
    """What `gather` joins, block by block of the tiles that the mosaic has."""
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(contextlib.closing(SceneReader(source))) if source else None
        for tile in labels.tiles(mosaic.layout.side):
            window = tile.window
            classes, fields = labels.on(window)
            if not classes.any() or not mosaic.storage.exists(mosaic.keys(tile, year)[-1]):
                continue
            held = mosaic.read(tile, year)
            keep = (classes > 0) & np.isfinite(held.scales)
            scenes = source.search(lonlat_bounds(window), year) if source and keep.any() else []
            for block in window.blocks(READ_BLOCK):
                here = block.within(window)
                kept = keep[here]
                if not kept.any():
                    continue
                row, col = np.nonzero(kept)
                places = [np.full_like(row, block.zone), block.row + row, block.col + col]
                part = {
                    FeatureKind.EMBEDDING: dequantize(
                        held.codes[here][kept], held.scales[here][kept]
                    ),
                    "place": np.stack(places, axis=1),
                    "class": classes[here][kept],
                    "field": fields[here][kept],
                }
                if source is not None and reader is not None:
                    annual = read_block(block, scenes, rules_of(mosaic, source), reader)
                    part[FeatureKind.RAW] = monthly_medians(annual.stack, year)[kept]
                yield part


def rules_of(mosaic: Mosaic, source: Source) -> Preprocessing:
    """The rules that a mosaic was made with, so that both kinds of features are of one stack.

    Raises
    ------
    BadInput
        If its embeddings were made elsewhere, by rules that it does not tell.
    """
    if "rules" not in mosaic.identity:
        told = f"{mosaic.storage.url} does not tell by which rules its embeddings were made"
        raise BadInput(f"{told}: leave out the imagery", "catalog")
    return Preprocessing.of_identity(mosaic.identity["rules"], source.imagery)
