"""Stores whose metadata tells less, as the first version wrote it: sound, and mended by publish."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.conventions import MULTISCALES, PROJ, SPATIAL
from tessera_mosaic.pipeline.mosaic.metadata import encode_json
from tessera_mosaic.pipeline.mosaic.store import create_store, is_current, read_mosaic
from tessera_mosaic.pipeline.publishing.publish import publish_mosaic as publish
from tessera_mosaic.pipeline.verification.verify import verify
from tests.samples import contents, read_node


def before(node: dict[str, Any]) -> dict[str, Any]:
    """A node's metadata as the first version wrote it."""
    attributes = dict(node["attributes"])
    zone, levels = attributes.pop("utm_zone", None), attributes.get("multiscales")
    if zone is None and levels is None:
        return node | {"attributes": {}}
    attributes["zarr_conventions"] = [SPATIAL, PROJ] if zone else [SPATIAL, PROJ, MULTISCALES]
    for level in levels["layout"] if levels else []:
        level["transform"] = {name: numbers[:2] for name, numbers in level["transform"].items()}
    return node | {"attributes": attributes}


def make_older(storage: Storage) -> None:
    """Write the metadata of a store as the first version did."""
    root = json.loads(storage.read("zarr.json"))
    below = root["consolidated_metadata"]["metadata"]
    for path, node in below.items():
        below[path] = before(node)
        storage.write(f"{path}/zarr.json", encode_json(below[path]))
    del root["attributes"]["tessera_mosaic:sha256"]
    root["attributes"]["tessera_mosaic:sha256"] = hashlib.sha256(encode_json(root)).hexdigest()
    storage.write("zarr.json", encode_json(root))


def test_an_older_store_is_sound_and_publish_brings_it_up_to_date(two: Storage) -> None:
    publish(two)
    today = contents(two)
    make_older(two)
    assert not is_current(read_mosaic(two))
    assert not verify(two.url).problems
    publish(two)
    assert contents(two) == today
    assert not verify(two.url).problems


def test_damage_to_an_older_store_is_found(two: Storage) -> None:
    publish(two)
    make_older(two)
    for key in ("utm31/scales/zarr.json", "global_rgb/3/zarr.json"):
        whole = two.read(key)
        two.write(key, whole.replace(b'"zarr_format":3', b'"zarr_format": 3', 1))
        assert {problem.name for problem in verify(two.url).problems} >= {key}
        two.write(key, whole)
    root = two.read("zarr.json")
    two.write("zarr.json", root.replace(b"EPSG:4326", b"EPSG:3857"))
    assert {problem.name for problem in verify(two.url).problems} >= {"zarr.json"}
    two.write("zarr.json", root)
    assert not verify(two.url).problems


def test_a_zone_that_is_added_brings_all_of_an_older_store_up_to_date(two: Storage) -> None:
    make_older(two)
    mosaic = read_mosaic(two)
    create_store(two, mosaic.layout, mosaic.identity, [2018], [7])
    assert is_current(read_mosaic(two))
    root = json.loads(two.read("zarr.json"))["consolidated_metadata"]["metadata"]
    for path, node in root.items():
        assert read_node(two, path) == node
