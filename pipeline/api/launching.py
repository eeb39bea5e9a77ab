"""Plan, then run: a request becomes a job, and what came of it is told.

All that can be wrong with what the user gave is found before the store is touched.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shapely.geometry.base import BaseGeometry

from tessera_mosaic.expectation import check_cost, check_tiles, expect
from tessera_mosaic.pipeline.embedding.named_inputs import CatalogAddress
from tessera_mosaic.pipeline.embedding.sample_index import SampleIndex, renew_index
from tessera_mosaic.pipeline.embedding.sample_recipe import (
    offset_of_folder,
    recipe_by_content,
    recipe_by_spelling,
    settle_recipe,
)
from tessera_mosaic.pipeline.embedding.sample_tile import SampleMaker
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.io.exclusion import check_job_store
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work, store_errors
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.job.beam_options import beam_options
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.recipe import recipe_fingerprint
from tessera_mosaic.pipeline.ledger.tile_lists import TileList, ever_planned
from tessera_mosaic.pipeline.planning.revisits import expected_observations, missing_in
from tessera_mosaic.pipeline.scenes.sensors import tell_absent
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.tiling.ownership import tiles_touched, zones_touched
from tessera_mosaic.pipeline.tiling.region import read_region
from tessera_mosaic.requests import RunRequest, SampleRequest
from tessera_mosaic.run_preparation import PreparedRun, default_offset, offset_of_store, prepare_run

__all__ = [
    "PreparedRun",
    "SampleOutcome",
    "default_offset",
    "expect",
    "offset_of_folder",
    "offset_of_store",
    "prepare_run",
    "prepare_sample",
    "recipes_of",
    "run",
    "run_years",
    "sample",
    "tell_offsets",
]

log = logging.getLogger(__name__)

OFFSETS = ("offsets_taken_out", "offsets_not_there")
"""Measures of scenes about whose offset evidence decided against the reference."""


def run(request: RunRequest) -> Outcome:
    """Embed a region's year into a mosaic; run again, it resumes.

    Parameters
    ----------
    request
        What is embedded, how, and where to.

    Returns
    -------
    Outcome
        Tiles done, failed and missing, failures by class, and what was measured.

    Raises
    ------
    BadInput
        Before the store is touched, on anything that cannot be used.
    BrokenOff
        If the runner gave up before all tiles were tried. What is done stays done.

    Examples
    --------
    >>> request = tm.RunRequest(
    ...     "archive/catalog.json", "2.995,50.845,2.998,50.847", 2024, "new.zarr", tile=32
    ... )
    >>> outcome = tm.run(request)
    >>> outcome.tiles, outcome.done, outcome.pixels
    (4, 4, 4096)
    """
    return run_years(request, [request.year])[0]


def run_years(request: RunRequest, years: Sequence[int]) -> tuple[Outcome, ...]:
    """Embed several of a region's years into a mosaic, one after the other.

    Parameters
    ----------
    request
        What is embedded, how, and where to; its year does not count, and what it allows to be
        spent is for all years together.
    years
        Calendar years, at least one, in ascending order.

    Returns
    -------
    What came of each year.

    Raises
    ------
    BadInput
        Before the store is touched, on anything that cannot be used in any of the years.
    BrokenOff
        If the runner gave up before all tiles of a year were tried. What is done stays done.

    Examples
    --------
    >>> request = tm.RunRequest(
    ...     "archive/catalog.json", "2.995,50.845,2.996,50.846", 2024, "years.zarr", tile=32
    ... )
    >>> [outcome.done for outcome in tm.run_years(request, [2024])]
    [4]
    """
    runs = [prepare_run(replace(request, year=year)) for year in years]
    check_tiles(request.max_tiles, sum(len(run.job.tiles) for run in runs))
    check_cost(request.max_cost, [run.expected for run in runs])
    for run in runs:
        run.create_store()
    outcomes = []
    for run in runs:
        outcomes.append(run.launch())
        tell_offsets(outcomes[-1], plain(request.store))
    return tuple(outcomes)


def tell_offsets(outcome: Outcome, where: str) -> None:
    """Say once of a run in how many scenes evidence decided about the offset."""
    there, absent = (int(outcome.measures.get(name, 0)) for name in OFFSETS)
    if there or absent:
        log.warning(
            "radiometric offset of Sentinel-2: by evidence, against what the reference takes for "
            "granted, %d scenes had it, and it was taken out, and %d did not have it (a scene "
            "counts once for each tile; the records in %s name them)",
            there,
            absent,
            where,
        )


@dataclass(frozen=True)
class SampleOutcome:
    """What a folder of d-pixels came to.

    Parameters
    ----------
    outcome
        What came of the tiles.
    index
        Files with their numbers of d-pixels, and failed tiles with their reasons.
    """

    outcome: Outcome
    index: SampleIndex

    def to_json(self) -> dict[str, Any]:
        """The fields of `sample --json`: those of `run`, but `pixels` counts the whole folder."""
        return self.outcome.to_json() | {
            "files": len(self.index.files),
            "pixels": sum(self.index.files.values()),
        }


def sample(request: SampleRequest) -> SampleOutcome:
    """Draw pixels of a region's year for training; run again, it resumes.

    Parameters
    ----------
    request
        Which pixels are drawn, and where to.

    Returns
    -------
    SampleOutcome
        What came of the tiles, and the index of the folder.

    Raises
    ------
    BadInput
        On anything that cannot be used, or a folder whose d-pixels were drawn otherwise.
    BrokenOff
        If the runner gave up before all tiles were tried. What is done stays done.

    Examples
    --------
    >>> request = tm.SampleRequest(
    ...     "archive/catalog.json", "2.995,50.845,2.998,50.847", 2024, "d-pixels", fraction=0.1
    ... )
    >>> drawn = tm.sample(request)
    >>> drawn.outcome.done, sum(drawn.index.files.values())
    (1, 46)
    """
    job, maker = prepare_sample(request)
    outcome = launch(job, maker)
    tell_offsets(outcome, plain(request.out))
    with store_errors(request.out):
        index = renew_index(job.open_store(), request.year)
    return SampleOutcome(outcome, index)


def prepare_sample(request: SampleRequest) -> tuple[JobRequest, SampleMaker]:
    """Check a request, and settle the recipe of the folder that its d-pixels go to.

    Raises
    ------
    BadInput
        On anything that cannot be used, or a folder whose d-pixels were drawn otherwise.
    """
    beam_options(request.runner, request.workers, list(request.beam_options))
    check_job_store(request.out)
    if request.labels:
        read_labels(request.labels, request.fields)
    catalog = CatalogAddress(request.catalog, request.allow_hosts)
    source = catalog.open()
    with before_work():
        known = offset_of_folder(Storage(request.out, patience=request.store_patience))
    offset = request.offset or known or OffsetRule.EVIDENCE
    rules = Preprocessing(source.imagery, request.kernel, offset)
    rules.check(source)
    region = read_region(request.region)
    tiles = TileList.of(
        Tile(zone, row, col, request.tile)
        for zone in zones_touched(region)
        for row, col in tiles_touched(zone, region, request.tile, margin=0).tolist()
    )
    tell_absent(missing_in(source, list(tiles), request.year))
    options = {"costs": expected_observations, **request.job_options()}
    job = JobRequest(store=request.out, year=request.year, tiles=tiles, **options)
    storage = job.open_store()
    with before_work(), store_errors(request.out):
        storage.sweep()
        recipe, begun = settle_recipe(storage, *recipes_of(request, region, rules))
        without_records = begun and not ever_planned(storage, request.year, tiles.zones)
    maker = SampleMaker(
        catalog=catalog.as_found(source),
        year=request.year,
        region=region,
        fraction=request.fraction,
        seed=request.seed,
        rules=rules,
        fingerprint=recipe_fingerprint(recipe),
        labels=request.labels,
        fields=request.fields,
        without_records=without_records,
    )
    return job, maker


def recipes_of(
    request: SampleRequest, region: BaseGeometry, rules: Preprocessing
) -> tuple[bytes, bytes]:
    """What decides which d-pixels are drawn, as a folder keeps it, and as it once did."""
    rest = {name: getattr(request, name) for name in ("year", "fraction", "seed", "tile")}
    rest |= {"imagery": rules.imagery, **rules.identity()}
    files = {"labels": request.labels, "fields": request.fields}
    spelled = {"catalog": request.catalog, "region": request.region, **files}
    recipe = recipe_by_content(rest, request.catalog, region, files)
    return recipe, recipe_by_spelling(spelled | rest)
