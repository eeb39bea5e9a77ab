"""AlphaEarth's vectors at places: from its COGs as they are published, or from a table.

The published layout is a folder a year and in it one a UTM zone and hemisphere, such as
`2024/31N/`, with COGs of 8192 x 8192 px and 64 bands of int8. Codes are no linear scale:
x = sign(q) (q / 127.5)^2, and -128 in all bands is no data.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.windows
from numpy.typing import NDArray
from pyproj import Transformer

from tessera_mosaic.pipeline.downstream.fusion_products import (
    TABLES,
    Product,
    ProductNumbers,
    Sites,
    file_sha256,
)
from tessera_mosaic.pipeline.downstream.fusion_tables import (
    NOT_A_NUMBER,
    columns_of_numbers,
    joined_rows,
)
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.imagery.label_raster import label_raster, sound_crs

BANDS = tuple(f"A{band:02d}" for band in range(64))
"""Names of the values, as the files and Earth Engine have them."""

NODATA, LARGEST, UNIT = -128, 127, 127.5
"""The code without a value, the largest code, and the code of 1 if there were one."""

MOST_FILES = 5000
"""COGs of one zone that are opened at most."""

NO_FILE, NO_VECTOR = "no file of its zone holds it", "no data in AlphaEarth"
"""Why a place has no vector."""


def dequantized(codes: NDArray[np.int8]) -> NDArray[np.float32]:
    """Vectors of codes, NaN where there is no data in any of their values.

    Parameters
    ----------
    codes : int8 (P, 64)
        Codes as they are published.

    Examples
    --------
    >>> codes = np.array([[-127, 51, 0], [3, -128, 4]], np.int8)
    >>> dequantized(codes).round(4).tolist()
    [[-0.9922000169754028, 0.1599999964237213, 0.0], [nan, nan, nan]]
    """
    wide = codes.astype(np.float64)
    values = np.sign(wide) * (wide / UNIT) ** 2
    values[(codes == NODATA).any(axis=1)] = np.nan
    return values.astype(np.float32)


def alphaearth_at(product: Product, sites: Sites, year: int) -> ProductNumbers:
    """AlphaEarth's vectors at places.

    Raises
    ------
    BadInput
        If there is no such file or folder, or it holds something else.
    """
    if Path(product.source).suffix.lower() in TABLES:
        return _of_table(product, sites, year)
    if not Path(product.source).is_dir():
        raise product.refused(
            "give a folder on this machine with the COGs as they are published "
            f"({year}/31N/NAME.tiff), or a table with columns A00 to A63"
        )
    return _of_folder(product, sites, year)


def _of_table(product: Product, sites: Sites, year: int) -> ProductNumbers:
    joined = joined_rows(product, sites, year)
    columns, _ = columns_of_numbers(product, joined.places)
    known = {name.upper(): values for name, values in columns.items()}
    if lacking := [band for band in BANDS if band not in known]:
        raise product.refused(f"it has no column {lacking[0]}: columns are named A00 to A63")
    table = np.stack([known[band] for band in BANDS], axis=1)
    values = joined.spread(_values(product, table))
    missing = joined.missing.copy()
    missing[NOT_A_NUMBER] += int(((joined.rows >= 0) & ~np.isfinite(values).all(axis=1)).sum())
    digest = file_sha256(product.source)
    return ProductNumbers(product, BANDS, values, +missing, year, digest, joined.notes)


def _values(product: Product, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors of a table, which has codes or values."""
    known = table[np.isfinite(table)]
    if np.abs(known).max(initial=0.0) <= 1.0:
        return table
    if (known != np.floor(known)).any():
        raise product.refused(
            f"it has {known[known != np.floor(known)][0]:g} beside {np.abs(known).max():g}: "
            "codes are whole numbers, and values lie between -1 and 1"
        )
    if known.min() < NODATA or known.max() > LARGEST:
        wrong = known.min() if known.min() < NODATA else known.max()
        raise product.refused(f"it has the code {wrong:g}: codes lie between -127 and 127")
    found = np.full(table.shape, np.nan)
    whole = np.isfinite(table).all(axis=1)
    found[whole] = dequantized(table[whole].astype(np.int8))
    return found


