"""Make the files of blocks of a mosaic, or bring them up to date, year by year.

They lie below `blocks/` in the mosaic's own store, with records of their own: a store of its own as
far as the tile job knows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.downstream.block_tile import BlockMaker
from tessera_mosaic.pipeline.downstream.made_tiles import tiles_with_data
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.exclusion import check_job_store
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work, store_errors
from tessera_mosaic.pipeline.job.beam_options import beam_options
from tessera_mosaic.pipeline.job.job_request import JobOptions, JobRequest
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.journal import Journal, compact
from tessera_mosaic.pipeline.ledger.keys import BLOCKS, BLOCKS_TEMPLATE, blocks_key
from tessera_mosaic.pipeline.ledger.map_recipe import MapRecipe, MapYear, add_map_year
from tessera_mosaic.pipeline.ledger.records import Record, State, read_records, write_record
from tessera_mosaic.pipeline.ledger.tile_lists import TileList, planned_tiles
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.mosaic.identity import fingerprint
from tessera_mosaic.pipeline.mosaic.store import Mosaic, mosaic_in

ALGORITHM = 1
"""Version of what makes blocks: raised whenever the same inputs would come out as others."""

BY = MapRecipe("publish --blocks", (), {})
"""What the recipe of blocks says that makes them."""


@dataclass(frozen=True)
class BlocksRequest(JobOptions):
    """A mosaic whose blocks are made or brought up to date.

    Parameters
    ----------
    store
        Path or URL of the mosaic, in which they are put.
    retry_failed, overwrite, refresh, max_failed_share, runner, workers, beam_options, pacing
        As in `JobOptions`; tiles that the mosaic made again are made again here without `refresh`.
    store_patience, single_launcher, share
        As in `JobOptions`.

    Examples
    --------
    >>> tm.BlocksRequest("valley.zarr").workers
    1
    """

    store: str


@dataclass(frozen=True)
class Blocks:
    """What the blocks of a mosaic came to.

    Parameters
    ----------
    years
        What came of the tiles of each calendar year.
    files
        Path or URL pattern of the files, as DuckDB takes it.
    """

    years: dict[int, Outcome]
    files: str

    @property
    def failed(self) -> int:
        """Number of tiles whose blocks could not be made."""
        return sum(outcome.failed for outcome in self.years.values())

    @property
    def missing(self) -> int:
        """Number of tiles that were not tried."""
        return sum(outcome.missing for outcome in self.years.values())

    @property
    def failures(self) -> dict[str, int]:
        """Number of failed tiles by class of error."""
        counted: Counter[str] = Counter()
        for outcome in self.years.values():
            counted.update(outcome.failures)
        return dict(counted)

    def to_json(self) -> dict[str, Any]:
        """The fields that `publish --blocks --json` has beside those of `publish`."""
        return {
            "failed": self.failed,
            "missing": self.missing,
            "failures": self.failures,
            "blocks": {
                "files": self.files,
                "years": {str(year): outcome.to_json() for year, outcome in self.years.items()},
            },
        }


def blocks(request: BlocksRequest) -> Blocks:
    """Make GeoParquet of 320 m blocks of a mosaic; run again, it resumes and makes what is new.

    Parameters
    ----------
    request
        The mosaic, and how the job runs.

    Raises
    ------
    BadInput
        If there is no mosaic of ours, or nothing in it.
    BrokenOff
        If the runner gave up before all tiles were tried. What is done stays done.

    Examples
    --------
    >>> made = tm.blocks(tm.BlocksRequest("valley.zarr"))
    >>> made.years[2024].done, made.files
    (12, '...valley.zarr/blocks/zone=*/year=*/*.parquet')
    """
    beam_options(request.runner, request.workers, list(request.beam_options))
    mosaic = mosaic_in(Storage(request.store, patience=request.store_patience))
    place = mosaic.storage.locate(BLOCKS.rstrip("/"))
    check_job_store(place)
    years = {}
    for year in mosaic.years_made():
        tiles = _done(mosaic, year)
        if tiles is not None:
            years[year] = _make_year(request, mosaic, place, year, tiles)
    if not years:
        raise BadInput(f"{mosaic.storage.url} has no tile that is done", "store")
    return Blocks(years, f"{place}/zone=*/year=*/*.parquet")


def _done(mosaic: Mosaic, year: int) -> TileList | None:
    """Tiles of a year that are done; None where there is none."""
    with before_work(), store_errors(mosaic.storage.url):
        planned = planned_tiles(mosaic.storage, year, mosaic.zones)
        found = tiles_with_data(mosaic, year, planned)
    return TileList.of(found) if found else None


def _make_year(
    request: BlocksRequest, mosaic: Mosaic, place: str, year: int, tiles: TileList
) -> Outcome:
    """Make the blocks of a year, those again whose tile the mosaic made again."""
    told = {
        "algorithm": ALGORITHM,
        "mosaic": fingerprint(mosaic.identity),
        "layout": [mosaic.layout.side, mosaic.layout.dims, list(mosaic.layout.observed)],
        "year": year,
    }
    maker = BlockMaker(mosaic.storage.url, year, fingerprint(told))
    options = request.job_options() | {"refresh": True}
    job = JobRequest(store=place, year=year, tiles=tiles, **options)
    template = BLOCKS_TEMPLATE.replace("{year}", str(year))
    with before_work(), store_errors(place):
        storage = job.open_store()
        storage.sweep()
        add_map_year(storage, year, MapYear(maker.fingerprint, (template,)), BY)
        _empty_those_gone(storage, maker, tiles)
    return launch(job, maker)


def _empty_those_gone(storage: Storage, maker: BlockMaker, tiles: TileList) -> None:
    """Take away the files of tiles that the mosaic no longer has, and record them as empty."""
    year, there = maker.year, tiles.names()
    gone = [tile for tile in planned_tiles(storage, year) if tile.name not in there]
    book = Journal(storage, year)
    for tile, record in read_records(storage, year, gone):
        if record is not None and record.state is State.DONE:
            storage.delete(blocks_key(tile, year))
            empty = Record(tile.name, year, State.EMPTY, maker.fingerprint)
            book.add(tile.zone, TileSummary.of(write_record(storage, tile, empty)))
    book.put()
    for zone in sorted({tile.zone for tile in gone}):
        compact(storage, year, zone)
