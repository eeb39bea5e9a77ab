"""Plan, then run: a request becomes a maker, a store that can take its tiles, and a job.

All that can be wrong with what the user gave is found before the store is touched.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import shapely

from tessera_mosaic.model.cards import Card
from tessera_mosaic.pipeline.embedding.embed_tile import EmbedMaker
from tessera_mosaic.pipeline.embedding.encoder_card import check_depths
from tessera_mosaic.pipeline.embedding.encoders import check_device, choose_encoder, pin
from tessera_mosaic.pipeline.embedding.named_inputs import CatalogAddress, ChosenEncoder
from tessera_mosaic.pipeline.embedding.sample_index import SampleIndex, renew_index
from tessera_mosaic.pipeline.embedding.sample_tile import SampleMaker
from tessera_mosaic.pipeline.errors import BadInput, NoScenes
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.io.exclusion import check_job_store
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work, store_errors
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.job.beam_options import beam_options, machine_type, runs_here
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.forecast import Forecast, write_forecast
from tessera_mosaic.pipeline.ledger.keys import RECIPE, REGION
from tessera_mosaic.pipeline.ledger.recipe import recipe_fingerprint
from tessera_mosaic.pipeline.ledger.tile_lists import TileList, ever_planned
from tessera_mosaic.pipeline.mosaic.identity import Identity, fingerprint, run_identity
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store, read_mosaic
from tessera_mosaic.pipeline.planning.estimate import forecast, make_plan
from tessera_mosaic.pipeline.planning.revisits import (
    expected_observations,
    ground_of,
    missing_in,
)
from tessera_mosaic.pipeline.scenes.sensors import absent_sensors, tell_absent
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.tiling.area import Area, read_area
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.tiling.ownership import tiles_touched, zones_touched
from tessera_mosaic.pipeline.tiling.region import read_region
from tessera_mosaic.requests import RunRequest, SampleRequest

log = logging.getLogger(__name__)

OFFSETS = ("offsets_taken_out", "offsets_not_there")
"""Measures of scenes about whose offset evidence decided against the reference."""


@dataclass(frozen=True)
class PreparedRun:
    """A run that was found to be possible; the store is not touched yet.

    Parameters
    ----------
    job
        What is asked of the tile job.
    maker
        What is made of each tile.
    layout, identity
        Layout of the mosaic's arrays, and all that decides its bytes.
    expected
        What the plan says of the run; empty where there is no plan.
    """

    job: JobRequest
    maker: EmbedMaker
    layout: Layout
    identity: Identity
    expected: Forecast

    def create_store(self) -> None:
        """Write the store's metadata, or check that it is the mosaic of this run.

        Raises
        ------
        StoreMismatch
            If the store was made by another encoder or other rules.
        """
        job, storage = self.job, self.job.open_store()
        with before_work(), store_errors(job.store):
            create_store(storage, self.layout, self.identity, [job.year], job.tiles.zones)
            if self.maker.inside is not None:
                storage.write(REGION, self.maker.inside)
            write_forecast(storage, job.year, job.tiles.id, self.expected)


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
    prepared = prepare_run(request)
    prepared.create_store()
    outcome = launch(prepared.job, prepared.maker)
    tell_offsets(outcome, plain(request.store))
    return outcome


def prepare_run(request: RunRequest) -> PreparedRun:
    """Check a request against catalogue, encoder, region and runner.

    Raises
    ------
    BadInput
        On anything that cannot be used.
    """
    options = beam_options(request.runner, request.workers, list(request.beam_options))
    check_job_store(request.store)
    area = read_area(request.area)
    catalog = CatalogAddress(request.catalog, request.allow_hosts)
    source = catalog.open()
    if runs_here(options):
        if request.reproducible:
            pin()
        check_device(request.device, request.precision)
        request.read_limits.check_here(min(request.block, request.tile))
    encoder = choose_encoder(
        request.model, request.weights, request.precision, source.imagery, request.reproducible
    )
    card = encoder.card
    check_depths(card, request.depths)
    tiles = TileList.of(area.tiles())
    expected = expect(request, area, card, source, machine_type(options))
    job = JobRequest(
        store=request.store,
        year=request.year,
        tiles=tiles,
        costs=expected_observations,
        **request.job_options(),
    )
    storage = Storage(request.store, patience=request.store_patience)
    offset = request.offset or offset_of_store(storage) or default_offset(card)
    rules = Preprocessing(source.imagery, Kernel(card.kernel), offset, request.s1_mosaic)
    rules.check(source)
    inside = bytes(shapely.to_wkb(area.region)) if area.inside else None
    identity = run_identity(
        encoder.identity(), source.imagery, rules.identity(), request.margin, inside
    )
    maker = EmbedMaker(
        catalog=catalog.as_found(source),
        encoder=ChosenEncoder(
            request.model,
            request.weights,
            encoder.weights_sha256,
            request.precision,
            request.device,
            source.imagery,
            request.reproducible,
        ),
        year=request.year,
        rules=rules,
        fingerprint=fingerprint(identity),
        block=min(request.block, request.tile),
        margin=request.margin,
        inside=inside,
        allow_lost_scenes=request.allow_lost_scenes,
        allow_lost_sensor=request.allow_lost_sensor,
        limits=request.read_limits,
    )
    layout = Layout(request.tile, card.dims, card.depths if request.depths else ())
    return PreparedRun(job, maker, layout, identity, expected)


def offset_of_store(storage: Storage) -> OffsetRule | None:
    """Rule by which a mosaic that is there takes the offset out; None where there is none.

    Raises
    ------
    StoreError
        If the store cannot be read.
    """
    try:
        with before_work(), store_errors(storage.url):
            rules = read_mosaic(storage).identity.get("rules", {})
        return OffsetRule(rules["offset"])
    except (FileNotFoundError, BadInput, KeyError, ValueError, TypeError):
        # What is there is refused where the store is made ready.
        return None


def default_offset(card: Card) -> OffsetRule:
    """By evidence, where a model was trained with the reference's rule; else that of its training.

    Evidence brings scenes to what the reference takes them to be.
    """
    trained = OffsetRule(card.offset)
    return OffsetRule.EVIDENCE if trained == OffsetRule.REFERENCE else trained


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


def expect(request: RunRequest, area: Area, card: Card, source: Source, machine: str) -> Forecast:
    """What the plan says of a run, for `status` to set beside its outcome; empty for no plan.

    Raises
    ------
    BadInput
        If the catalogue has nothing of the year in the region.
    """
    try:
        plan = make_plan(
            ground_of(area), request.year, card, request.precision, source, depths=request.depths
        )
    except NoScenes:
        boxes = [part.bounds for part in shapely.get_parts(area.region)]
        found = [scene for box in boxes for scene in source.search(box, request.year)]
        if found:
            log.warning("the catalogue covers little of the region: there is no plan of this run")
            tell_absent(absent_sensors(found))
            return {}
        raise BadInput(
            f"{source.name} has no scenes of {request.year} in region {request.region}: "
            "check the year, the order west,south,east,north, and the catalogue's extent"
        ) from None
    tell_absent(plan.passes.missing)
    return forecast(plan, machine)


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
    recipe = recipe_of(request, rules)
    storage = job.open_store()
    with before_work(), store_errors(request.out):
        begun = not storage.create(RECIPE, recipe)
        if begun and storage.read_document(RECIPE) != recipe:
            raise BadInput(
                f"{storage.url} holds d-pixels drawn with other options (see its {RECIPE}): "
                "name another folder"
            )
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


def offset_of_folder(storage: Storage) -> OffsetRule | None:
    """Rule by which a folder's d-pixels had the offset taken out; None where there are none."""
    try:
        with store_errors(storage.url):
            return OffsetRule(read_json(storage.read_document(RECIPE))["offset"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def recipe_of(request: SampleRequest, rules: Preprocessing) -> bytes:
    """What decides which d-pixels are drawn, as the folder keeps it."""
    asked = ("catalog", "region", "year", "fraction", "seed", "labels", "fields", "tile")
    recipe = {name: getattr(request, name) for name in asked}
    recipe |= {"imagery": rules.imagery, **rules.identity()}
    return (json.dumps(recipe, indent=1) + "\n").encode()
