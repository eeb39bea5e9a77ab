"""Embeddings that were made elsewhere: arrays in files, and where their pixels lie.

They come as one pair of arrays with a `grid.json`, as folders that `encode` wrote, or as a tree of
the published cells of 0.1 degrees, `grid_LON_LAT.npy` with its `_scales.npy`, each of which has a
landmask `grid_LON_LAT.tiff` that says where the cell lies.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from tessera_mosaic.pipeline.errors import BadInput, SceneError
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.local_files import is_litter
from tessera_mosaic.pipeline.io.regular_files import ALONE, read_part
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, count_array
from tessera_mosaic.pipeline.tiling.lattice import (
    HEIGHT,
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
    WIDTH,
    Window,
)

GRID = "grid.json"
CODES, SCALES = "codes.npy", "scales.npy"

CELL = re.compile(r"grid_(-?\d{1,3}\.\d\d)_(-?\d{1,2}\.\d\d)\.npy")
"""Name of the codes of a cell, by the longitude and latitude of its centre."""

SOUTH = 10_000_000
"""Northing of the equator in the projections of the south, in metres."""

SAME = 1e-3
"""Metres by which pixels may lie apart and count as the same."""

MOST_GRIDS = 20_000
"""Grids that are adopted in one call: every worker is told of all."""

MOST_DESCRIPTION = 1 << 20
"""Bytes of the largest `grid.json` that is read."""

Affine = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Grid:
    """Arrays of embeddings, and where their pixels lie.

    Parameters
    ----------
    name
        What records call it.
    codes, scales
        Paths of the arrays: int8 (height, width, dims) and float32 (height, width).
    counts
        Name of each observation count that is known, and the path of its array, uint16 (height,
        width).
    land
        Path of the landmask of a cell; None where there is none.
    crs
        Reference system, as `EPSG:...` or WKT.
    transform
        Affine a, b, c, d, e, f of the north-west corner, in units of the reference system.
    shape
        Number of rows, of columns, and of values of an embedding.
    cell
        Column and row of the 0.1 degree cell that it is, from longitude and latitude 0; None for
        any other grid.
    """

    name: str
    codes: str
    scales: str
    counts: tuple[tuple[str, str], ...]
    land: str | None
    crs: str
    transform: Affine
    shape: tuple[int, int, int]
    cell: tuple[int, int] | None = None

    def files(self) -> Iterator[tuple[str, str]]:
        """Name and path of each file that it is read from."""
        paths = [self.codes, self.scales, *(path for _, path in self.counts)]
        for path in [*paths, *([self.land] if self.land else [])]:
            folder = self.name.rpartition("/")[0]
            yield f"{folder}/{Path(path).name}" if folder else Path(path).name, path

    def window(self) -> Window:
        """The pixels of the lattice that its own pixels are.

        Raises
        ------
        BadInput
            If its pixels are not those of the lattice, with how far off they are.
        """
        zone, south = _utm(self.crs)
        a, b, west, d, e, north = self.transform
        if zone is None:
            raise _elsewhere(f"{_short(self.crs)} of {self.name} is no UTM zone's")
        if (a, b, d, e) != (PIXEL, 0, 0, -PIXEL):
            raise _elsewhere(
                f"those of {self.name} are {a:g} by {-e:g} m{' and turned' if b or d else ''}, "
                f"not {PIXEL} by {PIXEL} m"
            )
        col, east_of = _nearest((west - WEST_EDGE) / PIXEL)
        row, south_of = _nearest((NORTH_EDGE - (north - south)) / PIXEL)
        if max(abs(east_of), abs(south_of)) > SAME:
            raise _elsewhere(
                f"those of {self.name} lie {_offset(east_of, 'east', 'west')} and "
                f"{_offset(south_of, 'south', 'north')} of them"
            )
        height, width, _ = self.shape
        if not (0 <= row <= HEIGHT - height and 0 <= col <= WIDTH - width):
            raise BadInput(f"{self.name} lies beyond the ground of its zone: check its transform")
        return Window(zone, row, col, height, width)


def _elsewhere(how: str) -> BadInput:
    """The error of a grid whose pixels are not those of the lattice."""
    return BadInput(f"without it pixels have to be those of the lattice, and {how}", "nearest")


def _utm(crs: str) -> tuple[int | None, int]:
    """Number of a UTM zone, and northing of its equator in metres."""
    code = CRS.from_user_input(crs).to_epsg() or 0
    if 32601 <= code <= 32660:
        return code - 32600, 0
    if 32701 <= code <= 32760:
        return code - 32700, SOUTH
    return None, 0


def _nearest(pixels: float) -> tuple[int, float]:
    """The whole number nearest to a number of pixels, and the metres by which it is more."""
    whole = round(pixels)
    return whole, (pixels - whole) * PIXEL


def _offset(metres: float, positive: str, negative: str) -> str:
    return f"{abs(metres):.3f} m {positive if metres >= 0 else negative}"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def array_grid(
    codes: Path, scales: Path, georef: Path, counts: Iterable[tuple[str, Path]], name: str
) -> Grid:
    """A grid of arrays beside which a JSON file says where they lie.

    Parameters
    ----------
    codes, scales
        Paths of the arrays.
    georef
        Path of a JSON file with `crs` and `transform`, six affine numbers a, b, c, d, e, f.
    counts
        Names of the observation counts that are known, with the paths of their arrays.
    name
        What records and messages call the grid.

    Raises
    ------
    BadInput
        If a file is not there, is none of these, or they do not fit together.
    """
    crs, transform = read_georef(georef)
    known = dict(counts)
    ordered = tuple((each, str(known[each])) for each in COUNTS if each in known)
    return _checked(Grid(name, str(codes), str(scales), ordered, None, crs, transform, (0, 0, 0)))


def read_georef(path: Path) -> tuple[str, Affine]:
    """Reference system and affine transform of a grid.

    Raises
    ------
    BadInput
        If the file does not tell them.
    """
    wanted = 'it needs {"crs": "EPSG:32610", "transform": [a, b, c, d, e, f]}'
    try:
        if path.stat().st_size > MOST_DESCRIPTION:
            raise BadInput(f"{path} is no description of a grid: {wanted}")
        told = read_json(read_part(str(path), 0, MOST_DESCRIPTION))
        crs = str(told["crs"])
        CRS.from_user_input(crs)
        a, b, c, d, e, f = (float(number) for number in told["transform"])
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    except SceneError as error:
        raise BadInput(str(error)) from None
    except CRSError:
        raise BadInput(f"{path} declares an unknown reference system, {crs[:80]!r}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadInput(f"{path} does not say where the grid lies: {wanted}") from None
    if not all(map(math.isfinite, (a, b, c, d, e, f))) or a * e - b * d == 0:
        raise BadInput(f"{path}: its transform has no pixels: {wanted}")
    return crs, (a, b, c, d, e, f)


def grids_below(folder: Path, year: int) -> list[Grid]:
    """All grids of a folder and of the folders below it, by name.

    Parameters
    ----------
    folder
        Folder that `encode` wrote, a folder of such, or a tree of cells.
    year
        Calendar year: where a tree has folders of several years, those of others are left out.

    Raises
    ------
    BadInput
        If there is none, there are too many, or one cannot be used.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (".npy", ".tif", ".tiff") and not is_litter(path.name)
    )
    masks = {path.stem: path for path in paths if path.suffix != ".npy"}
    grids = []
    for path in paths:
        if not _of_year(path.relative_to(folder), year):
            continue
        if path.name == CODES:
            grids.append(_encoded(path.parent, folder))
        elif cell := CELL.fullmatch(path.name):
            grids.append(_cell(path, masks.get(path.stem), cell, folder))
    if not grids:
        raise BadInput(
            f"{folder} has no {CODES} with a {GRID}, and no cell grid_LON_LAT.npy of {year}"
        )
    if len(grids) > MOST_GRIDS:
        raise BadInput(
            f"{folder} has {len(grids):,} grids, and at most {MOST_GRIDS:,} are adopted at once: "
            "adopt a part of the folder at a time, whole tiles each"
        )
    first = grids[0]
    for other in grids[1:]:
        if other.shape[2] != first.shape[2]:
            raise BadInput(
                f"{other.name} has {other.shape[2]} values a pixel and {first.name} has "
                f"{first.shape[2]}: they are not of one product"
            )
        if [name for name, _ in other.counts] != [name for name, _ in first.counts]:
            raise BadInput(
                f"{other.name} and {first.name} have different observation counts: give all of "
                "them the same, or none any"
            )
    return grids


