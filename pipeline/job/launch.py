"""From a command's options to a finished run: check, plan, create the store, start the job.

All that can be wrong with what the user gave is found here, before the store is touched. The
launcher alone writes the store's metadata; workers write shards and records.
"""

from __future__ import annotations

import argparse
import logging
import time
import uuid
from collections import Counter

import shapely
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from tessera_mosaic.pipeline.commands.arguments import area_request
from tessera_mosaic.pipeline.commands.run import expect
from tessera_mosaic.pipeline.console import own_options
from tessera_mosaic.pipeline.embedding.embed_tile import blocks_of
from tessera_mosaic.pipeline.embedding.encoder_card import check_depths
from tessera_mosaic.pipeline.embedding.encoders import check_device, choose_encoder
from tessera_mosaic.pipeline.errors import BadInput, BrokenOff, StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.job.beam_options import (
    beam_options,
    elements_to_spread,
    runner_name,
    sharing_processes,
)
from tessera_mosaic.pipeline.job.device_health import DEVICE_HOLD
from tessera_mosaic.pipeline.job.graph import run_graph
from tessera_mosaic.pipeline.job.heartbeat import Heartbeat
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.local_runner import here, on_many_machines, run_here
from tessera_mosaic.pipeline.job.monitor import Monitor, made
from tessera_mosaic.pipeline.job.outcome import Outcome, add_up
from tessera_mosaic.pipeline.ledger import in_progress
from tessera_mosaic.pipeline.ledger.forecast import write_forecast
from tessera_mosaic.pipeline.ledger.journal import compact
from tessera_mosaic.pipeline.ledger.keys import REGION
from tessera_mosaic.pipeline.ledger.summary import LOOK_UP, find_summaries, forget
from tessera_mosaic.pipeline.ledger.tile_lists import Request
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, run_identity
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store
from tessera_mosaic.pipeline.scenes import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import check_year
from tessera_mosaic.pipeline.stacks.losses import check_losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.area import Area, read_area
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile

log = logging.getLogger(__name__)

DEFAULT_BLOCK = 256
"""Side of a block in pixels: a year of one is some 150 MB, and it fills many device batches."""


COMPACT_SECONDS = 120.0
"""Between two looks of the launcher for rows that the summaries do not have yet."""


def launch(args: argparse.Namespace, beam_arguments: list[str]) -> Outcome:
    """Run the job that a command's options ask for, and wait for its end.

    Raises
    ------
    BadInput
        Before the store is touched, on anything that cannot be used.
    """
    options = beam_options(args.runner, args.workers, beam_arguments, own_options(args))
    check_numbers(args)
    area = read_area(area_request(args))
    source = open_catalogue(args.catalog, args.allow_host)
    if options.view_as(StandardOptions).runner == runner_name("direct"):
        check_device(args.device, args.precision)
    encoder = choose_encoder(args.model, args.weights, args.precision, source.imagery)
    check_depths(encoder.card, args.depths)
    tiles = list(area.tiles())
    request = Request.of(tiles)
    expected = expect(args, area, encoder.card, source, options)
    redo = tiles_to_redo(args.overwrite, tiles)
    offset = args.offset or encoder.card.offset
    rules = Preprocessing.of_identity(
        {"kernel": encoder.card.kernel, "offset": offset, "s1_mosaic": args.s1_mosaic},
        source.imagery,
    )
    rules.check(source)
    inside = region_inside(area)
    identity = run_identity(
        encoder.identity(), source.imagery, rules.identity(), args.margin, inside
    )
    storage = Storage(args.store)
    zones = sorted({tile.zone for tile in tiles})
    layout = Layout(args.tile, encoder.card.dims, encoder.card.depths if args.depths else ())
    with store_errors(args.store):
        create_store(storage, layout, identity, [args.year], zones)
        if inside is not None:
            storage.write(REGION, inside)
        request.write(storage, args.year)
        write_forecast(storage, args.year, request.id, expected)
    job = JobSpec(
        catalog=args.catalog,
        allow_hosts=tuple(args.allow_host),
        year=args.year,
        store=args.store,
        model=args.model,
        weights=args.weights,
        weights_sha256=encoder.weights_sha256,
        precision=args.precision,
        device=args.device,
        rules=rules,
        fingerprint=fingerprint(identity),
        request=request.id,
        launch=uuid.uuid4().hex[:12],
        block=min(args.block, args.tile),
        margin=args.margin,
        inside=inside,
        allow_lost_scenes=args.allow_lost_scenes,
        processes=sharing_processes(options),
        elements=elements_to_spread(options),
        redo=redo,
        refresh=args.refresh,
        only_failed=args.retry_failed,
        max_failed_share=args.max_failed_share,
        device_hold=DEVICE_HOLD if on_many_machines(options) else 0.0,
    )
    return run_job(job, tiles, storage, options)


