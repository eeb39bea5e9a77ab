"""The file of a probability sample: written by `points`, labelled by people, read by `areas`.

A CSV table, a row a point. Every row says how the whole sample was drawn, so that the file needs
nothing beside it, and ends with a digest by which `areas` knows that rows, strata and
probabilities are those that were drawn. Columns that people add are left alone.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.contracts.state import LATTICE, Input, Kind, State
from tessera_mosaic.pipeline.errors import BadInput, chosen
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, WIDTH, zone_crs, zone_group

MOST_BYTES = 64 * 2**20
"""Largest file that is read."""

CLOSE = 1e-6
"""How far an inclusion probability may be off that a spreadsheet has rounded, relatively."""

EXAMPLES = 3
"""Points that a message names."""


class Design(StrEnum):
    """How a sample is drawn."""

    RANDOM = "random"
    """Each pixel with the same chance."""
    CLASS = "class"
    """Of each class of the map, or of each transition between two maps, some pixels."""
    STRATA = "strata"
    """Of each of the user's own areas, some pixels."""


@dataclass(frozen=True)
class DrawnFrom:
    """What a sample was drawn from, and how.

    Parameters
    ----------
    design
        How the strata were made.
    seed
        Seed of the drawing.
    map
        Digest that tells the map from others.
    year
        Calendar year of the map.
    region
        Region that the sample is confined to, as it was given; empty for the whole map.
    strata, strata_field
        File of the user's own strata, and the column of their names; empty where there are none.
    before, before_year
        Path of the earlier map, and its year, where strata are transitions; empty otherwise.
    """

    design: Design
    seed: int
    map: str
    year: int
    region: str = ""
    strata: str = ""
    strata_field: str = ""
    before: str = ""
    before_year: str = ""


