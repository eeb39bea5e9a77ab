"""From a request to a run that was found to be possible: a job, a maker, and the store's metadata.

All that can be wrong with what the user gave is found before the store is touched.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import shapely

from tessera_mosaic.expectation import Expected, check_tiles, expected
from tessera_mosaic.model.cards import Card
from tessera_mosaic.outlines import grown_outline, keep_outline, outgrown
from tessera_mosaic.pipeline.embedding.embed_tile import EmbedMaker
from tessera_mosaic.pipeline.embedding.encoder_card import check_depths
from tessera_mosaic.pipeline.embedding.encoders import check_device, choose_encoder, pin
from tessera_mosaic.pipeline.embedding.named_inputs import CatalogAddress, ChosenEncoder
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.io.exclusion import check_job_store
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work, store_errors
from tessera_mosaic.pipeline.job.beam_options import beam_options, machine_type, runs_here
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.forecast import write_forecast
from tessera_mosaic.pipeline.ledger.standing import check_made_by
from tessera_mosaic.pipeline.ledger.tile_lists import TileList
from tessera_mosaic.pipeline.mosaic.identity import (
    ALL,
    INSIDE,
    Identity,
    fingerprint,
    is_outlined,
    run_identity,
)
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store, read_mosaic, root_is_cut_short
from tessera_mosaic.pipeline.planning.revisits import expected_observations
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.tiling.area import read_area
from tessera_mosaic.requests import RunRequest

log = logging.getLogger(__name__)


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
        What the plan says of the run.
    """

    job: JobRequest
    maker: EmbedMaker
    layout: Layout
    identity: Identity
    expected: Expected

    def create_store(self) -> None:
        """Write the store's metadata, or check that it is the mosaic of this run.

        Raises
        ------
        StoreMismatch
            If the store was made by another encoder or other rules.
        """
        job, storage = self.job, self.job.open_store()
        with before_work(), store_errors(job.store):
            if root_is_cut_short(storage):
                check_made_by(storage, self.maker.fingerprint)
            create_store(storage, self.layout, self.identity, [job.year], job.tiles.zones)
            if self.maker.inside is not None:
                keep_outline(storage, shapely.from_wkb(self.maker.inside))
            write_forecast(storage, job.year, job.tiles.id, self.expected.forecast)

    def launch(self) -> Outcome:
        """Make the tiles that are not done, and those that the store's outline has outgrown."""
        job, maker = self.job, self.maker
        if maker.inside is not None and not job.retry_failed:
            outline = shapely.from_wkb(maker.inside)
            with before_work(), store_errors(job.store):
                again = outgrown(job.open_store(), job.year, job.tiles, maker.margin, outline)
            if again:
                log.info("%d tiles are made again: the outline has grown there", len(again))
                job = replace(job, overwrite=tuple(sorted({*job.overwrite, *again})))
        return launch(job, maker)


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
    tiles = TileList.of(area.tiles())
    check_tiles(request.max_tiles, len(tiles))
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
    likely = expected(request, area, card, source, machine_type(options))
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
    inside = pixels = None
    if area.inside:
        with before_work(), store_errors(storage.url):
            inside = bytes(shapely.to_wkb(grown_outline(storage, area.region)))
        pixels = outlined_pixels(storage)
    identity = run_identity(
        encoder.identity(), source.imagery, rules.identity(), request.margin, pixels or ALL
    )
    log.info("%d tiles of %d with %s, from %s", len(tiles), request.year, card.name, source.name)
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
    return PreparedRun(job, maker, layout, identity, likely)


def outlined_pixels(storage: Storage) -> str:
    """How a run names the pixels inside an outline: as the store does that is there already."""
    try:
        with before_work(), store_errors(storage.url):
            identity = read_mosaic(storage).identity
    except (FileNotFoundError, BadInput):
        # What is there is refused where the store is made ready.
        return INSIDE
    return str(identity["pixels"]) if is_outlined(identity) else INSIDE


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
