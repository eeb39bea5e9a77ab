"""Input made to do harm: refused in one line, nothing executed, nothing outside its place touched.

The files are generated, each from a seed, so that one that was ever found to do harm stays here as
its seed.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pickle
import random
import resource
import shutil
import socket
import sqlite3
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import shapely
import torch
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from benchmarks.server import serving
from tessera_mosaic.model.checkpoints.checkpoint import read_checkpoint
from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import records
from tessera_mosaic.pipeline.tiling import gdal_sandbox
from tessera_mosaic.pipeline.tiling.region import read_region
from tessera_mosaic.pipeline.tiling.vector_files import FORMATS
from tests import jobs

MOST_MEMORY = 2**29
"""Bytes that refusing one file after another may take at its worst."""

HUGE = 3 * 2**29


def grown() -> int:
    """Largest memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# Checkpoints.


class Call:
    """Unpickled without care, it calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


Write = Callable[[Path, random.Random, dict[str, Any]], None]


def calls_a_function(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    mark = str(path.with_name("executed"))
    trap = dice.choice(
        [
            Call(os.mkdir, mark),
            Call(os.system, f"mkdir {mark}"),
            Call(eval, f"__import__('os').mkdir({mark!r})"),
            Call(exec, f"import os; os.mkdir({mark!r})"),
            Call(shutil.copytree, str(path.parent), mark),
            Call(pickle.loads, pickle.dumps(Call(os.mkdir, mark))),
        ]
    )
    place = dice.choice(["whole", "model", "args", "key", "parameter"])
    if place == "key":
        payload["model"][trap] = torch.zeros(1)
    elif place == "parameter":
        payload["model"][dice.choice(list(payload["model"]))] = trap
    else:
        payload = {"whole": trap}.get(place, payload | {place: trap})  # type: ignore[assignment]
    if dice.random() < 0.5:
        torch.save(payload, path, pickle_protocol=dice.choice([2, 4, 5]))
    else:
        path.write_bytes(pickle.dumps(payload, dice.choice([0, 2, 5])))


def has_another_shape(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    key = dice.choice(list(payload["model"]))
    shape = [dice.choice([0, 1, 2, 7, 9]) for _ in range(dice.choice([0, 1, 2, 4]))]
    payload["model"][key] = torch.zeros([*shape, 5])
    torch.save(payload, path)


def holds_no_numbers(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    key = dice.choice(list(payload["model"]))
    value = payload["model"][key].clone()
    value.view(-1)[dice.randrange(value.numel())] = dice.choice([math.nan, math.inf, -math.inf])
    payload["model"][key] = value
    torch.save(payload, path)


def claims_to_be_huge(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    if dice.random() < 0.5:
        name = dice.choice(["latent_dim", "num_layers", "dim_feedforward", "repr_dim"])
        payload["args"][name] = dice.choice([10**6, 10**9, 2**63, -1, 0.5, "8", None])
    else:
        # A tensor of one value that is seen as many.
        key = dice.choice(list(payload["model"]))
        payload["model"][key] = torch.zeros(1).expand(dice.choice([10**9, 10**12]))
    torch.save(payload, path)


def bursts_when_unpacked(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    torch.save(payload, path)
    whole = path.with_name("whole.pt")
    path.rename(whole)
    swollen = dice.choice(["data.pkl", "data/0", "version"])
    with (
        zipfile.ZipFile(whole) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target,
    ):
        for name in source.namelist():
            with target.open(name, "w", force_zip64=True) as file:
                file.write(source.read(name))
                if name.endswith(swollen):
                    for _ in range(HUGE >> 26):
                        file.write(bytes(1 << 26))
    whole.unlink()


MEMORY = b"cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x02\x85R."
"""A pickle of 8 GiB of zeros."""

TIME = b")q\0" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60)) + b"}h\x3cK\1s."
"""A pickle whose tuple's hash takes 2 ** 60 steps."""

