"""Whatever bytes come from outside become what they should be, or one printable line.

Each test makes sound input unsound in ways that nobody chose. They are short here; `make fuzz`
gives each as many examples as `FUZZ_EXAMPLES` says.
"""

from __future__ import annotations

import json
import os
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_mosaic.model.heads.files import FORMAT, encode_head
from tessera_mosaic.model.heads.head import Head, HeadClass, HeadKind, Task, TrainingSpace
from tessera_mosaic.model.sealed_tensors import digest_of
from tessera_mosaic.pipeline.downstream.head_file import read_head
from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.errors import BadInput, Corrupt, StoreError, TesseraError
from tessera_mosaic.pipeline.imagery import cog
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.sealed import seal, unseal
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import keys
from tessera_mosaic.pipeline.ledger.forecast import read_forecast
from tessera_mosaic.pipeline.ledger.in_progress import read_note
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.ledger.summary import decode_summary, encode_summary
from tessera_mosaic.pipeline.ledger.tally import read_tallies
from tessera_mosaic.pipeline.ledger.tile_lists import decode_tiles, encode_tiles
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.metadata import (
    MosaicMetadata,
    encode_json,
    parse_root,
    root_node,
)
from tessera_mosaic.pipeline.mosaic.preview_pyramid import Colours
from tessera_mosaic.pipeline.publishing.manifest import read_manifest
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.stac_items import scene_of_item
from tessera_mosaic.pipeline.scenes.static_catalog import StaticCatalogue
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tests.rasters import write_raster

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))

OBEYED = frozenset("\n\r\x1b\x07\u202e\ud800")
"""Some of what no message may hold."""

MOST_MEMORY = 2**30
"""Bytes by which no parser may grow this process, whatever it is given."""

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)

ODD_TEXTS = ["\x1b]52;c;x\x07", "a\nb", "\ud800", "\u202e", "../..", "/etc/passwd", "9" * 99]
ODD_NUMBERS = [-1, 0, 2**31, 2**63, 10**12, 10**30, 10**400, 1e308]

texts = st.one_of(
    st.text(st.characters(codec=None, categories=None), max_size=6), st.sampled_from(ODD_TEXTS)
)
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from(ODD_NUMBERS))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


def places(document: Any) -> list[tuple[Any, ...]]:
    """Ways to all values of a document."""
    if not isinstance(document, dict | list):
        return [()]
    parts = document.items() if isinstance(document, dict) else enumerate(document)
    return [(), *((name, *way) for name, part in parts for way in places(part))]


@st.composite
def spoiled(draw: st.DrawFn, document: Any) -> Any:
    """A document in which up to three values are others, or gone, or lists of themselves."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(places(document)))
        if not way:
            return draw(values)
        holder = document
        for name in way[:-1]:
            holder = holder[name]
        change = draw(st.sampled_from(["other", "other", "gone", "doubled", "renamed"]))
        if change == "gone":
            del holder[way[-1]]
        elif change == "doubled":
            holder[way[-1]] = [holder[way[-1]]] * draw(st.integers(0, 3))
        elif change == "renamed" and isinstance(holder, dict):
            holder[draw(texts)] = holder.pop(way[-1])
        else:
            holder[way[-1]] = draw(values)
    return document


@st.composite
def broken(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes of which a few are others, or that end before."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        some = draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 4)))
        changed[at : at + len(some)] = some
    return bytes(changed[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


def grown() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def survives(work: Callable[[], Any], *kinds: type[TesseraError]) -> Any:
    """What a parser makes of its input; None if it refuses it in one printable line."""
    before, refused = grown(), ""
    try:
        made = work()
    except kinds as error:
        made, refused = None, str(error)
    assert grown() - before < MOST_MEMORY
    assert not set(refused) & OBEYED
    return made


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


ITEM: dict[str, Any] = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "id": "S2A_31UDS_20240601",
    "collection": "sentinel-2-l2a",
    "bbox": [2.9, 50.7, 3.1, 50.9],
    "geometry": {"type": "Polygon", "coordinates": [[[2.9, 50.7], [3.1, 50.7], [3.1, 50.9]]]},
    "properties": {
        "datetime": "2024-06-01T10:56:21Z",
        "platform": "sentinel-2a",
        "proj:epsg": 32631,
        "s2:mgrs_tile": "31UDS",
        "s2:processing_baseline": "05.10",
    },
    "assets": {"B04": {"href": "./B04.tif"}, "SCL": {"href": "./SCL.tif"}},
    "links": [{"rel": "self", "href": "https://a.example/item.json"}],
}


@fuzz
@given(spoiled(ITEM))
def test_any_item_is_a_scene_or_none(item: Any) -> None:
    scene = scene_of_item(read_json(encoded(item)) if item is not None else None)
    if scene is not None:
        assert isinstance(scene, Scene)
        told = f"{scene.id}{scene.unusable}{scene.assets}{scene.twin}{scene.baseline}"
        assert not set(told) & OBEYED
        told.encode()


@fuzz
@given(st.data())
def test_any_catalogue_opens_or_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    documents = {
        "catalog.json": {
            "type": "Catalog",
            "id": "c",
            "stac_version": "1.0.0",
            "links": [{"rel": "child", "href": "./items.json"}],
        },
        "items.json": {"type": "FeatureCollection", "features": [ITEM], "links": []},
    }
    for name, document in documents.items():
        (tmp_path / name).write_bytes(encoded(document))
    name = data.draw(st.sampled_from(sorted(documents)))
    either = st.one_of(spoiled(documents[name]).map(encoded), broken(encoded(documents[name])))
    (tmp_path / name).write_bytes(data.draw(either))
    root = str(tmp_path / "catalog.json")
    survives(lambda: StaticCatalogue(root, Remote(root)).search((2, 50, 4, 52), 2024), BadInput)


@pytest.fixture(scope="module")
def raster(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small GeoTIFF."""
    pixels = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
    path = tmp_path_factory.mktemp("raster") / "a.tif"
    more = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    return write_raster(path, pixels, **more).read_bytes()


