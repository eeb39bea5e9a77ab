"""What xarray and its kin do with the datasets of a mosaic."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray

import tessera_mosaic as tm
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.xarray_backend import TesseraBackend
from tessera_mosaic.pipeline.tiling.lattice import to_lonlat
from tests.layers import ROOT
from tests.pipeline.mosaic.test_foreign import publish
from tests.samples import TILES, Sample, pixels, write_sample

BOX = (5.994, 0.001, 5.998, 0.004)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(Storage(str(tmp_path_factory.mktemp("s") / "a.zarr")), TILES[:4], [2019])


@pytest.fixture
def square(sample: Sample) -> xarray.Dataset:
    return tm.open_mosaic(sample.mosaic.storage.url).region(*BOX, year=2019)[31]


def test_datasets_know_their_reference_system(sample: Sample, square: xarray.Dataset) -> None:
    for zone, dataset in tm.open_mosaic(sample.mosaic.storage.url).items():
        assert dataset.rio.crs.to_epsg() == 32600 + zone
        assert dataset["scales"].rio.crs.to_epsg() == 32600 + zone
        assert (dataset.attrs["utm_zone"], dataset.attrs["crs"]) == (zone, f"EPSG:{32600 + zone}")
    values = tm.dequantize(square)
    assert values.rio.crs.to_epsg() == 32631
    assert values.rio.transform()[2] == square.x[0] - 5
    clipped = values.rio.clip_box(*BOX, crs="EPSG:4326")
    assert 0 < clipped.sizes["x"] <= values.sizes["x"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_region_is_written_as_whatever_is_wanted(
    square: xarray.Dataset, chunked: bool, tmp_path: Path
) -> None:
    dataset = square.chunk({"y": 20, "x": 30}) if chunked else square
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    dataset.to_zarr(tmp_path / "a.zarr", consolidated=False)
    for found in (
        xarray.open_dataset(tmp_path / "a.nc", engine="h5netcdf", decode_coords="all"),
        xarray.open_zarr(tmp_path / "a.zarr", chunks=None, consolidated=False),
    ):
        np.testing.assert_array_equal(found["embeddings"], square["embeddings"])
        np.testing.assert_array_equal(found["scales"], square["scales"])
        np.testing.assert_array_equal(found["observations_s2"], square["observations_s2"])
        assert found.rio.crs.to_epsg() == 32631
        assert found.attrs["model"] == "sample"
        assert found["embeddings"].dtype == np.int8
        found.close()
    values = tm.dequantize(dataset)
    values.rio.to_raster(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs.to_epsg() == 32631
        np.testing.assert_array_equal(file.read(), values)
    values.to_dataset().to_netcdf(tmp_path / "b.nc", engine="h5netcdf")


def test_chunks_are_few_with_dask_and_none_without(sample: Sample) -> None:
    url = sample.mosaic.storage.url
    assert tm.open_mosaic(url)[31].chunks == {}
    for chunks in ("auto", {"y": 4096, "x": 4096}):
        array = tm.open_mosaic(url, chunks)[31]["embeddings"]
        assert array.chunks is not None
        assert np.prod([len(sizes) for sizes in array.chunks]) < 1_000_000
    told = xarray.open_dataset(url, engine=TesseraBackend, zone=31, chunks={})["embeddings"]
    assert told.chunks is not None
    assert [sizes[0] for sizes in told.chunks] == [1, 128, 1024, 1024]


def test_places_are_selected_by_longitude_and_latitude(sample: Sample) -> None:
    zones = tm.open_mosaic(sample.mosaic.storage.url)
    lons, lats, expected = [], [], []
    for tile, row, col in ((TILES[0], 5, 7), (TILES[2], 50, 100), (TILES[0], 25, 40)):
        west, _, _, north = tile.window.bounds
        lon, lat = to_lonlat(tile.zone).transform(west + col * 10 + 3, north - row * 10 - 8)
        put = pixels(tile, 2019)
        scale = put.scales[row, col] if np.isfinite(put.scales[row, col]) else np.nan
        lons.append(lon)
        lats.append(lat)
        expected.append(put.codes[row, col] * np.float32(scale))
    found = zones.sel(lons, lats)
    np.testing.assert_array_equal(found["embeddings"], expected)
    assert found["zone"].values.tolist() == [31, 32, 31]
    one = zones.sel(lon=lons[0], lat=lats[0], year=2019)
    assert one["embeddings"].dims == ("band",)
    assert int(one["observations_s2"]) == pixels(TILES[0], 2019).counts["s2"][5, 7]
    with pytest.raises(BadInput, match="there are 2 and 1: give as many"):
        zones.sel([1.0, 2.0], [1.0])
    with pytest.raises(BadInput, match="longitudes are -180 to 180"):
        zones.sel(1.0, 89.0)
    with pytest.raises(BadInput, match="no year 2018"):
        zones.sel(1.0, 1.0, year=2018)


def test_zones_are_a_tree(sample: Sample, tmp_path: Path) -> None:
    url = sample.mosaic.storage.url
    tree = tm.open_mosaic(url).to_datatree()
    assert list(tree.children) == ["utm31", "utm32"]
    opened = xarray.open_datatree(url, engine=TesseraBackend)
    assert list(opened.children) == ["utm31", "utm32"]
    assert opened["utm32"].to_dataset().rio.crs.to_epsg() == 32632


def test_the_engine_opens_a_zone(sample: Sample, tmp_path: Path) -> None:
    url = sample.mosaic.storage.url
    for words in ({"zone": 32}, {"group": "utm32"}):
        dataset = xarray.open_dataset(url, engine=TesseraBackend, **words)
        assert dataset.attrs["utm_zone"] == 32
        assert dataset.chunks == {}
    for words in ({}, {"zone": 9}, {"group": "other"}):
        with pytest.raises(BadInput, match="name one of the zones 31, 32"):
            xarray.open_dataset(url, engine=TesseraBackend, **words)
    publish(tmp_path / "theirs")
    theirs = xarray.open_dataset(tmp_path / "theirs", engine=TesseraBackend, drop_variables="time")
    assert theirs.rio.crs.to_epsg() == 32633
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert told["xarray.backends"]["tessera"].endswith("xarray_backend:TesseraBackend")
