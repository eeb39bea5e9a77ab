"""The `evaluate` command: what light heads get from a mosaic's embeddings on labelled ground."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.raw_features import Features, fill_gaps, monthly_medians
from tessera_mosaic.pipeline.imagery.label_raster import Labels
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.scenes import Source
from tessera_mosaic.pipeline.stacks.read_stack import Preprocessing, read_stack
from tessera_mosaic.pipeline.tiling.lattice import lonlat_bounds

BLOCK = 16
"""Side in pixels of the squares that spatial folds do not cut."""

READ_BLOCK = 256
"""Side in pixels of the blocks in which imagery is read."""

MOST_PIXELS = 1 << 20
"""Labelled pixels that are scored at most: about a gigabyte of features (ours)."""


Numbers = NDArray[np.int32]


def gather(
    mosaic: Mosaic, labels: Labels, year: int, source: Source | None
) -> tuple[dict[str, Features], Numbers, dict[str, Numbers]]:
    """Features, classes and groups of all labelled pixels that the mosaic holds.

    Of one tile after the other what is labelled is kept, so memory is bounded by a tile and
    `MOST_PIXELS`.

    Parameters
    ----------
    mosaic, year
        Whose embeddings.
    labels
        Of the ground.
    source
        Imagery for the raw features beside them, if any.

    Returns
    -------
    Features by kind, float32 (P, D); classes, int32 (P,); and numbers of fields and of spatial
    blocks, int32 (P,).

    Raises
    ------
    BadInput
        If there are none, or more than `MOST_PIXELS`.
    """
    parts: dict[str, list[Any]] = defaultdict(list)
    pixels = 0
    for part in _labelled_parts(mosaic, labels, year, source):
        pixels += len(part["class"])
        if pixels > MOST_PIXELS:
            raise BadInput(f"the labels have more than {MOST_PIXELS:,} pixels: thin them")
        for name, values in part.items():
            parts[name].append(values)
    if not parts:
        raise BadInput(f"{mosaic.storage.url} has no embeddings of {year} where the labels are")
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    _, blocks = np.unique(joined.pop("block"), axis=0, return_inverse=True)
    groups = {"field": joined.pop("field"), "block": blocks.astype(np.int32).ravel()}
    classes = joined.pop("class")
    if "raw" in joined:
        joined["raw"] = fill_gaps(joined["raw"])
    return joined, classes, groups


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
                places = [(block.row + row) // BLOCK, (block.col + col) // BLOCK]
                part = {
                    "embedding": dequantize(held.codes[here][kept], held.scales[here][kept]),
                    "block": np.stack([np.full_like(row, block.zone), *places], axis=1),
                    "class": classes[here][kept],
                    "field": fields[here][kept],
                }
                if source is not None and reader is not None:
                    annual = read_stack(block, scenes, _rules(mosaic, source), reader)
                    part["raw"] = monthly_medians(annual.stack, year)[kept]
                yield part


def _rules(mosaic: Mosaic, source: Source) -> Preprocessing:
    """Those that the mosaic was made with, so that both kinds of features are of one stack."""
    return Preprocessing.of_identity(mosaic.identity["rules"], source.imagery)


def summarize(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds."""
    keys = ("features", "folds", "head", "fraction")
    by: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by[tuple(row[key] for key in keys)].append(row)
    return [
        {
            **dict(zip(keys, key, strict=True)),
            "accuracy": round(float(np.mean([row["accuracy"] for row in members])), 4),
            "spread": round(float(np.std([row["accuracy"] for row in members])), 4),
            "balanced_accuracy": round(
                float(np.mean([row["balanced_accuracy"] for row in members])), 4
            ),
        }
        for key, members in by.items()
    ]
