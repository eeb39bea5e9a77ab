"""From a command's options to a finished run: check, plan, create the store, start the job.

All that can be wrong with what the user gave is found here, before the store is touched. The
launcher alone writes the store's metadata; workers write shards and records.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import logging
import shlex
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import shapely
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, WorkerOptions

from model.cards import Card
from pipeline import notes, records
from pipeline.block import check_losses
from pipeline.embed import run_graph
from pipeline.encoders import check_device, choose_encoder
from pipeline.errors import BadInput, BrokenOff, NoScenes, StoreError, store_errors
from pipeline.forecast import Ranges, forecast, write_forecast
from pipeline.grid import CHUNK, Tile
from pipeline.identity import REGION, fingerprint, run_identity
from pipeline.land import Area, area_arguments, area_of
from pipeline.mosaic import Layout, create_store
from pipeline.options import (
    beam_options,
    elements_to_spread,
    own_options,
    runner_name,
    sharing_processes,
)
from pipeline.outcome import Outcome, add_up
from pipeline.passes import check_year, ground_of
from pipeline.plan import check_depths, make_plan
from pipeline.presence import Presence
from pipeline.processes import here, on_many_machines, run_here
from pipeline.progress import Monitor, made
from pipeline.rules import Rules, rule_arguments
from pipeline.scenes import Source, catalogue_arguments, open_catalogue
from pipeline.storage import Storage
from pipeline.summary import LOOK_UP, compact, forget, short_records
from pipeline.tiles import blocks_of
from pipeline.web import plain
from pipeline.worker import DEVICE_HOLD, Job

log = logging.getLogger(__name__)

DEFAULT_BLOCK = 256
"""Side of a block in pixels: a year of one is some 150 MB, and it fills many device batches."""

DEFAULT_FAILED_SHARE = 0.5

COMPACT_SECONDS = 120.0
"""Between two looks of the launcher for rows that the summaries do not have yet."""


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`."""
    catalogue_arguments(parser)
    area_arguments(parser)
    parser.add_argument("--year", required=True, type=int, help="calendar year")
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument(
        "--model",
        help="card whose sizes and statistics apply (see `models`); without it and --weights, the "
        "encoder that comes with the package",
    )
    parser.add_argument("--weights", help="checkpoint file or URL")
    parser.add_argument(
        "--block", type=int, default=DEFAULT_BLOCK, help="side of a block in px (%(default)s)"
    )
    parser.add_argument(
        "--depths",
        action="store_true",
        help="store the shorter embeddings that the model's first values are, too",
    )
    rule_arguments(parser)
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="in which the encoder computes (%(default)s)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="on which workers encode (cpu)"
    )
    parser.add_argument(
        "--allow-lost-scenes",
        type=int,
        default=0,
        metavar="N",
        help="scenes of a tile that may be gone, damaged or without answer before it fails; not "
        "where a provider refuses a credential or asks for patience, however long",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="make failed tiles again, and no others"
    )
    parser.add_argument(
        "--overwrite",
        nargs="+",
        default=[],
        metavar="TILE",
        help="make these tiles again although they are done",
    )
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="make done tiles again for which the catalogue lists other scenes now",
    )
    parser.add_argument(
        "--max-failed-share",
        type=float,
        default=DEFAULT_FAILED_SHARE,
        metavar="X",
        help=f"begin no more tiles once more than this share failed ({DEFAULT_FAILED_SHARE})",
    )
    parser.add_argument("--runner", default="direct", help="direct (default), or a Beam runner")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes of the local runner (%(default)s)"
    )


