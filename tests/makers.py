"""Makers of tests: with encoders, catalogues and readers that fail, or that act at a moment.

Makers are pickled on their way to a worker, so what they do stands here by name. What has to be a
closure of a test lies in `ACTIONS`, and is found there by a worker in the test's own process.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tessera_mosaic.model.encoder import Embedding
from tessera_mosaic.model.observations import Origin, Stack
from tessera_mosaic.pipeline.embedding.embed_tile import EmbedMaker
from tessera_mosaic.pipeline.embedding.named_inputs import CatalogName, EncoderName
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.maker import TileMaker
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, TileResult
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.block_reader import read_blocks
from tessera_mosaic.pipeline.tiling.boxes import Box
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window

ACTIONS: dict[str, Callable[..., Any]] = {}
"""Closures of tests, by a name that a maker may carry."""


def named(action: Callable[..., Any]) -> str:
    """Keep a closure, and give its name."""
    name = uuid.uuid4().hex
    ACTIONS[name] = action
    return name


# Encoders.


@dataclass(frozen=True)
class WatchedEncoder:
    """An encoder before each of whose blocks a test's action is called with the block's origin."""

    encoder: EncoderName
    action: str

    def load(self, threads: int) -> Any:
        """Load it."""
        return _Watched(self.encoder.load(threads), ACTIONS[self.action])


class _Watched:
    def __init__(self, encoder: Any, action: Callable[[Origin | None], object]) -> None:
        self._encoder, self._action = encoder, action
        self.arithmetic = encoder.arithmetic

    def embed(self, stack: Stack, at: Origin | None = None, **more: Any) -> Embedding:
        self._action(at)
        return self._encoder.embed(stack, at, **more)


def before_blocks(action: Callable[[Origin | None], object]) -> Callable[[EmbedMaker], EmbedMaker]:
    """Call something before each block is encoded."""
    name = named(action)
    return lambda maker: dataclasses.replace(maker, encoder=WatchedEncoder(maker.encoder, name))


def at_block(number: int, action: Callable[[], object]) -> Callable[[EmbedMaker], EmbedMaker]:
    """Do something when the job comes to its n-th block."""
    blocks = itertools.count(1)

    def counted(_: Origin | None) -> None:
        if next(blocks) == number:
            action()

    return before_blocks(counted)


def broken_device(_: Origin | None = None) -> None:
    """What a GPU says that has come to its end."""
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def full_device(tile: Tile) -> Callable[[Origin | None], None]:
    """Not enough memory for one tile."""
    window = tile.window

    def fail(at: Origin | None) -> None:
        if at is not None and (at.row, at.col) == (window.row, window.col):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return fail


# Catalogues.


@dataclass(frozen=True)
class WatchedCatalog:
    """A catalogue of which a test answers the searches: it is given the real answer's maker."""

    catalog: CatalogName
    search: str

    def open(self) -> Source:
        """Open it."""
        return _WatchedSource(self.catalog.open(), ACTIONS[self.search])  # type: ignore[return-value]


class _WatchedSource:
    def __init__(self, source: Source, search: Callable[..., list[Scene]]) -> None:
        self._source, self._search = source, search

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def search(self, bounds: Box, year: int) -> list[Scene]:
        return self._search(self._source.search, bounds, year)


def searching(
    search: Callable[[Callable[..., list[Scene]], Box, int], list[Scene]],
) -> Callable[[EmbedMaker], EmbedMaker]:
    """Answer the searches of the workers with a function that is given the real one."""
    name = named(search)
    return lambda maker: dataclasses.replace(maker, catalog=WatchedCatalog(maker.catalog, name))


@dataclass(frozen=True)
class OpenedBy:
    """A catalogue that a test's function opens."""

    action: str

    def open(self) -> Source:
        """Open it."""
        return ACTIONS[self.action]()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ShortOfMemory:
    """Reads annual stacks, but for one tile there is not enough memory."""

    tile: Tile

    def __call__(
        self, blocks: Sequence[Window], *more: Any
    ) -> Generator[tuple[Window, AnnualStack]]:
        """Read some blocks."""
        if self.tile.window in blocks:
            raise MemoryError
        yield from read_blocks(blocks, *more)


def reading_fails(tile: Tile) -> Callable[[EmbedMaker], EmbedMaker]:
    """Not enough memory to read one tile."""
    return lambda maker: dataclasses.replace(maker, read=ShortOfMemory(tile))


# Makers.


@dataclass(frozen=True)
class Renewing:
    """Makes a mosaic, and tells a test when credentials are renewed."""

    whole: EmbedMaker
    action: str

    @property
    def fingerprint(self) -> str:
        """That of the mosaic."""
        return self.whole.fingerprint

    def steps(self, tile: Tile) -> int:
        """Number of blocks in which a tile is made."""
        return self.whole.steps(tile)

    def open(self, storage: Storage, threads: int) -> TileMaker:
        """Open the mosaic's."""
        return _RenewingTiles(self.whole.open(storage, threads), ACTIONS[self.action])


class _Tiles:
    """The mosaic's tiles."""

    def __init__(self, maker: TileMaker) -> None:
        self._maker = maker

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        return self._maker.make(tile, before, meter, writing)

    def keys(self, tile: Tile) -> Iterable[str]:
        return self._maker.keys(tile)

    def renew(self) -> None:
        self._maker.renew()


class _RenewingTiles(_Tiles):
    def __init__(self, maker: TileMaker, told: Callable[[int], object]) -> None:
        super().__init__(maker)
        self._told = told

    def renew(self) -> None:
        self._told(1)
        super().renew()


@dataclass(frozen=True)
class Deadly:
    """Makes a mosaic, but its process dies on one tile, while the others take long.

    Parameters
    ----------
    whole
        What makes the mosaic.
    tile
        Name of the tile on which a process dies.
    slow
        Seconds that each other tile takes more.
    """

    whole: EmbedMaker
    tile: str
    slow: float = 0.0

    @property
    def fingerprint(self) -> str:
        """That of the mosaic."""
        return self.whole.fingerprint

    def steps(self, tile: Tile) -> int:
        """Number of blocks in which a tile is made."""
        return self.whole.steps(tile)

    def open(self, storage: Storage, threads: int) -> TileMaker:
        """Open the mosaic's."""
        return _DeadlyTiles(self, self.whole.open(storage, threads))


class _DeadlyTiles(_Tiles):
    def __init__(self, deadly: Deadly, maker: TileMaker) -> None:
        super().__init__(maker)
        self._deadly = deadly

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        if tile.name == self._deadly.tile:
            time.sleep(self._deadly.slow / 2)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self._deadly.slow)
        return super().make(tile, before, meter, writing)


@dataclass(frozen=True)
class Nothing:
    """A maker of a job whose tiles are listed and never made."""

    fingerprint: str = "f"

    def steps(self, tile: Tile) -> int:
        """One."""
        return 1

    def open(self, storage: Storage, threads: int) -> TileMaker:
        """Nobody opens it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Unopened(Nothing):
    """A maker that no worker can open."""

    def open(self, storage: Storage, threads: int) -> TileMaker:
        """Fail."""
        raise OSError("no such machine")
