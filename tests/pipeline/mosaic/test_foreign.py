"""A mosaic that somebody else published is read where it lies, whatever its shards and codecs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.made_tiles import tiles_with_data
from tessera_mosaic.pipeline.errors import Altered, BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any, part_of, read_pixels
from tessera_mosaic.pipeline.mosaic.datasets import open_mosaic
from tessera_mosaic.pipeline.mosaic.foreign import ForeignMosaic
from tessera_mosaic.pipeline.mosaic.identity import fingerprint
from tessera_mosaic.pipeline.tiling.lattice import NORTH_EDGE, WEST_EDGE, Tile, Window, to_lonlat
from tests.fakes.web import Reply, Request, fake_web

YEARS, DIMS, H, W = (2022, 2023), 8, 96, 128
WEST, NORTH = 500_030, 4_999_990

Arrays = dict[str, NDArray[Any]]


def publish(
    folder: Path, crs: str = "EPSG:32633", north: float = NORTH, **attributes: Any
) -> Arrays:
    """A store as the client's own tools lay it out, with shards and codecs of its own."""
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.01, 0.1, (2, H, W)).astype(np.float32)
    scales[:, 3] = np.inf
    scales[:, 4] = np.nan
    scales[0, 5, :3] = [0, -0.5, 3e38]
    # The first year has nothing in its eastern half.
    scales[0, :, 64:] = np.inf
    held: Arrays = {
        "embeddings": rng.integers(-127, 128, (2, DIMS, H, W)).astype(np.int8),
        "scales": scales,
        "s2_obs_count": rng.integers(0, 99, (2, H, W)).astype(np.uint16),
    }
    held["embeddings"][0, :, :, 64:] = 0
    root = zarr.create_group(folder, attributes={"geoemb:model": "https://example.org/m"})
    zone = root.create_group("utm33")
    transform = [10.0, 0.0, float(WEST), 0.0, -10.0, north]
    zone.attrs.update({"proj:code": crs, "spatial:transform": transform} | attributes)
    for name, values in held.items():
        made = zone.create_array(
            name, shape=values.shape, dtype=values.dtype, chunks=(1, *values.shape[1:-2], 16, 16),
            shards=(1, *values.shape[1:-2], 32, 64), fill_value=np.inf if name == "scales" else 0,
            compressors=zarr.codecs.GzipCodec(),
            dimension_names=["time", *(["band"] if values.ndim == 4 else []), "y", "x"],
        )  # fmt: skip
        made[:] = values
    for name, axis in (
        ("time", np.array(YEARS, np.int32)),
        ("y", np.arange(H)),
        ("x", np.arange(W)),
    ):
        zone.create_array(name, data=axis, dimension_names=[name])
    zarr.consolidate_metadata(root.store)
    return held


@pytest.fixture(params=["disk", "http", "s3"])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Arrays]]:
    """The address of such a store, and what it holds."""
    folder = tmp_path / "store.zarr"
    held = publish(folder)
    if request.param == "disk":
        yield str(folder), held
        return
    if request.param == "s3":
        request.getfixturevalue("s3")
        bucket = Storage(f"s3://bucket/{tmp_path.name}")
        for path in folder.rglob("*"):
            if path.is_file():
                bucket.write(str(path.relative_to(folder)), path.read_bytes())
        yield bucket.url, held
        return

    def answer(asked: Request) -> Reply:
        path = folder / asked.path.lstrip("/")
        if not path.is_file():
            return 404, {}, b""
        data = path.read_bytes()
        if (span := asked.headers.get("range", "")).startswith("bytes="):
            first, _, last = span.removeprefix("bytes=").partition("-")
            begin = int(first) if first else max(len(data) - int(last), 0)
            end = min(int(last) + 1 if first and last else len(data), len(data))
            told = {"Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"}
            return 206, told | {"Accept-Ranges": "bytes"}, data[begin:end]
        return 200, {"Accept-Ranges": "bytes"}, data

    with fake_web(answer) as address:
        yield address, held


ROW, COL = (NORTH_EDGE - NORTH) // 10, (WEST - WEST_EDGE) // 10


def kept(scales: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.isnan(scales) | ((scales > 0) & (scales < 1)), scales, np.float32(np.inf))


