"""Areas of classes and accuracies of a map, or means and totals of a value, from a labelled sample.

The map is passed over once more: so the strata's sizes are found again, and a map that is not the
one that was sampled is refused; and the pixels of every class and district are counted, with their
true size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.area_report import page_section, report_page
from tessera_mosaic.pipeline.downstream.area_result import (
    HECTARE,
    OF_COUNTS,
    AreaResult,
    ClassArea,
    Domain,
)
from tessera_mosaic.pipeline.downstream.area_state import area_state
from tessera_mosaic.pipeline.downstream.change_report import write_change_report
from tessera_mosaic.pipeline.downstream.map_page import AreaSection
from tessera_mosaic.pipeline.downstream.map_pixels import MapPixels
from tessera_mosaic.pipeline.downstream.map_report import write_report
from tessera_mosaic.pipeline.downstream.map_scan import (
    WHOLE,
    Population,
    Progress,
    Strata,
    Tally,
    unseen,
)
from tessera_mosaic.pipeline.downstream.map_store import open_map
from tessera_mosaic.pipeline.downstream.named_areas import NamedAreas
from tessera_mosaic.pipeline.downstream.point_file import EXAMPLES, Design, Points, read_points
from tessera_mosaic.pipeline.downstream.points import strata_of
from tessera_mosaic.pipeline.downstream.reference_labels import class_labels, value_labels
from tessera_mosaic.pipeline.downstream.sample_scan import MapScan
from tessera_mosaic.pipeline.downstream.value_estimates import estimate_values
from tessera_mosaic.pipeline.errors import BadInput, StoreDenied, StoreReadOnly
from tessera_mosaic.pipeline.evaluation.intervals import CONFIDENCE
from tessera_mosaic.pipeline.evaluation.map_accuracy import accuracy
from tessera_mosaic.pipeline.evaluation.stratified_estimates import Estimate, Sample, ratio
from tessera_mosaic.pipeline.ledger.keys import map_report_key
from tessera_mosaic.pipeline.tiling.region import read_region

MANY_TRAINED = 0.01
"""Share of training pixels from which on it is said that nothing was drawn there."""

OTHER_COLOUR = "#9aa1aa"
"""Colour of classes that the map does not have."""


@dataclass(frozen=True)
class AreasRequest:
    """A labelled sample of a map to estimate from.

    Parameters
    ----------
    map
        Path or URL of the map that was sampled.
    labelled
        File that `points` wrote, with its column `label` filled.
    out
        Folder for `areas.json`, `areas.csv` and `report.html`; None to write nothing.
    domains
        Vector file of districts or parcels to estimate for, too.
    domains_field
        Column of their names; None where the file has only one column.

    Raises
    ------
    BadInput
        If values do not go together.

    Examples
    --------
    >>> tm.AreasRequest("map.zarr", "to_label.csv", domains="districts.gpkg").domains
    'districts.gpkg'
    """

    map: str
    labelled: str
    out: str | None = None
    domains: str | None = None
    domains_field: str | None = None

    def __post_init__(self) -> None:
        if self.domains_field is not None and self.domains is None:
            raise BadInput("it names the districts of a file", "domains_field", self.domains_field)


def areas(request: AreasRequest, progress: Progress = unseen) -> AreaResult:
    """Estimate areas and accuracies, or means and totals, with 95 % intervals.

    Parameters
    ----------
    request
        The map, and its labelled sample.
    progress
        Shows how far the pass over the map has come.

    Raises
    ------
    BadInput
        If the file is not as `points` wrote it but for the labels, is of another map, or has points
        on pixels that the map's head was trained on.

    Examples
    --------
    >>> tm.areas(tm.AreasRequest("nowhere.zarr", "to_label.csv"))
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: labelled to_label.csv: it cannot be read: No such ...
    """
    points = read_points(request.labelled)
    population = _population(request, points)
    strata = strata_of(
        population,
        points.origin.design,
        points.origin.strata or None,
        points.origin.strata_field or None,
    )
    domains = WHOLE
    if request.domains is not None:
        named = NamedAreas(request.domains, request.domains_field, "domains")
        domains = Strata(named.names, named)
    scan = MapScan(points, len(population.names), strata, domains)
    for scanned in population.scan(population.windows(), progress):
        scan.add(scanned)
    result = _result(request, population, points, scan, strata, domains)
    if request.out is not None:
        _write(result, request.out)
    return _added_to_report(result, population.pixels)


def _population(request: AreasRequest, points: Points) -> Population:
    """What the sample was drawn from.

    Raises
    ------
    BadInput
        If the map is another one, or its head was trained on some of the points.
    """
    origin = points.origin
    pixels = MapPixels(request.map, origin.year)
    if pixels.digest != origin.map:
        raise BadInput("the points were drawn from another map", "labelled", request.labelled)
    trained = pixels.trained_on(points.zone, points.row, points.col)
    if trained.any():
        some = [points.ids[each] for each in np.flatnonzero(trained)[:EXAMPLES]]
        raise BadInput(
            f"the map's head was trained on {int(trained.sum())} of the points, such as "
            f"{', '.join(some)}: there the map is better than elsewhere. Draw others with `points`",
            "labelled",
            request.labelled,
        )
    before = None
    if origin.before:
        before = MapPixels(origin.before, int(origin.before_year), "before")
    region = read_region(origin.region) if origin.region else None
    return Population(pixels, before, region)


def _result(
    request: AreasRequest,
    population: Population,
    points: Points,
    scan: MapScan,
    strata: Strata,
    domains: Strata,
) -> AreaResult:
    tally = scan.tally()
    pixels, square_metres = tally.by(0, len(strata.names))
    _check_same(request, points, scan, strata, pixels)
    order = [strata.names.index(name) for name in points.strata]
    sample = Sample(points.stratum, pixels[order], square_metres[order] / HECTARE)
    base = AreaResult(
        map=population.pixels.url,
        year=points.origin.year,
        design=points.origin.design.value,
        seed=points.origin.seed,
        points=len(points),
        region=points.origin.region,
        confidence=CONFIDENCE,
        hectares=float(sample.areas.sum()),
        strata=tuple(
            zip(
                points.strata,
                sample.pixels.tolist(),
                sample.areas.tolist(),
                sample.points.tolist(),
                strict=True,
            )
        ),
        notes=_notes(population, tally, len(domains.names)),
        state=area_state(population.pixels, points),
    )
    named = domains.names if request.domains is not None else ()
    if population.pixels.of_classes:
        return _of_classes(base, population, points, sample, scan, named, order)
    labels = value_labels(points, request.labelled)
    return estimate_values(base, population.pixels.unit, sample, labels, scan, named, order)


def _check_same(
    request: AreasRequest,
    points: Points,
    scan: MapScan,
    strata: Strata,
    pixels: NDArray[np.int64],
) -> None:
    """Refuse a map, region or strata that have changed since the points were drawn."""
    drawn = dict(zip(points.strata, points.pixels.tolist(), strict=True))
    for name, now in zip(strata.names, pixels.tolist(), strict=True):
        if drawn.pop(name, 0) != now:
            raise BadInput(
                f"stratum {name} has {now:,} pixels in the map, and others when the points were "
                "drawn: the map, the region or the strata have changed; draw anew with `points`",
                "labelled",
                request.labelled,
            )
    there = [strata.names[each] if each >= 0 else "" for each in scan.stratum]
    told = [points.strata[each] for each in points.stratum]
    wrong = [name for name, one, other in zip(points.ids, there, told, strict=True) if one != other]
    if drawn or wrong:
        raise BadInput(
            f"the map has not the strata of the points, such as {[*drawn, *wrong][0]}: draw anew "
            "with `points`",
            "labelled",
            request.labelled,
        )


def _notes(population: Population, tally: Tally, domains: int) -> tuple[str, ...]:
    notes = [OF_COUNTS] if population.pixels.of_classes else []
    if not population.pixels.tells_training:
        notes.append(
            "The map does not tell which pixels its head was trained on: make sure that no point "
            "was among them."
        )
    trained, every = population.pixels.training_pixels, int(tally.pixels.sum())
    if trained > MANY_TRAINED * every:
        notes.append(
            f"The head was trained on {trained:,} pixels, and no point lies on one: estimates take "
            f"those among the {every:,} pixels asked about for like the others."
        )
    outside = tally.areas[tally.groups[:, 2] == domains].sum() / HECTARE
    if outside:
        notes.append(f"{outside:,.2f} ha of the map lie in none of the domains.")
    return tuple(notes)


def _of_classes(
    base: AreaResult,
    population: Population,
    points: Points,
    sample: Sample,
    scan: MapScan,
    domains: Sequence[str],
    order: Sequence[int],
) -> AreaResult:
    """Areas and accuracies of a map of classes, or of the transitions between two."""
    tally = scan.tally()
    labels = class_labels(points, population)
    extra = sorted(set(labels) - set(population.names))
    every = [*population.names, *extra]
    counted = np.zeros(len(every))
    counted[: len(population.names)] = tally.by(1, len(population.names))[1] / HECTARE
    present = [k for k, name in enumerate(every) if counted[k] > 0 or name in set(labels)]
    names = [every[k] for k in present]
    mapped = np.searchsorted(present, scan.mapped)
    reference = np.array([names.index(label) for label in labels])
    by_class = points.origin.design is Design.CLASS
    of_strata = np.array([names.index(name) for name in points.strata]) if by_class else None
    found = accuracy(sample, mapped, reference, names, of_strata)
    colours = dict(zip(population.names, population.colours, strict=True))
    classes = tuple(
        ClassArea(
            name,
            f"#{bytes(colours[name]).hex()}" if name in colours else OTHER_COLOUR,
            share.times(base.hectares),
            share,
            users,
            producers,
            float(counted[present[k]]),
            int((reference == k).sum()),
            name not in population.unknown or bool((reference == k).any()),
        )
        for k, (name, share, users, producers) in enumerate(
            zip(names, found.areas, found.users, found.producers, strict=True)
        )
    )
    notes = base.notes
    unknown = sum(each.counted for each in classes if not each.is_class)
    if unknown:
        notes += (f"{unknown:,.2f} ha are mapped as unknown, which counts as an error.",)
    if extra:
        notes += (f"The map has no class {', '.join(extra)}: points of them count as errors.",)
    return replace(
        base,
        classes=classes,
        overall=found.overall,
        matrix=found.matrix.tolist(),
        counts=found.counts.tolist(),
        domains=tuple(
            _domain(number, name, sample, reference, scan, present, tally, order)
            for number, name in enumerate(domains)
        ),
        notes=notes,
    )


def _domain(
    number: int,
    name: str,
    sample: Sample,
    reference: NDArray[np.int64],
    scan: MapScan,
    present: Sequence[int],
    tally: Tally,
    order: Sequence[int],
) -> Domain:
    """Areas of the classes in a district: its known area, by what its points say of its shares."""
    mine = tally.groups[:, 2] == number
    hectares = float(tally.areas[mine].sum() / HECTARE)
    counted = np.zeros(max([*present, *tally.groups[:, 1].tolist()]) + 1)
    np.add.at(counted, tally.groups[mine, 1], tally.areas[mine] / HECTARE)
    inside = scan.domain == number
    strata = np.isin(order, tally.groups[mine, 0])
    if inside.any():
        found = [
            ratio(sample, inside & (reference == k), inside, (strata, strata)).times(hectares)
            for k in range(len(present))
        ]
    else:
        found = [Estimate(math.nan, math.nan, 0.0, hectares)] * len(present)
    return Domain(name, hectares, int(inside.sum()), tuple(found), tuple(counted[present].tolist()))


def _added_to_report(result: AreaResult, pixels: MapPixels) -> AreaResult:
    """Put the estimates into the report that `map` wrote, where there is one.

    Returns
    -------
    AreaResult
        With a note where the map's store takes no writes.
    """
    if not pixels.storage.exists(map_report_key(result.year, "html")):
        return result
    section = AreaSection(page_section(result), result.to_json())
    try:
        made = open_map(pixels.url)
        if made.layout.change:
            write_change_report(made, result.year, section)
        else:
            write_report(made, result.year, areas=section)
    except (StoreDenied, StoreReadOnly) as error:
        note = f"The map's own report is as it was, without these estimates: {error}"
        return replace(result, notes=(*result.notes, note))
    return result


def _write(result: AreaResult, out: str) -> None:
    """Write the estimates as JSON, as a table, and as a page.

    Raises
    ------
    BadInput
        If the folder cannot be written.
    """
    files = {
        "areas.json": json.dumps(result.to_json(), indent=1) + "\n",
        "areas.csv": result.table(),
        "report.html": report_page(result),
    }
    try:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"it cannot be written: {error.strerror}", "out", out) from None
