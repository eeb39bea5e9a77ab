"""Rows to tell of, made of a table's columns and of a mosaic's vectors where they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.downstream.sample_table import SampleTable, shown
from tessera_mosaic.pipeline.downstream.site_tables import SCHEMA
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.environments import CELLS, Rows, environments_of
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, read_pixels
from tessera_mosaic.pipeline.tiling.lattice import pixels_at

VECTORS = "e"
"""The block of a table that `extract` wrote."""

LOW = ":low"
"""What follows the name of a covariate whose smallest values are held out."""

LARGEST = 1e100
"""Value that is told at most: squares of larger ones are no numbers."""

FEWEST = 50
"""Rows that have to be left."""


@dataclass(frozen=True)
class Wanted:
    """What rows are made with.

    Parameters
    ----------
    target
        Column that is told.
    environments
        As of `environments_of`.
    features
        Names of columns and blocks that it is told from; without any, the table's own vector where
        there is no mosaic.
    tail
        Column whose extremes are held out; empty for none.
    mosaic, year
        Mosaic whose vectors it is told from, too, and their calendar year; without a year that of
        each row.
    """

    target: str
    environments: Sequence[str]
    features: Sequence[str] = ()
    tail: str = ""
    mosaic: AnyMosaic | None = None
    year: int | None = None


def rows_of(table: SampleTable, wanted: Wanted) -> tuple[Rows, dict[str, int]]:
    """The rows of a table that a value can be told of, and how many are left out, by the reason.

    Parameters
    ----------
    table
        The table.
    wanted
        What is told, and from what.

    Raises
    ------
    BadInput
        If a column is missing, or hardly a row is left.
    """
    target = table.numbers(wanted.target, "target")
    time = times_of(table)
    year = _years(table, time)
    columns = dict(table.columns)
    if year is not None:
        columns["year"] = year
    parts = [table.features(name) for name in _features(table, wanted)]
    out: Counter[str] = Counter()
    kept = np.ones(len(table), bool)

    def leave(which: Any, why: str) -> None:
        if count := int((kept & which).sum()):
            out[why] = count
            kept[which] = False

    leave(~np.isfinite(target), f"without {wanted.target}")
    leave(np.abs(target) > LARGEST, f"with {wanted.target} beyond {LARGEST:g}")
    for name, most in (("lon", 180), ("lat", 90)) if _needs_places(wanted) else ():
        if name in table.columns:
            degrees = np.abs(table.numbers(name, "table"))
            leave(~np.isfinite(degrees), f"without {name}")
            leave(degrees > most, f"with {name} beyond {most} degrees")
    if year is not None:
        leave(year < 1, "without a year" if time is None else "without a time")
    for key in wanted.environments:
        if key in columns:
            leave(_missing(columns[key]), f"without {key}")
    if wanted.tail:
        leave(~np.isfinite(_tail(table, wanted)), f"without {wanted.tail.removesuffix(LOW)}")
    leave(~_all_finite(parts, len(table)), "without one of the features")
    if wanted.mosaic is not None and kept.any():
        vectors = vectors_at(wanted.mosaic, table, wanted.year, year, kept)
        leave(~np.isfinite(vectors).all(axis=1), "without an embedding in the mosaic")
        parts.append(vectors)
    if kept.sum() < FEWEST:
        why = "; ".join(f"{count:,} {reason}" for reason, count in out.items()) or "no more there"
        raise BadInput(f"{table.name}: {kept.sum():,} rows are left, {FEWEST} are needed ({why})")
    found = environments_of(wanted.environments, {name: of[kept] for name, of in columns.items()})
    if len(found.names) < 2:
        raise BadInput("all rows are of one", "environments", ",".join(wanted.environments))
    rows = Rows(
        features=np.concatenate([part[kept] for part in parts], axis=1, dtype=np.float32),
        target=target[kept],
        environment=found.number,
        names=found.names,
        place=found.place,
        place_names=found.place_names,
        measured=_measured(table)[kept],
        year=None if year is None else year[kept],
        time=None if time is None else time[kept],
        tail=_tail(table, wanted)[kept] if wanted.tail else None,
    )
    return rows, dict(out)


def vectors_at(
    mosaic: AnyMosaic,
    table: SampleTable,
    of_year: int | None,
    years: NDArray[np.int32] | None,
    which: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Embeddings of a mosaic where rows lie, NaN where there is none; each pixel is read once.

    Parameters
    ----------
    mosaic
        The mosaic.
    table
        Rows with `lon` and `lat`.
    of_year
        Calendar year of the embeddings; None for that of each row.
    years : int32 (rows,) or None
        Calendar years of the rows.
    which : bool (rows,)
        Rows that are wanted.

    Raises
    ------
    BadInput
        If there are no coordinates or years, or the mosaic has none of these years.
    """
    lon, lat = (table.numbers(name, "store")[which] for name in ("lon", "lat"))
    if of_year is not None:
        mosaic.check_made(of_year)
        each = np.full(len(lon), of_year, np.int32)
    elif years is not None:
        each = years[which]
    else:
        raise BadInput("say of which year the embeddings are: rows have no column year or time",
                       "year")  # fmt: skip
    zone, row, col = pixels_at(lon, lat)
    at, of = np.unique(np.stack([each, zone, row, col], axis=1), axis=0, return_inverse=True)
    found = np.full((len(at), mosaic.layout.dims), np.nan, np.float32)
    made = [year for year in mosaic.years_made() if year in at[:, 0]]
    if not made:
        raise BadInput(
            f"{mosaic.storage.url} has none of the years of the rows; it has "
            f"{shown([str(year) for year in mosaic.years_made()])}",
            "store",
        )
    for year in made:
        mine = at[:, 0] == year
        held = read_pixels(mosaic, year, *at[mine, 1:].T)
        found[mine] = np.where(
            np.isfinite(held.scales)[:, None], dequantize(held.codes, held.scales), np.nan
        )
    whole = np.full((len(table), mosaic.layout.dims), np.nan, np.float32)
    whole[which] = found[of.ravel()]
    return whole


