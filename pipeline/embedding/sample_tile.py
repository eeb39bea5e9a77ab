"""The maker of a folder of d-pixels: from a tile's scenes to a file of pixels for training.

Pixels are drawn by a seed that knows the tile, with every observation that the encoder would see.
Which pixels a tile gives depends on nothing but the tile, the seed and the share asked for.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
from tessera_mosaic.pipeline.embedding.embed_tile import offset_rows
from tessera_mosaic.pipeline.embedding.named_inputs import CatalogName, LazyReader
from tessera_mosaic.pipeline.imagery.label_raster import Labels, read_labels
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.ledger.keys import dpixels_key
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, State, TileResult
from tessera_mosaic.pipeline.scenes.sensors import absent_sensors, excused_scenes
from tessera_mosaic.pipeline.stacks.annual_stack import OffsetNote
from tessera_mosaic.pipeline.stacks.block_reader import read_blocks
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds
from tessera_mosaic.pipeline.tiling.ownership import owned
from tessera_mosaic.pipeline.tiling.region import pixels_inside

log = logging.getLogger(__name__)

FRACTION = 1 / 400
"""Share of a tile's pixels that is drawn (TESSERA v1)."""

BLOCK = 256
"""Side in pixels of the blocks in which a tile is read."""


@dataclass(frozen=True)
class SampleMaker:
    """Makes files of d-pixels.

    Parameters
    ----------
    catalog
        Name of the catalogue that scenes come from.
    year
        Calendar year of the scenes.
    region
        Polygon in degrees; pixels outside of it are not drawn.
    fraction, seed
        Share of the pixels to draw, 0 to 1, and of which chance.
    rules
        How pixels become observations.
    labels, fields
        Rasters of class codes and of field numbers, if only labelled pixels are to be drawn.
    fingerprint
        Digest of all that decides which d-pixels are drawn.
    without_records
        Whether the folder was begun by a version that kept no records: what lies there is sound.
    """

    catalog: CatalogName
    year: int
    region: BaseGeometry
    fraction: float
    seed: int
    rules: Preprocessing
    fingerprint: str
    labels: str | None = None
    fields: str | None = None
    without_records: bool = False

    def steps(self, tile: Tile) -> int:
        """Number of blocks in which a tile is read."""
        return tile.window.count_blocks(BLOCK)

    def open(self, storage: Storage, threads: int) -> TileSampler:
        """Open the catalogue and the labels in a worker process."""
        return TileSampler(self, storage, threads)


class TileSampler:
    """Draws d-pixels in one worker process.

    Parameters
    ----------
    maker
        What is made.
    storage
        The folder of d-pixels.
    threads
        Number of cores that the process may use.
    """

    def __init__(self, maker: SampleMaker, storage: Storage, threads: int) -> None:
        self._maker, self._storage = maker, storage
        self._reader = LazyReader(maker.catalog, threads)
        self._labels = read_labels(maker.labels, maker.fields) if maker.labels else None

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        """Draw a tile's d-pixels and write their file; see `job.maker`."""
        maker = self._maker
        if maker.without_records and (earlier := self._drawn_earlier(tile)) is not None:
            return earlier
        drawn, classes, fields = draw_pixels(tile, maker, self._labels)
        if not drawn.any():
            writing()
            return TileResult(State.EMPTY, pixels={"drawn": 0})
        with meter("find"):
            reader = self._reader()
            scenes = reader.source.search(lonlat_bounds(tile.window), maker.year)
        if before is not None and before.scenes() == {scene.id for scene in scenes}:
            return None
        excused_scenes(scenes, allow_lost_sensor=False)
        reader = reader.used_by(meter.add, meter.check_stop)
        used: set[str] = set()
        unused: dict[str, str] = {}
        parts: dict[Window, Samples] = {}
        notes: list[OffsetNote] = []
        every = list(tile.window.blocks(min(BLOCK, tile.side)))
        blocks = [block for block in every if drawn[block.within(tile.window)].any()]
        meter.plan(len(blocks), of=len(every))
        reading = read_blocks(blocks, scenes, maker.rules, reader)
        with contextlib.closing(reading):
            for block, annual in reading:
                meter.check_stop()
                here = block.within(tile.window)
                picked = np.flatnonzero(drawn[here])
                used.update(annual.used)
                unused.update(annual.unused)
                notes += annual.offsets
                picked = picked[~annual.stack.blank().flat[picked]]
                places = _places(block, picked, maker.year)
                labelled = classes[here].flat[picked], fields[here].flat[picked]
                parts[block] = samples_of(annual.stack, picked, places, *labelled)
                meter.add(blocks=1)
        samples = concatenate([parts[block] for block in blocks])
        with meter("write"), store_errors(self._storage.url):
            writing()
            objects = (self._put(tile, encode_samples(samples)),) if len(samples) else ()
        names = [scene.id for scene in scenes]
        return TileResult(
            State.DONE if objects else State.EMPTY,
            scenes_used=tuple(name for name in names if name in used),
            scenes_unused=tuple(
                (name, unused.get(name, "no pixel drawn")) for name in names if name not in used
            ),
            offset_by_evidence=offset_rows(notes),
            absent_sensors=absent_sensors(scenes),
            pixels={"drawn": len(samples)},
            objects=objects,
        )

    def keys(self, tile: Tile) -> Iterable[str]:
        """Key of the file of a tile's d-pixels."""
        return (dpixels_key(tile, self._maker.year),)

    def renew(self) -> None:
        """Renew the provider's credential."""
        self._reader().signer.renew()

    def _put(self, tile: Tile, data: bytes) -> StoredObject:
        (key,) = self.keys(tile)
        self._storage.write(key, data)
        return StoredObject.of(key, data)

    def _drawn_earlier(self, tile: Tile) -> TileResult | None:
        """What a version without records drew of a tile; None where it has to be drawn."""
        (key,) = self.keys(tile)
        try:
            with store_errors(self._storage.url):
                data = self._storage.read(key)
            length = len(decode_samples(data, key))
        except FileNotFoundError:
            return None
        except SamplesError as error:
            log.warning("%s; it is drawn again", error)
            return None
        return TileResult(
            State.DONE, pixels={"drawn": length}, objects=(StoredObject.of(key, data),)
        )


def draw_pixels(
    tile: Tile, maker: SampleMaker, labels: Labels | None
) -> tuple[NDArray[np.bool_], NDArray[np.int32], NDArray[np.int32]]:
    """Draw a tile's pixels.

    Returns
    -------
    Which of its pixels are drawn, bool (side, side), and the class and field of each, int32.
    """
    window = tile.window
    eligible = owned(window, margin=0) & pixels_inside(maker.region, window)
    classes = fields = np.zeros(window.shape, np.int32)
    if labels is not None:
        classes, fields = labels.on(window)
        eligible &= classes > 0
    candidates = np.flatnonzero(eligible)
    rng = np.random.default_rng([maker.seed, maker.year, tile.zone, tile.row, tile.col])
    chosen = rng.choice(candidates, round(maker.fraction * len(candidates)), replace=False)
    drawn = np.zeros(window.shape, bool)
    drawn.flat[chosen] = True
    return drawn, classes, fields


def _places(block: Window, pixels: NDArray[np.int64], year: int) -> NDArray[np.int32]:
    row, col = np.divmod(pixels, block.width)
    same = np.ones_like(row)
    places = [block.zone * same, block.row + row, block.col + col, year * same]
    return np.stack(places, axis=1).astype(np.int32)
