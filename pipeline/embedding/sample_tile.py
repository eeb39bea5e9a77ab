"""The `sample` command: a Beam job that draws pixels of a region's year for training.

A tile becomes one file of d-pixels, drawn by a seed that knows the tile, with every observation
that the encoder would see. Which pixels a tile gives depends on nothing but the tile, the seed and
the share asked for.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.model.pretrain.samples import (
    Samples,
    SamplesError,
    concatenate,
    decode_samples,
    encode_samples,
    samples_of,
)
from tessera_mosaic.pipeline.embedding.embed_tile import RETRY_PAUSE, TRIES
from tessera_mosaic.pipeline.errors import BadInput, Expired, TesseraError
from tessera_mosaic.pipeline.imagery.label_raster import Labels, read_labels
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.job.beam_options import runner_errors
from tessera_mosaic.pipeline.ledger import records
from tessera_mosaic.pipeline.scenes import Source, open_catalogue
from tessera_mosaic.pipeline.stacks.read_stack import Preprocessing, read_stack
from tessera_mosaic.pipeline.tiling.lattice import (
    Tile,
    Window,
    lonlat_bounds,
)
from tessera_mosaic.pipeline.tiling.ownership import owned, tiles_touched
from tessera_mosaic.pipeline.tiling.region import pixels_inside

log = logging.getLogger(__name__)

FRACTION = 1 / 400
"""Share of a tile's pixels that is drawn (TESSERA v1)."""

BLOCK = 256
"""Side in pixels of the blocks in which a tile is read."""

RECIPE, INDEX = "recipe.json", "index.json"
"""What a folder's d-pixels were drawn from, and how many each of its files holds."""


@dataclass(frozen=True)
class Sampling:
    """What a worker has to know.

    Parameters
    ----------
    catalog, year, out
        Where scenes come from, of which year, and where d-pixels go.
    allow_hosts
        Hosts of private addresses that the catalogue may point to.
    region
        In degrees; pixels outside of it are not drawn.
    side
        Of a tile, in pixels.
    fraction, seed
        Share of the pixels to draw, and of which chance.
    rules
        How pixels become observations.
    labels, fields
        Rasters, if only labelled pixels are to be drawn, with their labels.
    """

    catalog: str
    allow_hosts: tuple[str, ...]
    year: int
    out: str
    region: BaseGeometry
    side: int
    fraction: float
    seed: int
    rules: Preprocessing
    labels: str | None
    fields: str | None


def shard_key(tile: Tile, year: int) -> str:
    """Key of the file of a tile's d-pixels."""
    return f"d-pixels/{tile.name}-{year}.npz"


def tiles_of_zone(zone: int, sampling: Sampling) -> Iterator[Tile]:
    """Tiles of a zone that own ground of the region, row by row."""
    for row, col in tiles_touched(zone, sampling.region, sampling.side, margin=0).tolist():
        yield Tile(zone, row, col, sampling.side)


def draw_pixels(
    tile: Tile, sampling: Sampling, labels: Labels | None
) -> tuple[NDArray[np.bool_], NDArray[np.int32], NDArray[np.int32]]:
    """Draw a tile's pixels.

    Returns
    -------
    Which of its pixels are drawn, bool (side, side), and the class and field of each, int32.
    """
    window = tile.window
    eligible = owned(window, margin=0) & pixels_inside(sampling.region, window)
    classes = fields = np.zeros(window.shape, np.int32)
    if labels is not None:
        classes, fields = labels.on(window)
        eligible &= classes > 0
    candidates = np.flatnonzero(eligible)
    rng = np.random.default_rng([sampling.seed, sampling.year, tile.zone, tile.row, tile.col])
    chosen = rng.choice(candidates, round(sampling.fraction * len(candidates)), replace=False)
    drawn = np.zeros(window.shape, bool)
    drawn.flat[chosen] = True
    return drawn, classes, fields


def sample_tile(
    tile: Tile, sampling: Sampling, source: Source, reader: SceneReader, labels: Labels | None
) -> Samples | None:
    """Read the d-pixels of a tile; None if it has none that was ever seen."""
    drawn, classes, fields = draw_pixels(tile, sampling, labels)
    if not drawn.any():
        return None
    scenes = source.search(lonlat_bounds(tile.window), sampling.year)
    parts = []
    for block in tile.window.blocks(min(BLOCK, tile.side)):
        here = block.within(tile.window)
        picked = np.flatnonzero(drawn[here])
        if not len(picked):
            continue
        stack = read_stack(block, scenes, sampling.rules, reader).stack
        picked = picked[~stack.blank().flat[picked]]
        parts.append(
            samples_of(
                stack,
                picked,
                _places(block, picked, sampling.year),
                classes[here].flat[picked],
                fields[here].flat[picked],
            )
        )
    samples = concatenate(parts)
    return samples if len(samples) else None