def times_of(table: SampleTable) -> NDArray[np.datetime64] | None:
    """When rows were measured, by the column `time`: datetime64[s]; None without one.

    Times are written in ISO 8601, or as FLUXNET does: `201907011230`.

    Raises
    ------
    BadInput
        If one is neither.
    """
    if "time" not in table.columns:
        return None
    values = table.columns["time"]
    if values.dtype.kind == "M":
        return values.astype("datetime64[s]")
    if values.dtype.kind in "fiu":
        values = np.array([None if v != v else f"{v:.0f}" for v in values.tolist()], object)
    try:
        return np.array([_iso(value) for value in values.tolist()], "datetime64[s]")
    except ValueError as error:
        told = f"{table.name}: a time is neither ISO 8601 nor YYYYMMDDHHMM: {error}"
        raise BadInput(told) from None


def _iso(value: str | None) -> str:
    """A time as ISO 8601 has it."""
    if value is None:
        return "NaT"
    text = value.strip().removesuffix("Z")
    if text.isdigit() and len(text) in (8, 10, 12, 14):
        date, clock = text[:8], text[8:].ljust(4, "0")
        return f"{date[:4]}-{date[4:6]}-{date[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:] or '00'}"
    return text


def _years(table: SampleTable, time: NDArray[np.datetime64] | None) -> NDArray[np.int32] | None:
    """The calendar year of each row, by its time or by the column `year`."""
    if time is not None:
        whole = time.astype("datetime64[Y]").astype(np.int64) + 1970
        return np.where(np.isnat(time), 0, whole).astype(np.int32)
    if "year" not in table.columns or table.columns["year"].dtype.kind not in "fiu":
        return None
    return np.nan_to_num(table.numbers("year", "year")).astype(np.int32)


def _features(table: SampleTable, wanted: Wanted) -> Sequence[str]:
    """Names of what a value is told from, beside the mosaic."""
    if wanted.features:
        if wanted.target in wanted.features:
            raise BadInput("it is what is told", "features", wanted.target)
        return wanted.features
    if wanted.mosaic is not None:
        return ()
    if f"{VECTORS}0" in table.columns or VECTORS in table.blocks:
        return (VECTORS,)
    have = shown([*table.blocks, *table.columns])
    raise BadInput(f"name what it is told from: {table.name} has {have}", "features")


def _tail(table: SampleTable, wanted: Wanted) -> NDArray[np.float64]:
    return table.numbers(wanted.tail.removesuffix(LOW), "tail")


def _measured(table: SampleTable) -> NDArray[np.bool_]:
    """Which rows were measured, by the column of FLUXtrapolation that says so; all without it."""
    mask: NDArray[Any] | None = table.columns.get(SCHEMA.mask)
    return np.ones(len(table), bool) if mask is None else np.asarray(mask != 0, bool)


def _needs_places(wanted: Wanted) -> bool:
    """Whether it matters where rows lie."""
    return wanted.mosaic is not None or any(CELLS.fullmatch(key) for key in wanted.environments)


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a column has no value."""
    if values.dtype == object:
        return np.array([value is None for value in values.tolist()], bool)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)


def _all_finite(parts: Sequence[NDArray[np.floating]], rows: int) -> NDArray[np.bool_]:
    found = np.ones(rows, bool)
    for part in parts:
        found &= np.isfinite(part).all(axis=1)
    return found
