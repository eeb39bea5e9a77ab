"""The state of an artefact: what it says of itself, typed, and its JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from tessera_mosaic.pipeline.contracts.values import (
    bounds,
    by_number,
    fill,
    listed,
    number,
    text,
    whole,
    years,
)
from tessera_mosaic.pipeline.errors import BadInput

Extent = tuple[float, float, float, float]
"""West, south, east and north in degrees."""

STATE = "tessera_mosaic:state"
"""Name of the attribute, member or entry of metadata that holds a state."""

VERSION = 1
"""Version of the JSON, raised when a reader of an earlier one would read it wrongly."""

MOST_BYTES = 1 << 20
"""Largest JSON of a state."""

LON_LAT = "OGC:CRS84"
"""Coordinate reference system of longitudes and latitudes, in this order."""

LATTICE = "tessera-mosaic utm 10 m"
"""Name of the project's lattice: one grid a UTM zone, northern projection, origin never moved."""


class Kind(StrEnum):
    """What an artefact is."""

    MOSAIC = "mosaic"
    """Embeddings of pixels, in a store."""
    HEAD = "head"
    """What makes classes or values of embeddings."""
    MAP = "map"
    """Classes or values of pixels, in a store."""
    CHANGE = "change"
    """How much pixels changed between two years, in a store."""
    HITS = "hits"
    """Places that a search found."""
    SAMPLE = "sample"
    """Points that were drawn by chance from a map, to be labelled and to judge it by."""
    AREAS = "areas"
    """Estimates of areas or totals."""
    PLACES = "places"
    """Points or polygons that people gave, such as labels to train on."""
    VECTORS = "vectors"
    """A table of embeddings at places."""
    FUSED = "fused"
    """A table of embeddings with numbers of other products beside them."""
    FIELD = "field"
    """A region's embeddings as a function of place and year."""
    BLOCKS = "blocks"
    """Embeddings of squares of many pixels."""
    WEIGHTS = "weights"
    """An encoder's weights: only ever an input."""

    @property
    def noun(self) -> str:
        """The kind as one thing: `file of places`."""
        return NOUNS.get(self, self.value)


NOUNS = {
    Kind.CHANGE: "map of change",
    Kind.HITS: "table of hits",
    Kind.AREAS: "estimate of areas",
    Kind.PLACES: "file of places",
    Kind.VECTORS: "table of vectors",
    Kind.FUSED: "fused table",
    Kind.BLOCKS: "file of blocks",
}


class Numbers(StrEnum):
    """What the numbers of an artefact are."""

    CODES_AND_SCALES = "codes and scales"
    """Whole codes of 8 bits with one factor a pixel: a value is their product."""
    CODES = "codes"
    """Codes without their factor: directions are right, magnitudes are not."""
    VALUES = "values"
    """The values themselves."""


@dataclass(frozen=True)
class Input:
    """What an artefact was made from.

    Parameters
    ----------
    kind
        What it is.
    digest
        One of its `digests`.
    """

    kind: Kind
    digest: str


