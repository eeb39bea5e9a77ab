"""What a mosaic says of itself, by its metadata alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tessera_mosaic.pipeline.contracts.state import LATTICE, Input, Kind, Numbers, State
from tessera_mosaic.pipeline.mosaic.identity import Identity, fingerprint, model_name
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, zone_crs


def mosaic_state(layout: Layout, identity: Identity, zones: Iterable[int]) -> State:
    """The state of a mosaic, whoever made it.

    The time axis has steps for years that nobody has made, so metadata does not tell its years.

    Parameters
    ----------
    layout, identity
        How it is cut, and what decides its bytes.
    zones
        Numbers of its zones, ascending.
    """
    mark, imagery = fingerprint(identity), identity.get("imagery")
    weights = identity.get("encoder", {}).get("weights_sha256")
    return State(
        Kind.MOSAIC,
        digests=(mark,),
        inputs=() if weights is None else (Input(Kind.WEIGHTS, str(weights)),),
        product=model_name(identity),
        fingerprint=mark,
        imagery=None if imagery is None else str(imagery),
        dims=layout.dims,
        crs=tuple(map(zone_crs, zones)),
        lattice=LATTICE,
        pixel=float(PIXEL),
        dtype="int8",
        numbers=Numbers.CODES_AND_SCALES,
        nodata=math.inf,
    )