@fuzz
@given(st.data())
def test_any_directory_of_a_raster_is_read_or_corrupt(raster: bytes, data: st.DataObject) -> None:
    content = data.draw(broken(raster))

    def read(start: int, length: int) -> bytes:
        return content[start : start + length]

    def whole() -> None:
        header = cog.read_header(read)
        cog.read_coarsest(read, header)
        for number in header.blocks(slice(0, 16), slice(0, 16)):
            start, size = int(header.offsets[number]), int(header.sizes[number])
            cog.decode(content[start : start + size], header, number)

    survives(whole, Corrupt)


@fuzz
@given(st.data())
def test_any_file_of_labels_is_read_or_refused(
    tmp_path: Path, raster: bytes, data: st.DataObject
) -> None:
    path = tmp_path / "labels.tif"
    path.write_bytes(data.draw(broken(raster)))
    survives(lambda: read_labels(path), BadInput)


PLACE: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"class": "wheat", "year": 2024, "field": 7},
            "geometry": {"type": "Point", "coordinates": [3.0, 50.8]},
        }
    ],
}
TABLE = b"lon,lat,class,year\n3.0,50.8,wheat,2024\n3.1,50.9,,2024\n"


@fuzz
@given(st.data())
def test_any_table_of_labels_is_places_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    drawn = {
        "labels.geojson": st.one_of(spoiled(PLACE).map(encoded), broken(encoded(PLACE))),
        "labels.csv": broken(TABLE),
    }
    path = tmp_path / data.draw(st.sampled_from(sorted(drawn)))
    path.write_bytes(data.draw(drawn[path.name]))
    survives(lambda: read_places(path), BadInput)