def _of_folder(product: Product, sites: Sites, year: int) -> ProductNumbers:
    folder = Path(product.source) / str(year)
    if not folder.is_dir():
        years = sorted(each.name for each in Path(product.source).iterdir() if each.is_dir())
        told = ", ".join(name for name in years if name.isdigit()) or "none"
        raise product.refused(f"it has no folder {year}: the years that it has are {told}")
    codes = np.full((len(sites), len(BANDS)), NODATA, np.int8)
    held = np.zeros(len(sites), bool)
    digest = hashlib.sha256()
    names = np.char.add(sites.zone.astype(str), np.where(sites.lat >= 0, "N", "S"))
    for name in np.unique(names):
        of = np.flatnonzero(names == name)
        files = sorted(each for each in (folder / name).glob("*.tif*") if each.is_file())
        if len(files) > MOST_FILES:
            raise product.refused(f"{folder / name} has more than {MOST_FILES:,} files")
        for path in files:
            left = of[~held[of]]
            if len(left):
                inside, found = _read(product, path, sites.take(left))
                codes[left[inside]], held[left[inside]] = found, True
                digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    values = dequantized(codes)
    nothing = ~np.isfinite(values).all(axis=1)
    missing = Counter({NO_FILE: int((~held).sum()), NO_VECTOR: int((held & nothing).sum())})
    return ProductNumbers(product, BANDS, values, +missing, year, digest.hexdigest())


def _read(product: Product, path: Path, sites: Sites) -> tuple[NDArray[Any], NDArray[np.int8]]:
    """Which places a file holds, and the codes of these."""
    with label_raster(path) as file:
        _check(product, path, file)
        moved = Transformer.from_crs("EPSG:4326", sound_crs(path, file.crs), always_xy=True)
        east, north = (np.asarray(each) for each in moved.transform(sites.lon, sites.lat))
        place = ~file.transform
        # Files of some mirrors have their first row in the south.
        cols = np.floor(place.a * east + place.b * north + place.c)
        rows = np.floor(place.d * east + place.e * north + place.f)
        inside = (cols >= 0) & (cols < file.width) & (rows >= 0) & (rows < file.height)
        chosen = np.flatnonzero(inside)
        rows, cols = rows[chosen].astype(np.int64), cols[chosen].astype(np.int64)
        codes = np.full((len(chosen), len(BANDS)), NODATA, np.int8)
        for which, window in _windows(rows, cols, file.block_shapes[0]):
            part = file.read(window=window)
            codes[which] = part[:, rows[which] - window.row_off, cols[which] - window.col_off].T
    return chosen, codes


def _windows(
    rows: NDArray[np.int64], cols: NDArray[np.int64], block: tuple[int, int]
) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """Places block by block of a file, with the window that holds them."""
    at = np.stack([rows // block[0], cols // block[1]], axis=1)
    blocks, of = np.unique(at, axis=0, return_inverse=True)
    for number in range(len(blocks)):
        which = np.flatnonzero(of.ravel() == number)
        top, left = int(rows[which].min()), int(cols[which].min())
        height = int(rows[which].max()) - top + 1
        width = int(cols[which].max()) - left + 1
        yield which, rasterio.windows.Window(left, top, width, height)


def _check(product: Product, path: Path, file: Any) -> None:
    """Refuse a raster that is not one of AlphaEarth's."""
    kinds = set(file.dtypes)
    said = ""
    if file.count != len(BANDS) or kinds != {"int8"}:
        said = f"{file.count} bands of {', '.join(sorted(kinds))}, not {len(BANDS)} of int8"
    elif file.nodata not in (None, NODATA):
        said = f"{file.nodata:g} for no data, not {NODATA}"
    elif any(file.descriptions) and tuple(file.descriptions) != BANDS:
        said = f"the bands {', '.join(map(str, file.descriptions[:3]))} ..., not A00 to A63"
    if said:
        raise BadInput(f"{path} has {said}", product.parameter, product.source)