def test_its_pixels_are_read_in_place(published: tuple[str, Arrays]) -> None:
    url, held = published
    mosaic = open_any(url)
    assert isinstance(mosaic, ForeignMosaic)
    assert (mosaic.years, mosaic.zones, mosaic.layout.dims) == (YEARS, (33,), DIMS)
    assert mosaic.layout.observed == ("s2",)
    assert mosaic.identity == {"published": {"geoemb:model": "https://example.org/m"}}
    assert fingerprint(mosaic.identity) == fingerprint(open_any(url).identity)
    window = Window(33, ROW - 10, COL - 20, 60, 100)
    found = part_of(mosaic, window, 2022)
    inner = found.scales[10:, 20:]
    np.testing.assert_array_equal(inner, kept(held["scales"][0, :50, :80]))
    np.testing.assert_array_equal(
        found.codes[10:, 20:], np.moveaxis(held["embeddings"][0, :, :50, :80], 0, -1)
    )
    np.testing.assert_array_equal(found.counts["s2"][10:, 20:], held["s2_obs_count"][0, :50, :80])
    assert np.isposinf(found.scales[:10]).all()
    rng = np.random.default_rng(3)
    rows, cols = rng.integers(-5, H + 5, 300), rng.integers(-5, W + 5, 300)
    inside = (rows >= 0) & (rows < H) & (cols >= 0) & (cols < W)
    zones = np.full(300, 33)
    points = read_pixels(mosaic, 2023, zones, ROW + rows, COL + cols)
    r, c = rows[inside], cols[inside]
    np.testing.assert_array_equal(points.scales[inside], kept(held["scales"][1, r, c]))
    np.testing.assert_array_equal(points.codes[inside], held["embeddings"][1, :, r, c])
    np.testing.assert_array_equal(points.counts["s2"][inside], held["s2_obs_count"][1, r, c])
    assert np.isposinf(points.scales[~inside]).all()
    assert np.isposinf(read_pixels(mosaic, 2023, np.full(len(r), 31), r, c).scales).all()


@pytest.mark.parametrize("name", ["embeddings", "scales"])
def test_a_damaged_shard_is_named(tmp_path: Path, name: str) -> None:
    publish(tmp_path)
    files = sorted((tmp_path / "utm33" / name / "c/1").rglob("*"))
    shard = next(path for path in files if path.is_file())
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    mosaic = open_any(str(tmp_path))
    with pytest.raises(Altered, match=f"a shard of utm33/{name} is damaged"):
        part_of(mosaic, Window(33, ROW, COL, 32, 32), 2023)
    with pytest.raises(Altered, match=f"a shard of utm33/{name} is damaged"):
        read_pixels(mosaic, 2023, np.array([33]), np.array([ROW + 9]), np.array([COL + 9]))


def test_its_zones_are_datasets_as_ours_are(tmp_path: Path) -> None:
    held = publish(tmp_path / "a")
    zones = open_mosaic(str(tmp_path / "a"))
    assert (list(zones), zones.years) == ([33], YEARS)
    west, north = to_lonlat(33).transform(WEST + 105, NORTH - 205)
    square = zones.region(west, north - 0.001, west + 0.001, north, 2023)[33]
    rows, cols = square["scales"].shape
    np.testing.assert_array_equal(
        square["scales"].values, held["scales"][1, 20 : 20 + rows, 10 : 10 + cols]
    )


def test_its_shards_say_which_tiles_have_data(published: tuple[str, Arrays]) -> None:
    mosaic = open_any(published[0])
    side = 32
    window = Window(33, ROW, COL, H, W)
    tiles = [
        Tile(33, row, col, side)
        for row in range(window.row // side - 1, (window.row + H) // side + 2)
        for col in range(window.col // side - 1, (window.col + W) // side + 2)
    ]
    for year, width in zip(YEARS, (64, W), strict=True):
        ground = Window(33, ROW, COL, H, width)
        wanted = [
            tile
            for tile in tiles
            if tile.window.row < ground.row + ground.height
            and tile.window.row + side > ground.row
            and tile.window.col < ground.col + ground.width
            and tile.window.col + side > ground.col
        ]
        assert tiles_with_data(mosaic, year, tiles) == wanted


def test_what_its_attributes_say_of_nan_is_believed(tmp_path: Path) -> None:
    publish(tmp_path / "a", **{"geotessera:mask_source": "source_nodata"})
    scales = part_of(open_any(str(tmp_path / "a")), Window(33, ROW + 4, COL, 1, 9), 2022).scales
    assert np.isposinf(scales).all()


def test_a_grid_of_the_south_is_shifted(tmp_path: Path) -> None:
    held = publish(tmp_path / "a", "EPSG:32733", 9_999_990.0)
    mosaic = open_any(str(tmp_path / "a"))
    found = part_of(mosaic, Window(33, (NORTH_EDGE + 10) // 10, COL, H, W), 2023)
    np.testing.assert_array_equal(found.scales, kept(held["scales"][1]))


def test_what_is_no_such_mosaic_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no mosaic"):
        open_any(str(tmp_path))
    publish(tmp_path / "a", north=4_999_993.0)
    with pytest.raises(BadInput, match="the pixels of its utm33 lie 0 m and 3 m off"):
        open_any(str(tmp_path / "a"))
    zarr.create_group(tmp_path / "b")
    zarr.consolidate_metadata(tmp_path / "b")
    with pytest.raises(BadInput, match="no mosaic of TESSERA embeddings"):
        open_any(str(tmp_path / "b"))
