"""The ground of countries, by their names and codes."""

from __future__ import annotations

import csv
import difflib
import functools
import gzip
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.polygons import cut_at_antimeridian, joined

COUNTRIES = Path(__file__).parent / "data" / "countries.json.gz"
"""Natural Earth 4.1.0, 1:10 million, as TopoJSON (see `tools/derive_land.py`)."""

NAMES = Path(__file__).parent / "data" / "country_names.csv"
"""Codes of ISO 3166-1, and other common names, by the name in Natural Earth. Kosovo has the codes
that are in use for it."""

CLOSE = 0.8
"""Least likeness, 0 to 1, of a name that is suggested: `Luxemburg` and `Luxembourg` have 0.95,
`England` and `Finland` 0.71."""


@functools.cache
def countries() -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Names and ground of the countries of Natural Earth; some reach across the antimeridian."""
    # Loaded where it is used: it takes a second.
    import pyogrio

    topojson = gzip.decompress(COUNTRIES.read_bytes())
    _, _, blobs, (names,) = pyogrio.raw.read(topojson, layer="countries", columns=["name"])
    return names, shapely.from_wkb(blobs)


def country(name: str) -> BaseGeometry | None:
    """Ground of a country by its name or code, with its territories there; None if none has it.

    A name is that of Natural Earth or another common one. Case, accents and a leading "the" do not
    matter, and a word that Natural Earth cuts short may be written out. A code is one of ISO 3166-1
    with two or three letters.

    Raises
    ------
    BadInput
        If the country is too small to be drawn.
    """
    names, grounds = countries()
    chosen = spelt_like(other_names().get(_key(name), name), names)
    if not chosen:
        return None
    outlines = [cut_at_antimeridian(part) for part in shapely.get_parts(grounds[chosen[0]])]
    if not any(map(len, outlines)):
        raise BadInput(
            f"region {name!r} is too small to have an outline at 1:10 million: give "
            "west,south,east,north in degrees"
        )
    return joined(np.concatenate(outlines), name)


def close_names(name: str) -> list[str]:
    """Names of up to three countries that are written nearly so, the likest first."""
    names, _ = countries()
    known = {_plain(each): str(each) for each in names}
    known |= {key: told for key, told in other_names().items() if len(key) > 3}
    close = difflib.get_close_matches(_key(name), known, n=3, cutoff=CLOSE)
    return list(dict.fromkeys(known[key] for key in close))


def spelt_like(name: str, names: Iterable[str]) -> list[int]:
    """Indices of the names that a user may have written in this way."""
    key = _key(name)
    return [k for k, known in enumerate(names) if _spellings(known).fullmatch(key)]


@functools.cache
def other_names() -> dict[str, str]:
    """Names in Natural Earth by codes and other common names, as they are compared."""
    found = {}
    with NAMES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for other in (row["alpha2"], row["alpha3"], *row["others"].split("|")):
                found[_key(other)] = row["name"]
    del found[""]
    return found


def _key(name: str) -> str:
    """A name as names are compared: without a leading "the" too."""
    return re.sub(r"^the\s+", "", _plain(name).strip())


def _plain(name: str) -> str:
    """A name without case and accents."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()


def _spellings(name: str) -> re.Pattern[str]:
    """How a country's name may be written: a word that ends in a point is cut short."""
    words = (re.sub(r"\.$", r"\\w*", word) for word in re.findall(r"\w+\.?", _plain(name)))
    return re.compile(r"\W+".join(words) + r"\W*")
