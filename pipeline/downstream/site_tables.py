"""Tables of measuring sites, as FLUXtrapolation (arXiv 2605.19812) describes its own.

Hourly rows of flux towers: a file a site, with what was measured, what the weather was, and whether
a row was measured or filled in. No such data comes with this project, and none was at hand: this is
written from descriptions, and tried on rows that tests make.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.sample_table import (
    FORMATS,
    MOST_ROWS,
    SampleTable,
    read_table,
    shown,
)
from tessera_mosaic.pipeline.errors import BadInput

MISSING = -9990.0
"""FLUXNET writes -9999 where nothing was measured: what lies at or below this is such."""

MOST_FILES = 5000
"""Files of a folder of sites."""


@dataclass(frozen=True)
class SiteSchema:
    """Names of the columns of site tables.

    Parameters
    ----------
    site
        Which site a row is of; without such a column it is the name of the file.
    time
        When.
    targets
        What is told; never a covariate.
    mask
        0 where a row was filled in: it is told of, and nothing is learnt from it.
    places
        Name of the file beside the tables that says where sites lie, and what does not change.
    lon, lat
        Longitude and latitude in degrees.
    """

    site: str = "site"
    time: str = "time"
    targets: tuple[str, ...] = ("GPP", "NEE", "ET")
    mask: str = "qc_mask"
    places: str = "sites.csv"
    lon: str = "lon"
    lat: str = "lat"

    def covariates(self, table: SampleTable) -> list[str]:
        """Columns that a value may be told from: all but what, where and when it is."""
        known = (self.site, self.time, self.mask, self.lon, self.lat, "year", *self.targets)
        return [
            name
            for name, values in table.columns.items()
            if name not in known and values.dtype.kind in "fiubO"
        ]


SCHEMA = SiteSchema()


def read_sites(folder: Path, schema: SiteSchema = SCHEMA) -> SampleTable:
    """Read the tables of a folder of sites as one.

    Parameters
    ----------
    folder
        Folder of CSV or Parquet files, each with rows of one site or of several, and, where these
        do not say where sites lie, with `sites.csv`: a row a site.
    schema
        Names of the columns.

    Raises
    ------
    BadInput
        If there are no tables, or their columns are not the same.
    """
    name = f"table {folder}"
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in FORMATS and path.name != schema.places
    )
    if not paths or len(paths) > MOST_FILES:
        raise BadInput(f"{name} has {len(paths):,} tables of sites; 1 to {MOST_FILES:,} are read")
    tables = [_site(path, schema) for path in paths]
    names = list(tables[0])
    for path, table in zip(paths, tables, strict=True):
        if set(table) != set(names):
            other = sorted(set(table) ^ set(names))
            raise BadInput(f"table {path}: its columns are not those of {paths[0].name}: {other}")
    if sum(len(table[names[0]]) for table in tables) > MOST_ROWS:
        raise BadInput(f"{name} has more than {MOST_ROWS:,} rows: give fewer sites, or days")
    joined = {each: _joined([table[each] for table in tables]) for each in names}
    known = folder / schema.places
    if known.exists():
        joined = _beside(joined, read_table(known), schema)
    joined = {each: _measured(values) for each, values in joined.items()}
    renamed = {schema.time: "time", schema.site: "site", schema.lon: "lon", schema.lat: "lat"}
    return SampleTable(name, {renamed.get(each, each): v for each, v in joined.items()})


def _site(path: Path, schema: SiteSchema) -> dict[str, NDArray[Any]]:
    """The columns of one file, with the site's name."""
    table = dict(read_table(path).columns)
    if schema.time not in table:
        raise BadInput(f"table {path} has no column {schema.time}; it has {shown(table)}")
    rows = len(table[schema.time])
    if schema.site not in table:
        table[schema.site] = np.full(rows, path.stem, object)
    table[schema.site] = table[schema.site].astype(str).astype(object)
    return table


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Columns one below the other; of words where one of them has such."""
    if any(part.dtype == object for part in parts):
        # A column without a single value in one file says nothing of its kind.
        parts = [
            np.full(len(part), None, object) if part.dtype.kind == "f" else part.astype(object)
            for part in parts
        ]
    return np.concatenate(parts)


def _beside(
    columns: dict[str, NDArray[Any]], places: SampleTable, schema: SiteSchema
) -> dict[str, NDArray[Any]]:
    """Columns with what a file says of each site."""
    if schema.site not in places.columns:
        raise BadInput(f"{places.name} has no column {schema.site}")
    sites = places.columns[schema.site].astype(str)
    listed, first = np.unique(sites, return_index=True)
    if len(listed) < len(sites):
        raise BadInput(f"{places.name} names a site twice")
    asked = columns[schema.site].astype(str)
    at = np.minimum(np.searchsorted(listed, asked), len(listed) - 1)
    unknown = np.unique(asked[listed[at] != asked])
    if len(unknown):
        raise BadInput(f"{places.name} says nothing of {shown(unknown.tolist())}")
    said = {name: values[first][at] for name, values in places.columns.items()}
    return {**said, **columns}


def _measured(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers with NaN where FLUXNET's mark for nothing stands."""
    if values.dtype.kind not in "fi" or not (values <= MISSING).any():
        return values
    return np.where(values <= MISSING, np.nan, values.astype(np.float64))
