"""The mosaic: its metadata, its bytes, and what readers that are not ours make of them."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import tensorstore
import zarr
import zarr_cm.proj
import zarr_cm.spatial
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_mosaic.pipeline.errors import BadEmbedding, BadInput, StoreError, StoreMismatch
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, PLAIN, SHARDS, Compression, Layout
from tessera_mosaic.pipeline.mosaic.shards import Pixels, decode_index, index_size
from tessera_mosaic.pipeline.mosaic.store import Mosaic, create_store, read_mosaic
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, WIDTH, Tile, Window
from tests.samples import (
    DEPTHS,
    SIDE,
    TILES,
    YEARS,
    Sample,
    identity,
    part,
    pixels,
    read_node,
    write_sample,
)

SCHEMAS = Path(__file__).parents[2] / "schemas"
TILE = TILES[0]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(Storage(str(tmp_path_factory.mktemp("sample"))))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


def small(storage: Storage, **layout: object) -> Mosaic:
    return create_store(storage, Layout(SIDE, **layout), identity(), [2018], [TILE.zone])


def nodes(storage: Storage) -> Iterator[tuple[str, dict]]:
    for key in storage.list(""):
        if key.endswith("/zarr.json"):
            path = key.removesuffix("/zarr.json")
            yield path, read_node(storage, path)


# Metadata


def test_root_follows_the_geoembeddings_convention(sample: Sample) -> None:
    root = json.loads(sample.mosaic.storage.read("zarr.json"))
    schema = json.loads((SCHEMAS / "geoemb.json").read_text())
    jsonschema.validate(root, schema)
    assert root["attributes"]["geoemb:depths"][-1] == {"dimensions": 128, "array": "embeddings"}
    for name in ("geoemb:model", "geoemb:source_data", "geoemb:type"):
        broken = json.loads(json.dumps(root))
        broken["attributes"][name] = "no such thing"
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_zones_follow_the_spatial_and_proj_conventions(sample: Sample) -> None:
    for zone in sample.mosaic.zones:
        node = json.loads(sample.mosaic.storage.read(f"utm{zone:02d}/zarr.json"))
        zarr_cm.spatial.validate_group_metadata(node)
        zarr_cm.proj.validate_group_metadata(node)
        attributes = node["attributes"]
        assert attributes["proj:code"] == f"EPSG:326{zone:02d}"
        assert attributes["spatial:shape"] == [HEIGHT, WIDTH]
        assert attributes["utm_zone"] == zone


def test_every_array_of_pixels_tells_its_own_place(sample: Sample) -> None:
    placed = 0
    for path, node in nodes(sample.mosaic.storage):
        if node["node_type"] == "array" and "x" in node["dimension_names"][1:]:
            zarr_cm.spatial.validate_array_metadata(node)
            zarr_cm.proj.validate_array_metadata(node)
            group = json.loads(sample.mosaic.storage.read(f"{path[:5]}/zarr.json"))["attributes"]
            for name in ("proj:code", "spatial:transform", "spatial:shape", "spatial:bbox"):
                assert node["attributes"][name] == group[name], path
            placed += 1
    assert placed == len(sample.mosaic.zones) * len(sample.mosaic.layout.arrays)


def test_conventions_are_declared_by_both_spellings(sample: Sample) -> None:
    for path in ("utm31", "utm31/embeddings"):
        node = json.loads(sample.mosaic.storage.read(f"{path}/zarr.json"))
        declared = node["attributes"]["zarr_conventions"]
        # rioxarray 0.23 goes by these names, and zarr-cm by the first entry of each identifier.
        assert {"spatial:", "proj:"} <= {entry.get("name") for entry in declared}
        assert zarr_cm.spatial.detect(node["attributes"]) == zarr_cm.spatial.LATEST
        assert zarr_cm.proj.detect(node["attributes"]) == zarr_cm.proj.LATEST


def test_consolidated_metadata_equals_the_nodes(sample: Sample) -> None:
    root = json.loads(sample.mosaic.storage.read("zarr.json"))
    told = root["consolidated_metadata"]["metadata"]
    assert told == dict(nodes(sample.mosaic.storage))
    group = json.loads(sample.mosaic.storage.read("utm31/zarr.json"))
    below = {path[6:]: node for path, node in told.items() if path.startswith("utm31/")}
    assert group["consolidated_metadata"]["metadata"] == below


def test_zarr_python_reads_the_metadata_as_it_would_write_it(sample: Sample) -> None:
    for path, node in nodes(sample.mosaic.storage):
        if node["node_type"] == "array":
            array = zarr.open_array(sample.mosaic.storage.url, path=path, mode="r")
            theirs = array.metadata.to_dict()
            assert json.loads(json.dumps(theirs["codecs"], default=str)) == node["codecs"], path
            assert list(theirs["dimension_names"]) == node["dimension_names"]
            assert array.attrs.asdict() == node["attributes"]
            # Readers take these for CF, which means something else by them.
            assert not {"_FillValue", "scale_factor", "add_offset", "units"} & set(array.attrs)


def test_coordinates(sample: Sample) -> None:
    group = zarr.open_group(sample.mosaic.storage.url, mode="r")
    for zone in sample.mosaic.zones:
        here = group[f"utm{zone:02d}"]
        _, _, west, _, _, north = here.attrs["spatial:transform"]
        x, y = here["x"], here["y"]
        assert list(here["time"][:]) == list(sample.mosaic.years)
        assert x[0] - 5 == west
        assert y[0] + 5 == north
        assert west % 10 == north % 10 == 0
        assert x.shape == x.chunks == (WIDTH,)
        assert y.shape == y.chunks == (HEIGHT,)
        assert (np.diff(x[:]) == 10).all()
        assert (np.diff(y[:]) == -10).all()
        assert list(here["band_d16"][:]) == list(range(16))


# Making and extending a store


def test_create_is_idempotent(storage: Storage) -> None:
    first = small(storage)
    before = {key: storage.read(key) for key in storage.list("")}
    assert small(storage) == first == read_mosaic(storage)
    assert {key: storage.read(key) for key in storage.list("")} == before


def test_years_and_zones_are_added(storage: Storage) -> None:
    assert small(storage).years == (2017, 2018)
    with read_mosaic(storage).writer(TILE, 2018) as shard:
        shard.put(*part(pixels(TILE, 2018), TILE, TILE.window))
        shard.close()
    grown = create_store(storage, Layout(SIDE), identity(), [2020], [1])
    assert grown.years == (2017, 2018, 2019, 2020)
    assert grown.zones == (1, 31)
    group = zarr.open_group(storage.url, mode="r")
    for zone in ("utm01", "utm31"):
        assert list(group[zone]["time"][:]) == list(grown.years)
        assert group[zone]["scales"].shape[0] == 4
    assert np.array_equal(grown.read(TILE, 2018).scales, pixels(TILE, 2018).scales, equal_nan=True)
    root = json.loads(storage.read("zarr.json"))
    assert root["consolidated_metadata"]["metadata"] == dict(nodes(storage))


@pytest.mark.parametrize("compression", [PLAIN, Compression("lz4", 5)])
def test_a_mosaic_keeps_its_own_compression(storage: Storage, compression: Compression) -> None:
    small(storage, compression=compression)
    grown = create_store(storage, Layout(SIDE), identity(), [2019], [1])
    assert grown == read_mosaic(storage)
    assert grown.layout.compression == compression != SHARDS
    with grown.writer(TILE, 2019) as shard:
        shard.put(*part(pixels(TILE, 2019), TILE, TILE.window))
        shard.close()
    assert np.array_equal(grown.read(TILE, 2019).codes, pixels(TILE, 2019).codes)
    array = grown.layout.scales
    shard = storage.read(array.key(TILE, grown.step(2019)))
    rows, cols = TILE.window.within(Window(31, 0, 0, HEIGHT, WIDTH))
    scales = zarr.open_array(storage.url, path="utm31/scales", mode="r")[2, rows, cols]
    corner = np.ascontiguousarray(scales[: array.inner, : array.inner])
    assert shard.startswith(compression.codec.encode(corner))


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "zstd", "configuration": {"level": 3, "checksum": False}},
        {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 1, "shuffle": "shuffle"}},
        {"name": "blosc", "configuration": {"cname": "no", "clevel": 1, "shuffle": "bitshuffle"}},
    ],
)
def test_shards_that_cannot_be_written_alike_are_refused(storage: Storage, codec: dict) -> None:
    small(storage)
    root = json.loads(storage.read("zarr.json"))
    node = root["consolidated_metadata"]["metadata"]["utm31/embeddings"]
    node["codecs"][0]["configuration"]["codecs"][-1] = codec
    storage.write("zarr.json", json.dumps(root).encode())
    with pytest.raises(BadInput, match="no mosaic of ours"):
        read_mosaic(storage)


def test_an_older_reader_survives_a_new_year(storage: Storage) -> None:
    small(storage)
    before = zarr.open_group(storage.url, mode="r")
    create_store(storage, Layout(SIDE), identity(), [2021], [TILE.zone])
    assert list(before["utm31/time"][:]) == [2017, 2018]


def test_the_axis_starts_earlier_only_if_asked_at_first(storage: Storage) -> None:
    early = create_store(storage, Layout(SIDE), identity(), [2016], [31])
    assert early.years == (2016,)
    with pytest.raises(BadInput, match="begins with 2016: 2015 cannot be put before it"):
        create_store(storage, Layout(SIDE), identity(), [2015], [31])
    with pytest.raises(BadInput, match="no year 2030: it holds 2016 to 2016"):
        early.step(2030)


def test_another_identity_is_refused_and_says_why(storage: Storage) -> None:
    small(storage)
    before = {key: storage.read(key) for key in storage.list("")}
    with pytest.raises(StoreMismatch, match="imagery"):
        create_store(storage, Layout(SIDE), identity(imagery="aws"), [2018], [31])
    with pytest.raises(StoreMismatch, match=r"layout\.side"):
        create_store(storage, Layout(2 * SIDE), identity(), [2018], [31])
    assert {key: storage.read(key) for key in storage.list("")} == before


def test_a_store_of_somebody_else_is_left_alone(storage: Storage) -> None:
    zarr.create_group(storage.url, attributes={"title": "theirs"})
    with pytest.raises(BadInput, match="no mosaic of ours"):
        small(storage)


def _add_zone(url: str, zone: int, year: int) -> None:
    create_store(Storage(url), Layout(SIDE), identity(), [year], [zone])


def test_launchers_at_once_lose_nothing(storage: Storage) -> None:
    spawn = multiprocessing.get_context("spawn")
    launchers = [
        spawn.Process(target=_add_zone, args=(storage.url, zone, year))
        for zone, year in ((1, 2018), (2, 2020), (3, 2019))
    ]
    for launcher in launchers:
        launcher.start()
    for launcher in launchers:
        launcher.join()
    mosaic = read_mosaic(storage)
    assert (mosaic.zones, mosaic.years) == ((1, 2, 3), (2017, 2018, 2019, 2020))
    root = json.loads(storage.read("zarr.json"))
    assert root["consolidated_metadata"]["metadata"] == dict(nodes(storage))


# Shards


def test_a_tile_comes_back(sample: Sample) -> None:
    for (tile, year), put in sample.tiles.items():
        got = sample.mosaic.read(tile, year)
        assert np.array_equal(got.codes, put.codes)
        assert np.array_equal(got.scales, put.scales, equal_nan=True)
        assert all(np.array_equal(got.counts[name], put.counts[name]) for name in COUNTS)


def test_a_window_is_put_together_from_tiles(sample: Sample) -> None:
    tile, below = TILES[0], TILES[1]
    window = Window(31, below.window.row - 30, tile.window.col - 20, 50, 40)
    got = sample.mosaic.read_window(window, 2019)
    above = sample.tiles[tile, 2019].scales[-30:, :20]
    under = sample.tiles[below, 2019].scales[:20, :20]
    assert np.isposinf(got.scales[:, :20]).all()
    assert np.array_equal(got.scales[:, 20:], np.vstack([above, under]), equal_nan=True)
    assert np.array_equal(got.codes[30:, 20:], sample.tiles[below, 2019].codes[:20, :20])


@pytest.mark.parametrize("depth", [*DEPTHS, 128])
def test_independent_readers_read_the_same(sample: Sample, depth: int) -> None:
    name = "embeddings" if depth == 128 else f"embeddings_d{depth}"
    url, year = sample.mosaic.storage.url, YEARS[1]
    step = sample.mosaic.step(year)
    for tile in TILES[::3]:
        put, (row, col) = sample.tiles[tile, year], (tile.window.row, tile.window.col)
        codes = np.moveaxis(put.codes, -1, 0)[:depth]
        for array, expected in ((name, codes), ("scales", put.scales)):
            at = np.s_[step, ..., row : row + SIDE, col : col + SIDE]
            path = f"utm{tile.zone:02d}/{array}"
            theirs = zarr.open_array(url, path=path, mode="r")[at]
            assert np.array_equal(theirs, expected, equal_nan=array == "scales")
            spec = {"driver": "zarr3", "kvstore": f"file://{url}/{path}/"}
            store = tensorstore.open(spec, read=True).result()
            window = store[step][..., row : row + SIDE, col : col + SIDE].read().result()
            assert np.array_equal(window, expected, equal_nan=array == "scales")


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([32, 48, 64, 96, 128]), st.randoms(), st.sampled_from([1, 3]))
def test_bytes_do_not_depend_on_blocks_order_or_threads(
    side: int, random: object, threads: int
) -> None:
    mosaic = small(Storage(f"memory://blocks-{side}-{threads}"), depths=(16,))
    put = pixels(TILE, 2018)
    stored = []
    for block in (SIDE, side):
        blocks = list(TILE.window.blocks(block))
        random.shuffle(blocks)
        with mosaic.writer(TILE, 2018, threads) as shard:
            for window in blocks:
                shard.put(*part(put, TILE, window))
            stored.append(shard.close())
    assert stored[0] == stored[1]


def test_pixels_of_no_block_stay_fill(storage: Storage) -> None:
    mosaic = small(storage, depths=(16,))
    put = pixels(TILE, 2018)
    window = Window(31, TILE.window.row + 32, TILE.window.col, 32, 96)
    with mosaic.writer(TILE, 2018) as shard:
        shard.put(*part(put, TILE, window))
        shard.close()
    got, at = mosaic.read(TILE, 2018), window.within(TILE.window)
    assert np.array_equal(got.scales[at], put.scales[at], equal_nan=True)
    got.scales[at], got.codes[at] = np.inf, 0
    assert np.isposinf(got.scales).all()
    assert not got.codes.any()


def test_a_tile_of_nothing_leaves_evidence(storage: Storage) -> None:
    mosaic = small(storage)
    with mosaic.writer(TILE, 2018) as shard:
        stored = shard.close()
    assert [entry.key for entry in stored] == list(mosaic.keys(TILE, 2018))
    for array, entry in zip(mosaic.layout.arrays, stored, strict=True):
        assert entry.size == storage.size(entry.key) == index_size(array)
        decode_index(array, storage.read(entry.key))
    group = zarr.open_group(storage.url, mode="r")
    row, col = TILE.window.row, TILE.window.col
    with zarr.config.set({"array.read_missing_chunks": False}):
        assert np.isposinf(group["utm31/scales"][1, row : row + 9, col : col + 9]).all()


def test_nothing_reaches_the_store_before_close(storage: Storage) -> None:
    mosaic = small(storage)
    before = list(storage.list(""))
    with mosaic.writer(TILE, 2018) as shard:
        shard.put(*part(pixels(TILE, 2018), TILE, TILE.window))
    assert list(storage.list("")) == before


@pytest.mark.parametrize("bad", [0.0, -0.5, 1.0, 3e38, -np.inf])
def test_a_scale_that_would_poison_readers_is_refused(storage: Storage, bad: float) -> None:
    window, codes, scales, counts = part(pixels(TILE, 2018), TILE, TILE.window)
    scales[3, 3] = bad
    with pytest.raises(BadEmbedding, match=TILE.name), small(storage).writer(TILE, 2018) as shard:
        shard.put(window, codes, scales, counts)


def test_a_pixel_is_put_once(storage: Storage) -> None:
    block = part(pixels(TILE, 2018), TILE, TILE.window)
    with small(storage).writer(TILE, 2018) as shard:
        shard.put(*block)
        with pytest.raises(ValueError, match="twice"):
            shard.put(*block)


def test_codes_beside_a_sentinel_are_zero(storage: Storage) -> None:
    mosaic = small(storage)
    window, codes, scales, counts = part(pixels(TILE, 2018), TILE, TILE.window)
    codes[:] = 7
    with mosaic.writer(TILE, 2018) as shard:
        shard.put(window, codes, scales, counts)
        shard.close()
    assert ((mosaic.read(TILE, 2018).codes == 7).all(-1) == np.isfinite(scales)).all()


def test_damage_is_an_error_not_a_value(storage: Storage) -> None:
    mosaic = small(storage)
    with mosaic.writer(TILE, 2018) as shard:
        shard.put(*part(pixels(TILE, 2018), TILE, TILE.window))
        stored = shard.close()
    for entry in (stored[3], stored[-1]):
        whole = storage.read(entry.key)
        storage.write(entry.key, whole[: entry.size // 2])
        with pytest.raises(StoreError, match=TILE.name):
            mosaic.read(TILE, 2018)
        storage.write(entry.key, whole)


def _write_tile(url: str, tile: Tile, times: int) -> None:
    mosaic, put = read_mosaic(Storage(url)), pixels(tile, 2018)
    for _ in range(times):
        with mosaic.writer(tile, 2018) as shard:
            shard.put(*part(put, tile, tile.window))
            shard.close()


@pytest.mark.parametrize("others", [TILES[1], TILES[0]], ids=["neighbours", "the same tile"])
def test_two_processes_at_once(storage: Storage, others: Tile) -> None:
    mosaic = small(storage)
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=_write_tile, args=(storage.url, tile, 4)) for tile in (TILE, others)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    for tile in (TILE, others):
        put: Pixels = pixels(tile, 2018)
        assert np.array_equal(mosaic.read(tile, 2018).codes, put.codes)


def test_layouts_that_cannot_be() -> None:
    for bad in ((64, 16), (16, 16), (0,), (128,)):
        with pytest.raises(BadInput, match="depths"):
            Layout(SIDE, 128, bad)
    with pytest.raises(BadInput, match="tile 100: such a side does not fit"):
        Layout(100)
