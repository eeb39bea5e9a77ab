"""From a command's options to a finished run: check, plan, create the store, start the job.

All that can be wrong with what the user gave is found here, before the store is touched. The
launcher alone writes the store's metadata; workers write shards and records.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import shapely
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from pipeline import records
from pipeline.embed import METRICS, EmbedZones, Job, blocks_of
from pipeline.encoders import load_encoder
from pipeline.errors import BadInput
from pipeline.grid import (
    CHUNK,
    DEFAULT_MARGIN,
    DEFAULT_SIDE,
    Tile,
    check_side,
    tiles_of_region,
)
from pipeline.identity import fingerprint, run_identity
from pipeline.mosaic import Layout, create_store
from pipeline.options import beam_options
from pipeline.progress import Monitor
from pipeline.region import read_region
from pipeline.scenes import open_catalogue
from pipeline.stack import Rules
from pipeline.storage import Storage

DEFAULT_BLOCK = 256
"""Side of a block in pixels: a year of one is some 150 MB, and it fills many device batches."""

MAX_MARGIN = 1024
"""Pixels: some 10 km, still within every zone's lattice."""

FIRST_YEAR = 2016
"""First whole year of Sentinel-2 and Sentinel-1."""


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`."""
    parser.add_argument("--catalog", required=True, help="STAC API, static catalogue or index")
    parser.add_argument("--region", required=True, help="W,S,E,N in degrees, or a vector file")
    parser.add_argument("--year", required=True, type=int)
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument("--model", help="card whose sizes and statistics apply (see `models`)")
    parser.add_argument("--weights", help="checkpoint file or URL")
    parser.add_argument("--tile", type=int, default=DEFAULT_SIDE, help="side of a tile in px")
    parser.add_argument("--block", type=int, default=DEFAULT_BLOCK, help="side of a block in px")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--margin", type=int, default=DEFAULT_MARGIN, help="px over the zone line")
    parser.add_argument(
        "--allow-lost-scenes",
        type=int,
        default=0,
        metavar="N",
        help="scenes a tile may lose for good before it fails",
    )
    parser.add_argument("--runner", default="direct", help="direct (default), or a Beam runner")
    parser.add_argument("--workers", type=int, default=1, help="processes of the local runner")


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Parameters
    ----------
    tiles, done, failed
        Asked for; in the store or known to be empty; and failed.
    pixels
        Embedded in this run.
    seconds
        Wall time of the job.
    failures
        Tiles by class of error.
    """

    tiles: int
    done: int
    failed: int
    pixels: int
    seconds: float
    failures: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """The fields of `run --json`."""
        return {
            "tiles": self.tiles,
            "done": self.done,
            "failed": self.failed,
            "pixels": self.pixels,
            "seconds": round(self.seconds, 3),
            "pixels_per_second": round(self.pixels / self.seconds, 1) if self.seconds else 0.0,
            "failures": self.failures,
        }


def launch(args: argparse.Namespace, beam_arguments: list[str]) -> Outcome:
    """Run the job that a command's options ask for, and wait for its end.

    Raises
    ------
    BadInput
        Before the store is touched, on anything that cannot be used.
    """
    options = beam_options(args.runner, args.workers, beam_arguments)
    check_numbers(args)
    region = read_region(args.region)
    source = open_catalogue(args.catalog)
    encoder = load_encoder(args.model, args.weights, args.precision)
    encoder.card.accepts(source.imagery)
    tiles = list(tiles_of_region(region, args.tile))
    if not tiles:
        raise BadInput(f"region {args.region} has no ground between 80 S and 84 N")
    if not any(source.search(bounds, args.year) for bounds in region_boxes(region)):
        raise BadInput(
            f"{args.catalog} has no scenes of {args.year} in region {args.region}: "
            "check the year, the order west,south,east,north, and the catalogue's extent"
        )
    rules = Rules(source.imagery, encoder.card.kernel, encoder.card.offset)
    identity = run_identity(encoder.identity(), source.imagery, rules.identity(), args.margin)
    storage = Storage(args.store)
    zones = sorted({tile.zone for tile in tiles})
    layout = Layout(args.tile, encoder.dims)
    create_store(storage, layout, identity, [args.year], zones)
    request = write_request(storage, args.year, tiles)
    job = Job(
        catalog=args.catalog,
        year=args.year,
        store=args.store,
        model=args.model,
        weights=args.weights,
        weights_sha256=encoder.weights_sha256,
        precision=args.precision,
        rules=rules,
        fingerprint=fingerprint(identity),
        request=request,
        block=min(args.block, args.tile),
        margin=args.margin,
        allow_lost_scenes=args.allow_lost_scenes,
        threads=max(1, (os.cpu_count() or 1) // args.workers),
    )
    return run_job(job, tiles, storage, options)


def run_job(job: Job, tiles: list[Tile], storage: Storage, options: PipelineOptions) -> Outcome:
    """Run the graph over a written request, show progress, and add up what came of it."""
    zones = sorted({tile.zone for tile in tiles})
    blocks = sum(blocks_of(tile, job.block) for tile in tiles)
    began = time.monotonic()
    with Monitor(storage, job.year, job.request, len(tiles), blocks):
        pipeline = beam.Pipeline(options=options)
        _ = pipeline | "zones" >> beam.Create(zones) | "embed zones" >> EmbedZones(job)
        result = pipeline.run()
        result.wait_until_finish()
    seconds = time.monotonic() - began
    rows: dict[str, dict[str, Any]] = {}
    for zone in zones:
        rows.update(records.read_summary(storage, job.year, zone))
    ended = [rows[tile.name] for tile in tiles]
    failures = Counter(row["error"]["class"] for row in ended if row["error"])
    failed = sum(failures.values())
    return Outcome(
        tiles=len(tiles),
        done=len(tiles) - failed,
        failed=failed,
        pixels=counted(result, "pixels"),
        seconds=seconds,
        failures=dict(failures.most_common()),
    )


def counted(result: PipelineResult, name: str) -> int:
    """Value of one of the job's Beam counters, summed over its steps."""
    query = MetricsFilter().with_namespace(METRICS).with_name(name)
    return sum(counter.result for counter in result.metrics().query(query)["counters"])


def region_boxes(region: shapely.Geometry) -> list[tuple[float, float, float, float]]:
    """Boxes in degrees around the parts of a region, for asking a catalogue."""
    return [part.bounds for part in shapely.get_parts(region)]


def write_request(storage: Storage, year: int, tiles: list[Tile]) -> str:
    """Write the run's tiles, and add them to those ever planned; return the request's id."""
    by_zone: dict[int, list[Tile]] = {}
    for tile in tiles:
        by_zone.setdefault(tile.zone, []).append(tile)
    encoded = {zone: records.encode_tiles(members) for zone, members in by_zone.items()}
    request = hashlib.sha256(b"".join(encoded.values())).hexdigest()[:16]
    for zone, data in encoded.items():
        storage.write(records.request_key(year, request, zone), data)
        records.add_planned(storage, year, by_zone[zone])
    return request


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse sides, margins and counts that do not fit the lattice or the machine."""
    check_side(args.tile)
    if args.block < CHUNK or args.block % CHUNK:
        raise BadInput(f"--block {args.block}: a block is a whole number of {CHUNK} px chunks")
    if not 0 <= args.margin <= MAX_MARGIN:
        raise BadInput(f"--margin {args.margin}: choose 0 to {MAX_MARGIN} px")
    if args.workers < 1:
        raise BadInput(f"--workers {args.workers}: at least one process has to work")
    if not FIRST_YEAR <= args.year <= datetime.date.today().year:
        raise BadInput(f"--year {args.year}: Sentinel-2 has whole years from {FIRST_YEAR} on")


def run_command(args: argparse.Namespace) -> dict[str, Any]:
    """Run the job, tell what came of it, and return the fields of `run --json`."""
    outcome = launch(args, args.beam_arguments)
    if not args.json:
        print(
            f"{args.store}: {outcome.done} of {outcome.tiles} tiles done, {outcome.failed} failed; "
            f"{outcome.pixels:,} pixels embedded in {outcome.seconds:.0f} s"
        )
        for kind, count in outcome.failures.items():
            print(f"  {kind}: {count} tiles")
        if outcome.failed:
            print("run the same command again to retry them; `status` names one of each class")
    return outcome.to_json()