def _encoded(folder: Path, root: Path) -> Grid:
    """The grid that `encode` wrote into a folder."""
    place = folder.relative_to(root)
    name = str(place / CODES)
    if not (folder / GRID).is_file():
        raise BadInput(f"{folder} has no {GRID} that says where its pixels lie")
    files = ((each, folder / f"{count_array(each)}.npy") for each in COUNTS)
    counts = [(each, path) for each, path in files if path.is_file()]
    return array_grid(folder / CODES, folder / SCALES, folder / GRID, counts, name)


def _cell(codes: Path, mask: Path | None, named: re.Match[str], root: Path) -> Grid:
    """A cell of a published tree."""
    name = str(codes.relative_to(root))
    if mask is None:
        raise BadInput(f"{name} has no landmask {codes.stem}.tiff, which says where it lies")
    try:
        with rasterio.Env(**ALONE), rasterio.open(mask, driver="GTiff") as file:
            if file.crs is None or file.count != 1:
                raise BadInput(f"{mask} is no landmask: it needs one band and a reference system")
            crs, shape = file.crs.to_string(), (file.height, file.width)
            transform: Affine = tuple(file.transform)[:6]
    except rasterio.errors.RasterioError as error:
        raise BadInput(f"{mask} cannot be read as a raster: {error}") from None
    scales = codes.with_name(f"{codes.stem}_scales.npy")
    # Centres lie half a cell east and north of the edge.
    cell = (math.floor(float(named[1]) * 10), math.floor(float(named[2]) * 10))
    grid = Grid(name, str(codes), str(scales), (), str(mask), crs, transform, (0, 0, 0), cell)
    checked = _checked(grid)
    if checked.shape[:2] != shape:
        raise BadInput(f"{name} has {checked.shape[:2]} pixels, and its landmask {shape}")
    return checked


