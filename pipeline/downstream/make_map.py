"""Plan a map, then make it: a request and a head become a maker, a store and a job."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tessera_mosaic.model.heads.head import Head, Task
from tessera_mosaic.pipeline.downstream.extra_layer import extra_layer
from tessera_mosaic.pipeline.downstream.head_file import ReadHead, check_mosaic, read_head
from tessera_mosaic.pipeline.downstream.map_job import MapJob, check_ground, read_ground
from tessera_mosaic.pipeline.downstream.map_layout import MapClass, MapLayout
from tessera_mosaic.pipeline.downstream.map_publication import publish_map
from tessera_mosaic.pipeline.downstream.map_request import MapRequest
from tessera_mosaic.pipeline.downstream.map_store import MapStore
from tessera_mosaic.pipeline.downstream.map_tile import MapMaker
from tessera_mosaic.pipeline.downstream.year_shift import YearShift, check_year, year_shift
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.exclusion import check_job_store
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import store_errors
from tessera_mosaic.pipeline.job.beam_options import beam_options
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.keys import HEAD
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any
from tessera_mosaic.pipeline.mosaic.identity import Identity, fingerprint, pixels_named
from tessera_mosaic.pipeline.tiling.area import AreaRequest

ALGORITHM = 2
"""Version of what makes maps: raised whenever the same inputs would come out as others."""


@dataclass(frozen=True)
class PreparedMap:
    """A map that was found to be possible; its store is not touched yet.

    Parameters
    ----------
    job
        Its job.
    head
        The head.
    shift
        The shift between the years that is taken out; None where there is none.
    """

    job: MapJob
    head: ReadHead
    shift: YearShift | None


@dataclass(frozen=True)
class Mapped:
    """What a map came to.

    Parameters
    ----------
    outcome
        What came of the tiles.
    classes
        Pixels of each class by its name, over all tiles of the map's year; `unknown` is one of
        them. Empty for values.
    square_metres
        True size of these pixels. Counts are no estimates of areas: see `areas`.
    report
        Path or URL of the report (HTML); empty where this launcher made a share, and others have
        not ended theirs: the last of them writes what stands beside the tiles.
    notes
        What has to be said of the map.
    """

    outcome: Outcome
    classes: Mapping[str, int]
    square_metres: Mapping[str, int]
    report: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields of `map --json`: those of `run`, and what the map holds."""
        return self.outcome.to_json() | {
            "classes": dict(self.classes),
            "square_metres": dict(self.square_metres),
            "report": self.report,
            "notes": list(self.notes),
        }


def map(request: MapRequest) -> Mapped:
    """Map a region's year with a head; run again, it resumes.

    Parameters
    ----------
    request
        What is mapped, with which head, and where to.

    Raises
    ------
    BadInput
        On anything that cannot be used, before the store is touched.
    BrokenOff
        If the runner gave up before all tiles were tried. What is done stays done.

    Examples
    --------
    >>> truth = "archive/ground_truth/land_cover_31UDS_2024.tif"
    >>> _ = tm.train(tm.TrainRequest("valley.zarr", truth, 2024, "crops.head", head="knn"))
    >>> request = tm.MapRequest(
    ...     "valley.zarr", "crops.head", "2.9911,50.8429,3.0086,50.8510", 2024, "map.zarr"
    ... )
    >>> mapped = tm.map(request)
    >>> mapped.outcome.done, sum(mapped.classes.values())
    (12, 12288)
    """
    prepared = prepare_map(request)
    made = prepared.job.create_store()
    outcome = launch(prepared.job.job, prepared.job.maker)
    notes = notes_of(prepared.head.head, prepared.shift)
    if not outcome.ends_list:
        return Mapped(outcome, {}, {}, "", notes)
    with store_errors(request.out):
        found = publish_map(made, request.year, prepared.head.head, notes)
    return Mapped(outcome, found.pixels, found.square_metres, found.report, notes)


def prepare_map(request: MapRequest) -> PreparedMap:
    """Check a request against the mosaic, the head, the region and the runner.

    Raises
    ------
    BadInput
        On anything that cannot be used.
    """
    beam_options(request.runner, request.workers, list(request.beam_options))
    check_job_store(request.out)
    told = read_head(request.head)
    head = told.head
    mosaic = open_any(request.store, request.store_patience)
    check_mosaic(head, mosaic, extra=True)
    extra = extra_layer(head.extra, request.extra)
    to = check_year(head.years, request.year, request.match_years)
    mosaic.check_made(request.year)
    if request.probabilities and head.task is Task.VALUE:
        raise BadInput("a head of values has none", "probabilities")
    ground = read_ground(
        AreaRequest(request.region, mosaic.layout.side, 0, request.pixels, request.land)
    )
    tiles, inside = ground.tiles, ground.inside
    listed = list(tiles)
    check_ground(mosaic, request.year, listed, request.region)
    shift = None if to is None else year_shift(mosaic, request.year, to, listed, inside)
    layout = MapLayout(
        side=mosaic.layout.side,
        classes=tuple(MapClass(each.code, each.name, each.colour) for each in head.classes),
        unit=head.unit,
        probabilities=request.probabilities,
        quality=request.quality,
    )
    identity: Identity = {
        "algorithm": ALGORITHM,
        "head": told.sha256,
        "mosaic": head.mosaic,
        "unknown": request.unknown,
        "pixels": pixels_named(inside),
    }
    if extra is not None:
        identity["extra"] = extra.sha256
    vector = None if shift is None else shift.vector
    shifted = None if vector is None else np.array(vector, "<f4").tobytes()
    year_identity = identity | {
        "layout": layout.to_json(),
        "year": request.year,
        "shift": None if shifted is None else hashlib.sha256(shifted).hexdigest(),
    }
    maker = MapMaker(
        store=mosaic.storage.url,
        year=request.year,
        fingerprint=fingerprint(year_identity),
        limit=None if request.unknown is None else head.space.limit(request.unknown),
        shift=vector,
        inside=inside,
        extra=extra,
    )
    matched = {} if to is None else {request.year: to}
    store = MapStore(
        Storage(request.out, patience=request.store_patience),
        layout,
        identity,
        mosaic.years,
        tuple(tiles.zones),
        matched,
        valid_range=head.valid_range,
    )
    job = JobRequest(store=request.out, year=request.year, tiles=tiles, **request.job_options())
    files = {HEAD: told.data}
    return PreparedMap(MapJob(job, maker, store, files, "another shift of the mean"), told, shift)


def notes_of(head: Head, shift: YearShift | None) -> tuple[str, ...]:
    """What has to be said of a map."""
    notes = list(head.scores.get("notes", []))
    if head.extra:
        notes.append(
            f"the head takes {', '.join(head.extra)} beside the embeddings: pixels without them "
            "have no data, and the distance to the training data is that of the embeddings alone"
        )
    if shift is not None:
        notes.append(
            f"the head is of {shift.to}: the mean shift to {shift.year} over {shift.pixels:,} "
            "pixels was taken out, and what else changed between the years was not"
        )
        if shift.radar:
            notes.append(shift.radar)
    return tuple(str(note) for note in notes)
