"""What `areas` tells, as dataclasses that become JSON, a table and a report."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tessera_mosaic.pipeline.contracts.state import STATE, State
from tessera_mosaic.pipeline.evaluation.stratified_estimates import Estimate

HECTARE = 10_000.0
"""Square metres."""

OF_COUNTS = (
    "Areas by pixel count say what the map shows, not how much there is: the map's errors are in "
    "them, and no interval."
)


def estimate_json(estimate: Estimate | None) -> dict[str, float | None] | None:
    """An estimate as JSON, None for what is not known."""
    if estimate is None:
        return None
    fields = {
        "value": estimate.value,
        "standard_error": estimate.standard_error,
        "low": estimate.low,
        "high": estimate.high,
    }
    return {name: value if math.isfinite(value) else None for name, value in fields.items()}


@dataclass(frozen=True)
class ClassArea:
    """What is known of a class.

    Parameters
    ----------
    name
        Name of the class.
    colour
        Its colour, as `#rrggbb`.
    area
        Estimated area in hectares.
    share
        Estimated share of the ground.
    users, producers
        Estimated share of what is mapped as the class that is so, and of what is of the class that
        is mapped so.
    counted
        Area in hectares of the pixels that the map gives this class: a count, not an estimate.
    points
        Points whose label is the class.
    is_class
        False for the pixels that the map calls unknown, if no point has that label.
    """

    name: str
    colour: str
    area: Estimate
    share: Estimate
    users: Estimate
    producers: Estimate
    counted: float
    points: int
    is_class: bool = True

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        return {
            "class": self.name,
            "colour": self.colour,
            "area_ha": estimate_json(self.area),
            "share": estimate_json(self.share),
            "users_accuracy": estimate_json(self.users),
            "producers_accuracy": estimate_json(self.producers),
            "counted_area_ha": self.counted,
            "points": self.points,
            "is_class": self.is_class,
        }


@dataclass(frozen=True)
class Domain:
    """What is known of a district or parcel.

    Parameters
    ----------
    name
        Its name.
    hectares
        Its mapped area, which is known.
    points
        Points in it.
    areas
        Estimated area of each class in hectares, in the order of the classes.
    counted
        Area of each class by pixel count, in hectares.
    mean
        Estimated mean of a map of values.
    total
        Estimated total of a map of values, per hectare of its unit.
    """

    name: str
    hectares: float
    points: int
    areas: tuple[Estimate, ...] = ()
    counted: tuple[float, ...] = ()
    mean: Estimate | None = None
    total: Estimate | None = None


@dataclass(frozen=True)
class ValueBand:
    """How far a map of values is off where it shows values of one range.

    Parameters
    ----------
    low, high
        The range of mapped values.
    points
        Points in it.
    bias, rmse
        Mean of true less mapped values, and root of the mean of its square.
    covering
        Distance from the map within which a pixel's true value lies with the confidence; None where
        points are too few to tell.
    """

    low: float
    high: float
    points: int
    bias: float
    rmse: float
    covering: float | None


@dataclass(frozen=True)
class AreaResult:
    """Areas and accuracies, or the mean and the total of a value, with intervals.

    Parameters
    ----------
    map, year
        The map, and its calendar year.
    design, seed, points, region
        How the sample was drawn, how many points it has, and of which region it is.
    confidence
        Probability with which each interval holds the truth.
    hectares
        True area of all that the sample stands for.
    strata
        Name, pixels, hectares and points of each stratum.
    classes, overall, matrix, counts
        Of a map of classes: the classes, its overall accuracy, and the error matrix as shares of
        the ground and as points, with the map's classes as rows.
    unit, mean, total, mapped_mean, bands
        Of a map of values: its unit, estimated mean and total, the mean that the map shows, and the
        uncertainty of a pixel, over all of them and then by the mapped value.
    domains
        Estimates by district or parcel.
    notes
        What has to be known to read the numbers.
    state
        What the estimates say of themselves.
    """

    map: str
    year: int
    design: str
    seed: int
    points: int
    region: str
    confidence: float
    hectares: float
    strata: tuple[tuple[str, int, float, int], ...]
    classes: tuple[ClassArea, ...] = ()
    overall: Estimate | None = None
    matrix: Sequence[Sequence[float]] = ()
    counts: Sequence[Sequence[int]] = ()
    unit: str = ""
    mean: Estimate | None = None
    total: Estimate | None = None
    mapped_mean: float | None = None
    bands: tuple[ValueBand, ...] = ()
    domains: tuple[Domain, ...] = ()
    notes: tuple[str, ...] = field(default=())
    state: State | None = None

    def to_json(self) -> dict[str, Any]:
        """What `areas --json` prints, and `areas.json` holds."""
        told: dict[str, Any] = {
            "map": self.map,
            "year": self.year,
            "design": self.design,
            "seed": self.seed,
            "points": self.points,
            "region": self.region,
            "confidence": self.confidence,
            "area_ha": self.hectares,
            "strata": [
                dict(zip(("stratum", "pixels", "area_ha", "points"), row, strict=True))
                for row in self.strata
            ],
        }
        if self.classes:
            told |= {
                "overall_accuracy": estimate_json(self.overall),
                "classes": [each.to_json() for each in self.classes],
                "error_matrix": {
                    "classes": [each.name for each in self.classes],
                    "rows": "map",
                    "columns": "reference",
                    "shares": [list(row) for row in self.matrix],
                    "points": [list(row) for row in self.counts],
                },
            }
        else:
            told |= {
                "unit": self.unit,
                "mean": estimate_json(self.mean),
                "total": estimate_json(self.total),
                "total_is": "sum over hectares of the value",
                "mapped_mean": self.mapped_mean,
                "pixel_uncertainty": [
                    {
                        "mapped_from": band.low,
                        "mapped_to": band.high,
                        "points": band.points,
                        "bias": band.bias,
                        "rmse": band.rmse,
                        "covering_distance": band.covering,
                    }
                    for band in self.bands
                ],
            }
        return told | {
            "domains": [self._domain_json(domain) for domain in self.domains],
            "notes": list(self.notes),
            **({} if self.state is None else {STATE: self.state.to_json()}),
        }

    def _domain_json(self, domain: Domain) -> dict[str, Any]:
        told: dict[str, Any] = {
            "domain": domain.name,
            "area_ha": domain.hectares,
            "points": domain.points,
        }
        if not self.classes:
            return told | {
                "mean": estimate_json(domain.mean),
                "total": estimate_json(domain.total),
            }
        rows = zip(self.classes, domain.areas, domain.counted, strict=True)
        return told | {
            "classes": [
                {"class": each.name, "area_ha": estimate_json(area), "counted_area_ha": counted}
                for each, area, counted in rows
            ]
        }

    def table(self) -> str:
        """The estimates as a CSV table: one row for each class, or each domain and class."""
        rows: list[Mapping[str, object]] = []
        for where, domain in [("all", None), *((each.name, each) for each in self.domains)]:
            estimates = (
                [(each.name, each.area, each.counted) for each in self.classes]
                if domain is None
                else list(
                    zip(
                        [each.name for each in self.classes],
                        domain.areas,
                        domain.counted,
                        strict=True,
                    )
                )
            )
            rows += [
                {"domain": where, "class": name, "quantity": "area_ha", **_cells(area)}
                | {"counted_area_ha": counted}
                for name, area, counted in estimates
            ]
            of = self if domain is None else domain
            rows += [
                {"domain": where, "class": "", "quantity": quantity, **_cells(estimate)}
                for quantity, estimate in (("mean", of.mean), ("total", of.total))
                if not self.classes
            ]
        rows += [
            {"domain": "all", "class": each.name, "quantity": quantity, **_cells(estimate)}
            for each in self.classes
            for quantity, estimate in (
                ("users_accuracy", each.users),
                ("producers_accuracy", each.producers),
            )
        ]
        if self.overall is not None:
            overall = {"domain": "all", "class": "", "quantity": "overall_accuracy"}
            rows.append(overall | _cells(self.overall))
        text = io.StringIO()
        columns = ["domain", "class", "quantity", "value", "standard_error", "low", "high"]
        table = csv.DictWriter(text, [*columns, "counted_area_ha"], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        return text.getvalue()


def _cells(estimate: Estimate | None) -> dict[str, object]:
    told = estimate_json(estimate) or {}
    return {name: "" if value is None else value for name, value in told.items()}
