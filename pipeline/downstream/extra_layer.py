"""The layer of a map's region that has the numbers of another source which a head takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.imagery.value_raster import ValueRaster, value_raster
from tessera_mosaic.pipeline.tiling.lattice import Window


@dataclass(frozen=True)
class ExtraLayer:
    """Bands of a raster in the order in which a head takes them.

    Parameters
    ----------
    raster
        The raster.
    bands
        Numbers of its bands, from 1 on.
    sha256
        Digest of its file.
    """

    raster: ValueRaster
    bands: tuple[int, ...]
    sha256: str

    def on(self, window: Window) -> NDArray[np.float32]:
        """Numbers of a window's pixels, NaN where there are none: (bands, height, width)."""
        return self.raster.on(window, self.bands)[0]


def extra_layer(names: Sequence[str], path: str | None) -> ExtraLayer | None:
    """The layer that a head needs, by the names of what it takes; None where it takes nothing.

    Parameters
    ----------
    names
        Names of the numbers that the head takes beside the embeddings.
    path
        Path of a GeoTIFF, if one was given.

    Raises
    ------
    BadInput
        If the head needs one and there is none, or the other way round, or a band is missing.
    """
    if not names:
        if path is not None:
            raise BadInput("the head takes nothing beside the embeddings", "extra", path)
        return None
    wanted = ", ".join(names)
    if path is None:
        raise BadInput(
            f"the head takes {wanted} beside the embeddings: give a GeoTIFF with these bands",
            "extra",
        )
    raster = value_raster(path)
    missing = [name for name in names if name not in raster.names]
    if missing:
        raise BadInput(
            f"it has the bands {', '.join(raster.names)}, and the head takes {wanted}: bands are "
            "named by their descriptions",
            "extra",
            path,
        )
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ExtraLayer(raster, tuple(raster.names.index(name) + 1 for name in names), digest)
