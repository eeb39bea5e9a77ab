"""The STAC catalogue is valid, and its links lead somewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pystac
import pystac.validation
import pystac_client
import pytest
import xarray
import zarr
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.publishing.stac_item import PROJECTION, RASTER, SCIENTIFIC, XARRAY
from tests.samples import SIDE, TILES, YEARS, pixels

SCHEMAS = Path(__file__).parents[2] / "schemas"

KEPT = {
    "projection": PROJECTION,
    "raster": RASTER,
    "scientific": SCIENTIFIC,
    "xarray-assets": XARRAY,
}
"""Schemas of our own of the extensions, by the names of their files."""


@pytest.fixture
def validator() -> Iterator[None]:
    """The core schemas as pystac ships them, and our own of the extensions: no network."""
    before = pystac.validation.RegisteredValidator.get_validator()
    ours = JsonSchemaSTACValidator()
    for name, address in KEPT.items():
        ours.schema_cache[address] = json.loads((SCHEMAS / f"{name}.json").read_text())
    pystac.validation.set_validator(ours)
    yield
    pystac.validation.set_validator(before)


@pytest.mark.usefixtures("validator")
def test_catalogue_is_valid_and_its_links_lead_somewhere(store: Storage) -> None:
    collection = pystac.Collection.from_file(f"{store.url}/stac/collection.json")
    collection.validate()
    items = list(collection.get_items())
    assert sorted(item.id for item in items) == sorted(
        f"utm{zone:02d}_{year}" for zone in (1, 31, 32, 60) for year in YEARS
    )
    root = Path(store.url)
    for item in items:
        item.validate()
        assert item.properties["proj:code"] == f"EPSG:326{item.id[3:5]}"
        for asset in item.assets.values():
            assert (root / "stac" / asset.href / "zarr.json").exists()
        assert item.bbox is not None
        across = item.id.startswith(("utm01", "utm60"))
        assert (item.bbox[0] > item.bbox[2]) == across
        assert item.get_collection() is collection
        told = {link.rel: str(link.href) for link in item.links}
        assert told["emb:model"].startswith("urn:tessera-mosaic:weights:sha256:5eed")
        assert (root / "stac" / told["related"]).samefile(root / "registry.parquet")
        assert (root / "stac" / told["license"]).exists()
    written = json.loads((root / "stac/collection.json").read_text())
    assert "self" not in {link["rel"] for link in written["links"]}
    for link in collection.links:
        if str(link.href).startswith(".."):
            assert (root / "stac" / str(link.href)).exists()
    assert {link.rel for link in collection.links} >= {"emb:model", "emb:source-data", "license"}
    breaks: list[Callable[[dict[str, Any]], object]] = [
        lambda item: item["properties"].update({"proj:shape": "large"}),
        lambda item: item["properties"].update({"sci:publications": [{"doi": "arXiv"}]}),
        lambda item: item["assets"]["zarr"].update({"raster:spatial_resolution": "10 m"}),
        lambda item: item["assets"]["zarr"].update({"xarray:open_kwargs": "auto"}),
    ]
    for spoil in breaks:
        broken = items[0].to_dict()
        spoil(broken)
        with pytest.raises(pystac.errors.STACValidationError):
            pystac.Item.from_dict(broken).validate()


@pytest.mark.usefixtures("validator")
def test_a_client_walks_from_the_root_and_opens_what_it_finds(store: Storage) -> None:
    client = pystac_client.Client.open(f"{store.url}/catalog.json")
    client.validate()
    (collection,) = client.get_collections()
    assert collection.extra_fields["sci:citation"].endswith("arXiv:2506.20380")
    assert collection.license == "other"
    item = next(item for item in client.get_items(recursive=True) if item.id == "utm31_2018")
    assert item.properties["utm_zone"] == 31
    zone = item.assets["zarr"]
    told = zone.extra_fields["xarray:open_kwargs"]
    assert told["chunks"] == "auto"
    opened = xarray.open_dataset(zone.get_absolute_href(), **told)
    row, col = next((t.row, t.col) for t in TILES if t.zone == 31)
    here = opened.isel(y=slice(row * SIDE, row * SIDE + 8), x=slice(col * SIDE, col * SIDE + 8))
    put = pixels(TILES[0], 2018)
    assert (here["scales"].sel(time=2018).values == put.scales[:8, :8]).all()
    tree = collection.assets["store"]
    zones = xarray.open_datatree(
        tree.get_absolute_href(), **tree.extra_fields["xarray:open_kwargs"]
    )
    assert {"utm01", "utm31", "utm32", "utm60"} <= set(zones.children)


def test_the_picture_is_found_where_the_viewer_looks(store: Storage) -> None:
    root = Path(store.url)
    for year in YEARS:
        preview = root / f"{year}.zarr/global_rgb"
        assert json.loads((preview / "zarr.json").read_bytes())["attributes"]["multiscales"]
        # A link, so no byte is there twice, and no key of the store leads through it.
        assert preview.is_symlink()
        assert preview.samefile(root / "global_rgb")
    assert not any(key.startswith(f"{YEARS[0]}.zarr") for key in store.list(""))
    members = dict(zarr.open_group(store.url, mode="r").members(max_depth=None))
    assert not any(".zarr" in path for path in members)


def test_schemas_of_our_own_refuse_what_is_wrong() -> None:
    schema = json.loads((SCHEMAS / "projection.json").read_text())
    item = {"stac_extensions": [PROJECTION], "properties": {"proj:epsg": 32631}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(item, schema)
