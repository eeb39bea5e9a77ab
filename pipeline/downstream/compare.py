"""One mosaic beside another, pixel by pixel: where they are equal, how far apart, where they differ
in what they hold at all.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, open_any, part_of
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, model_name
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, zone_group
from tessera_mosaic.pipeline.tiling.ownership import region_window
from tessera_mosaic.pipeline.tiling.region import wanted_pixels

BLOCK = 512
"""Side in pixels of the blocks that are compared at once, and of those of the map."""

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

COSINES = np.linspace(-1.0, 1.0, 20_001)
RATIOS = np.exp2(np.linspace(-8.0, 8.0, 3_201))
"""Edges of the bins in which cosines, and ratios of scales, are counted: percentiles are known to
.0001 and to a third of a percent, in memory that does not grow."""

STATES = ("embedded", "water", "nothing")
"""What a mosaic may hold of a pixel."""


@dataclass(frozen=True)
class CompareRequest:
    """Two mosaics to compare.

    Parameters
    ----------
    one, other
        Paths or URLs of the mosaics, of ours or published by somebody else.
    region
        Part of the Earth, as `AreaRequest` has it.
    year
        Calendar year, which both have.
    out
        Folder for the table, the map of the cosine and `compare.json`; None for none of them.

    Examples
    --------
    >>> tm.CompareRequest("valley.zarr", "other.zarr", "2.99,50.84,3.0,50.85", 2024).out is None
    True
    """

    one: str
    other: str
    region: str
    year: int
    out: str | Path | None = None


@dataclass
class TileComparison:
    """What the pixels of a tile come to.

    Parameters
    ----------
    tile
        Name of the tile of the first mosaic.
    compared
        Number of pixels that both have embedded.
    equal
        Number of those whose codes are all equal.
    equal_scales
        Number of those whose scales are equal, too.
    cosine_sum, cosine_least
        Sum and least of their cosines.
    only_one, only_other
        Number of pixels that only the first, or only the other mosaic has embedded.
    """

    tile: str
    compared: int = 0
    equal: int = 0
    equal_scales: int = 0
    cosine_sum: float = 0.0
    cosine_least: float = 1.0
    only_one: int = 0
    only_other: int = 0

    def row(self) -> dict[str, Any]:
        """The tile's row of the table."""
        told = asdict(self)
        total = told.pop("cosine_sum")
        told["cosine_mean"] = round(total / self.compared, 6) if self.compared else None
        least = told.pop("cosine_least")
        told["cosine_least"] = round(least, 6) if self.compared else None
        return told


@dataclass
class Comparison:
    """What a comparison comes to.

    Parameters
    ----------
    one, other
        What the mosaics are: where they lie, their model and fingerprint.
    year
        Calendar year.
    states
        Number of the region's pixels by what the first mosaic holds of them, and the other:
        `embedded`, `water` or `nothing`.
    equal, equal_scales
        Number of the pixels embedded in both whose codes are all equal; and whose scales are, too.
    codes_equal
        Number of their single codes that are equal.
    no_direction
        Number of them of which one has nothing but zeros, so that there is no cosine.
    dims
        Number of values of an embedding.
    tiles
        What each tile comes to.
    cosines, ratios
        How the cosines of these pixels are distributed, and the scales of the other mosaic in units
        of those of the first.
    """

    one: dict[str, str]
    other: dict[str, str]
    year: int
    dims: int
    states: dict[str, dict[str, int]] = field(
        default_factory=lambda: {a: dict.fromkeys(STATES, 0) for a in STATES}
    )
    equal: int = 0
    equal_scales: int = 0
    codes_equal: int = 0
    no_direction: int = 0
    tiles: list[TileComparison] = field(default_factory=list)
    cosines: Spread = field(default_factory=lambda: Spread(COSINES))
    ratios: Spread = field(default_factory=lambda: Spread(RATIOS))

    @property
    def compared(self) -> int:
        """Number of pixels that both mosaics have embedded."""
        return self.states["embedded"]["embedded"]

    def to_json(self) -> dict[str, Any]:
        """The fields of `compare --json`."""
        plain = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("tiles", "cosines", "ratios")
        }
        return plain | {
            "compared": self.compared,
            "cosine": self.cosines.to_json(),
            "scale_ratio": self.ratios.to_json(),
            "tiles": [tile.row() for tile in self.tiles],
        }


