"""Exports hold the store's own values on the zone's own lattice, whatever opens them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream import selection
from tessera_mosaic.pipeline.downstream.export_request import parse_dims
from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.records import read_record
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import Mosaic, create_store
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds
from tests.pipeline.mosaic.test_foreign import publish
from tests.samples import TILES, YEARS, Sample, add_tiles, identity, pixels, write_sample

BOX = (5.994, -0.003, 6.004, 0.006)
REGION = ",".join(map(str, BOX))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(Storage(str(tmp_path_factory.mktemp("sample") / "a.zarr")), TILES[:4])


@pytest.fixture
def store(sample: Sample) -> str:
    return sample.mosaic.storage.url


def embeddings(store: str, zone: int, year: int) -> NDArray[np.float32]:
    """What the mosaic holds of the box, as it is read by others."""
    return tm.dequantize(tm.open_mosaic(store).region(*BOX, year=year)[zone]).values


def test_a_region_of_two_zones_is_a_geotiff_each(store: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    request = tm.ExportRequest(store, tmp_path / "new/a.tif", REGION, dims=(0, 1, 2, 127))
    found = tm.export(request, lambda done, all_: told.append((done, all_)))
    assert (found.year, found.dims, told[-1]) == (YEARS[-1], 4, (2, 2))
    assert [Path(file.path).name for file in found.files] == ["a-utm31.tif", "a-utm32.tif"]
    for zone, file in zip((31, 32), found.files, strict=True):
        region = tm.open_mosaic(store).region(*BOX, year=YEARS[-1])[zone]
        with rasterio.open(file.path) as raster:
            assert raster.crs.to_epsg() == 32600 + zone
            assert raster.res == (10, 10)
            assert (*raster.xy(0, 0),) == (region.x[0], region.y[0])
            assert tuple(raster.bounds) == file.bounds
            assert raster.descriptions == ("e0", "e1", "e2", "e127")
            assert (raster.dtypes[0], raster.tags()["YEAR"]) == ("float32", str(YEARS[-1]))
            assert np.isnan(raster.nodata)
            values = raster.read()
        expected = embeddings(store, zone, YEARS[-1])[[0, 1, 2, 127]]
        np.testing.assert_array_equal(values, expected)
        assert 0 < file.embedded == np.isfinite(values[0]).sum() < values[0].size
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "a-utm31.tif",
        "a-utm32.tif",
    ]


def test_codes_come_with_their_scales(store: str, tmp_path: Path) -> None:
    request = tm.ExportRequest(store, tmp_path / "a.tif", REGION, YEARS[0], values="int8")
    for zone, file in zip((31, 32), tm.export(request).files, strict=True):
        beside = file.path.replace(".tif", "_scales.tif")
        with rasterio.open(file.path) as codes, rasterio.open(beside) as scales:
            assert (codes.dtypes[0], codes.count, scales.count) == ("int8", 128, 1)
            assert codes.transform == scales.transform
            found = codes.read() * scales.read(1)
        np.testing.assert_array_equal(found, embeddings(store, zone, YEARS[0]))


@pytest.mark.parametrize("ending", [".nc", ".zarr"])
@pytest.mark.parametrize("values", ["float32", "int8"])
def test_xarray_and_gdal_open_arrays(store: str, tmp_path: Path, ending: str, values: str) -> None:
    request = tm.ExportRequest(store, tmp_path / f"a{ending}", REGION, YEARS[0], values=values)
    files = tm.export(request).files
    for zone, file in zip((31, 32), files, strict=True):
        engine = "h5netcdf" if ending == ".nc" else "zarr"
        with xarray.open_dataset(file.path, engine=engine) as found:
            region = tm.open_mosaic(store).region(*BOX, year=YEARS[0])[zone]
            expected = tm.dequantize(region)
            codes = found.embeddings if values == "float32" else found.embeddings * found.scales
            np.testing.assert_array_equal(codes, expected)
            np.testing.assert_array_equal(found.x, region.x)
            np.testing.assert_array_equal(found.y, region.y)
            for name in ("s2", "s1_ascending", "s1_descending"):
                array = found[f"observations_{name}"]
                np.testing.assert_array_equal(array, region[f"observations_{name}"])
            assert found.rio.crs.to_epsg() == 32600 + zone
            assert found.attrs["model"] == "sample"
        if ending == ".nc":
            with rasterio.open(f"netcdf:{file.path}:embeddings") as raster:
                assert (raster.crs.to_epsg(), raster.count) == (32600 + zone, 128)
                assert tuple(raster.bounds) == file.bounds


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Mosaic:
    """A mosaic of four values a pixel, of which one tile of two has pixels."""
    storage = Storage(str(tmp_path_factory.mktemp("wide")))
    mosaic = create_store(storage, Layout(1024, 4), identity(), [2024], [31])
    tile = Tile(31, 900, 30, 1024)
    put = pixels(tile, 2024, dims=4)
    with mosaic.writer(tile, 2024) as shard:
        shard.put(tile.window, put.codes, put.scales, put.counts)
        shard.close()
    return mosaic


def test_a_large_region_is_read_in_blocks_and_laid_out_for_readers_of_parts(
    wide: Mosaic, tmp_path: Path
) -> None:
    window = Window(31, 900 * 1024 + 100, 30 * 1024 + 200, 800, 1100)
    edges = lonlat_bounds(Window(31, window.row + 5, window.col + 5, 790, 1090))
    request = tm.ExportRequest(wide.storage.url, tmp_path / "a.tif", ",".join(map(str, edges)))
    chosen = selection.select(wide.storage.url, request.region, None)
    sizes = [block.shape for block, _ in chosen.read(chosen.windows[0])]
    assert max(max(shape) for shape in sizes) == selection.BLOCK
    assert chosen.blocks == len(sizes) > 3
    [file] = tm.export(request).files
    with rasterio.open(file.path) as raster:
        assert (raster.overviews(1), raster.block_shapes[0]) == ([2, 4], (512, 512))
        whole = raster.read()
        half = rasterio.open(file.path, overview_level=0).read()
        # Pixels of an overview are pixels of the lattice.
        np.testing.assert_array_equal(half[:, :300, :300], whole[:, ::2, ::2][:, :300, :300])
        part = raster.read(2, window=RasterWindow(700, 10, 50, 60))
        np.testing.assert_array_equal(part, whole[1, 10:70, 700:750])
    held = pixels(Tile(31, 900, 30, 1024), 2024, dims=4)
    top, left = int((9_338_880 - file.bounds[3]) / 10), int((file.bounds[0] - 151_840) / 10)
    down, across = top - 900 * 1024, left - 30 * 1024
    width = 1024 - across
    scales = held.scales[down:, across:][: file.height]
    expected = (
        held.codes[down:, across:][: file.height]
        * np.where(np.isfinite(scales), scales, np.float32(np.nan))[..., None]
    )
    np.testing.assert_array_equal(np.moveaxis(whole, 0, -1)[:, :width], expected)
    assert np.isnan(whole[:, :, width:]).all()
    # What readers of parts fetch first is in front: the directories of all levels.
    levels = directories(Path(file.path).read_bytes())
    assert len(levels) == 3
    assert max(where for where, _ in levels) < min(first for _, first in levels)


def directories(data: bytes) -> list[tuple[int, int]]:
    """Where each directory of a plain TIFF lies, and the first of its blocks that has pixels."""
    found = []
    (at,) = struct.unpack_from("<I", data, 4)
    while at:
        (count,) = struct.unpack_from("<H", data, at)
        for n in range(count):
            tag, kind, many, value = struct.unpack_from("<HHII", data, at + 2 + 12 * n)
            if tag == 324:
                assert kind == 4
                assert many > 1
                blocks = struct.unpack_from(f"<{many}I", data, value)
                found.append((at, min(block for block in blocks if block)))
        (at,) = struct.unpack_from("<I", data, at + 2 + 12 * count)
    return found


def test_without_a_region_it_is_what_was_embedded(wide: Mosaic, tmp_path: Path) -> None:
    held = np.isfinite(pixels(Tile(31, 900, 30, 1024), 2024, dims=4).scales)
    rows, cols = np.flatnonzero(held.any(axis=1)), np.flatnonzero(held.any(axis=0))
    [file] = tm.export(tm.ExportRequest(wide.storage.url, tmp_path / "a.tif", dims=[3])).files
    assert (file.height, file.width) == (np.ptp(rows) + 1, np.ptp(cols) + 1)
    assert file.embedded == held.sum()


def test_without_a_year_it_is_the_newest_that_has_the_place(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "a.zarr"))
    mosaic = write_sample(storage, TILES[:1], [2018]).mosaic
    newer = create_store(storage, mosaic.layout, mosaic.identity, [2020], [31, 32])
    add_tiles(newer, TILES[2:3], 2020)
    found = tm.export(tm.ExportRequest(storage.url, tmp_path / "b.tif", REGION, dims=[0]))
    assert (found.year, [file.crs for file in found.files]) == (2020, ["EPSG:32632"])
    west = tm.export(tm.ExportRequest(storage.url, tmp_path / "c.tif", "5.99,0.001,5.995,0.005"))
    assert west.year == 2018


def test_what_others_published_is_exported_alike(tmp_path: Path) -> None:
    held = publish(tmp_path / "theirs")
    [file] = tm.export(tm.ExportRequest(str(tmp_path / "theirs"), tmp_path / "a.tif")).files
    assert file.bounds == (500_030, 4_999_030, 501_310, 4_999_990)
    with rasterio.open(file.path) as raster:
        values = raster.read()
    scales = held["scales"][1]
    expected = held["embeddings"][1] * np.where(np.isfinite(scales), scales, np.float32(np.nan))
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "a.jpg"], "--out a.jpg: use one of .tif, .tiff, .nc, .zarr"),
        (["--out", "a.tif", "--dims", "0:"], "--dims 0:: name them as 0:16"),
        (["--out", "a.tif", "--dims", "5:5"], "--dims 5:5: name them as 0:16"),
        (["--out", "a.tif", "--dims", "3,3"], "--dims 3,3: name each dimension once"),
        (["--out", "a.tif", "--dims", "100:200"], "--dims 199: the mosaic has dimensions 0 to 127"),
        (["--out", "a.tif", "--year", "2017"], "no year 2017: the years that were made are 2018"),
        (["--out", "a.tif", "--region", "20,0,21,1"], "zone 34: it has the zones 31, 32"),
        (["--out", "a.tif", "--region", "3,50,3.01,50.01"], "in this region: what was made lies"),
        (
            ["--out", "a.tif", "--region", "5,0,5.9,0.1"],
            "nothing of 2019 in this region: what",
        ),
        (["--out", "a.tif", "--region", "1,2,3"], "is no box"),
        (["--out", "a.tif", "--store", "nowhere"], "holds no mosaic"),
    ],
)
def test_bad_input_is_one_line(
    store: str,
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--store", store, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten_and_what_broke_off_leaves_nothing(
    sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-utm32_scales.tif").write_text("mine")
    words = ["export", "--store", sample.mosaic.storage.url, "--region", REGION]
    assert main([*words, "--values", "int8", "--out", str(tmp_path / "a.tif")]) == 2
    assert "a-utm32_scales.tif: it is there already" in capsys.readouterr().err
    storage = Storage(str(tmp_path / "broken.zarr"))
    broken = write_sample(storage, TILES[:1], [2018])
    record = read_record(storage, 2018, TILES[0])
    assert record is not None
    shard = record.objects[-1].key
    storage.write(shard, b"\0" * len(storage.read(shard)))
    for ending in (".tif", ".nc", ".zarr"):
        with pytest.raises(StoreError, match="tile utm31"):
            tm.export(tm.ExportRequest(broken.mosaic.storage.url, tmp_path / f"b{ending}", REGION))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["a-utm32_scales.tif", "broken.zarr"]


def test_the_command_tells_what_it_wrote(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "--store", store, "--region", REGION, "--dims", "0:2"]
    assert main([*words, "--out", str(tmp_path / "a.tif")]) == 0
    assert "a-utm31.tif: 2 dimensions of 2019" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "b.tif"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["year"], len(told["files"])) == (2019, 2)


def test_dimensions_are_named_as_slices_and_lists() -> None:
    assert parse_dims(None) == ()
    assert parse_dims("0:3, 9") == (0, 1, 2, 9)
    with pytest.raises(BadInput, match="dims -1"):
        parse_dims("-1")
