"""Which software made a tile, as its record tells it."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

from tessera_mosaic.pipeline import __version__


@functools.cache
def software_versions() -> dict[str, str]:
    """Versions recorded beside the fingerprint; they may move on while it stays."""
    names = ("torch", "numpy", "rasterio", "zarr", "apache-beam")
    versions = {name: metadata.version(name) for name in names}
    return {"tessera-mosaic": __version__, "python": platform.python_version(), **versions}
