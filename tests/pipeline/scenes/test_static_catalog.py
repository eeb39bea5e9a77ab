"""A static catalogue is read from wherever it lies, and is bounded."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import (
    BadInput,
    Gone,
)
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.static_catalog import (
    READS,
    Limits,
    StaticCatalogue,
    fetched_in_order,
)
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
)
from tests.fakes.catalogues import items_of
from tests.fakes.environment import object_store_here
from tests.fakes.web import Reply, Request, fake_web
from tests.pipeline.scenes.sources import assert_equal, stack_of


def test_static_catalogue_over_http(archive: Path, window: Window, expected: AnnualStack) -> None:
    with serving(archive.parent) as server:
        source = open_catalogue(f"{server.url}/catalog.json?sig=secret")
        assert source.imagery == "mpc"
        assert source.name == f"{server.url}/catalog.json"
        assert_equal(stack_of(source, window), expected)


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_static_catalogue_in_a_bucket(
    archive: Path, window: Window, expected: AnnualStack, scheme: str
) -> None:
    with object_store_here(scheme) as bucket:
        store = Storage(f"{bucket}/a")
        for path in archive.parent.rglob("*"):
            if path.is_file():
                store.put_file(str(path.relative_to(archive.parent)), path)
        source = open_catalogue(f"{bucket}/a/catalog.json")
        assert_equal(stack_of(source, window), expected)
        with pytest.raises(Gone):
            source.remote.read(Access(f"{bucket}/a/none.tif"), 0, 10)


def test_feature_collection_in_one_file(
    archive: Path, window: Window, expected: AnnualStack, tmp_path: Path
) -> None:
    path = tmp_path / "items.json"
    items = items_of(archive, str(archive.parent))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    assert_equal(stack_of(open_catalogue(str(path)), window), expected)


@pytest.mark.parametrize(
    ("limits", "too_many"),
    [(Limits(total_bytes=5_000), "5,000 bytes"), (Limits(documents=3), "3 documents")],
)
def test_a_static_catalogue_is_bounded(archive: Path, limits: Limits, too_many: str) -> None:
    with pytest.raises(BadInput, match=f"more than {too_many}: make a STAC GeoParquet index"):
        StaticCatalogue(str(archive), Remote(str(archive)), limits)
    StaticCatalogue(str(archive), Remote(str(archive)))


def test_documents_are_not_fetched_far_ahead() -> None:
    fetched: list[str] = []

    def fetch(address: str) -> bytes:
        fetched.append(address)
        return b""

    with ThreadPoolExecutor(4) as pool:
        documents = fetched_in_order(map(str, range(1000)), fetch, pool)
        for number in range(100):
            assert next(documents) == (str(number), b"")
            assert len(fetched) <= number + READS + 1
        documents.close()


def test_links_are_relative_to_where_an_address_leads(
    archive: Path, window: Window, expected: AnnualStack
) -> None:
    with serving(archive.parent) as server:

        def answer(request: Request) -> Reply:
            return 302, {"Location": f"{server.url}/catalog.json"}, b""

        with fake_web(answer) as url:
            source = open_catalogue(f"{url}/latest", ["127.0.0.1"])
            assert_equal(stack_of(source, window), expected)


def test_links_are_relative_to_what_an_item_calls_itself(
    archive: Path, window: Window, expected: AnnualStack
) -> None:
    with serving(archive.parent) as server:
        features = items_of(archive, ".")
        for item in features:
            item["links"] = [{"rel": "self", "href": f"{server.url}/item.json"}]

        def answer(request: Request) -> Reply:
            return 200, {}, {"type": "FeatureCollection", "features": features}

        with fake_web(answer) as url:
            source = open_catalogue(f"{url}/items/all", ["127.0.0.1"])
            assert_equal(stack_of(source, window), expected)


def test_percent_encoded_links_and_addresses_of_gdal(
    archive: Path, window: Window, expected: AnnualStack, tmp_path: Path
) -> None:
    with serving(archive.parent) as server:
        (tmp_path / "an item").mkdir()
        links = []
        for number, item in enumerate(items_of(archive, f"/vsicurl/{server.url}")):
            (tmp_path / "an item" / f"{number}.json").write_text(json.dumps(item))
            links.append({"rel": "item", "href": f"./an%20item/{number}.json"})
        catalogue = {"type": "Catalog", "id": "x", "links": links}
        (tmp_path / "catalog.json").write_text(json.dumps(catalogue))
        source = open_catalogue(str(tmp_path / "catalog.json"), ["127.0.0.1"])
        assert_equal(stack_of(source, window), expected)


def test_a_catalogue_that_is_compressed(
    archive: Path, window: Window, expected: AnnualStack, tmp_path: Path
) -> None:
    features = {"type": "FeatureCollection", "features": items_of(archive, str(archive.parent))}
    path = tmp_path / "items.json.gz"
    path.write_bytes(gzip.compress(json.dumps(features).encode()))
    assert_equal(stack_of(open_catalogue(str(path)), window), expected)
