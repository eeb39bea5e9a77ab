"""Products whose vectors are put side by side, and these at places: one way for all that fuse.

A product is named in one text: a path of a table or raster, or a kind and where it lies, such as
`mosaic:valley.zarr`, `alphaearth:aef/` or `geoclip`; `climate=worldclim.tif` calls it `climate`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.places import PlacePixels
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.folds import Ground


class ProductKind(StrEnum):
    """What a product is, which says how it is read."""

    MOSAIC = "mosaic"
    """A mosaic of embeddings, of ours or published by somebody else."""
    ALPHAEARTH = "alphaearth"
    """AlphaEarth: a folder of its COGs by year and UTM zone, or a table with A00 to A63."""
    GEOCLIP = "geoclip"
    """GeoCLIP's location encoder, which takes coordinates alone."""
    SATCLIP = "satclip"
    """SatCLIP's location encoder with weights that a user has."""
    NUMBERS = "numbers"
    """Columns of a table, or bands of a raster."""


LICENCES: Mapping[ProductKind, str] = {
    ProductKind.MOSAIC: "as its ATTRIBUTION.md says; published TESSERA v1.1 is CC-BY-SA",
    ProductKind.ALPHAEARTH: "CC-BY 4.0: The AlphaEarth Foundations Satellite Embedding dataset is "
    "produced by Google and Google DeepMind",
    ProductKind.GEOCLIP: "MIT (weights of the package geoclip)",
    ProductKind.SATCLIP: "MIT (Microsoft), as far as the weights are the published ones",
    ProductKind.NUMBERS: "whatever holds for the file",
}
"""Terms that stand beside each kind."""

TABLES = (".csv", ".parquet", ".geoparquet", ".geojson", ".json", ".gpkg", ".shp", ".fgb")
RASTERS = (".tif", ".tiff")

_NAMED = re.compile(r"([A-Za-z][\w-]{0,40})=(.+)", re.DOTALL)


@dataclass(frozen=True)
class Product:
    """A product by its kind and where it lies.

    Parameters
    ----------
    kind, source
        What it is, and its path or URL; empty where it needs none.
    name
        What tables and pictures call it.
    parameter
        Name of the parameter that it was given in, for messages.

    Examples
    --------
    >>> Product.of("aef=alphaearth:tiles").name, Product.of("climate.tif").kind.value
    ('aef', 'numbers')
    """

    kind: ProductKind
    source: str
    name: str
    parameter: str = "product"

    @classmethod
    def of(cls, text: str, parameter: str = "product") -> Product:
        """The product that a text names.

        Raises
        ------
        BadInput
            If it names none.
        """
        named = _NAMED.fullmatch(text)
        name, rest = (named[1], named[2]) if named else ("", text)
        word, _, source = rest.partition(":")
        if word in set(ProductKind) - {ProductKind.NUMBERS}:
            kind = ProductKind(word)
            if (kind is ProductKind.GEOCLIP) == bool(source):
                said = "it takes no path" if source else f"say where it lies: {word}:PATH"
                raise BadInput(said, parameter, text)
            return cls(kind, source, name or word, parameter)
        if Path(rest).suffix.lower() not in (*TABLES, *RASTERS):
            kinds = "mosaic:PATH, alphaearth:PATH, geoclip, satclip:PATH"
            raise BadInput(
                f"name a table ({', '.join(TABLES)}), a raster ({', '.join(RASTERS)}), or one of "
                f"{kinds}",
                parameter,
                text,
            )
        return cls(ProductKind.NUMBERS, rest, name or Path(rest).stem, parameter)

    def refused(self, message: str) -> BadInput:
        """The error that says in one line why it cannot be used."""
        return BadInput(message, self.parameter, self.source or self.kind.value)


def products_of(texts: Sequence[str], parameter: str = "product") -> tuple[Product, ...]:
    """The products that texts name, no two by one name.

    Raises
    ------
    BadInput
        If a text names none, or two have one name.
    """
    found = tuple(Product.of(text, parameter) for text in texts)
    names = [each.name for each in found]
    for each, text in zip(found, texts, strict=True):
        if names.count(each.name) > 1:
            raise BadInput(
                f"two products are called {each.name}: call one otherwise, as in "
                f"other={text.partition('=')[2] or text}",
                parameter,
                text,
            )
    return found


@dataclass(frozen=True)
class Sites:
    """Places where vectors are wanted.

    Parameters
    ----------
    zone, row, col : int32 (P,)
        UTM zone, and row and column of the zone's lattice, of the pixel that holds each.
    lon, lat : float64 (P,)
        Where they lie, in degrees.
    """

    zone: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.zone)

    @classmethod
    def of_pixels(cls, ground: Ground) -> Sites:
        """The centres of pixels."""
        pixels = PlacePixels(ground.group, ground.zone, ground.row, ground.col)
        return cls(ground.zone, ground.row, ground.col, *pixels.centres())

    def take(self, which: NDArray[np.int64]) -> Sites:
        """Some of them."""
        return Sites(*(getattr(self, n)[which] for n in ("zone", "row", "col", "lon", "lat")))


@dataclass(frozen=True)
class ProductNumbers:
    """The vectors of a product at places.

    Parameters
    ----------
    product
        The product.
    columns
        Names of the values of a vector.
    values : float32 (P, D)
        The vectors; NaN where the product has none.
    missing
        Number of the places without, by the reason.
    year
        Calendar year that they are of; None where they are of none.
    digest
        What tells this product from others: a fingerprint, or a sha256.
    notes
        What has to be said of it.
    """

    product: Product
    columns: tuple[str, ...]
    values: NDArray[np.float32]
    missing: Counter[str]
    year: int | None = None
    digest: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which places have a vector: bool (P,)."""
        return np.asarray(np.isfinite(self.values).all(axis=1))


def file_sha256(path: str | Path) -> str:
    """Digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