def _of_year(path: Path, year: int) -> bool:
    """Whether a path below a folder is that of a year, as far as the folders on it say so."""
    years = [part for part in path.parent.parts if re.fullmatch(r"(19|20)\d\d", part)]
    return not years or str(year) in years


def _checked(grid: Grid) -> Grid:
    """The grid with its shape, once its arrays fit together."""
    codes = open_array(grid.codes)
    if codes.dtype != np.int8 or codes.ndim != 3 or 0 in codes.shape:
        raise BadInput(f"{grid.codes} is {_kind(codes)}: codes are int8 (height, width, dims)")
    height, width, dims = codes.shape
    planes = [("scales", grid.scales, "float32"), *((n, p, "uint16") for n, p in grid.counts)]
    for name, path, dtype in planes:
        plane = open_array(path)
        if plane.dtype != np.dtype(dtype) or plane.shape != (height, width):
            raise BadInput(
                f"{path} is {_kind(plane)}: {name} of these codes are {dtype} ({height}, {width})"
            )
    return Grid(**vars(grid) | {"shape": (height, width, dims)})


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype} {array.shape}"


def open_array(path: str | Path) -> NDArray[Any]:
    """An array of a `.npy` file, of which nothing is read before it is used.

    Raises
    ------
    BadInput
        If there is none.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise BadInput(f"{path} is no file")
    try:
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or 'it is no .npy file'}") from None
    except (ValueError, EOFError, SyntaxError):
        raise BadInput(f"{path} is no .npy file of numbers") from None
    if not isinstance(found, np.ndarray):
        raise BadInput(f"{path} holds several arrays: give a .npy file")
    return found
