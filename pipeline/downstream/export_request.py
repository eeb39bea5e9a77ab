"""What can be asked of an export: which pixels and dimensions of a mosaic, and as which files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput, choose

ENDINGS = {".tif": "GeoTIFF", ".tiff": "GeoTIFF", ".nc": "NetCDF", ".zarr": "Zarr"}
"""Endings of the files that are written, and what they are."""


class ExportValues(StrEnum):
    """As what embeddings are written."""

    FLOAT32 = "float32"
    """As they are used: each code times its pixel's scale."""

    INT8 = "int8"
    """As they are stored: int8 codes, and the scales beside them."""


class ExportLayout(StrEnum):
    """How the pixels of a region are divided into files."""

    REGION = "region"
    """One file, or one a zone."""

    GRID = "grid"
    """A GeoTIFF for each cell of 0.1 degrees, `grid_LON_LAT_YEAR.tiff`, in a folder."""

    TZE = "tze"
    """A store of one year in a folder with a catalogue, as the TZE viewer reads it."""


@dataclass(frozen=True)
class ExportRequest:
    """A part of a mosaic to write as files that other programs open.

    Parameters
    ----------
    store
        Path or URL of the mosaic, of ours or published by somebody else.
    out
        Path of the file: `.tif`, `.nc` or `.zarr`; of a folder for the layouts `grid` and `tze`.
    region
        Part of the Earth: `west,south,east,north` or a point `lon,lat` in degrees, a vector file, a
        CSV file of points, countries or Sentinel-2 tiles; None for all that was embedded.
    year
        Calendar year; None for the newest of which there is something in the region.
    dims
        Dimensions of the embeddings, counted from 0; all where none are named.
    values
        `float32` embeddings, or `int8` codes with their scales.
    layout
        `region`, `grid` or `tze`.
    buffer
        Metres around points; by default as many as hold a pixel.

    Raises
    ------
    BadInput
        If the file has another ending, or options do not go together.

    Examples
    --------
    >>> request = tm.ExportRequest("valley.zarr", "square.tif", "2.995,50.845,3,50.85")
    >>> request.values.value, request.layout.value
    ('float32', 'region')
    >>> tm.ExportRequest("valley.zarr", "square.jpg")
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: out square.jpg: use one of .tif, .tiff, .nc, .zarr
    """

    store: str
    out: str | Path
    region: str | None = None
    year: int | None = None
    dims: tuple[int, ...] = ()
    values: ExportValues = ExportValues.FLOAT32
    layout: ExportLayout = ExportLayout.REGION
    buffer: float | None = None

    def __post_init__(self) -> None:
        choose(self, values=ExportValues, layout=ExportLayout)
        object.__setattr__(self, "dims", tuple(self.dims))
        ending = Path(self.out).suffix.lower()
        if self.layout is ExportLayout.REGION and ending not in ENDINGS:
            raise BadInput(f"use one of {', '.join(ENDINGS)}", "out", self.out)
        if self.layout is not ExportLayout.REGION and ending in ENDINGS:
            raise BadInput(f"the layout {self.layout} is a folder: name one", "out", self.out)
        if len(set(self.dims)) < len(self.dims) or min(self.dims, default=0) < 0:
            raise BadInput("name each dimension once, from 0 on", "dims", _listed(self.dims))
        if self.layout is ExportLayout.TZE and (self.dims or self.values is ExportValues.INT8):
            raise BadInput(
                "it always has int8 codes of all dimensions: leave out dims and values",
                "layout",
                self.layout,
            )


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written.

    Parameters
    ----------
    path
        Where it is.
    crs
        Its reference system, such as `EPSG:32631`.
    bounds
        West, south, east and north edges in metres of the reference system.
    height, width
        Size in pixels.
    embedded
        Number of its pixels that have an embedding.
    """

    path: str
    crs: str
    bounds: tuple[int, int, int, int]
    height: int
    width: int
    embedded: int


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Parameters
    ----------
    year
        Calendar year.
    dims
        Number of dimensions that were written.
    files
        The files, zone by zone.
    """

    year: int
    dims: int
    files: tuple[ExportedFile, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields of `export --json`."""
        return {
            "year": self.year,
            "dims": self.dims,
            "files": [vars(file) for file in self.files],
        }


def parse_dims(text: str | None) -> tuple[int, ...]:
    """Read dimensions: `0:16` for the first sixteen, `0,5,7` for some; none for all.

    Raises
    ------
    BadInput
        If the text is neither.

    Examples
    --------
    >>> parse_dims("0:3,7")
    (0, 1, 2, 7)
    """
    dims: list[int] = []
    for part in text.split(",") if text else ():
        span = re.fullmatch(r"\s*(\d{1,4})(?::(\d{1,4}))?\s*", part)
        if span is None or (span[2] and int(span[2]) <= int(span[1])):
            raise BadInput("name them as 0:16, which leaves 16 out, or as 0,5,7", "dims", text)
        dims += range(int(span[1]), int(span[2]) if span[2] else int(span[1]) + 1)
    return tuple(dims)


def chosen_dims(dims: tuple[int, ...], all_: int) -> tuple[int, ...]:
    """The dimensions that are written of a mosaic that has so many.

    Raises
    ------
    BadInput
        If it has none of such a number.
    """
    if max(dims, default=0) >= all_:
        raise BadInput(f"the mosaic has dimensions 0 to {all_ - 1}", "dims", max(dims))
    return dims or tuple(range(all_))


def _listed(dims: tuple[int, ...]) -> str:
    return ",".join(map(str, dims[:20])) + ("..." if len(dims) > 20 else "")
