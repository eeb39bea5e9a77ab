"""A mask within a file says where there is no data, as `nodata` does."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling

from tessera_mosaic.pipeline.imagery.cog import read_coarsest, read_header
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.imagery.scene_reader import PixelKind, SceneReader
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes.scene import Imagery, Scene
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds, window_of_bounds

PLACE = rasterio.Affine(10, 0, 501_360, 0, -10, 5_629_680)


class Nowhere:
    """A catalogue of nothing, on this machine."""

    name, imagery, keeps_offset = "nowhere", Imagery.MPC, False

    def __init__(self) -> None:
        self.remote = Remote()

    def search(self, bounds: tuple, year: int) -> list[Scene]:
        return []

    def refresh(self, scene: Scene) -> Scene:
        return scene


def masked(path: Path, values: np.ndarray, mask: np.ndarray, **options: object) -> Path:
    """Write a raster with a mask inside of it."""
    driver = options.pop("driver", "GTiff")
    plain = path.with_suffix(".plain.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        height, width = values.shape
        profile = {} if driver == "COG" else {k: v for k, v in options.items() if k != "overviews"}
        with rasterio.open(
            plain,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=1,
            dtype=values.dtype,
            crs="EPSG:32631",
            transform=PLACE,
            **profile,
        ) as file:
            file.write(values, 1)
        with rasterio.open(plain, "r+") as file:
            file.write_mask(mask)
            if driver != "COG" and options.get("overviews"):
                file.build_overviews([2, 4], Resampling.nearest)
        if driver == "COG":
            rasterio.shutil.copy(plain, path, driver="COG", **options)
        else:
            plain.rename(path)
    return path


def read_window(path: Path, window: Window, kind: PixelKind, most: int = 0) -> np.ndarray:
    scene = Scene("a", "s1", "2024-01-01", lonlat_bounds(window), {"vv": str(path)})
    reader = SceneReader(Nowhere(), threads=1)
    try:
        if most:
            overview = reader.overview(scene, "vv", most)
            assert overview is not None
            return overview.pixels
        values = reader.read(scene, "vv", window, Kernel.NEAREST, kind)
    finally:
        reader.close()
    assert values is not None
    return values


TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64}


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "DEFLATE", **TILED},
        {"compress": "LZW", "blockysize": 7},
        {"compress": "NONE"},
        {"compress": "ZSTD", "BIGTIFF": "YES", "ENDIANNESS": "BIG"},
        {"driver": "COG", "blocksize": 128, "compress": "DEFLATE"},
        {"driver": "COG", "blocksize": 128, "compress": "LZW", "SPARSE_OK": "TRUE"},
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_masked_pixels_are_no_data(tmp_path: Path, options: dict, dtype: str) -> None:
    random = np.random.default_rng(1)
    # No multiple of eight pixels wide, so that rows of the mask end within a byte.
    values = random.integers(1, 200, (301, 205)).astype(dtype)
    mask = random.random(values.shape) < 0.7
    mask[128:256] = False
    path = masked(tmp_path / "a.tif", values, mask, **options)
    height, width = values.shape
    window = window_of_bounds(31, rasterio.transform.array_bounds(height, width, PLACE))
    found = read_window(
        path, window, PixelKind.FLOAT if dtype == "float32" else PixelKind(np.dtype(dtype).str[1:])
    )
    with rasterio.open(path) as file:
        told = file.read_masks(1) > 0
    assert np.array_equal(told, mask)
    nothing = np.isnan(found) if dtype == "float32" else found == 0
    assert np.array_equal(nothing, ~mask)
    assert np.array_equal(found[mask], values[mask])


def test_a_mask_and_nodata_are_both_obeyed(tmp_path: Path) -> None:
    values = np.full((32, 32), 0.5, np.float32)
    values[:4] = -9999
    mask = np.ones((32, 32), bool)
    mask[:, :8] = False
    path = masked(tmp_path / "a.tif", values, mask, nodata=-9999)
    window = window_of_bounds(31, rasterio.transform.array_bounds(32, 32, PLACE))
    found = read_window(path, window, PixelKind.FLOAT)
    expected = mask.copy()
    expected[:4] = False
    assert np.array_equal(~np.isnan(found), expected)


def test_overviews_have_masks_of_their_own(tmp_path: Path) -> None:
    values = np.full((256, 256), 7777, np.uint16)
    mask = np.ones(values.shape, bool)
    mask[:, :128] = False
    window = window_of_bounds(31, rasterio.transform.array_bounds(256, 256, PLACE))
    path = masked(tmp_path / "a.tif", values, mask, overviews=True, **TILED)
    found = read_window(path, window, PixelKind.UINT16, most=64)
    assert found.shape == (64, 64)
    assert np.array_equal(found > 0, mask[::4, ::4])
    # An overview that has none is not used: nobody knows which of its pixels are any.
    bare = masked(tmp_path / "b.tif", values, mask, **TILED)
    data = bare.read_bytes()
    header = read_header(lambda start, length: data[start : start + length])
    assert header.mask is not None
    assert header.mask.bits == 1
    coarsest = read_coarsest(lambda start, length: data[start : start + length], header)
    assert coarsest.place == header.place
