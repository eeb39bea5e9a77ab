"""Numbers of a table or raster at places, joined by the 10 m pixel that holds them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.head import pixel_digests
from tessera_mosaic.pipeline.downstream.fusion_products import (
    RASTERS,
    Product,
    ProductNumbers,
    Sites,
    file_sha256,
)
from tessera_mosaic.pipeline.downstream.labels import YEAR, year_of
from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.downstream.places import Places, pixels_of
from tessera_mosaic.pipeline.downstream.vector_table import OURS
from tessera_mosaic.pipeline.imagery.value_raster import value_raster

NOT_FEATURES = {"lon", "lat", "label", "year", "group", "id", "fid", "geometry", *OURS}
"""Columns that say what a row is, not what its place is like."""

NO_ROW, OTHER_YEAR = "no row of the table in its pixel", "its row is of another year"
NOT_A_NUMBER, NO_PIXEL = "a number is missing", "no data in the raster"
"""Why a place has no numbers."""


@dataclass(frozen=True)
class Joined:
    """Rows of a table that belong to places.

    Parameters
    ----------
    places
        The table.
    rows : int64 (P,)
        Row of each place; -1 where there is none.
    missing
        Number of the places without a row, by the reason.
    notes
        What has to be said of the table.
    """

    places: Places
    rows: NDArray[np.int64]
    missing: Counter[str]
    notes: tuple[str, ...]

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Values of the rows at the places, NaN without a row: (P, columns)."""
        found = values[np.maximum(self.rows, 0)]
        with np.errstate(over="ignore"):
            return np.where((self.rows >= 0)[:, None], found, np.nan).astype(np.float32)


def numbers_at(product: Product, sites: Sites, year: int) -> ProductNumbers:
    """Columns of a table, or bands of a raster, at places.

    Raises
    ------
    BadInput
        If the file has no numbers, or something else where numbers should be.
    """
    path = product.source
    if Path(path).suffix.lower() in RASTERS:
        raster = value_raster(path)
        bands = tuple(range(1, len(raster.names) + 1))
        values = raster.at(sites.zone, sites.row, sites.col, bands).T
        missing = Counter({NO_PIXEL: int((~np.isfinite(values).all(axis=1)).sum())})
        return ProductNumbers(product, raster.names, values, +missing, digest=file_sha256(path))
    joined = joined_rows(product, sites, year)
    columns, ignored = columns_of_numbers(product, joined.places)
    values = joined.spread(np.stack(list(columns.values()), axis=1))
    missing = joined.missing.copy()
    missing[NOT_A_NUMBER] += int(((joined.rows >= 0) & ~np.isfinite(values).all(axis=1)).sum())
    notes = joined.notes
    if ignored:
        notes += (f"{product.name}: columns without numbers are not used: {', '.join(ignored)}",)
    dated = any(each.casefold() == YEAR for each in joined.places.columns)
    told = year if dated else None
    return ProductNumbers(product, tuple(columns), values, +missing, told, file_sha256(path), notes)


def joined_rows(product: Product, sites: Sites, year: int) -> Joined:
    """The row of a table in each place's pixel. Rows of another year do not count.

    Raises
    ------
    BadInput
        If the table cannot be read, or all of it is of other years.
    """
    places = read_places(product.source, product.parameter)
    pixels = pixels_of(places)
    digests = pixel_digests(pixels.zone, pixels.row, pixels.col)
    here = np.ones(len(digests), bool)
    if any(each.casefold() == YEAR for each in places.columns):
        years = [year_of(each) for each in places.column(YEAR)]
        aligned = np.array([each in (None, year) for each in years])
        if not aligned.any():
            told = ", ".join(str(each) for each in sorted(set(filter(None, years)))[:5])
            raise product.refused(f"its rows are of {told or 'no year'}, not of {year}")
        here = aligned[pixels.place]
    wanted = pixel_digests(sites.zone, sites.row, sites.col)
    rows = _matched(wanted, digests[here], pixels.place[here].astype(np.int64))
    missing = Counter({OTHER_YEAR: int(((rows < 0) & np.isin(wanted, digests)).sum())})
    missing[NO_ROW] = int((rows < 0).sum()) - missing[OTHER_YEAR]
    several = len(digests[here]) - len(np.unique(digests[here]))
    notes: tuple[str, ...] = ()
    if several:
        said = "rows lie in a pixel of an earlier one, which counts"
        notes = (f"{product.name}: {several:,} {said}",)
    return Joined(places, rows, +missing, notes)


def _matched(
    wanted: NDArray[np.uint64], digests: NDArray[np.uint64], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The first row of each pixel that is wanted, -1 where there is none."""
    if not len(digests):
        return np.full(len(wanted), -1)
    known, first = np.unique(digests, return_index=True)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, rows[first[at]], -1)


def columns_of_numbers(
    product: Product, places: Places
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Columns of numbers by name, NaN where there is none; and names of those of words.

    Raises
    ------
    BadInput
        If there is no column of numbers, or one has words among them.
    """
    # A table of `extract` tells much of a place beside its vector.
    extracted = {"e0", "embedded"} <= set(places.columns)
    found, ignored = {}, []
    for name, column in places.columns.items():
        if name.casefold() in NOT_FEATURES or (extracted and not name[1:].isdigit()):
            continue
        values = np.array([_number(each) for each in column])
        words = [k for k, each in enumerate(column) if each is not None and values[k] is None]
        if not words:
            found[name] = np.array([np.nan if each is None else each for each in values])
        elif len(words) < sum(each is not None for each in column):
            raise product.refused(
                f"row {words[0] + 1} has {str(column[words[0]])[:40]!r} in column {name}, where "
                "others have numbers"
            )
        else:
            ignored.append(name)
    ignored += [name for name, values in found.items() if not np.isfinite(values).any()]
    found = {name: values for name, values in found.items() if name not in ignored}
    if not found:
        raise product.refused("it has no column of numbers besides lon and lat")
    return found, ignored


def _number(value: Any) -> float | None:
    """A number, NaN where there is none, None for a word."""
    if value is None:
        return float("nan")
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found) else float("nan")
