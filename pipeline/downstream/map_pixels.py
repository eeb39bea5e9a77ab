"""The pixels of a map, by windows and one by one, whoever wrote it.

A map may come from `map`, or from anybody who keeps its layout: a Zarr group a zone with `class` or
`value` (time, y, x) on the lattice, whole or a part of it that its coordinates `x` and `y` place.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray
import zarr
import zarr.storage
from numpy.typing import NDArray
from pyproj import Proj

from tessera_mosaic.model.heads.files import decode_head
from tessera_mosaic.model.heads.head import Head, HeadError
from tessera_mosaic.pipeline.downstream.map_layout import (
    NO_DATA,
    UNKNOWN,
    UNKNOWN_COLOUR,
    MapClass,
    map_digest,
)
from tessera_mosaic.pipeline.downstream.map_store import ATTRIBUTE, VERSION
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.strict import check_format
from tessera_mosaic.pipeline.ledger.keys import HEAD
from tessera_mosaic.pipeline.tiling.lattice import (
    HEIGHT,
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
    WIDTH,
    Window,
    to_lonlat,
    zone_crs,
)

LARGEST_WINDOW = 2048
"""Side in pixels of the windows in which a map is read: some 100 MB with all that is made of it."""

NODES = 64
"""Pixels between which the size of a pixel is interpolated: it changes by 1e-6 there."""

OF_CLASSES, OF_VALUES = "class", "value"


@dataclass(frozen=True)
class _Part:
    """The array of a zone, and where on the lattice it begins."""

    group: str
    array: Any
    row: int
    col: int
    chunk: tuple[int, int]
    keys: tuple[tuple[int, int, int], ...]


class MapPixels:
    """A map of one year.

    Parameters
    ----------
    url
        Path or URL of the map.
    year
        Calendar year; None for the only one that the map has.
    parameter
        Name of the parameter that gave the path, for messages.

    Raises
    ------
    BadInput
        If there is no map, or not of the year, or of several and none was named, or if it is of a
        later format.
    """

    def __init__(self, url: str, year: int | None = None, parameter: str = "map") -> None:
        self.storage = Storage(url)
        self.url = self.storage.url
        try:
            self._root: Any = zarr.open_group(self._store(), mode="r")
        except (FileNotFoundError, ValueError):
            raise BadInput("there is no map: make one with `map`", parameter, url) from None
        self.attributes: dict[str, Any] = dict(self._root.attrs)
        check_format(self.attributes.get(ATTRIBUTE, {}), "version", VERSION, self.url)
        names = sorted(name for name in self._root.group_keys() if re.fullmatch(r"utm\d\d", name))
        groups: dict[int, Any] = {int(name[3:]): self._root[name] for name in names}
        kinds = [
            kind for kind in (OF_CLASSES, OF_VALUES) if any(kind in g for g in groups.values())
        ]
        if not kinds:
            raise BadInput("it is no map of classes or values", parameter, url)
        self.kind = kinds[0]
        parts = {zone: self._part(group) for zone, group in groups.items() if self.kind in group}
        self.year, self._step = self._chosen(parts, year, parameter)
        self._parts = parts
        self.classes = self._classes()

    @property
    def of_classes(self) -> bool:
        """Whether it is a map of classes, and not of values."""
        return self.kind == OF_CLASSES

    @property
    def unit(self) -> str:
        """Unit of the values; empty where nobody named one."""
        return str(self.attributes.get(ATTRIBUTE, {}).get("unit", ""))

    @functools.cached_property
    def digest(self) -> str:
        """What tells the map from others: `m` and 15 hexadecimal digits."""
        told = self.attributes.get(ATTRIBUTE, {}).get("identity")
        told = {"classes": self.attributes.get("classes")} if told is None else told
        return map_digest(told, self.kind, self.year)

    def windows(self) -> Iterator[Window]:
        """Windows that hold all pixels of the map, each once, zone by zone, row by row."""
        for zone, part in sorted(self._parts.items()):
            height, width = part.array.shape[-2:]
            for step, i, j in part.keys:
                if step == self._step:
                    row, col = i * part.chunk[0], j * part.chunk[1]
                    window = Window(
                        zone,
                        part.row + row,
                        part.col + col,
                        min(part.chunk[0], height - row),
                        min(part.chunk[1], width - col),
                    )
                    yield from window.blocks(LARGEST_WINDOW)

    def has(self, name: str) -> bool:
        """Whether the map has an array of this name."""
        return all(name in self._root[part.group] for part in self._parts.values())

    def read(self, window: Window, name: str = "") -> NDArray[Any]:
        """An array of a window, fill where the map has nothing.

        Parameters
        ----------
        window
            Any rectangle of the lattice.
        name
            Name of the array, by default that of the classes or values.

        Returns
        -------
        (height, width), or (bands, height, width) of an array with such an axis
        """
        part = self._parts.get(window.zone)
        array = None if part is None else self._array(part, name)
        if part is None or array is None:
            return np.full(window.shape, self._fill(name))
        height, width = array.shape[-2:]
        top, left = max(window.row - part.row, 0), max(window.col - part.col, 0)
        bottom = min(window.row - part.row + window.height, height)
        right = min(window.col - part.col + window.width, width)
        extra = array.shape[1:-2] if array.ndim == 4 else ()
        values = np.full((*extra, *window.shape), array.fill_value, array.dtype)
        if top < bottom and left < right:
            inside = Window(
                window.zone, part.row + top, part.col + left, bottom - top, right - left
            )
            values[(..., *inside.within(window))] = array[
                (self._step, ..., slice(top, bottom), slice(left, right))
            ]
        return values

    def at(
        self, zone: int, rows: NDArray[np.int64], cols: NDArray[np.int64], name: str = ""
    ) -> NDArray[Any]:
        """Values of single pixels of a zone, fill where the map has nothing: (pixels,)."""
        part = self._parts.get(zone)
        array = None if part is None else self._array(part, name)
        if part is None or array is None:
            return np.full(len(rows), self._fill(name))
        height, width = array.shape[-2:]
        row, col = rows - part.row, cols - part.col
        inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        values = np.full(len(rows), array.fill_value, array.dtype)
        if inside.any():
            steps = np.full(int(inside.sum()), self._step)
            values[inside] = array.vindex[steps, row[inside], col[inside]]
        return values

    def trained_on(
        self, zones: NDArray[np.int64], rows: NDArray[np.int64], cols: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which pixels the map's head was trained on, as far as the map tells: bool (pixels,)."""
        if self._head is None:
            return np.zeros(len(zones), bool)
        return self._head.was_trained_on(zones, rows, cols)

    @property
    def tells_training(self) -> bool:
        """Whether the map tells which pixels its head was trained on."""
        return self._head is not None

    @property
    def training_pixels(self) -> int:
        """Number of pixels that the map's head was trained on, as far as the map tells."""
        return 0 if self._head is None else len(self._head.pixels)

    @functools.cached_property
    def _head(self) -> Head | None:
        """The head that the map was made with, where it lies beside it.

        Raises
        ------
        BadInput
            If it is damaged: nobody could say then which pixels it was trained on.
        """
        try:
            return decode_head(self.storage.read_document(HEAD))
        except FileNotFoundError:
            return None
        except HeadError as error:
            raise BadInput(f"{self.url}: {HEAD}: {error}; run `map` again") from None

    def _store(self) -> Any:
        if self.storage.folder is not None:
            return zarr.storage.LocalStore(self.storage.folder, read_only=True)
        return zarr.storage.FsspecStore.from_url(
            self.storage.url, storage_options=self.storage.options, read_only=True
        )

    def _array(self, part: _Part, name: str) -> Any:
        if name in ("", self.kind):
            return part.array
        group = self._root[part.group]
        return group.get(name)

    def _fill(self, name: str) -> Any:
        of_classes = self.kind == OF_CLASSES if name in ("", self.kind) else name == "confidence"
        return np.uint8(NO_DATA) if of_classes else np.float32(np.nan)

    def _part(self, group: Any) -> _Part:
        array = group[self.kind]
        if array.ndim != 3:
            raise BadInput(f"{self.url}: {array.path} has no axes time, y, x")
        row = col = 0
        if array.shape[-2:] != (HEIGHT, WIDTH):
            west, north = (float(group[name][0]) for name in ("x", "y"))
            place = (
                (NORTH_EDGE - north) / PIXEL - 0.5,
                (west - WEST_EDGE) / PIXEL - 0.5,
            )
            row, col = round(place[0]), round(place[1])
            if (row, col) != place:
                raise BadInput(f"{self.url}: {array.path} is not on the lattice")
        chunk = (array.shards or array.chunks)[-2:]
        prefix = f"{array.path}/c/"
        found = (key.removeprefix(prefix).split("/") for key in self.storage.list(prefix))
        keys = sorted(
            (int(key[0]), int(key[1]), int(key[2]))
            for key in found
            if len(key) == 3 and all(each.isdigit() for each in key)
        )
        return _Part(array.path.split("/")[0], array, row, col, chunk, tuple(keys))

    def _chosen(self, parts: dict[int, _Part], year: int | None, parameter: str) -> tuple[int, int]:
        """The year that is asked for, and its place on the time axis."""
        steps = sorted({key[0] for part in parts.values() for key in part.keys})
        first = next(iter(parts.values()))
        axis = _calendar_years(self._root[first.group]["time"])
        have = {axis[step]: step for step in steps}
        if not have:
            raise BadInput("the map has no pixel yet", parameter, self.url)
        named = "year" if parameter == "map" else f"{parameter}_year"
        if year is None and len(have) > 1:
            raise BadInput(f"{self.url} has {', '.join(map(str, have))}: name one", named)
        chosen = next(iter(have)) if year is None else year
        if chosen not in have:
            raise BadInput(f"{self.url} has {', '.join(map(str, have))}", named, year)
        return chosen, have[chosen]

    def _classes(self) -> tuple[MapClass, ...]:
        """Classes by code, with that of unknown pixels last; none for a map of values."""
        if not self.of_classes:
            return ()
        try:
            told = [_map_class(each) for each in self.attributes["classes"]]
        except (KeyError, TypeError, ValueError):
            raise BadInput(
                f"{self.url}: its attribute `classes` does not list code, name and colour"
            ) from None
        names = [each.name for each in told]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise BadInput(f"{self.url} has two classes named {double}")
        unknown = "unknown" if "unknown" not in names else f"unknown ({UNKNOWN})"
        return (*told, MapClass(UNKNOWN, unknown, UNKNOWN_COLOUR))


