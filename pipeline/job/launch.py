"""A checked request and a maker, to what came of the job.

The launcher writes the list of tiles into the store, starts the graph, shows progress and adds up.
What the store is (its metadata, its identity) is settled before, by whoever puts request and maker
together.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from apache_beam.options.pipeline_options import PipelineOptions

from tessera_mosaic.pipeline import console
from tessera_mosaic.pipeline.errors import BrokenOff, Stopped, StoreError
from tessera_mosaic.pipeline.io.stop_sign import stopping_gently
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work, store_errors
from tessera_mosaic.pipeline.job.beam_options import (
    beam_options,
    elements_to_spread,
    runs_here,
    sharing_processes,
)
from tessera_mosaic.pipeline.job.graph import run_graph
from tessera_mosaic.pipeline.job.heartbeat import Heartbeat
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.local_runner import GraphRuns, on_many_machines, run_here
from tessera_mosaic.pipeline.job.maker import Maker
from tessera_mosaic.pipeline.job.monitor import Monitor, made
from tessera_mosaic.pipeline.job.outcome import STOPPED, Outcome, Whole, add_up
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.job.share_claim import ShareClaim
from tessera_mosaic.pipeline.job.shares import Costs, divided
from tessera_mosaic.pipeline.ledger import in_progress
from tessera_mosaic.pipeline.ledger.journal import compact
from tessera_mosaic.pipeline.ledger.records import READ_THREADS
from tessera_mosaic.pipeline.ledger.share_lists import Shares
from tessera_mosaic.pipeline.ledger.snapshots import warn_of_snapshots
from tessera_mosaic.pipeline.ledger.summary import LOOK_UP, find_summaries, forget
from tessera_mosaic.pipeline.ledger.tile_lists import TileList, listed_already
from tessera_mosaic.pipeline.tiling.lattice import Tile

log = logging.getLogger(__name__)

STOPPING = "stopping at the end of the blocks that are under way"
"""Said at once to whoever stops a job."""

LEFT_ALONE = (
    "the launcher was stopped; a job that other machines work on goes on until its runner is told, "
    "and `status` says how far it is"
)
"""Said where a runner on other machines has the job."""


def launch(request: JobRequest, maker: Maker, runs: GraphRuns | None = None) -> Outcome:
    """Make the tiles of a request that are not done, and wait for the end.

    The first Ctrl-C, or a SIGTERM, stops it at the end of the blocks that are under way.

    Parameters
    ----------
    request
        The list of tiles, the store, and the runner.
    maker
        What is made of each tile.
    runs
        How the local runner runs the graph.

    Returns
    -------
    Outcome
        Tiles done, failed and missing, failures by class, and the measures of this launch.

    Raises
    ------
    BadInput
        If the runner or its options cannot be used; the store is not touched.
    BrokenOff
        If the runner gave up before all tiles were tried.
    Stopped
        If it was stopped before all tiles were tried. What is done stays done.
    """
    options = beam_options(request.runner, request.workers, list(request.beam_options))
    if on_many_machines(options):
        try:
            return _launch(request, maker, options, runs)
        except KeyboardInterrupt:
            raise Stopped(LEFT_ALONE) from None
    with stopping_gently(STOPPING):
        return _launch(request, maker, options, runs)


def _launch(
    request: JobRequest, maker: Maker, options: PipelineOptions, runs: GraphRuns | None
) -> Outcome:
    """Make the tiles of a request, or its share of them, on a runner whose options are checked."""
    storage = request.open_store()
    job = job_spec(request, maker, options, excludes=storage.excludes is not False)
    if job.share is None:
        return _make(job, request.tiles, request, storage, options, runs)
    shares = Shares(storage, job.year, request.tiles.id, job.share.count)
    with before_work(), store_errors(request.store):
        tiles = settle(shares, job.share.index, request.tiles, request.costs)
    with ShareClaim(shares, job.share, job.launch, job.pacing) as claim:
        outcome = _make(job, tiles, request, storage, options, runs)
        claim.ended()
    with store_errors(request.store):
        whole = whole_of(shares, request.tiles) if shares.all_ended() else None
    return dataclasses.replace(outcome, share=str(job.share), whole=whole)


def _make(
    job: JobSpec,
    tiles: TileList,
    request: JobRequest,
    storage: Storage,
    options: PipelineOptions,
    runs: GraphRuns | None,
) -> Outcome:
    """Make the tiles of the whole list, or those of a share of it."""
    with before_work(), store_errors(request.store):
        if job.share is None:
            tiles.write(storage, job.year)
        for zone in tiles.zones:
            compact(storage, job.year, zone)
        again = [tile for tile in tiles if job.refresh or tile.name in job.redo]
        warn_of_snapshots(storage, job.year, again)
        forget(storage, job.year, again)
    seconds, unrecorded = _run(job, tiles, storage, options, runs)
    if not job.excludes:
        for zone in tiles.zones:
            compact(storage, job.year, zone)
    stopped = unrecorded.pop(STOPPED, 0)
    found = find_summaries(storage, job.year, tiles, LOOK_UP)
    try:
        outcome, ended = add_up(job.launch, found, seconds, unrecorded)
    except StoreError as error:
        raise BrokenOff(f"the job ended; `status` tells what came of it: {error}") from error
    try:
        in_progress.clear_ended(storage, job.year, ended)
    except StoreError as error:
        log.warning("notes of tiles that ended could not be cleared away: %s", error)
    if stopped:
        raise Stopped(f"{outcome.done} of {outcome.tiles} tiles are done: {console.STOPPED}")
    return outcome


def settle(shares: Shares, index: int, tiles: TileList, costs: Costs) -> TileList:
    """The tiles of a share, as the store has them once it has the division of the whole list.

    Parameters
    ----------
    shares
        The list as it is to be divided.
    index
        Number of the share.
    tiles
        The whole list.
    costs
        What each tile is expected to cost.
    """
    zones = tiles.zones
    # Launchers that start at once begin with different zones, and find the others written.
    turn = index * len(zones) // shares.count
    for zone in zones[turn:] + zones[:turn]:
        if not listed_already(shares.storage, shares.year, zone, tiles.id):
            tiles.write(shares.storage, shares.year, [zone])

    @functools.cache
    def by_zone() -> dict[int, dict[int, list[Tile]]]:
        found: dict[int, dict[int, list[Tile]]] = {zone: {} for zone in zones}
        for share, members in divided(tiles, shares.count, costs).items():
            for tile in members:
                found[tile.zone].setdefault(share, []).append(tile)
        return found

    with ThreadPoolExecutor(READ_THREADS) as pool:
        holders = pool.map(lambda zone: shares.settle(zone, lambda: by_zone()[zone]), zones)
    shares.keep_as_latest()
    own = [zone for zone, holding in zip(zones, holders, strict=True) if index in holding]
    return TileList.of(tile for zone in own for tile in sorted(shares.read(zone)[index]))


def whole_of(shares: Shares, tiles: TileList) -> Whole:
    """What came of a list whose shares have all ended."""
    found = find_summaries(shares.storage, shares.year, tiles, LOOK_UP)
    outcome, _ = add_up("", found, 0.0, Counter())
    return Whole(**{each.name: getattr(outcome, each.name) for each in dataclasses.fields(Whole)})


def job_spec(
    request: JobRequest, maker: Maker, options: PipelineOptions, excludes: bool = True
) -> JobSpec:
    """What the workers of a launch have to know."""
    pacing = request.pacing
    if not on_many_machines(options):
        # Nobody else would make what this machine leaves.
        pacing = dataclasses.replace(pacing, device_hold=0.0)
    return JobSpec(
        maker=maker,
        store=request.store,
        year=request.year,
        request=request.tiles.id,
        launch=siblings_of(request) + uuid.uuid4().hex[:12],
        share=request.part,
        processes=sharing_processes(options),
        elements=elements_to_spread(options),
        redo=frozenset(request.overwrite),
        refresh=request.refresh,
        only_failed=request.retry_failed,
        max_failed_share=request.max_failed_share,
        patience=request.store_patience,
        excludes=excludes,
        pacing=pacing,
    )


def siblings_of(request: JobRequest) -> str:
    """What the ids of all launches begin with that make shares of the same list, of as many."""
    if request.part is None:
        return ""
    return hashlib.sha256(f"{request.tiles.id}/{request.part.count}".encode()).hexdigest()[:8]


def _run(
    job: JobSpec,
    tiles: TileList,
    storage: Storage,
    options: PipelineOptions,
    runs: GraphRuns | None,
) -> tuple[float, Counter[str]]:
    """Run the graph and show progress; seconds, and failures of which the store has no record."""
    if not len(tiles):
        # A share may have none: there are more shares than tiles.
        return 0.0, Counter()
    steps = sum(map(job.maker.steps, tiles))
    compaction = Compaction(storage, job.year, tiles.zones, job.pacing.compact_seconds)
    siblings = "" if job.share is None else job.launch[:-12]
    began = time.monotonic()
    with (
        store_errors(job.store),
        Heartbeat(storage, job.year, job.launch, job.pacing, siblings),
        Monitor(
            storage,
            job.year,
            job.launch,
            len(tiles),
            steps,
            compaction,
            pacing=job.pacing,
        ) as monitor,
    ):
        if runs_here(options):
            unrecorded = run_here(job, list(tiles), options, lambda: made(monitor.counts()), runs)
        else:
            unrecorded = run_graph(job, tiles.zones, options)
        return time.monotonic() - began, unrecorded


class Compaction:
    """Brings what the workers put into the journal into the summaries, now and then.

    Parameters
    ----------
    storage, year, zones
        The store, the year, and the zones whose journals are looked at.
    seconds
        Seconds between two looks.
    """

    def __init__(
        self, storage: Storage, year: int, zones: list[int], seconds: float = Pacing.compact_seconds
    ) -> None:
        self._storage, self._year, self._zones, self._seconds = storage, year, zones, seconds
        self._compacted_at = time.monotonic()

    def __call__(self, counts: Counter[str]) -> None:
        if time.monotonic() - self._compacted_at > self._seconds:
            self._compacted_at = time.monotonic()
            for zone in self._zones:
                compact(self._storage, self._year, zone)
