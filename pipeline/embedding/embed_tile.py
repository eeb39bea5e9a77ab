"""The maker of a mosaic: from a tile's scenes to its shard.

The stacks of many blocks are read together, each byte of a scene once, and encoded one by one; the
shard is written once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from shapely import from_wkb, to_wkb

from tessera_mosaic.model.encoder import Embedding
from tessera_mosaic.model.observations import Origin, Stack
from tessera_mosaic.pipeline.embedding.encoders import encoder_errors
from tessera_mosaic.pipeline.embedding.named_inputs import CatalogName, EncoderName, LazyReader
from tessera_mosaic.pipeline.imagery.read_budget import SPARE, ReadLimits
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import (
    NOT_THERE,
    TAKEN_OUT,
    Record,
    State,
    TileResult,
    means_of,
)
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.sensors import excused_scenes, sensors_without
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack, OffsetNote
from tessera_mosaic.pipeline.stacks.block_reader import read_blocks
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.unit_parts import BESIDE
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds
from tessera_mosaic.pipeline.tiling.region import outline_within, wanted_pixels

NO_PIXEL = "no pixel of the tile"
"""Why a scene is not used that no block of the tile was asked of."""


class ReadBlocks(Protocol):
    """Reads the annual stacks of blocks, as `stacks.block_reader.read_blocks` does."""

    def __call__(
        self,
        blocks: Sequence[Window],
        scenes: Sequence[Scene],
        rules: Preprocessing,
        reader: SceneReader,
        losses: Losses | None = None,
    ) -> Generator[tuple[Window, AnnualStack]]: ...


@dataclass(frozen=True)
class EmbedMaker:
    """Makes the shards of a mosaic. Small and picklable: weights are named, not held.

    Parameters
    ----------
    catalog
        Name of the catalogue that scenes come from.
    encoder
        Name of the encoder.
    year
        Calendar year of the scenes.
    rules
        How pixels become observations.
    fingerprint
        Digest of all that decides the bytes of a tile.
    block
        Side in pixels of the blocks in which a tile is read and encoded.
    margin
        Number of pixels that are written beyond a zone's meridians.
    inside
        The mosaic's outline as WKB where only pixels inside it are wanted; None for whole tiles.
    allow_lost_scenes
        Number of scenes that a tile may lose for good before it fails.
    allow_lost_sensor
        Whether a tile is made from one sensor though all scenes of the other are faulty.
    limits
        How much memory and local disk of a machine stacks may take before they are encoded.
    read
        What reads the annual stacks of blocks.
    """

    catalog: CatalogName
    encoder: EncoderName
    year: int
    rules: Preprocessing
    fingerprint: str
    block: int
    margin: int
    inside: bytes | None = None
    allow_lost_scenes: int = 0
    allow_lost_sensor: bool = False
    limits: ReadLimits = SPARE
    read: ReadBlocks = read_blocks

    def steps(self, tile: Tile) -> int:
        """Number of blocks in which a tile is made."""
        return tile.window.count_blocks(self.block)

    def wanted(self, window: Window) -> NDArray[np.bool_]:
        """Pixels of a window to embed, bool (height, width)."""
        inside = None if self.inside is None else from_wkb(self.inside)
        return wanted_pixels(window, self.margin, inside)

    def outline(self, tile: Tile) -> str:
        """The part of the region that decides about a tile's pixels, as its record has it."""
        if self.inside is None:
            return ""
        return str(to_wkb(outline_within(from_wkb(self.inside), tile.window), hex=True))

    def open(self, storage: Storage, threads: int) -> TileEmbedder:
        """Open catalogue, mosaic and encoder in a worker process."""
        return TileEmbedder(self, storage, threads)