def _calendar_years(axis: Any) -> list[int]:
    """Years of a time axis, which holds them as whole numbers, or dates as xarray writes them."""
    units = axis.attrs.get("units")
    if units is None:
        return [int(each) for each in axis[:]]
    dates = xarray.Dataset({"time": ("time", axis[:], dict(axis.attrs))})
    return [int(each) for each in xarray.decode_cf(dates)["time"].dt.year.values]


def _map_class(fields: dict[str, Any]) -> MapClass:
    """A class that a map lists; its colour may be `#rrggbb` or three numbers."""
    colour = fields["colour"]
    if isinstance(colour, list | tuple):
        fields = fields | {"colour": f"#{bytes(int(each) for each in colour).hex()}"}
    return MapClass.from_json(fields)


def column_areas(window: Window) -> NDArray[np.float64]:
    """True size of the pixels in each column of a window, in square metres.

    A pixel of 10 m by 10 m on the map is 99.8 to 100.1 m2 on the ground, by the scale factor of
    UTM, which changes with the distance from the zone's central meridian and hardly along it.

    Parameters
    ----------
    window
        Rectangle of the lattice, up to `LARGEST_WINDOW` a side.

    Returns
    -------
    float64 (width,)

    Examples
    --------
    >>> centre = column_areas(Window(31, 300_000, 34_815, 1, 1))
    >>> round(float(centre[0]), 2)
    100.08
    """
    columns = np.arange(window.width)
    nodes = np.unique(np.append(columns[::NODES], columns[-1]))
    east = window.west + (nodes + 0.5) * PIXEL
    north = np.full(len(nodes), window.north - window.height * PIXEL / 2)
    lon, lat = to_lonlat(window.zone).transform(east, north)
    scale = np.array(_projection(window.zone).get_factors(lon, lat).areal_scale)
    return np.interp(columns, nodes, PIXEL**2 / scale)


@functools.cache
def _projection(zone: int) -> Proj:
    return Proj(zone_crs(zone))
