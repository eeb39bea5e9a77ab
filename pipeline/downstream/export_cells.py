"""The cells of 0.1 degrees of a region: which they are, and their names.

A cell is named by its middle, `grid_LON_LAT_YEAR.tiff` with two decimals, as the published tiles
are that the official client downloads as GeoTIFF; torchgeo's `TesseraEmbeddings` (0.9 and later)
reads longitude, latitude and year out of that name. A published tile is the rectangle of its zone's
projection that holds the cell, EPSG:327NN in the south; ours is the same on the lattice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds, zone_of
from tessera_mosaic.pipeline.tiling.ownership import region_window

TENTHS = 10
"""Cells to a degree. Edges are counted in whole tenths, so that none is a little beside another."""


@dataclass(frozen=True)
class Cell:
    """A cell of 0.1 degrees.

    Parameters
    ----------
    col, row
        Its west and south edges in tenths of a degree.
    """

    col: int
    row: int

    @property
    def ground(self) -> BaseGeometry:
        """The cell in degrees."""
        west, south = self.col / TENTHS, self.row / TENTHS
        return shapely.box(west, south, (self.col + 1) / TENTHS, (self.row + 1) / TENTHS)

    @property
    def south(self) -> bool:
        """Whether it lies south of the equator."""
        return self.row < 0

    def window(self, zone: int) -> Window:
        """The pixels of its zone that hold it."""
        return region_window(zone, self.ground)

    def name(self, year: int) -> str:
        """Name of its file.

        Examples
        --------
        >>> Cell(29, 508).name(2024), Cell(-1, -1).name(2024)
        ('grid_2.95_50.85_2024.tiff', 'grid_-0.05_-0.05_2024.tiff')
        """
        lon, lat = ((edge + 0.5) / TENTHS for edge in (self.col, self.row))
        return f"grid_{lon:.2f}_{lat:.2f}_{year}.tiff"


def cells_on(windows: Sequence[Window], region: BaseGeometry | None) -> Iterator[tuple[int, Cell]]:
    """Cells of zones that lie on some windows and in a region, with their zones, row by row.

    Parameters
    ----------
    windows
        Windows of zones.
    region
        Polygon or MultiPolygon in degrees; None for all of the windows.
    """
    for window in windows:
        west, south, east, north = lonlat_bounds(window)
        cols = np.arange(np.floor(west * TENTHS), np.ceil(east * TENTHS)).astype(int)
        cols = (cols + 180 * TENTHS) % (360 * TENTHS) - 180 * TENTHS
        cols = cols[zone_of((cols + 0.5) / TENTHS) == window.zone]
        for row in range(int(np.ceil(north * TENTHS)) - 1, int(np.floor(south * TENTHS)) - 1, -1):
            for col in cols.tolist():
                cell = Cell(col, row)
                if region is None or shapely.intersection(region, cell.ground).area > 0:
                    yield window.zone, cell