class Spread:
    """How values are distributed: counted in bins, with their exact mean, least and greatest.

    Parameters
    ----------
    edges
        Edges of the bins, ascending.
    """

    def __init__(self, edges: NDArray[np.float64]) -> None:
        self._edges = edges
        self._counts = np.zeros(len(edges) - 1, np.int64)
        self._sum, self._least, self._most = 0.0, np.inf, -np.inf

    def add(self, values: NDArray[np.float64]) -> None:
        """Count some values."""
        if len(values):
            inside = np.clip(values, self._edges[0], self._edges[-1])
            self._counts += np.histogram(inside, self._edges)[0]
            self._sum += float(values.sum())
            self._least = min(self._least, float(values.min()))
            self._most = max(self._most, float(values.max()))

    def to_json(self) -> dict[str, float] | None:
        """Mean, least, greatest and percentiles; None where there are no values."""
        total = int(self._counts.sum())
        if not total:
            return None
        sums = np.cumsum(self._counts)
        told = {"mean": self._sum / total, "least": self._least, "greatest": self._most}
        for percent in PERCENTILES:
            at = int(np.searchsorted(sums, max(percent / 100 * total, 1)))
            told[f"p{percent}"] = float(np.clip(self._edges[at + 1], self._least, self._most))
        return {name: round(value, 6) for name, value in told.items()}


def compare(
    request: CompareRequest, tell: Callable[[int, int], None] = lambda done, all_: None
) -> Comparison:
    """Compare two mosaics pixel by pixel.

    Cosines are of the codes alone, which the scales do not turn. With a folder for it, the table of
    the tiles goes to `tiles.csv`, the map of the cosine to `cosine-utmNN.tif`, a file a zone, and
    all else to `compare.json`.

    Parameters
    ----------
    request
        The mosaics, the region and the year.
    tell
        Called with the number of tiles that are done, and of all.

    Raises
    ------
    BadInput
        If a mosaic, the region or the year cannot be used, or the embeddings have other lengths.

    Examples
    --------
    >>> request = tm.CompareRequest("valley.zarr", "valley.zarr", "2.995,50.845,3,50.85", 2024)
    >>> found = tm.compare(request)
    >>> found.equal == found.compared, found.to_json()["cosine"]["p1"]
    (True, 1.0)
    """
    one, other = open_any(request.one), open_any(request.other)
    dims = one.layout.dims
    if other.layout.dims != dims:
        raise BadInput(
            f"{request.one} has {dims} values a pixel and {request.other} has "
            f"{other.layout.dims}: they cannot be compared"
        )
    for mosaic in (one, other):
        mosaic.check_made(request.year)
    side = one.layout.side
    area = read_area(AreaRequest(request.region, side, margin=0))
    tiles = list(area.tiles())
    found = Comparison(_told(one), _told(other), request.year, dims)
    with ExitStack() as opened:
        maps: dict[int, Any] = {}
        if request.out is not None:
            make_directory(request.out)
            for zone in sorted({tile.zone for tile in tiles}):
                window = _whole_blocks(region_window(zone, area.region))
                path = Path(request.out) / f"cosine-{zone_group(zone)}.tif"
                maps[zone] = window, opened.enter_context(_new_map(path, window))
        for number, tile in enumerate(tiles, 1):
            for block, mine, pair in _blocks(one, other, tile, area.region, request.year):
                cosine = _add(found, tile, mine, *pair)
                if tile.zone in maps:
                    window, file = maps[tile.zone]
                    _draw(file, window, block, cosine)
            tell(number, len(tiles))
    if request.out is not None:
        _write(found, Path(request.out))
    return found


def _told(mosaic: AnyMosaic) -> dict[str, str]:
    return {
        "store": mosaic.storage.url,
        "model": model_name(mosaic.identity),
        "fingerprint": fingerprint(mosaic.identity),
    }


def _blocks(
    one: AnyMosaic, other: AnyMosaic, tile: Tile, region: BaseGeometry, year: int
) -> Iterator[tuple[Window, NDArray[np.bool_], tuple[Pixels, Pixels]]]:
    """Blocks of a tile that have pixels of the region, which of them, and what the mosaics hold."""
    for block in tile.window.blocks(min(BLOCK, tile.side)):
        mine = wanted_pixels(block, 0, region)
        if mine.any():
            yield block, mine, (part_of(one, block, year), part_of(other, block, year))