def run_job(
    job: JobSpec,
    tiles: list[Tile],
    storage: Storage,
    options: PipelineOptions,
) -> Outcome:
    """Run the graph over a written request, show progress, and add up what came of it.

    Raises
    ------
    BrokenOff
        If the runner gave up before all tiles were tried.
    """
    zones = sorted({tile.zone for tile in tiles})
    blocks = sum(blocks_of(tile, job.block) for tile in tiles)
    with store_errors(job.store):
        for zone in zones:
            compact(storage, job.year, zone)
        forget(storage, job.year, [t for t in tiles if job.refresh or t.name in job.redo])
    compaction = Compaction(job, storage, zones)
    began = time.monotonic()
    with (
        store_errors(job.store),
        Heartbeat(storage, job.year, job.launch),
        Monitor(storage, job.year, job.launch, len(tiles), blocks, compaction) as monitor,
    ):
        if here(options):
            unrecorded = run_here(job, tiles, options, lambda: made(monitor.counts()))
        else:
            unrecorded = run_graph(job, zones, options)
        seconds = time.monotonic() - began
    found = find_summaries(storage, job.year, tiles, LOOK_UP)
    try:
        outcome, ended = add_up(job.launch, found, seconds, unrecorded)
    except StoreError as error:
        raise BrokenOff(f"the job ended; `status` tells what came of it: {error}") from error
    try:
        in_progress.clear_ended(storage, job.year, ended)
    except StoreError as error:
        log.warning("notes of tiles that ended could not be cleared away: %s", error)
    return outcome


class Compaction:
    """Brings what the workers put into the journal into the summaries, now and then.

    Parameters
    ----------
    job, storage, zones
        Of which job.
    """

    def __init__(self, job: JobSpec, storage: Storage, zones: list[int]) -> None:
        self._job, self._storage, self._zones = job, storage, zones
        self._compacted_at = time.monotonic()

    def __call__(self, counts: Counter[str]) -> None:
        if time.monotonic() - self._compacted_at > COMPACT_SECONDS:
            self._compacted_at = time.monotonic()
            for zone in self._zones:
                compact(self._storage, self._job.year, zone)


def region_inside(area: Area) -> bytes | None:
    """The region as WKB where only its own pixels are wanted, for every worker."""
    return bytes(shapely.to_wkb(area.region)) if area.inside else None


def tiles_to_redo(names: list[str], tiles: list[Tile]) -> frozenset[str]:
    """Names of tiles to overwrite, which have to lie in the region."""
    unknown = set(names) - {tile.name for tile in tiles}
    if unknown:
        raise BadInput(
            f"--overwrite {min(unknown)}: the region has no such tile; its first is {tiles[0].name}"
        )
    return frozenset(names)


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse sides, margins and counts that do not fit the lattice or the machine."""
    if args.block < CHUNK or args.block % CHUNK:
        raise BadInput(f"--block {args.block}: a block is a whole number of {CHUNK} px chunks")
    if args.workers < 1:
        raise BadInput(f"--workers {args.workers}: at least one process has to work")
    if not 0 <= args.max_failed_share <= 1:
        raise BadInput(f"--max-failed-share {args.max_failed_share}: choose 0 to 1")
    check_losses(args.allow_lost_scenes)
    check_year(args.year)