COPIES = (
    (b"ccollections\nOrderedDict\nq\0]q\1(" + b"K\1K\1\x86" * 10**5 + b"e](")
    + b"h\0h\1\x85R" * 10**5
    + b"e."
)
"""A pickle with a list that is copied as often as it is long."""

ATTRIBUTES = (
    b"ccollections\nOrderedDict\nq\0}q\1("
    + b"".join(b"X\5\0\0\0%05dK\1" % n for n in range(10**5))
    + b"u]("
    + b"h\0)Rh\1b" * 10**5
    + b"e."
)
"""The same of attributes."""


def asks_for_more_than_it_has(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    torch.save(payload, path)
    whole = path.read_bytes()
    said = dice.choice([MEMORY, TIME, COPIES, ATTRIBUTES, b"]" * 10**7])
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as source,
        zipfile.ZipFile(path, "w") as target,
    ):
        for name in source.namelist():
            own = name.endswith("data.pkl")
            target.writestr(name, b"\x80\2" + said if own else source.read(name))


def is_cut_short(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    torch.save(payload, path)
    path.write_bytes(path.read_bytes()[: dice.randrange(int(path.stat().st_size * 0.99))])


def is_noise(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    head = dice.choice([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x05", b"\x10\0\0\0\0\0\0\0{"])
    path.write_bytes(head + dice.randbytes(dice.randrange(4096)))


def names_other_parameters(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    key = dice.choice(list(payload["model"]))
    value = payload["model"].pop(key)
    other = dice.choice(["", "../" + key, key + "\n", "__class__", key.upper(), 7, None])
    payload["model"][other] = value
    torch.save(payload, path)


def has_tensors_of_another_kind(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    key = dice.choice([key for key, value in payload["model"].items() if value.dim() == 2])
    value = payload["model"][key]
    kinds = value.to_sparse, value.to_sparse_csr, lambda: value.to("meta"), value.bool, value.half
    payload["model"][key] = dice.choice(kinds)()
    torch.save(payload, path)


def states_what_no_number_is(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    endless: list[Any] = []
    endless.append(endless)
    name = dice.choice(["latent_dim", "nhead", "num_obs_checkpoints", "fusion_method"])
    payload["args"][name] = dice.choice(
        [endless, {(1, 2): 3}, torch.zeros(3), 9**600, -1, [torch.zeros(2)] * 32, "x\n" * 99]
    )
    torch.save(payload, path)


def has_layers_without_end(path: Path, dice: random.Random, payload: dict[str, Any]) -> None:
    name = dice.choice(["s2_backbone.transformer_encoder.layers.{}.linear1.weight", "x{}"])
    some = torch.zeros(1)
    payload["model"] |= {name.format(number): some for number in range(100, 3100)}
    torch.save(payload, path)


def is_safetensors_with_a_false_header(
    path: Path, dice: random.Random, payload: dict[str, Any]
) -> None:
    save_file(payload["model"], path, {"tessera": "{}"})
    whole = path.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8:start])
    key = dice.choice(list(payload["model"]))
    name, value = dice.choice(
        [
            ("shape", [2**63]),
            ("shape", [-1, 4]),
            ("shape", [1] * 99),
            ("dtype", "I64"),
            ("dtype", "\n"),
            ("data_offsets", [0, 2**62]),
            ("data_offsets", [8, 0]),
        ]
    )
    header[key][name] = value
    if dice.random() < 0.3:
        stated = dice.choice([f'{{"nhead": {"9" * 5000}}}', "[" * 9**5, '{"nhead": 1e999}'])
        header["__metadata__"] = {"tessera": stated}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[start:])


KINDS: tuple[Write, ...] = (
    calls_a_function,
    calls_a_function,
    has_another_shape,
    holds_no_numbers,
    claims_to_be_huge,
    asks_for_more_than_it_has,
    is_cut_short,
    is_noise,
    names_other_parameters,
    has_tensors_of_another_kind,
    states_what_no_number_is,
    has_layers_without_end,
    is_safetensors_with_a_false_header,
)


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("payload") / "good.pt"
    jobs.weights(path, seed=0)
    read_checkpoint(path)
    return path


def refuses(path: Path) -> None:
    """The file is refused in one line that names it, and nothing was executed."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    assert {entry.name for entry in path.parent.iterdir()} == {path.name}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("kind", range(len(KINDS)), ids=[kind.__name__ for kind in KINDS])
def test_generated_checkpoints_are_refused(tmp_path: Path, payload: Path, kind: int) -> None:
    before = grown()
    for seed in range(25):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        content = torch.load(payload, weights_only=True)
        KINDS[kind](folder / "weights.pt", random.Random(seed), content)
        refuses(folder / "weights.pt")
    assert grown() - before < MOST_MEMORY


@pytest.mark.parametrize("seed", range(3))
def test_a_checkpoint_that_bursts_is_refused(tmp_path: Path, payload: Path, seed: int) -> None:
    before = grown()
    content = torch.load(payload, weights_only=True)
    bursts_when_unpacked(tmp_path / "weights.pt", random.Random(seed), content)
    refuses(tmp_path / "weights.pt")
    assert grown() - before < MOST_MEMORY


# Regions.

numbers = st.one_of(st.floats(), st.integers(-(10**12), 10**12), st.none(), st.text(max_size=3))
anything = st.recursive(
    st.one_of(numbers, st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)
rings = st.lists(st.lists(st.lists(numbers, min_size=0, max_size=4), max_size=8), max_size=3)
kinds = st.sampled_from(["Polygon", "MultiPolygon", "Point", "GeometryCollection", "Feature", ""])
geometries = st.fixed_dictionaries({"type": kinds, "coordinates": st.one_of(rings, anything)})
documents = st.one_of(
    anything,
    geometries,
    st.fixed_dictionaries(
        {
            "type": st.just("FeatureCollection"),
            "crs": st.one_of(st.none(), anything),
            "features": st.lists(
                st.fixed_dictionaries(
                    {"type": st.just("Feature"), "properties": anything, "geometry": geometries}
                ),
                max_size=3,
            ),
        }
    ),
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(documents)
def test_any_region_file_is_a_region_or_refused(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "region.geojson"
    path.write_text(json.dumps(document))
    try:
        region = read_region(str(path))
    except BadInput as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert len(refused.splitlines()) == 1
        assert str(path) in refused
        return
    assert region.is_valid
    assert region.area > 0
    west, south, east, north = region.bounds
    assert -180 <= west < east <= 180
    assert -90 <= south < north <= 90


VRT = (
    b"<OGRVRTDataSource><OGRVRTLayer name='secret'><SrcDataSource>%s</SrcDataSource>"
    b"</OGRVRTLayer></OGRVRTDataSource>"
)
"""GDAL's own description of a layer that lies elsewhere."""

COMMAND = b'{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read %s"}'
"""And of commands to run."""

TRAPS = {
    "layer": VRT,
    "layer after a mark of byte order": b"\xef\xbb\xbf" + VRT,
    "layer after noise": b"x" + VRT,
    "layer after a comment": b"<!-- <kml -->" + VRT,
    "layer in kml": b"<kml>" + VRT + b"</kml>",
    "layer after kml": b"<kml/>" + VRT,
    "layer after a database's head": b"SQLite format 3\0" + VRT,
    "layer after half of it": b"SQLite format 3" + VRT,
    "layer after a shapefile's head": b"\0\0\x27\x0a" + VRT,
    "layer after a FlatGeobuf's head": b"fgb\x03fgb\x01" + VRT,
    "layer after its size": b"fgb\x03fgb\x01aaa\0" + VRT,
    "layer in json": b'{"type": "FeatureCollection", "features": [], "x": "' + VRT + b'"}',
    "command": COMMAND,
    "command in json": COMMAND[:-1] + b', "features": [], "type": "FeatureCollection"}',
    "service": b"<OGRWFSDataSource><URL>%s</URL></OGRWFSDataSource>",
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_region_file_opens_no_other(tmp_path: Path, suffix: str) -> None:
    square = '{"type": "Polygon", "coordinates": [[[5, 5], [6, 5], [6, 6], [5, 5]]]}'
    (tmp_path / "secret.geojson").write_text(square)
    with serving(tmp_path) as server:
        for number, trap in enumerate(TRAPS.values()):
            for place in (tmp_path, f"/vsicurl/{server.url}"):
                path = tmp_path / f"region{number}{suffix}"
                path.write_bytes(trap % f"{place}/secret.geojson".encode())
                with pytest.raises(BadInput) as caught:
                    read_region(str(path))
                assert len(str(caught.value).splitlines()) == 1
        assert not server.counts


def test_what_a_region_file_says_of_others_is_not_followed(tmp_path: Path) -> None:
    square = [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]
    text = (VRT % b"/etc/passwd").decode()
    path = tmp_path / "region.geojson"
    path.write_text(json.dumps({"name": text, "type": "Polygon", "coordinates": square}))
    assert read_region(str(path)).bounds == (0, 0, 1, 1)


def test_a_raster_of_labels_opens_no_other(tmp_path: Path) -> None:
    other, path = tmp_path / "other.tif", tmp_path / "labels.tif"
    options = {"driver": "GTiff", "count": 1, "height": 4, "width": 4, "dtype": "uint8"}
    with rasterio.open(other, "w", crs="EPSG:4326", transform=Affine.scale(0.1), **options) as file:
        file.write(np.ones((1, 4, 4), np.uint8))
    assert read_labels(other).classes.all()
    with rasterio.open(other) as file:
        rasterio.shutil.copy(file, path, driver="VRT")
    assert b"<VRTDataset" in path.read_bytes()
    with pytest.raises(BadInput, match="cannot be read as a raster"):
        read_labels(path)


def laughs() -> bytes:
    """A document type whose text grows to a thousand million words."""
    grows = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    head = f'<!DOCTYPE kml [<!ENTITY a0 "0,0 ">{grows}]>'
    ring = "<outerBoundaryIs><LinearRing><coordinates>&a9;</coordinates></LinearRing>"
    return f"{head}<kml><Polygon>{ring}</outerBoundaryIs></Polygon></kml>".encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("deep.geojson", b"[" * 100_000),
        ("deep.json", b'{"type": "GeometryCollection", "geometries": [' * 900 + b"]}" * 900),
        ("digits.geojson", b'{"type": "Polygon", "coordinates": [[[' + b"9" * 10**6 + b"]]]}"),
        ("objects.geojson", b'{"type": "FeatureCollection", "x": [' + b"{}," * (40 << 20) + b"0]}"),
        ("laughs.kml", laughs()),
        ("tags.kml", b"<kml>" + b"<a/>" * (20 << 20) + b"</kml>"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_region_file_that_would_swell_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    before = grown()
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadInput, match=name) as caught:
        read_region(str(path))
    assert len(str(caught.value).splitlines()) == 1
    assert grown() - before < MOST_MEMORY


def test_a_table_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "endless.gpkg"
    blobs = np.array([shapely.to_wkb(shapely.box(0, 0, 1, 1))], dtype=object)
    pyogrio.raw.write(path, blobs, [], [], geometry_type="Polygon", crs="EPSG:4326", layer="one")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(
            """
            DROP TABLE IF EXISTS gpkg_ogr_contents;
            PRAGMA writable_schema = ON;
            DELETE FROM sqlite_master WHERE type = 'trigger';
            CREATE VIEW endless AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
                SELECT x AS fid, (SELECT geom FROM one) AS geom FROM n;
            UPDATE gpkg_contents SET table_name = 'endless';
            UPDATE gpkg_geometry_columns SET table_name = 'endless';
            """
        )
    with pytest.raises(BadInput, match="cannot be read in 2 s"):
        gdal_sandbox.read_layer(path, seconds=2)


def test_ten_million_corners_are_refused(tmp_path: Path) -> None:
    before = grown()
    path = tmp_path / "region.geojson"
    corners = ",[0,1],[1,1]" * 5_000_000
    path.write_text(f'{{"type": "Polygon", "coordinates": [[[0,0]{corners},[0,0]]]}}')
    with pytest.raises(BadInput, match="has more than 2,000,000 corners"):
        read_region(str(path))
    assert grown() - before < MOST_MEMORY


@pytest.mark.parametrize("text", ['{"type": "Polygon"}', "1," * 2000, "x" * 300, "a\0b", "\ud800"])
def test_text_that_is_no_name_of_a_file_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_region(text)
    assert len(str(caught.value)) < 500


# Stores.


@pytest.mark.parametrize(
    "key", ["../outside", "records/../../outside", "/outside", "a/../../outside", ".."]
)
def test_no_key_leads_out_of_a_store(tmp_path: Path, key: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("not yours")
    storage = Storage(str(tmp_path / "store"))
    storage.write("inside", b"")
    key = f"{outside}" if key == "/outside" else key
    for attempt in (
        lambda: storage.read(key),
        lambda: storage.write(key, b"mine"),
        lambda: storage.create(key, b"mine"),
        lambda: storage.put_file(key, __file__),
        lambda: storage.delete(key),
        lambda: list(storage.list(key)),
    ):
        with pytest.raises(StoreError, match="leads out of the store"):
            attempt()
    assert outside.read_text() == "not yours"


@pytest.mark.parametrize("url", ["gs://bucket/a/../../other", "memory://a/../b", "s3://b/.."])
def test_no_store_address_leads_up(url: str) -> None:
    with pytest.raises(BadInput, match=r"\.\."):
        Storage(url)


def test_a_forged_record_deletes_nothing_outside(
    archive: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, outside = tmp_path / "store", tmp_path / "outside"
    shutil.copytree(finished, store)
    outside.write_text("not yours")
    path = min(store.glob("records/*/tiles/*/*.json"))
    forged = records.Record.from_json(path.read_bytes()).__dict__
    forged |= {"objects": ({"key": "../outside", "size": 1, "sha256": ""},)}
    path.write_bytes(records.Record(**forged).to_json())
    assert jobs.run_here([*jobs.options(archive, store), "--overwrite", path.stem]) == 0
    assert outside.read_text() == "not yours"


# Catalogues.


def test_a_catalogue_as_deep_as_python_recurses(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    path.write_text("[" * (sys.getrecursionlimit() * 50))
    assert jobs.run_here(jobs.options(path, tmp_path / "store")) == 2


@pytest.mark.parametrize(
    "href",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/x",
        "memory://a",
        "/vsicurl/http://169.254.169.254/y",
        "/vsizip/inner.zip/y",
        "http://vm:{port}/sound.tif",
        "HTTP://vm:{port}/sound.tif",
    ],
)
def test_a_remote_catalogue_points_only_where_it_may(
    archive: Path, tmp_path: Path, href: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def resolve(host: str, *args: Any, **kwargs: Any) -> Any:
        return look_up("127.0.0.1" if host == "vm" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    copy, inside = tmp_path / "archive", tmp_path / "inside"
    shutil.copytree(archive.parent, copy)
    inside.mkdir()
    shutil.copy(min(copy.glob("sentinel-2-l2a/*/B04.tif")), inside / "sound.tif")
    store = tmp_path / "store"
    with serving(copy) as server, serving(inside) as private:
        for path in copy.glob("sentinel-2-l2a/*/*.json"):
            item = json.loads(path.read_text())
            item["assets"]["B04"]["href"] = href.format(port=private.server_port)
            path.write_text(json.dumps(item))
        catalogue = f"{server.url}/catalog.json"
        words = jobs.options(Path("at"), store, "--max-failed-share=1")
        words[words.index("--catalog=at")] = f"--catalog={catalogue}"
        assert jobs.run_here(words) == 3
        assert private.counts["requests"] == 0
    failed = [
        record.error
        for path in store.glob("records/*/tiles/*/*.json")
        if (record := records.Record.from_json(path.read_bytes())).error
    ]
    # A tile that has no clear day never asks for the band.
    assert failed
    assert {error.kind for error in failed} == {"refused"}
    assert {error.asset for error in failed} == {"B04"}