@dataclass(frozen=True)
class Points:
    """A sample of pixels.

    Parameters
    ----------
    origin
        What it was drawn from.
    strata
        Names of the strata.
    pixels : int64 (strata,)
        Number of pixels of each.
    stratum : int64 (points,)
        Number of each point's stratum.
    zone, row, col : int64 (points,)
        Where each point is on the lattice.
    lon, lat : float64 (points,)
        Centre of each point's pixel, in degrees.
    labels
        What people found at each point; empty before they did.
    """

    origin: DrawnFrom
    strata: tuple[str, ...]
    pixels: NDArray[np.int64]
    stratum: NDArray[np.int64]
    zone: NDArray[np.int64]
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stratum)

    @property
    def ids(self) -> list[str]:
        """Names of the points, which say where they are."""
        return [
            f"{zone_group(zone)}-y{row:07d}-x{col:05d}"
            for zone, row, col in zip(
                self.zone.tolist(), self.row.tolist(), self.col.tolist(), strict=True
            )
        ]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of points of each stratum, int64 (strata,)."""
        return np.bincount(self.stratum, minlength=len(self.strata))

    @property
    def digest(self) -> str:
        """Of all that `areas` relies on: `s` and 15 hexadecimal digits."""
        names = [self.strata[each] for each in self.stratum]
        sizes = self.pixels[self.stratum].tolist()
        rows = sorted(zip(self.ids, names, sizes, strict=True))
        text = json.dumps([dataclasses.asdict(self.origin), rows], sort_keys=True)
        # Digits alone might be a number to a spreadsheet, which would round it.
        return f"s{hashlib.sha256(text.encode()).hexdigest()[:15]}"

    @property
    def state(self) -> State:
        """What the sample says of itself, by its rows."""
        return State(
            Kind.SAMPLE,
            digests=(self.digest,),
            inputs=(Input(Kind.MAP, self.origin.map),),
            crs=tuple(zone_crs(zone) for zone in np.unique(self.zone).tolist()),
            lattice=LATTICE,
            extent=(
                float(self.lon.min()),
                float(self.lat.min()),
                float(self.lon.max()),
                float(self.lat.max()),
            ),
            years=(self.origin.year,),
            design=self.origin.design.value,
        )


DRAWN = ("id", "lon", "lat", "label", "stratum", "inclusion_probability", "stratum_pixels")
ORIGIN = tuple(field.name for field in dataclasses.fields(DrawnFrom))
SEAL = "sample"


def write_points(points: Points, path: str | Path) -> None:
    """Write a sample that is to be labelled, with an empty column `label`.

    Parameters
    ----------
    points
        The sample.
    path
        Path of the file.

    Raises
    ------
    BadInput
        If the file exists and has labels, or cannot be written.
    """
    path = Path(path)
    if path.exists() and _has_labels(path):
        raise BadInput("it has labels already, which would be lost: name another file", "out", path)
    inclusion = points.counts / np.maximum(points.pixels, 1)
    origin = dataclasses.asdict(points.origin)
    digest = points.digest
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*DRAWN, *ORIGIN, SEAL])
    for number, name in enumerate(points.ids):
        stratum = points.stratum[number]
        table.writerow(
            [
                name,
                f"{points.lon[number]:.7f}",
                f"{points.lat[number]:.7f}",
                "",
                points.strata[stratum],
                repr(float(inclusion[stratum])),
                int(points.pixels[stratum]),
                *(str(origin[column]) for column in ORIGIN),
                digest,
            ]
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"it cannot be written: {error.strerror}", "out", path) from None


def _has_labels(path: Path) -> bool:
    try:
        return any(row.get("label") for row in _rows(path))
    except BadInput:
        return False


def read_points(path: str | Path, labelled: bool = True) -> Points:
    """Read a labelled sample.

    Parameters
    ----------
    path
        A file that `points` wrote, with its column `label` filled.
    labelled
        False to read one whose points have no label yet, too.

    Raises
    ------
    BadInput
        In one line, if `points` did not write it, rows, strata or probabilities are not those that
        were drawn, or a point has no label.
    """
    rows = _rows(Path(path))
    missing = [column for column in (*DRAWN, *ORIGIN, SEAL) if column not in rows[0]]
    if missing:
        raise _refused(
            f"it has no column {missing[0]}: only a sample that `points` drew can be estimated "
            "from. Points that were chosen, suggested or trained on say nothing of areas",
            path,
        )
    for column in (*ORIGIN, SEAL):
        if len({row[column] for row in rows}) > 1:
            raise _refused(f"rows of several samples: column {column} differs", path)
    empty = [row["id"] for row in rows if not row["label"]]
    if empty and labelled:
        raise _refused(
            f"{len(empty)} of {len(rows)} points have no label, such as "
            f"{', '.join(empty[:EXAMPLES])}: label every point, and where nobody can tell, "
            "give that a name of its own",
            path,
        )
    # In one order, so that sums come out the same in whatever order a program saved them.
    rows.sort(key=lambda row: row["id"])
    points = _parsed(rows, path)
    _check_strata(points, [row["inclusion_probability"] for row in rows], path)
    if points.digest != rows[0][SEAL]:
        raise _refused(
            "ids, strata or sizes of strata are not those that `points` wrote: copy the labels "
            "into the file as it was",
            path,
        )
    return points


def _parsed(rows: Sequence[dict[str, str]], path: str | Path) -> Points:
    first = rows[0]
    sizes: dict[str, int] = {}
    places = np.zeros((len(rows), 3), np.int64)
    try:
        for number, row in enumerate(rows):
            place = re.fullmatch(r"utm(\d\d)-y(\d{7})-x(\d{5})", row["id"])
            if place is None or not int(place[2]) < HEIGHT or not int(place[3]) < WIDTH:
                raise ValueError(f"{row['id']!r} is no id of a point")
            places[number] = [int(each) for each in place.groups()]
            if sizes.setdefault(row["stratum"], _whole(row["stratum_pixels"])) != _whole(
                row["stratum_pixels"]
            ):
                raise ValueError(f"stratum {row['stratum']} has two sizes")
        origin = DrawnFrom(
            chosen(Design, first["design"], "design"),
            _whole(first["seed"]),
            first["map"],
            _whole(first["year"]),
            *(first[column] for column in ORIGIN[4:]),
        )
        lon, lat = (np.array([_decimal(row[name]) for row in rows]) for name in ("lon", "lat"))
    except ValueError as error:
        raise _refused(f"it is not as `points` wrote it: {error}", path) from None
    ((double, times),) = Counter(row["id"] for row in rows).most_common(1)
    if times > 1:
        raise _refused(f"point {double} is in it {times} times", path)
    strata = tuple(sorted(sizes))
    return Points(
        origin,
        strata,
        np.array([sizes[name] for name in strata], np.int64),
        np.array([strata.index(row["stratum"]) for row in rows], np.int64),
        places[:, 0],
        places[:, 1],
        places[:, 2],
        lon,
        lat,
        tuple(row["label"] for row in rows),
    )


def _check_strata(points: Points, told: Sequence[str], path: str | Path) -> None:
    """Refuse a file some of whose points were taken out, or whose probabilities were changed."""
    for number, name in enumerate(points.strata):
        members = np.flatnonzero(points.stratum == number)
        given = {told[each] for each in members.tolist()}
        try:
            probability = _decimal(given.pop())
        except ValueError:
            probability = float("nan")
        drawn = probability * int(points.pixels[number])
        if given or not abs(drawn - len(members)) <= CLOSE * max(drawn, 1.0):
            raise _refused(
                f"stratum {name} has {len(members)} points, and by their inclusion probabilities "
                f"{drawn:.6g} were drawn: put back what is missing",
                path,
            )


def _whole(text: str) -> int:
    return int(float(text)) if re.fullmatch(r"\d+\.0*", text) else int(text)


def _decimal(text: str) -> float:
    return float(text.replace(",", "."))


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of a table, by the names in its first line, without blanks around what they hold."""
    if path.suffix.lower() in (".geojson", ".json", ".gpkg", ".shp"):
        raise _refused(
            "it is no table that `points` wrote: what `suggest` names was chosen, and says nothing "
            "of areas",
            path,
        )
    try:
        if path.exists() and not path.is_file():
            raise _refused("it is no file", path)
        if path.stat().st_size > MOST_BYTES:
            raise _refused(f"it is larger than {MOST_BYTES >> 20} MiB", path)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _refused(f"it cannot be read: {error.strerror}", path) from None
    except UnicodeDecodeError:
        raise _refused("it is no text in UTF-8: save it as CSV in UTF-8", path) from None
    line = text.partition("\n")[0]
    separator = max(",;\t", key=line.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise _refused(f"it is no CSV table: {error}", path) from None
    rows = [row for row in rows if any(row)]
    if len(rows) < 2:
        raise _refused("it has no points", path)
    header = [name.strip() for name in rows[0]]
    if len(set(header)) < len(header):
        raise _refused("two columns have the same name", path)
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise _refused(f"row {number} has {len(row)} values, not {len(header)}", path)
    return [
        {name: value.strip() for name, value in zip(header, row, strict=True)} for row in rows[1:]
    ]


def _refused(message: str, path: str | Path) -> BadInput:
    return BadInput(message, "labelled", path)