def _states(pixels: Pixels) -> NDArray[np.int64]:
    """Numbers of the states of pixels, as `STATES` counts them."""
    water = np.where(np.isnan(pixels.scales), 1, 2)
    return np.where(np.isfinite(pixels.scales), 0, water)


def _add(
    found: Comparison, tile: Tile, mine: NDArray[np.bool_], one: Pixels, other: Pixels
) -> NDArray[np.float32]:
    """Count the pixels of a block; their cosines, float32 (height, width), NaN where none is."""
    here, there = _states(one), _states(other)
    for a, name in enumerate(STATES):
        for b, beside in enumerate(STATES):
            found.states[name][beside] += int((mine & (here == a) & (there == b)).sum())
    both = mine & (here == 0) & (there == 0)
    if not found.tiles or found.tiles[-1].tile != tile.name:
        found.tiles.append(TileComparison(tile.name))
    row = found.tiles[-1]
    row.only_one += int((mine & (here == 0) & (there != 0)).sum())
    row.only_other += int((mine & (here != 0) & (there == 0)).sum())
    cosine = np.full(mine.shape, np.nan, np.float32)
    if not both.any():
        return cosine
    a, b = one.codes[both], other.codes[both]
    same = a == b
    equal = same.all(axis=1)
    scales = one.scales[both], other.scales[both]
    row.compared += len(a)
    row.equal += int(equal.sum())
    row.equal_scales += int((equal & (scales[0] == scales[1])).sum())
    found.equal += int(equal.sum())
    found.equal_scales += int((equal & (scales[0] == scales[1])).sum())
    found.codes_equal += int(same.sum())
    # Sums of products of codes are whole numbers that float32 holds exactly.
    long, wide = a.astype(np.float32), b.astype(np.float32)
    products = [
        np.einsum("ij,ij->i", x, y).astype(np.float64)
        for x, y in ((long, wide), (long, long), (wide, wide))
    ]
    length = np.sqrt(products[1] * products[2])
    known = length > 0
    values = products[0][known] / length[known]
    found.no_direction += int((~known).sum())
    found.cosines.add(values)
    found.ratios.add(scales[1].astype(np.float64) / scales[0])
    row.cosine_sum += float(values.sum())
    row.cosine_least = min(row.cosine_least, float(values.min(initial=1.0)))
    drawn = np.full(len(a), np.nan, np.float32)
    drawn[known] = values
    cosine[both] = drawn
    return cosine


def _whole_blocks(window: Window) -> Window:
    """The smallest window of whole blocks that holds a window."""
    top, left = window.row // BLOCK * BLOCK, window.col // BLOCK * BLOCK
    bottom = -(-(window.row + window.height) // BLOCK) * BLOCK
    right = -(-(window.col + window.width) // BLOCK) * BLOCK
    return Window(window.zone, top, left, bottom - top, right - left)


def _new_map(path: Path, window: Window) -> Any:
    """A GeoTIFF of cosines, of which only blocks that are drawn take room."""
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=window.height,
        width=window.width,
        count=1,
        dtype="float32",
        nodata=np.nan,
        crs=window.crs,
        transform=rasterio.Affine(*window.transform),
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        compress="deflate",
        predictor=3,
        SPARSE_OK=True,
        BIGTIFF="IF_SAFER",
    )


def _draw(file: Any, window: Window, block: Window, cosine: NDArray[np.float32]) -> None:
    """Draw a block's part of the map, which may reach beyond the region."""
    top, left = block.row - window.row, block.col - window.col
    rows = slice(max(-top, 0), min(block.height, window.height - top))
    cols = slice(max(-left, 0), min(block.width, window.width - left))
    part = cosine[rows, cols]
    if part.size and np.isfinite(part).any():
        at = RasterWindow(left + cols.start, top + rows.start, part.shape[1], part.shape[0])
        file.write(part, 1, window=at)


def _write(found: Comparison, folder: Path) -> None:
    """Write the table and the numbers."""
    rows = [tile.row() for tile in found.tiles]
    with (folder / "tiles.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(TileComparison("").row()))
        table.writeheader()
        table.writerows(rows)
    (folder / "compare.json").write_text(json.dumps(found.to_json(), indent=1) + "\n")
