"""A field to ask for vectors, and what a head tells of them: one file, no mosaic and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tessera_mosaic.model.fields.fidelity import Fidelity
from tessera_mosaic.model.heads.head import Task
from tessera_mosaic.model.heads.scoring import scorer_of
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.downstream.field_file import field_state, read_field
from tessera_mosaic.pipeline.downstream.head_file import check_embeddings, check_extra, read_head
from tessera_mosaic.pipeline.downstream.map_layout import NO_DATA
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import NORTH_LIMIT, SOUTH_LIMIT, pixels_at


@dataclass(frozen=True)
class FieldPrediction:
    """What a head tells of places of a field.

    Parameters
    ----------
    classes
        Names of the classes by their codes; empty for a head of values.
    code
        Code of the most probable class of each place, uint8, as maps have it; 255 where nothing is
        known, and everywhere for a head of values.
    confidence
        Its probability, float32; NaN where nothing is known.
    value
        The value of each place, float32; NaN where nothing is known, and for a head of classes.
    """

    classes: Mapping[int, str]
    code: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    value: NDArray[np.float32]


class Field:
    """A region's embeddings as a function of place and year, from a file that `pack` wrote.

    Parameters
    ----------
    url
        Path or URL of the file.

    Raises
    ------
    BadInput
        If there is none, or it is not as it was written.

    Examples
    --------
    >>> region = "2.9911,50.8429,2.9956,50.8470"
    >>> request = tm.PackRequest("valley.zarr", "field.safetensors", region, (2024,), ratio=10)
    >>> _ = tm.pack(request)
    >>> field = tm.Field("field.safetensors")
    >>> field.years, field(2.995, 50.846, 2024).shape
    ((2024,), (128,))
    >>> field([2.995, 2.994], [50.846, 50.845], 2024).shape
    (2, 128)
    >>> field(3.1, 50.846, 2024)
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: lon 3.1: 3.1 E, 50.846 N is not in this field, which \
lies within 2.9911,50.8429,2.9957,50.8471
    """

    def __init__(self, url: str) -> None:
        self._url, self._told = url, read_field(url)
        windows = self._told.windows
        sizes = [window.height * window.width for window in windows]
        self._starts = np.cumsum([0, *sizes[:-1]])

    @property
    def years(self) -> tuple[int, ...]:
        """Calendar years that it holds."""
        return self._told.years

    @property
    def dims(self) -> int:
        """Number of values of a vector."""
        return self._told.field.dims

    @property
    def box(self) -> tuple[float, float, float, float]:
        """West, south, east and north edges in degrees of a box that holds it."""
        return self._told.box

    @property
    def model(self) -> str:
        """Name of the model that made the embeddings."""
        return self._told.model

    @property
    def mosaic(self) -> str:
        """Fingerprint of the mosaic that it was made from."""
        return self._told.mosaic

    @property
    def fidelity(self) -> Fidelity:
        """How close it comes to that mosaic, over all pixels that it holds."""
        return self._told.fidelity

    def __repr__(self) -> str:
        return f"Field({self._url!r}): {self.model}, {self.years}, within {_box(self.box)}"

    def __call__(self, lon: ArrayLike, lat: ArrayLike, year: ArrayLike) -> NDArray[np.float32]:
        """The vectors of the pixels that hold places, float32 (dims,) or (places, dims).

        Parameters
        ----------
        lon, lat
            Degrees; a number each, or arrays of one shape.
        year
            Calendar year; one for all places, or one of each.

        Returns
        -------
        float32
            NaN where the mosaic has no embedding.

        Raises
        ------
        BadInput
            If a place is not in the field, or a year.
        """
        shape, pixels, years = self._places(lon, lat, year)
        return self._told.field.vectors(pixels, years).reshape(*shape, self.dims)

    def predict(
        self, head: str, lon: ArrayLike, lat: ArrayLike, year: ArrayLike
    ) -> FieldPrediction:
        """What a head that `train` made tells of places.

        Parameters
        ----------
        head
            Path or URL of the head. It has to be of the same mosaic, and of the year.
        lon, lat, year
            As for the vectors.

        Raises
        ------
        BadInput
            If the head may not meet this field, or a place or a year is not in it.
        """
        told = read_head(head).head
        check_extra(told)
        embeddings = replace(field_state(self._told), kind=Kind.MOSAIC)
        check_embeddings(told, embeddings, self._url)
        shape, pixels, years = self._places(lon, lat, year)
        for place in np.unique(years):
            if self.years[place] not in told.years:
                trained = ", ".join(map(str, told.years))
                raise BadInput(
                    f"the head was trained on {trained}, and embeddings of another year are "
                    "shifted, which spoils what it says: train one for it",
                    "year",
                    self.years[place],
                )
        vectors = self._told.field.vectors(pixels, years)
        known = np.isfinite(vectors).all(axis=1)
        code = np.full(len(pixels), NO_DATA, np.uint8)
        confidence = np.full(len(pixels), np.nan, np.float32)
        value = confidence.copy()
        rows = np.ascontiguousarray(vectors[known].T)
        scored = scorer_of(told)(rows, np.ones(rows.shape[1], np.float32))
        if told.task is Task.CLASS:
            codes = np.array([each.code for each in told.classes], np.uint8)
            code[known], confidence[known] = codes[scored.best], scored.sure
        else:
            value[known] = scored.outputs[0]
        return FieldPrediction(
            {each.code: each.name for each in told.classes},
            code.reshape(shape),
            confidence.reshape(shape),
            value.reshape(shape),
        )

    def _places(
        self, lon: ArrayLike, lat: ArrayLike, year: ArrayLike
    ) -> tuple[tuple[int, ...], NDArray[np.int64], NDArray[np.int64]]:
        """Shape of what was asked, and the pixels and years of the field: int64 (places,)."""
        try:
            lons, lats, asked = np.broadcast_arrays(
                np.asarray(lon, np.float64), np.asarray(lat, np.float64), np.asarray(year)
            )
        except (TypeError, ValueError) as error:
            raise BadInput(f"longitudes, latitudes and years do not go together: {error}") from None
        years = self._years(asked.ravel())
        return lons.shape, self._pixels(lons.ravel(), lats.ravel()), years

    def _years(self, asked: NDArray[Any]) -> NDArray[np.int64]:
        if asked.dtype.kind not in "fiu" and len(asked):
            raise BadInput("a calendar year is a whole number", "year", str(asked[0]))
        held = np.array(self.years)
        at = np.minimum(np.searchsorted(held, asked), len(held) - 1)
        for year in asked[held[at] != asked]:
            told = ", ".join(map(str, self.years))
            raise BadInput(f"this field holds {told}", "year", year)
        return at.astype(np.int64)

    def _pixels(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.int64]:
        for name, degrees, least, most in (
            ("lon", lon, -180.0, 180.0),
            ("lat", lat, SOUTH_LIMIT, NORTH_LIMIT),
        ):
            for wrong in degrees[~((degrees >= least) & (degrees <= most))]:
                raise BadInput(f"it is {least:g} to {most:g} degrees", name, wrong)
        zones, rows, cols = pixels_at(lon, lat)
        pixels = np.full(len(lon), -1, np.int64)
        for start, window in zip(self._starts, self._told.windows, strict=True):
            row, col = rows - window.row, cols - window.col
            inside = (zones == window.zone) & (row >= 0) & (row < window.height)
            inside &= (col >= 0) & (col < window.width)
            pixels[inside] = start + row[inside] * window.width + col[inside]
        for at in np.flatnonzero(pixels < 0):
            raise BadInput(
                f"{lon[at]:g} E, {lat[at]:g} N is not in this field, which lies within "
                f"{_box(self.box)}",
                "lon",
                f"{lon[at]:g}",
            )
        return pixels


def _box(edges: Sequence[float]) -> str:
    return ",".join(f"{edge:.4f}" for edge in edges)
