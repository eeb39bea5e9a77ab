"""What a tile job asks of whatever it makes.

The job brings a list of tiles to the workers, makes each at most once, tries again where that can
help, and records what became of it. A `Maker` says what is made. It is a frozen dataclass that
pickles: it names weights and catalogues, and a worker opens them once a process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, TileResult
from tessera_mosaic.pipeline.tiling.lattice import Tile


class TileMaker(Protocol):
    """What a worker process holds to make tiles with, shared by its threads."""

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        """Make a tile and put its objects into the store.

        Parameters
        ----------
        tile
            The tile to make.
        before
            The record of the finished tile that stands in the store, where one may stay; None
            where the tile has to be made.
        meter
            Measures of the tile: seconds by stage, blocks, bytes and requests. Its `check_stop`
            is to be called before each block, and wherever else a maker works for seconds.
        writing
            To be called before the first object is put: from then on until the new record
            stands, the tile does not count as done.

        Returns
        -------
        TileResult or None
            What was made; None where `before` is what would be made again.

        Raises
        ------
        TesseraError
            Of a class that says whether the tile is tried again.
        Stopped
            From `check_stop`, which is to be let through.
        """

    def keys(self, tile: Tile) -> Iterable[str]:
        """Keys of all objects that a tile may have in the store."""

    def renew(self) -> None:
        """Renew credentials that are no longer accepted."""


class Maker(Protocol):
    """What a job makes of its tiles."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the bytes of a tile."""

    def steps(self, tile: Tile) -> int:
        """Number of blocks in which a tile is made, for the progress that is shown."""

    def open(self, storage: Storage, threads: int) -> TileMaker:
        """Open what a worker process needs.

        Parameters
        ----------
        storage
            The store into which tiles go.
        threads
            Number of cores that the process may use.
        """
