"""The vectors of any product at places."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.console import install_hint
from tessera_mosaic.pipeline.downstream.fusion_alphaearth import alphaearth_at
from tessera_mosaic.pipeline.downstream.fusion_products import (
    Product,
    ProductKind,
    ProductNumbers,
    Sites,
)
from tessera_mosaic.pipeline.downstream.fusion_tables import numbers_at
from tessera_mosaic.pipeline.downstream.vector_table import NOTHING, WATER
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any, read_pixels
from tessera_mosaic.pipeline.mosaic.identity import fingerprint


def vectors_at(product: Product, sites: Sites, year: int) -> ProductNumbers:
    """The vectors of a product at places, of a year where it has years.

    Parameters
    ----------
    product
        What is read.
    sites
        The places.
    year
        Calendar year.

    Raises
    ------
    BadInput
        In one line, if it cannot be used, has not the year, or has nothing at any of the places.
    """
    found = {
        ProductKind.MOSAIC: _of_mosaic,
        ProductKind.ALPHAEARTH: alphaearth_at,
        ProductKind.GEOCLIP: _of_geoclip,
        ProductKind.SATCLIP: _of_satclip,
        ProductKind.NUMBERS: numbers_at,
    }[product.kind](product, sites, year)
    if not found.known.any():
        told = "; ".join(f"{count:,} {why}" for why, count in found.missing.items())
        raise product.refused(
            f"it has nothing of {year} at any of the {len(sites):,} points ({told}): check the "
            "year, and that lon and lat are not swapped"
        )
    return found


def _of_mosaic(product: Product, sites: Sites, year: int) -> ProductNumbers:
    mosaic = open_any(product.source)
    mosaic.check_made(year)
    # Several points may lie in one pixel.
    at = np.stack([sites.zone, sites.row, sites.col], axis=1)
    each, which = np.unique(at, axis=0, return_inverse=True)
    held = read_pixels(mosaic, year, *each.T)
    known = np.isfinite(held.scales)
    values = np.full(held.codes.shape, np.nan, np.float32)
    values[known] = dequantize(held.codes[known], held.scales[known])
    scales = held.scales[which.ravel()]
    missing = Counter({WATER: int(np.isnan(scales).sum()), NOTHING: int(np.isposinf(scales).sum())})
    columns = tuple(f"e{k}" for k in range(mosaic.layout.dims))
    mark = fingerprint(mosaic.identity)
    return ProductNumbers(product, columns, values[which.ravel()], +missing, year, mark)


def _of_geoclip(product: Product, sites: Sites, year: int) -> ProductNumbers:
    from tessera_mosaic.model.locations.geoclip import (
        DIMS,
        SHA256,
        geoclip_vectors,
        geoclip_weights,
    )

    weights = geoclip_weights()
    if weights is None:
        raise BadInput(f"geoclip is not installed: {install_hint('geoclip')}", product.parameter)
    try:
        values = geoclip_vectors(sites.lat, sites.lon, weights)
    except CheckpointError as error:
        raise product.refused(str(error)) from None
    columns = tuple(f"geoclip_{k}" for k in range(DIMS))
    return ProductNumbers(product, columns, values, Counter(), digest=SHA256)


def _of_satclip(product: Product, sites: Sites, year: int) -> ProductNumbers:
    from tessera_mosaic.model.locations.satclip import read_satclip

    try:
        encoder = read_satclip(product.source)
    except CheckpointError as error:
        raise product.refused(str(error)) from None
    values = encoder.vectors(sites.lat, sites.lon)
    columns = tuple(f"satclip_{k}" for k in range(values.shape[1]))
    return ProductNumbers(product, columns, values, Counter(), digest=encoder.sha256)
