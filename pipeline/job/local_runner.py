"""Beam's local runner: in the launcher, or with several workers in a process of its own.

When one of its worker processes dies, that runner waits for ever. Here it is ended instead and the
graph is run again: tiles that are done are skipped, and those that may have killed it are known by
their notes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.utils.interactive_utils import is_in_ipython

from tessera_mosaic.pipeline.errors import BrokenOff
from tessera_mosaic.pipeline.io.stop_sign import stop_sign
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.beam_options import runs_here
from tessera_mosaic.pipeline.job.graph import run_graph
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.outcome import STOPPED
from tessera_mosaic.pipeline.job.runner_process import run_apart
from tessera_mosaic.pipeline.ledger import in_progress, records
from tessera_mosaic.pipeline.ledger.in_progress import DEATHS
from tessera_mosaic.pipeline.ledger.keys import note_key
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)

SPREADING = ("direct_running_mode", "direct_num_workers")
"""Options that give the local runner several threads or processes."""


@dataclass(frozen=True)
class GraphRuns:
    """How the local runner runs the graph.

    Parameters
    ----------
    here
        Runs it in this process, with the runner's options; see `run_graph`.
    apart
        Runs it in a process of its own, with the options by name; see `run_apart`.
    """

    here: Callable[[JobSpec, list[int], PipelineOptions], Counter[str]] = run_graph
    apart: Callable[[JobSpec, list[int], dict[str, Any]], Counter[str] | None] = run_apart


def run_here(
    job: JobSpec,
    tiles: list[Tile],
    options: PipelineOptions,
    made: Callable[[], float],
    runs: GraphRuns | None = None,
) -> Counter[str]:
    """Run the graph on this machine, again when a worker process dies.

    Tiles that were begun and never ended, by a run that was killed or by a worker that died, are
    made last, in a process of their own and one at a time. So a tile that kills its worker costs
    only itself, and whoever starts the job lives to record it.

    Parameters
    ----------
    job, options
        As for `run_graph`.
    tiles
        Tiles that the job was asked for.
    made
        Gives the number of tiles made so far: as long as it grows, there is hope.
    runs
        How the graph is run in this process, and in one of its own.

    Returns
    -------
    What `run_graph` returns.

    Raises
    ------
    BrokenOff
        If the runner fails otherwise, or workers die without making tiles.
    """
    runs = runs or GraphRuns()
    storage = job.open_store()
    flags = options.get_all_options(drop_default=True)
    found: dict[str, Tile] = {}

    def make_others() -> Counter[str] | None:
        nonlocal found
        found = suspects(job, tiles, storage)
        others = dataclasses.replace(job, suspects=frozenset(found))
        if apart(options):
            return runs.apart(others, _zones(tiles), flags)
        return runs.here(others, _zones(tiles), options)

    def make_suspects() -> Counter[str] | None:
        last = dataclasses.replace(job, suspects=frozenset(found), last=True, processes=1)
        alone = {name: value for name, value in flags.items() if name not in SPREADING}
        return runs.apart(last, _zones(found.values()), alone)

    try:
        unrecorded = _until_ended(make_others, made)
        if unrecorded[STOPPED]:
            # Whoever stops a job may have ended workers of it.
            in_progress.clear_launch(storage, job.year, job.launch)
            return unrecorded
        if found and (found := suspects(job, list(found.values()), storage)):
            log.warning(
                "%d tiles were under way when a worker or a run was killed: they are made last, "
                "one after the other in a process of their own",
                len(found),
            )
            left = [note_key(job.year, tile) for tile in found.values()]
            unrecorded += _until_ended(
                make_suspects, lambda: [in_progress.read_note(storage, key) for key in left]
            )
    except KeyboardInterrupt:
        in_progress.clear_launch(storage, job.year, job.launch)
        raise
    return unrecorded


def _zones(tiles: Iterable[Tile]) -> list[int]:
    return sorted({tile.zone for tile in tiles})


def suspects(job: JobSpec, tiles: list[Tile], storage: Storage) -> dict[str, Tile]:
    """Those of a job's tiles, by name, that are to be made and were begun and never ended."""
    noted = in_progress.noted(storage, job.year)
    found = [tile for tile in tiles if tile.name in noted] if noted else []
    known = records.read_records(storage, job.year, found)
    rows = ((tile, TileSummary.of(record) if record else None) for tile, record in known)
    return {tile.name: tile for tile, row in rows if job.wants(row)}


def _until_ended(
    run: Callable[[], Counter[str] | None], progress: Callable[[], object]
) -> Counter[str]:
    """Run until no worker dies, as long as there is progress from one death to the next."""
    in_vain, before = 0, progress()
    while (ended := _unless_stopped(run)) is None:
        log.warning("a worker process died: the others are started again")
        now = progress()
        in_vain, before = (in_vain + 1 if now == before else 0), now
        if in_vain > DEATHS:
            raise BrokenOff(f"{in_vain} times in a row a worker process died before it made a tile")
    return ended


def _unless_stopped(run: Callable[[], Counter[str] | None]) -> Counter[str] | None:
    """Run; what breaks off or dies while the job is to stop was stopped."""
    try:
        ended = run()
    except BrokenOff:
        if not stop_sign().asked:
            raise
        ended = None
    return Counter({STOPPED: 1}) if ended is None and stop_sign().asked else ended


def on_many_machines(options: PipelineOptions) -> bool:
    """Whether another machine may make what one leaves."""
    return options.view_as(StandardOptions).runner not in ("FnApiRunner", "BundleBasedDirectRunner")


def apart(options: PipelineOptions) -> bool:
    """Whether the local runner gets a process of its own.

    It does where the options ask for workers that it talks to by ports, and in IPython, where Beam
    loads its interactive parts, which take no pandas since 3.0.
    """
    return runs_here(options) and (
        options.get_all_options()["direct_running_mode"] != "in_memory" or is_in_ipython()
    )