class TileEmbedder:
    """Embeds tiles in one worker process.

    Parameters
    ----------
    maker
        What is made.
    storage
        The store that holds the mosaic.
    threads
        Number of cores that the process may use.
    """

    def __init__(self, maker: EmbedMaker, storage: Storage, threads: int) -> None:
        self._maker, self._storage = maker, storage
        self._mosaic = read_mosaic(storage)
        self._reader = LazyReader(maker.catalog, threads, maker.limits)
        self._encoder = maker.encoder.load(threads)

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        """Find a tile's scenes, embed its blocks, write its shard; see `job.maker`."""
        maker = self._maker
        with meter("find"):
            reader = self._reader()
            scenes = reader.source.search(lonlat_bounds(tile.window), maker.year)
        if before is not None and before.scenes() == {scene.id for scene in scenes}:
            return None
        mine = maker.wanted(tile.window)
        excused = excused_scenes(scenes, maker.allow_lost_sensor)
        losses = Losses(maker.allow_lost_scenes, excused)
        blocks = [b for b in tile.window.blocks(maker.block) if mine[b.within(tile.window)].any()]
        meter.plan(len(blocks), of=maker.steps(tile))
        reader = reader.used_by(meter.add, meter.check_stop)

        reading = maker.read(blocks, scenes, maker.rules, reader, losses)
        seen = Seen()
        spooling = f"spooling for {self._storage.url}"
        with store_errors(spooling):
            writer = self._mosaic.writer(tile, maker.year)
        with writer as shard, contextlib.closing(reading):
            for block, annual in waited_for(reading, meter):
                meter.check_stop()
                keep = mine[block.within(tile.window)]
                with meter("encode"):
                    stack = annual.stack.only(keep)
                    embedding = self._encode(stack, block, meter)
                codes = np.where(keep[..., None], embedding.codes, np.int8(0))
                scales = np.where(keep, embedding.scales, np.float32(np.inf))
                counts = stack.counts()
                with meter("write"), store_errors(spooling):
                    shard.put(block, codes, scales, counts)
                seen.add_values(codes, scales)
                meter.add(blocks=1, **seen.add(annual, scales, counts, embedding.tokens))
            used, unused = seen.scenes(scenes)
            absent = sensors_without(
                scenes,
                [scene for scene, *_ in losses.scenes],
                [scene for scene, why in unused if why in (BESIDE, NO_PIXEL)],
            )
            with meter("write"), store_errors(self._storage.url):
                writing()
                objects = shard.close() if seen.embedded else ()
        return TileResult(
            State.DONE if seen.embedded else State.EMPTY,
            scenes_used=used,
            scenes_unused=unused,
            scenes_lost=losses.scenes,
            offset_by_evidence=seen.offset_notes,
            absent_sensors=absent,
            observations=seen.observations,
            pixels={"owned": int(mine.sum()), "embedded": seen.embedded},
            tokens=seen.tokens,
            objects=tuple(objects),
            arithmetic=self._encoder.arithmetic,
            means=seen.means(),
            outline=maker.outline(tile),
        )

    def keys(self, tile: Tile) -> Iterable[str]:
        """Keys of the shards of a tile."""
        return self._mosaic.keys(tile, self._maker.year)

    def renew(self) -> None:
        """Renew the provider's credential."""
        self._reader().signer.renew()

    def _encode(self, stack: Stack, block: Window, meter: Meter) -> Embedding:
        origin = Origin(block.zone, block.row, block.col, self._maker.year)

        with encoder_errors():
            return self._encoder.embed(stack, origin, told=lambda tokens: meter.add(tokens=tokens))


@dataclass
class Seen:
    """What a tile's blocks add up to."""

    embedded: int = 0
    tokens: int = 0
    observations: dict[str, dict[str, int]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    unused: dict[str, str] = field(default_factory=dict)
    offsets: dict[str, OffsetNote] = field(default_factory=dict)
    scales: float = 0.0
    codes: NDArray[np.int64] | int = 0

    def add_values(self, codes: NDArray[np.int8], scales: NDArray[np.float32]) -> None:
        """Add what one block's pixels came to."""
        self.scales += float(scales[np.isfinite(scales)].sum(dtype=np.float64))
        self.codes = self.codes + codes.sum(axis=(0, 1), dtype=np.int64)

    def means(self) -> dict[str, list[float]]:
        """Means over the embedded pixels, as a record has them."""
        if not self.embedded:
            return {}
        return means_of(self.scales, np.asarray(self.codes), self.embedded)

    def add(
        self,
        annual: AnnualStack,
        scales: NDArray[np.float32],
        counts: dict[str, NDArray[np.uint16]],
        tokens: int,
    ) -> dict[str, int]:
        """Add one block; its share of the tile's measures."""
        embedded = int(np.isfinite(scales).sum())
        self.embedded += embedded
        self.tokens += tokens
        measures = {"pixels_embedded": embedded}
        for name, count in counts.items():
            known = self.observations.setdefault(name, {"sum": 0, "max": 0})
            measures[f"observations_{name}"] = seen = int(count.sum())
            known["sum"] += seen
            known["max"] = max(known["max"], int(count.max(initial=0)))
        self.used.update(annual.used)
        self.unused.update(annual.unused)
        self.offsets.update((note.scene, note) for note in annual.offsets)
        return measures

    @property
    def offset_notes(self) -> tuple[tuple[str, str, str], ...]:
        """Scenes whose offset was not as the reference takes it to be, as a record has them."""
        return offset_rows(self.offsets.values())

    def scenes(self, found: Iterable[Scene]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        """Every scene found: those used in some block, and the others with the reason why not."""
        names = [scene.id for scene in found]
        return (
            tuple(name for name in names if name in self.used),
            tuple(
                (name, self.unused.get(name, NO_PIXEL)) for name in names if name not in self.used
            ),
        )


def offset_rows(notes: Iterable[OffsetNote]) -> tuple[tuple[str, str, str], ...]:
    """Notes on scenes' offsets as a record has them, each scene once."""
    return tuple(sorted({(n.scene, TAKEN_OUT if n.taken_out else NOT_THERE, n.by) for n in notes}))


def waited_for(
    reading: Iterator[tuple[Window, AnnualStack]], meter: Meter
) -> Iterator[tuple[Window, AnnualStack]]:
    """The same, with the time that is spent waiting for each."""
    while True:
        with meter("wait"):
            following = next(reading, None)
        if following is None:
            return
        yield following
        del following