HEAD = encode_head(
    Head(
        kind=HeadKind.LOGISTIC,
        task=Task.CLASS,
        layers={"weight": np.ones((2, 4), np.float32), "bias": np.zeros(2, np.float32)},
        space=TrainingSpace(
            np.ones((2, 4), np.float32),
            np.eye(2, 4, dtype=np.float32),
            np.ones(2, np.float32),
            0.5,
            np.linspace(0, 1, 101, dtype=np.float32),
        ),
        classes=(HeadClass(1, "wheat", (1, 2, 3)), HeadClass(2, "maize", (4, 5, 6))),
        mosaic="f" * 64,
        model="tessera-v1.1",
        dims=4,
        years=(2024,),
        year_means=np.ones((1, 4), np.float32),
        pixels=np.arange(5, dtype=np.uint64),
        labels_sha256="0" * 64,
        scores={"trusted": "block", "folds": []},
        software={"numpy": "2"},
    )
)
(_LENGTH,) = struct.unpack_from("<Q", HEAD)
HEADER = json.loads(HEAD[8 : 8 + _LENGTH])
TOLD = json.loads(HEADER["__metadata__"][FORMAT.entry])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Files of a head with other bytes, another header, or other things told under their digest."""
    if draw(st.booleans()):
        return draw(broken(HEAD))
    if draw(st.booleans()):
        header = encoded(draw(spoiled(HEADER)))
        return struct.pack("<Q", len(header)) + header + HEAD[8 + _LENGTH :]
    told = draw(spoiled(TOLD))
    tensors = safetensors.numpy.load(HEAD)
    if isinstance(told, dict):
        told["sha256"] = digest_of(told, tensors)
    return safetensors.numpy.save(tensors, {FORMAT.entry: json.dumps(told)})


@fuzz
@given(heads())
def test_any_head_is_one_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.head"
    path.write_bytes(data)
    read = survives(lambda: read_head(str(path)), BadInput)
    if read is not None:
        # Whatever is believed can be written again.
        encode_head(read.head)


TILE = Tile(31, 1449, 136, 256)
RECORD = Record(
    TILE.name,
    2024,
    State.DONE,
    "f" * 64,
    scenes_used=("a",),
    scenes_unused=(("b", "why"),),
    scenes_lost=(("c", "gone", "404"),),
    observations={"s2": {"sum": 10, "max": 2}},
    pixels={"owned": 1, "embedded": 1},
    seconds={"read": 1.5},
)


@fuzz
@given(st.one_of(spoiled(unseal(RECORD.to_json())), values))
def test_any_record_is_one_or_altered(content: Any) -> None:
    data = seal(content) if isinstance(content, dict) else encoded(content)
    record = survives(lambda: Record.from_json(data), StoreError)
    if record is not None:
        assert isinstance(record.state, State)
        TileSummary.of(record)
        record.to_json()
        record.scenes()


@fuzz
@given(st.one_of(spoiled(unseal(encode_summary({TILE.name: TileSummary.of(RECORD)}))), values))
def test_any_summary_is_one_or_altered(content: Any) -> None:
    data = seal(content) if isinstance(content, dict) else encoded(content)
    survives(lambda: decode_summary(data), StoreError)


@fuzz
@given(st.one_of(spoiled(unseal(encode_tiles([TILE, Tile(31, 1449, 137, 256)], ["r"]))), values))
def test_any_list_of_tiles_is_one_or_altered(content: Any) -> None:
    data = seal(content) if isinstance(content, dict) else encoded(content)
    survives(lambda: list(decode_tiles(data)), StoreError)


@fuzz
@given(spoiled({"tiles_done": 3, "seconds_read": 1.5}), spoiled({"launch": "x", "deaths": 1}))
def test_any_tally_and_note_is_one_or_counts_for_nothing(
    tmp_path: Path, tally: Any, note: Any
) -> None:
    storage = Storage(str(tmp_path))
    storage.write(keys.tally_key(2024, "x", "w"), encoded(tally))
    assert all(
        isinstance(count, int | float) for count in read_tallies(storage, 2024, "x").values()
    )
    storage.write("note", encoded(note))
    known = read_note(storage, "note")
    assert known is not None
    assert isinstance(known.poisoned, bool)


@fuzz
@given(st.data())
def test_any_forecast_and_manifest_is_one_or_altered(tmp_path: Path, data: st.DataObject) -> None:
    storage = Storage(str(tmp_path))
    forecast = {"request": "r", "ranges": {"tiles": [1, 0, 2], "pixels": [1.5, 1, 2]}}
    storage.write(keys.forecast_key(2024), seal(draw_object(data, forecast)))
    survives(lambda: read_forecast(storage, 2024), StoreError)
    published = {"stac/catalog.json": {"size": 3, "sha256": "0" * 64}}
    storage.write(keys.MANIFEST, seal(draw_object(data, published)))
    survives(lambda: read_manifest(storage), StoreError)


def draw_object(data: st.DataObject, document: dict[str, Any]) -> dict[str, Any]:
    content = data.draw(spoiled(document))
    return content if isinstance(content, dict) else {"x": content}


IDENTITY = {
    "algorithm": 1,
    "encoder": {"weights_sha256": "0" * 64, "card": {"name": "v2-nano"}, "precision": "fp32"},
    "imagery": "mpc",
    "rules": {"kernel": "bilinear"},
    "margin": 32,
    "pixels": "all",
}
COLOURS = Colours((0.0,) * 16, ((0.1,) * 16, (0.2,) * 16, (0.3,) * 16), (0.0,) * 3, (1.0,) * 3)
ROOT = json.loads(
    encode_json(
        root_node(
            MosaicMetadata(Layout(256, 16, (4, 8)), IDENTITY, (2023, 2024), (31,), "1", COLOURS)
        )
    )
)


@fuzz
@given(st.one_of(spoiled(ROOT["attributes"]), spoiled(ROOT)))
def test_any_metadata_is_that_of_a_mosaic_or_refused(content: Any) -> None:
    whole = isinstance(content, dict) and "consolidated_metadata" in content
    document = content if whole else {**ROOT, "attributes": content}
    told = survives(lambda: parse_root(encoded(document)), StoreError)
    if told is not None:
        # Whatever is believed can be written again.
        encode_json(root_node(told))
        assert len(told.years) <= 64


def test_what_is_spoiled_was_sound() -> None:
    """The fuzzed documents themselves are read."""
    assert scene_of_item(ITEM) is not None
    assert Record.from_json(RECORD.to_json()) == RECORD
    assert parse_root(encoded(ROOT)).colours == COLOURS
