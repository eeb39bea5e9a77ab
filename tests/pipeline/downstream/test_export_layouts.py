"""Exports in layouts that other programs ask for: torchgeo's files, and the viewer's folder."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import zarr
from rasterio.windows import from_bounds

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream.export_cells import Cell, cells_on
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.preview_pyramid import Colours, chunk_key
from tessera_mosaic.pipeline.mosaic.store import Mosaic, write_metadata
from tessera_mosaic.pipeline.tiling.lattice import Window
from tests.samples import TILES, pixels, write_sample

TORCHGEO = re.compile(r"^grid_(?P<lon>[0-9.-]+)_(?P<lat>[0-9.-]+)_(?P<date>[0-9]{4}).tiff$")
"""How torchgeo 0.9 and later reads the name of a file, of those that are named `grid_*.tiff`."""


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> Mosaic:
    storage = Storage(str(tmp_path_factory.mktemp("sample") / "a.zarr"))
    made = write_sample(storage, TILES[:4], [2019]).mosaic
    rows = np.random.default_rng(0).normal(size=(3, 128)).tolist()
    weights = tuple(tuple(row) for row in rows)
    made = dataclasses.replace(
        made, colours=Colours((0.0,) * 128, weights, (-200.0,) * 3, (200.0,) * 3)
    )
    write_metadata(made)
    return made


def test_cells_are_files_that_torchgeo_takes(mosaic: Mosaic, tmp_path: Path) -> None:
    words = ["export", "--store", mosaic.storage.url, "--layout", "grid", "--dims", "5,9"]
    assert main([*words, "--out", str(tmp_path / "cells")]) == 0
    names = sorted(path.name for path in (tmp_path / "cells").iterdir())
    assert names == [
        "grid_5.95_-0.05_2019.tiff",
        "grid_5.95_0.05_2019.tiff",
        "grid_6.05_-0.05_2019.tiff",
        "grid_6.05_0.05_2019.tiff",
    ]
    assert all(TORCHGEO.match(name) for name in names)
    for name in names:
        _, lon, lat, _ = name.split("_")
        zone, south = (31 if lon == "5.95" else 32), lat.startswith("-")
        with rasterio.open(tmp_path / "cells" / name) as file:
            assert file.crs.to_epsg() == (32700 if south else 32600) + zone
            assert 1100 < file.height < 1125
            assert 1100 < file.width < 1125
            for tile in (tile for tile in TILES[:4] if tile.zone == zone):
                west, low, east, high = tile.window.bounds
                shift = 10_000_000 if south else 0
                left, right = max(west, file.bounds.left), min(east, file.bounds.right)
                bottom = max(low + shift, file.bounds.bottom)
                top = min(high + shift, file.bounds.top)
                if left >= right or bottom >= top:
                    continue
                found = file.read(window=from_bounds(left, bottom, right, top, file.transform))
                rows = slice(round(high + shift - top) // 10, round(high + shift - bottom) // 10)
                cols = slice(round(left - west) // 10, round(right - west) // 10)
                put = pixels(tile, 2019)
                scales = np.where(np.isfinite(put.scales), put.scales, np.float32(np.nan))
                expected = put.codes[rows, cols][..., [5, 9]] * scales[rows, cols, None]
                np.testing.assert_array_equal(np.moveaxis(found, 0, -1), expected)


def test_cells_are_counted_in_whole_tenths() -> None:
    assert Cell(-1800, -1).name(2024) == "grid_-179.95_-0.05_2024.tiff"
    window = Cell(3, 3).window(31)
    [(zone, cell)] = cells_on([Window(31, window.row + 400, window.col + 400, 9, 9)], None)
    assert (zone, cell) == (31, Cell(3, 3))
    # A window across the antimeridian has the cells of its own zone alone.
    east = Cell(1799, 0).window(60)
    wide = Window(60, east.row, east.col, east.height, east.width + 500)
    assert {cell.col for _, cell in cells_on([wide], None)} <= {1798, 1799}


def test_the_viewer_finds_pixels_and_picture(mosaic: Mosaic, tmp_path: Path) -> None:
    mosaic.storage.write(chunk_key(9, 3, 7), b"painted")
    mosaic.storage.write(chunk_key(9, 0, 0), b"elsewhere")
    out = tmp_path / "tze"
    request = tm.ExportRequest(
        mosaic.storage.url, out, "5.994,-0.003,6.004,0.006", layout=tm.ExportLayout.TZE
    )
    found = tm.export(request)
    catalogue = pystac.Catalog.from_file(str(out / "catalog.json"))
    items = list(catalogue.get_items(recursive=True))
    assert sorted(item.id for item in items) == ["utm31_2019", "utm32_2019"]
    for item, file in zip(sorted(items, key=lambda item: item.id), found.files, strict=True):
        zone = item.properties["utm_zone"]
        group = out / "stac" / item.assets["zarr"].href
        assert group.samefile(file.path)
        region = tm.open_mosaic(mosaic.storage.url).region(*box(request), year=2019)[zone]
        opened = zarr.open_group(group, mode="r")
        told = dict(opened.attrs)
        assert (told["utm_zone"], told["tessera:utm_zone"], told["tessera:n_bands"]) == (
            zone,
            zone,
            128,
        )
        embeddings = opened["embeddings"]
        assert isinstance(embeddings, zarr.Array)
        assert (embeddings.chunks, embeddings.dtype) == ((32, 32, 128), np.int8)
        assert embeddings.metadata.dimension_names == ("y", "x", "band")
        values = np.asarray(embeddings[:]) * np.asarray(opened["scales"][:])[..., None]
        expected = np.moveaxis(tm.dequantize(region).values, 0, -1)
        np.testing.assert_array_equal(values, expected)
        a, _, west, _, e, north = told["spatial:transform"]
        assert (west + a / 2, north + e / 2) == (region.x[0], region.y[0])
        known = np.isfinite(expected[..., 0])
        rgb = np.asarray(opened["rgb"][:])
        np.testing.assert_array_equal(rgb[..., 3], np.where(known, 255, 0))
    root = zarr.open_group(out / "2019.zarr", mode="r")
    assert root.attrs["tessera:year"] == 2019
    assert root["global_rgb/9/rgb"].shape == (3515, 7031, 4)
    assert (out / "2019.zarr" / chunk_key(9, 3, 7)).read_bytes() == b"painted"
    copied = [path for path in (out / "2019.zarr/global_rgb").rglob("*") if "rgb/c" in str(path)]
    assert [path for path in copied if path.is_file()] == [out / "2019.zarr" / chunk_key(9, 3, 7)]


def box(request: tm.ExportRequest) -> tuple[float, float, float, float]:
    west, south, east, north = map(float, str(request.region).split(","))
    return west, south, east, north


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--layout", "grid", "--out", "a.tif"], "--out a.tif: the layout grid is a folder"),
        (["--layout", "tze", "--out", "a", "--dims", "0:4"], "--layout tze: it always has"),
        (["--layout", "tze", "--out", "."], "--out .: it is there already"),
    ],
)
def test_bad_input_is_one_line(
    mosaic: Mosaic,
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--store", mosaic.storage.url, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