@dataclass(frozen=True)
class State:
    """What an artefact says of itself. None is what it does not know, or what it has none of.

    Parameters
    ----------
    kind
        What it is.
    digests
        By what it is told from others: an artefact that was made from it names one of them. A
        mosaic has its fingerprint, a file its sha256, a map one a year.
    inputs
        What it was made from.
    product
        Name of the model that made the embeddings it holds or takes.
    fingerprint
        Digest of all that decides those embeddings: weights, imagery, rules.
    imagery
        Whose imagery they were made of, such as `mpc`.
    dims
        Number of values of an embedding.
    crs
        Coordinate reference systems, such as `EPSG:32631`, one a zone; `OGC:CRS84` for longitude
        and latitude.
    lattice
        Name of the grid on which its pixels lie: `LATTICE`, or another.
    pixel
        Side of a pixel in metres.
    extent
        Longitudes and latitudes that hold it: west, south, east, north, in degrees.
    years
        Calendar years that it tells of, ascending; of a head those it was trained on.
    matched
        The year to whose mean the embeddings of a year were shifted, by that year.
    compared
        The earlier year that a year is compared with, by that year.
    dtype
        Type of its numbers, such as `int8`.
    numbers
        What they are.
    unit
        Unit of the values.
    valid_range
        Least and largest value that it can tell; what lies beyond was clipped to it.
    classes
        Names of the classes by their codes.
    nodata
        What stands where nothing is known: a number, `nan`, or `inf`.
    uncertainty
        What tells how sure the values are, such as the array `confidence` or `intervals of 95%`.
    sensors
        Sensors that were observed, `s2` and `s1`, by year, where somebody counted.
    design
        How a probability sample was drawn: `random`, `class` or `strata`.

    Examples
    --------
    >>> from tessera_mosaic.pipeline.contracts.state import Input, Kind, State
    >>> head = State(
    ...     Kind.HEAD, ("5f2a",), (Input(Kind.MOSAIC, "9c41"),), fingerprint="9c41", years=(2024,)
    ... )
    >>> head.to_json()["inputs"], head.years_told
    ([{'kind': 'mosaic', 'digest': '9c41'}], '2024')
    >>> State.from_json(head.to_json()) == head
    True
    """

    kind: Kind
    digests: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    product: str | None = None
    fingerprint: str | None = None
    imagery: str | None = None
    dims: int | None = None
    crs: tuple[str, ...] | None = None
    lattice: str | None = None
    pixel: float | None = None
    extent: Extent | None = None
    years: tuple[int, ...] | None = None
    matched: Mapping[int, int] | None = None
    compared: Mapping[int, int] | None = None
    dtype: str | None = None
    numbers: Numbers | None = None
    unit: str | None = None
    valid_range: tuple[float, float] | None = None
    classes: Mapping[int, str] | None = None
    nodata: float | None = None
    uncertainty: str | None = None
    sensors: Mapping[int, tuple[str, ...]] | None = None
    design: str | None = None

    @property
    def the(self) -> str:
        """What it is in a sentence: `the map`."""
        return f"the {self.kind.noun}"

    @property
    def years_told(self) -> str:
        """Its years in words: `2024`, or `2017 to 2024`."""
        if not self.years:
            return "no year"
        first, last = self.years[0], self.years[-1]
        if self.years == tuple(range(first, last + 1)) and last > first:
            return f"{first} to {last}"
        return ", ".join(map(str, self.years))

    def made_from(self, kind: Kind) -> frozenset[str]:
        """Digests of its inputs of a kind."""
        return frozenset(each.digest for each in self.inputs if each.kind is kind)

    def leads_to(self, kind: Kind, *inputs: Input) -> State:
        """The state of what is made from these embeddings, as far as they decide it.

        Parameters
        ----------
        kind
            What is made.
        inputs
            What else it is made from.

        Examples
        --------
        >>> from tessera_mosaic.pipeline.contracts.state import Kind, State
        >>> mosaic = State(Kind.MOSAIC, ("9c41",), fingerprint="9c41", dims=128)
        >>> hits = mosaic.leads_to(Kind.HITS)
        >>> hits.made_from(Kind.MOSAIC), hits.dims, hits.digests
        (frozenset({'9c41'}), 128, ())
        """
        return State(
            kind,
            inputs=(*(Input(self.kind, digest) for digest in self.digests), *inputs),
            product=self.product,
            fingerprint=self.fingerprint,
            imagery=self.imagery,
            dims=self.dims,
        )

    def to_json(self) -> dict[str, Any]:
        """The state as JSON: its version and kind, then all that is known, in a fixed order."""
        told: dict[str, Any] = {"version": VERSION}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value != ():
                told[field.name] = _plain(value)
        return told

    @classmethod
    def from_json(cls, value: Any) -> State:
        """Read a state back.

        Parameters
        ----------
        value
            What a JSON document holds, whoever wrote it.

        Raises
        ------
        BadInput
            If it is no state, or of a later version; one line says which field is wrong.
        """
        try:
            if type(value) is not dict:
                raise ValueError("it is no object")
            if whole(value.get("version"), 1) > VERSION:
                raise BadInput(
                    f"its state is of version {value['version']}, and this program reads up to "
                    f"{VERSION}: update tessera-mosaic"
                )
            told = {name: each for name, each in value.items() if name != "version"}
            if unknown := sorted(told.keys() - READ.keys()):
                raise ValueError(f"there is no field {unknown[0]!r:.60}")
            if "kind" not in told:
                raise ValueError("it lacks the field kind")
            return cls(**{name: _member(name, each) for name, each in told.items()})
        except BadInput:
            raise
        except (ValueError, TypeError) as error:
            raise BadInput(f"its state is damaged: {error}") from None


def encode_state(state: State) -> str:
    """A state as text, the same for the same state."""
    return json.dumps(state.to_json(), separators=(",", ":"), allow_nan=False)


def decode_state(text: str | bytes) -> State:
    """Read a state from text, whoever wrote it.

    Raises
    ------
    BadInput
        If it is none; one line says why.

    Examples
    --------
    >>> from tessera_mosaic.pipeline.contracts.state import decode_state
    >>> decode_state('{"version":1,"kind":"map","years":[2023,2024],"nodata":"nan"}').years
    (2023, 2024)
    >>> decode_state('{"version":1,"kind":"map","years":2024}')
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: its state is damaged: years: it is no list
    """
    if len(text) > MOST_BYTES:
        raise BadInput(f"its state is damaged: it is longer than {MOST_BYTES:,} bytes")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput("its state is damaged: it is no JSON") from None
    return State.from_json(told)


def beside(path: str) -> str:
    """Path or URL of the file that holds the state of a file without metadata."""
    return f"{path}.state.json"


def _plain(value: Any) -> Any:
    """A field as JSON holds it. Numbers that JSON has no word for become texts."""
    if isinstance(value, Input):
        return {"kind": value.kind.value, "digest": value.digest}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in sorted(value.items())}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _member(name: str, value: Any) -> Any:
    try:
        return READ[name](value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from None


def _input(value: Any) -> Input:
    if type(value) is not dict or value.keys() != {"kind", "digest"}:
        raise ValueError("an input has a kind and a digest")
    return Input(Kind(value["kind"]), text(value["digest"]))


READ: Mapping[str, Callable[[Any], Any]] = {
    "kind": Kind,
    "digests": listed(text),
    "inputs": listed(_input),
    "product": text,
    "fingerprint": text,
    "imagery": text,
    "dims": lambda value: whole(value, 1),
    "crs": listed(text),
    "lattice": text,
    "pixel": number,
    "extent": bounds(4),
    "years": years,
    "matched": by_number(whole),
    "compared": by_number(whole),
    "dtype": text,
    "numbers": Numbers,
    "unit": text,
    "valid_range": bounds(2),
    "classes": by_number(text),
    "nodata": fill,
    "uncertainty": text,
    "sensors": by_number(listed(text)),
    "design": text,
}
"""What reads each field of a state."""