def launch(args: argparse.Namespace, beam_arguments: list[str]) -> Outcome:
    """Run the job that a command's options ask for, and wait for its end.

    Raises
    ------
    BadInput
        Before the store is touched, on anything that cannot be used.
    """
    options = beam_options(args.runner, args.workers, beam_arguments, own_options(args))
    check_numbers(args)
    area = area_of(args)
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
    rules = Rules(source.imagery, encoder.card.kernel, offset, args.s1_mosaic)
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
    job = Job(
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
    job: Job,
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
        Presence(storage, job.year, job.launch),
        Monitor(storage, job.year, job.launch, len(tiles), blocks, compaction) as monitor,
    ):
        if here(options):
            unrecorded = run_here(job, tiles, options, lambda: made(monitor.counts()))
        else:
            unrecorded = run_graph(job, zones, options)
        seconds = time.monotonic() - began
    found = short_records(storage, job.year, tiles, LOOK_UP)
    try:
        outcome, ended = add_up(job.launch, found, seconds, unrecorded)
    except StoreError as error:
        raise BrokenOff(f"the job ended; `status` tells what came of it: {error}") from error
    try:
        notes.clear_ended(storage, job.year, ended)
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

    def __init__(self, job: Job, storage: Storage, zones: list[int]) -> None:
        self._job, self._storage, self._zones = job, storage, zones
        self._compacted_at = time.monotonic()

    def __call__(self, counts: Counter[str]) -> None:
        if time.monotonic() - self._compacted_at > COMPACT_SECONDS:
            self._compacted_at = time.monotonic()
            for zone in self._zones:
                compact(self._storage, self._job.year, zone)


def region_boxes(region: shapely.Geometry) -> list[tuple[float, float, float, float]]:
    """Boxes in degrees around the parts of a region, for asking a catalogue."""
    return [part.bounds for part in shapely.get_parts(region)]


def region_inside(area: Area) -> bytes | None:
    """The region as WKB where only its own pixels are wanted, for every worker."""
    return bytes(shapely.to_wkb(area.region)) if area.inside else None


@dataclass(frozen=True)
class Request:
    """The tiles that a run is asked for, as the store holds them.

    Parameters
    ----------
    id
        The same for the same tiles.
    tiles
        By zone.
    encoded
        The same, as they are stored.
    """

    id: str
    tiles: dict[int, list[Tile]]
    encoded: dict[int, bytes]

    @classmethod
    def of(cls, tiles: Iterable[Tile]) -> Request:
        """Of some tiles, zone by zone."""
        by_zone = {zone: list(of) for zone, of in itertools.groupby(tiles, lambda tile: tile.zone)}
        encoded = {zone: records.encode_tiles(members) for zone, members in by_zone.items()}
        digest = hashlib.sha256(b"".join(encoded.values())).hexdigest()
        return cls(digest[:16], by_zone, encoded)

    def write(self, storage: Storage, year: int) -> None:
        """Write the tiles where workers find them, and add them to those ever planned."""
        for zone, data in self.encoded.items():
            storage.write(records.request_key(year, self.id, zone), data)
            records.add_planned(storage, year, self.tiles[zone], self.id)


def expect(
    args: argparse.Namespace, area: Area, card: Card, source: Source, options: PipelineOptions
) -> Ranges:
    """What the plan says of a run, for `status` to set beside its outcome; empty for no plan.

    Raises
    ------
    BadInput
        If the catalogue has nothing of the year in the region.
    """
    try:
        plan = make_plan(
            ground_of(area), args.year, card, args.precision, source, depths=args.depths
        )
    except NoScenes:
        if any(source.search(bounds, args.year) for bounds in region_boxes(area.region)):
            log.warning("the catalogue covers little of the region: there is no plan of this run")
            return {}
        raise BadInput(
            f"{source.name} has no scenes of {args.year} in region {args.region}: "
            "check the year, the order west,south,east,north, and the catalogue's extent"
        ) from None
    return forecast(plan, options.view_as(WorkerOptions).machine_type or "")


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


def run_command(args: argparse.Namespace) -> dict[str, Any]:
    """Run the job, tell what came of it, and return the fields of `run --json`."""
    outcome = launch(args, args.beam_arguments)
    retry = retry_command(args.words) if outcome.failed or outcome.missing else None
    if not args.json:
        print(
            f"{args.store}: {outcome.done} of {outcome.tiles} tiles done, {outcome.failed} failed, "
            f"{outcome.missing} missing; {outcome.pixels:,} pixels embedded in "
            f"{outcome.seconds:.0f} s"
        )
        for kind, count in outcome.failures.items():
            print(f"  {kind}: {count} tiles")
        if retry:
            print(f"to try them again:\n  {retry}")
    return {**outcome.to_json(), "retry": retry}


def retry_command(words: list[str]) -> str:
    """The command that was given, for trying again; without what may be a credential.

    Parameters
    ----------
    words
        Of the command line, without the program's name.
    """
    told = []
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        told.append(f"{option}{equals}{plain(value)}")
    return shlex.join(["tessera-mosaic", *told])
