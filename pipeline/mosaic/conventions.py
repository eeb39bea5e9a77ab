"""How the metadata of a node declares the Zarr conventions that it follows.

Readers know the conventions of a place by two spellings: `spatial` and `proj`, as version 0.1 has
them, and `spatial:` and `proj:` of the drafts before it, which rioxarray and GDAL go by. A node
declares both, version 0.1 first, which readers that know all of them go by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GEOEMB = {
    "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "name": "geoemb:",
    "description": (
        "Geoembeddings convention for geospatial embedding arrays with model provenance"
    ),
    "spec_url": ("https://github.com/geo-embeddings/embeddings-zarr-convention/blob/v1/README.md"),
    "schema_url": (
        "https://raw.githubusercontent.com/geo-embeddings/embeddings-zarr-convention"
        "/refs/tags/v1/schema.json"
    ),
}

SPATIAL = {
    "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
    "name": "spatial",
    "description": "Spatial coordinate information",
    "spec_url": "https://github.com/zarr-conventions/spatial/blob/v0.1/README.md",
    "schema_url": (
        "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v0.1/schema.json"
    ),
}

PROJ = {
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj",
    "description": "Coordinate reference system information for geospatial data",
    "spec_url": "https://github.com/zarr-conventions/proj/blob/v0.1/README.md",
    "schema_url": (
        "https://raw.githubusercontent.com/zarr-conventions/proj/refs/tags/v0.1/schema.json"
    ),
}

MULTISCALES = {
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "description": "Multiscale layout of zarr datasets",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v0.1/README.md",
    "schema_url": (
        "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v0.1/schema.json"
    ),
}

DRAFT_SPATIAL = SPATIAL | {
    "name": "spatial:",
    "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
    "schema_url": (
        "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json"
    ),
}

DRAFT_PROJ = PROJ | {
    "name": "proj:",
    "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
    "schema_url": (
        "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json"
    ),
}

PLACE = (SPATIAL, PROJ, DRAFT_SPATIAL, DRAFT_PROJ)
"""What a group that has a place on the ground declares."""

BRIEF_PLACE = tuple(
    {"uuid": declared["uuid"], name: declared[name]}
    for name, declared in (
        ("schema_url", SPATIAL),
        ("schema_url", PROJ),
        ("name", DRAFT_SPATIAL),
        ("name", DRAFT_PROJ),
    )
)
"""The same in short, for arrays: the root's metadata has that of every array of the mosaic."""


def place_attributes(
    declared: Sequence[Mapping[str, str]],
    code: str,
    dims: tuple[str, str],
    shape: tuple[int, int],
    transform: Sequence[float],
) -> dict[str, Any]:
    """Attributes that tell where the pixels of a group or array lie.

    Parameters
    ----------
    declared
        Conventions to declare: `PLACE` for a group, `BRIEF_PLACE` for an array.
    code
        Code of the coordinate system, such as `EPSG:32631`.
    dims
        Names of the two axes, north to south and west to east.
    shape
        Pixels along them.
    transform
        Six numbers in the order of `affine.Affine`, without rotation, that give the outer corner
        of a pixel of its column and row.

    Examples
    --------
    >>> place = place_attributes(PLACE, "EPSG:32631", ("y", "x"), (2, 3), (10, 0, 500, 0, -10, 90))
    >>> place["spatial:bbox"]
    [500.0, 70.0, 530.0, 90.0]
    """
    width, _, west, _, height, north = map(float, transform)
    rows, cols = shape
    return {
        "zarr_conventions": [dict(each) for each in declared],
        "proj:code": code,
        "spatial:dimensions": list(dims),
        "spatial:shape": list(shape),
        "spatial:transform": [width, 0.0, west, 0.0, height, north],
        "spatial:transform_type": "affine",
        "spatial:bbox": [west, north + rows * height, west + cols * width, north],
        "spatial:registration": "pixel",
    }
