"""Plan a map of change, then make it: a request becomes a baseline, a maker, a store and a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tessera_mosaic.pipeline.downstream.change_baseline import Baseline, measure, usable_baseline
from tessera_mosaic.pipeline.downstream.change_report import (
    ChangeTotals,
    change_totals,
    write_change_report,
)
from tessera_mosaic.pipeline.downstream.change_request import ChangedRequest
from tessera_mosaic.pipeline.downstream.change_tile import ChangeMaker
from tessera_mosaic.pipeline.downstream.map_job import MapJob, check_ground, read_ground
from tessera_mosaic.pipeline.downstream.map_layout import MapLayout
from tessera_mosaic.pipeline.downstream.map_publication import About, publish_rasters
from tessera_mosaic.pipeline.downstream.map_store import MapStore
from tessera_mosaic.pipeline.io.exclusion import check_job_store
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.job.beam_options import beam_options
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.keys import baseline_key
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any
from tessera_mosaic.pipeline.mosaic.identity import (
    Identity,
    fingerprint,
    model_name,
    pixels_named,
)
from tessera_mosaic.pipeline.tiling.area import AreaRequest

ALGORITHM = 1
"""Version of what makes maps of change: raised when the same inputs would come out as others."""


@dataclass(frozen=True)
class Changed:
    """What a map of change came to.

    Parameters
    ----------
    outcome
        What came of the tiles.
    baseline
        What it is measured against.
    totals
        Pixels that were compared, that were not and why, and that lie beyond the noise.
    report
        Path or URL of the report (HTML).
    """

    outcome: Outcome
    baseline: Baseline
    totals: ChangeTotals
    report: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be said of it."""
        return self.baseline.notes

    def to_json(self) -> dict[str, Any]:
        """The fields of `changed --json`: those of `run`, and what the map holds."""
        base = self.baseline
        counted: Mapping[str, int] = self.totals.to_json()
        return self.outcome.to_json() | {
            "from": base.from_year,
            "to": base.to_year,
            **counted,
            "cosine": dict(base.percentiles),
            "noise": asdict(base.noise),
            "cosine_beyond": base.limit,
            "shift": base.shift,
            "shift_cosine": base.shift_cosine,
            "report": self.report,
            "notes": list(self.notes),
        }


def changed(request: ChangedRequest) -> Changed:
    """Map how far a region's embeddings lie apart in two years; run again, it resumes.

    Parameters
    ----------
    request
        The mosaic, the years, the region, and where to.

    Raises
    ------
    BadInput
        On anything that cannot be used, before the store is touched.
    BrokenOff
        If the runner gave up before all tiles were tried. What is done stays done.

    Examples
    --------
    >>> request = tm.ChangedRequest(
    ...     "valley.zarr", 2023, 2024, "2.9911,50.8429,3.0086,50.8510", "changed.zarr"
    ... )
    >>> tm.changed(request)
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: ...valley.zarr has no year 2023: the ...
    """
    prepared, baseline = prepare_change(request)
    made = prepared.create_store()
    outcome = launch(prepared.job, prepared.maker)
    with store_errors(request.out):
        totals, report = change_totals(made, request.to_year), ""
        if outcome.ends_list:
            publish_rasters(made, request.to_year, about(made, baseline))
            report = made.storage.locate(write_change_report(made, request.to_year))
    return Changed(outcome, baseline, totals, report)


def prepare_change(request: ChangedRequest) -> tuple[MapJob, Baseline]:
    """Check a request against the mosaic, the region and the runner, and take the baseline.

    Raises
    ------
    BadInput
        On anything that cannot be used.
    """
    beam_options(request.runner, request.workers, list(request.beam_options))
    check_job_store(request.out)
    years = request.from_year, request.to_year
    mosaic = open_any(request.store, request.store_patience)
    for year in years:
        mosaic.check_made(year)
    ground = read_ground(
        AreaRequest(request.region, mosaic.layout.side, 0, request.pixels, request.land)
    )
    tiles = list(ground.tiles)
    for year in years:
        check_ground(mosaic, year, tiles, request.region)
    storage = Storage(request.out, patience=request.store_patience)
    list_id = ground.tiles.id
    baseline = usable_baseline(storage, years, list_id)
    if baseline is None:
        baseline = measure(mosaic, years, tiles, list_id, ground.inside)
    layout = MapLayout.of_change(mosaic.layout.side)
    identity: Identity = {
        "algorithm": ALGORITHM,
        "change": model_name(mosaic.identity),
        "mosaic": fingerprint(mosaic.identity),
        "pixels": pixels_named(ground.inside),
    }
    year_identity = identity | {"layout": layout.to_json(), "baseline": baseline.to_json()}
    maker = ChangeMaker(
        mosaic.storage.url, years, fingerprint(year_identity), baseline.noise, ground.inside
    )
    store = MapStore(
        storage,
        layout,
        identity,
        mosaic.years,
        tuple(ground.tiles.zones),
        compared={request.to_year: request.from_year},
    )
    job = JobRequest(
        store=request.out, year=request.to_year, tiles=ground.tiles, **request.job_options()
    )
    files = {baseline_key(request.to_year): baseline.encode()}
    return MapJob(job, maker, store, files, "another noise"), baseline


def about(made: MapStore, baseline: Baseline) -> About:
    """What a catalogue says of a map of change."""
    one, other = baseline.from_year, baseline.to_year
    return About(
        f"Change from {one} to {other}",
        f"How far embeddings of {made.identity['change']} in {other} lie from those in {one}, in "
        "spreads of the noise of unchanged ground; pixels that radar saw in one year alone are "
        "masked.",
    )