def _places(block: Window, pixels: NDArray[np.int64], year: int) -> NDArray[np.int32]:
    row, col = np.divmod(pixels, block.width)
    same = np.ones_like(row)
    places = [block.zone * same, block.row + row, block.col + col, year * same]
    return np.stack(places, axis=1).astype(np.int32)


class SampleTile(beam.DoFn):
    """A tile -> the key and length of its file of d-pixels, or why it has none."""

    FAILED = "failed"

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling

    def setup(self) -> None:
        sampling = self._sampling
        self._storage = Storage(sampling.out)
        self._source = open_catalogue(sampling.catalog, sampling.allow_hosts)
        self._reader = SceneReader(self._source)
        self._labels = read_labels(sampling.labels, sampling.fields) if sampling.labels else None

    def teardown(self) -> None:
        self._reader.close()

    def process(self, tile: Tile) -> Iterator[tuple[str, int] | beam.pvalue.TaggedOutput]:
        key = shard_key(tile, self._sampling.year)
        try:
            with store_errors(self._sampling.out):
                length = self._known(key)
            if length is None:
                length = self._make(tile, key)
        except Exception as error:
            if not isinstance(error, TesseraError):
                log.error("tile %s failed", tile.name, exc_info=error)
            failure = records.failure(error)
            told = f"{failure.kind}: {failure.message}"
            yield beam.pvalue.TaggedOutput(self.FAILED, (tile.name, told))
            return
        if length:
            yield key, length

    def _known(self, key: str) -> int | None:
        """Length of the file that an earlier job wrote; None where it has to be made."""
        try:
            return len(decode_samples(self._storage.read(key), key))
        except FileNotFoundError:
            return None
        except SamplesError as error:
            log.warning("%s; it is drawn again", error)
            return None

    def _make(self, tile: Tile, key: str) -> int:
        """Draw a tile's d-pixels, again where a transient error says that this may help."""
        for attempt in itertools.count(1):
            try:
                drawn = sample_tile(tile, self._sampling, self._source, self._reader, self._labels)
                if drawn is None:
                    return 0
                with store_errors(self._sampling.out):
                    self._storage.write(key, encode_samples(drawn))
                return len(drawn)
            except TesseraError as error:
                if attempt >= TRIES.get(error.kind, 1):
                    raise
                log.warning("tile %s is tried again: %s", tile.name, error)
                if isinstance(error, Expired):
                    self._reader.signer.renew()
            time.sleep(RETRY_PAUSE * attempt)
        raise AssertionError("unreachable")


class WriteIndex(beam.DoFn):
    """All lengths, and all failures, -> the folder's index."""

    def __init__(self, out: str) -> None:
        self._out = out

    def process(
        self, files: list[tuple[str, int]], failed: list[tuple[str, str]]
    ) -> Iterator[None]:
        index = {"files": dict(sorted(files)), "failed": dict(sorted(failed))}
        Storage(self._out).write(INDEX, (json.dumps(index, indent=1) + "\n").encode())
        yield None


class DrawSamples(beam.PTransform):
    """Zones -> the files of d-pixels of their tiles, and the index of them."""

    def __init__(self, sampling: Sampling) -> None:
        super().__init__()
        self._sampling = sampling

    def expand(self, zones: beam.PCollection) -> beam.PCollection:
        sampled = (
            zones
            | "tiles" >> beam.FlatMap(tiles_of_zone, self._sampling)
            | "spread over workers" >> beam.Reshuffle()
            | "sample"
            >> beam.ParDo(SampleTile(self._sampling)).with_outputs(SampleTile.FAILED, main="files")
        )
        failed = sampled[SampleTile.FAILED] | "failures" >> beam.combiners.ToList()
        return (
            sampled["files"]
            | "files" >> beam.combiners.ToList()
            | "index" >> beam.ParDo(WriteIndex(self._sampling.out), beam.pvalue.AsSingleton(failed))
        )


def read_index(storage: Storage) -> dict[str, Any]:
    """The index of a folder of d-pixels: `files` with their lengths, and `failed` tiles.

    Raises
    ------
    BadInput
        If the folder has none.
    """
    try:
        index = json.loads(storage.read(INDEX))
        return {
            "files": {str(key): int(length) for key, length in index["files"].items()},
            "failed": {str(tile): str(why) for tile, why in index["failed"].items()},
        }
    except FileNotFoundError:
        raise BadInput(f"{storage.url} has no {INDEX}: make d-pixels with `sample`") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{storage.url}/{INDEX} is damaged: {error}") from None


def draw(zones: Sequence[int], sampling: Sampling, options: Any) -> None:
    """Run the job and wait for its end.

    Raises
    ------
    BrokenOff
        If the runner gave up.
    """
    with runner_errors(), beam.Pipeline(options=options) as pipeline:
        _ = pipeline | "zones" >> beam.Create(zones) | "draw samples" >> DrawSamples(sampling)
