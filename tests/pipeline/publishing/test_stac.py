"""The STAC catalogue is valid, and its links lead somewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pystac
import pystac.validation
import pytest
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.publishing.stac import PROJECTION
from tests.samples import YEARS

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.fixture
def validator() -> Iterator[None]:
    """The core schemas as pystac ships them, and our own of the extension: no network."""
    schema = json.loads((SCHEMAS / "projection.json").read_text())
    before = pystac.validation.RegisteredValidator.get_validator()
    ours = JsonSchemaSTACValidator()
    ours.schema_cache[PROJECTION] = schema
    pystac.validation.set_validator(ours)
    yield
    pystac.validation.set_validator(before)


@pytest.mark.usefixtures("validator")
def test_catalogue_is_valid_and_its_links_lead_somewhere(store: Storage) -> None:
    collection = pystac.Collection.from_file(f"{store.url}/stac/collection.json")
    collection.validate()
    items = list(collection.get_items())
    assert sorted(item.id for item in items) == sorted(
        f"utm{zone:02d}-{year}" for zone in (1, 31, 32, 60) for year in YEARS
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
    broken = items[0].to_dict()
    broken["properties"]["proj:shape"] = "large"
    with pytest.raises(pystac.errors.STACValidationError):
        pystac.Item.from_dict(broken).validate()


def test_schemas_of_our_own_refuse_what_is_wrong() -> None:
    schema = json.loads((SCHEMAS / "projection.json").read_text())
    item = {"stac_extensions": [PROJECTION], "properties": {"proj:epsg": 32631}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(item, schema)
