"""What any tile job can be asked for, whatever it makes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any

from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.exclusion import settled
from tessera_mosaic.pipeline.io.patience import PATIENCE, SECONDS
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.job.shares import Costs, Share, pixels_to_make
from tessera_mosaic.pipeline.ledger.tile_lists import TileList

DEFAULT_FAILED_SHARE = 0.5
"""Share of the tiles made that may fail before no more are begun."""

SHARES = Bounds("choose 0 to 1", least=0, most=1)
WORKERS = Bounds("at least one process has to work", least=1)


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Which of its tiles a job makes, and on what.

    Parameters
    ----------
    retry_failed
        Whether only tiles that failed before are made.
    overwrite
        Names of tiles that are made again although they are done.
    refresh
        Whether done tiles are made again where the catalogue lists other scenes now.
    max_failed_share
        Share, 0 to 1, of the tiles made that may fail before no more are begun.
    runner
        `direct`, or the name of a Beam runner.
    workers
        Number of processes of the local runner.
    beam_options
        Beam's own options, as words of a command line.
    store_patience
        Seconds for which a store is asked again that is busy or does not answer.
    single_launcher
        Whether nobody else writes to the store meanwhile, which has to be said of one that does
        not put objects only where there are none.
    share
        Which share of the tiles this launcher makes, where several divide them among themselves:
        `I/N` with I from 0 to N - 1, or `auto` for what the variables of a job array tell.
    pacing
        The waiting times of the job.

    Raises
    ------
    BadInput
        If a number is out of range, or there is no such share.
    """

    retry_failed: bool = False
    overwrite: tuple[str, ...] = ()
    refresh: bool = False
    max_failed_share: float = field(default=DEFAULT_FAILED_SHARE, metadata=SHARES.metadata)
    runner: str = "direct"
    workers: int = field(default=1, metadata=WORKERS.metadata)
    beam_options: tuple[str, ...] = ()
    store_patience: float = field(default=PATIENCE, metadata=SECONDS.metadata)
    single_launcher: bool = False
    share: str | None = None
    pacing: Pacing = field(default_factory=Pacing)

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.share is not None:
            # A job array's variables are those of this process, wherever the request goes.
            object.__setattr__(self, "share", str(Share.parse(self.share, os.environ)))
            if self.single_launcher and self.part != Share(0, 1):
                raise BadInput("other launchers make the other shares", "single_launcher", True)

    @property
    def part(self) -> Share | None:
        """The share that this launcher makes; None for all tiles."""
        return None if self.share is None else Share.parse(self.share)

    def job_options(self) -> dict[str, Any]:
        """The options by name, to hand on to the request of the job itself."""
        return {each.name: getattr(self, each.name) for each in fields(JobOptions)}


@dataclass(frozen=True)
class JobRequest(JobOptions):
    """A list of tiles in a store, with the options of the job.

    Parameters
    ----------
    store
        Path or URL of the store.
    year
        Calendar year.
    tiles
        The tiles that are asked for; of all shares, where this launcher makes one.
    costs
        What each of some tiles is expected to cost, by which shares are balanced.

    Raises
    ------
    BadInput
        If a number is out of range, or a tile to overwrite is not among those asked for.
    """

    store: str
    year: int
    tiles: TileList
    costs: Costs = pixels_to_make

    def open_store(self) -> Storage:
        """The store, of which it is known whether it excludes.

        Raises
        ------
        BadInput
            If it does not, and nobody has said that there is a single launcher.
        """
        return settled(Storage(self.store, patience=self.store_patience), self.single_launcher)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.overwrite and (unknown := set(self.overwrite) - self.tiles.names()):
            first = next(iter(self.tiles)).name
            raise BadInput(
                f"the region has no such tile; its first is {first}", "overwrite", min(unknown)
            )
