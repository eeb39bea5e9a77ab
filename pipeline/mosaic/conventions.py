"""How the metadata of a node declares the Zarr conventions that it follows."""

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
