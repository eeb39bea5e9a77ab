import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import Resampling, reproject

from tessera_mosaic.pipeline.imagery.resample import Geometry, Kernel, place, resample
from tessera_mosaic.pipeline.tiling.lattice import Window

WINDOW = Window(31, 400_000, 30_000, 24, 28)


def on_lattice(pixels: np.ndarray, geometry: Geometry, window: Window, kernel: str) -> np.ndarray:
    """Bring a whole raster to a window through the part that the window needs."""
    placement = place(window, geometry)
    source = placement.source(kernel)
    if source is None:
        return np.full(window.shape, np.nan if pixels.dtype.kind == "f" else 0, pixels.dtype)
    return resample(pixels[source], source, placement, kernel)


def by_gdal(pixels: np.ndarray, geometry: Geometry, window: Window, kernel: str) -> np.ndarray:
    """The same by GDAL's warper without its approximation."""
    nodata = np.nan if pixels.dtype.kind == "f" else 0
    out = np.full(window.shape, nodata, pixels.dtype)
    reproject(
        pixels,
        out,
        src_transform=rasterio.Affine(
            geometry.pixel, 0, geometry.west, 0, -geometry.pixel, geometry.north
        ),
        src_crs=f"EPSG:{geometry.epsg}",
        src_nodata=nodata,
        dst_transform=rasterio.Affine(*window.transform),
        dst_crs=window.crs,
        dst_nodata=nodata,
        resampling=Resampling[kernel],
        tolerance=0,
    )
    return out


def raster(pixel: int, dtype: str, holes: float, seed: int) -> tuple[np.ndarray, Geometry]:
    """A raster that ends within `WINDOW`."""
    chance = np.random.default_rng(seed)
    shape = 20 * 10 // pixel, 22 * 10 // pixel
    pixels = chance.integers(1, 9000, shape).astype(dtype)
    if dtype.startswith("float"):
        pixels /= 7
    pixels[chance.random(shape) < holes] = np.nan if dtype.startswith("float") else 0
    return pixels, Geometry(32631, WINDOW.west + 40, WINDOW.north - 20, pixel, *shape)


@pytest.mark.parametrize("holes", [0.0, 0.2])
@pytest.mark.parametrize("kernel", Kernel)
@pytest.mark.parametrize(("pixel", "dtype"), [(10, "uint16"), (20, "uint16"), (20, "uint8")])
def test_own_zone_equals_gdal(pixel: int, dtype: str, kernel: str, holes: float) -> None:
    pixels, geometry = raster(pixel, dtype, holes, 3)
    ours = on_lattice(pixels, geometry, WINDOW, kernel)
    np.testing.assert_array_equal(ours, by_gdal(pixels, geometry, WINDOW, kernel))
    assert (ours != 0).any()


@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_30_m_power_equals_gdal_to_the_last_digits(holes: float) -> None:
    pixels, geometry = raster(10, "float32", holes, 5)
    geometry = Geometry(32631, WINDOW.west - 30, WINDOW.north + 60, 30, *pixels.shape)
    ours = on_lattice(pixels, geometry, WINDOW, "bilinear")
    np.testing.assert_allclose(ours, by_gdal(pixels, geometry, WINDOW, "bilinear"), rtol=3e-7)


def test_ten_metres_are_copied_in_both_hemispheres() -> None:
    window = Window(31, 933_900, 30_000, 8, 8)
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 9000, (40, 40)).astype(np.uint16)
    north = Geometry(32631, window.west - 100, window.north + 50, 10, 40, 40)
    south = Geometry(32731, north.west, north.north + 10_000_000, 10, 40, 40)
    for geometry in (north, south):
        for kernel in Kernel:
            ours = on_lattice(pixels, geometry, window, kernel)
            np.testing.assert_array_equal(ours, pixels[5:13, 10:18])


@pytest.mark.parametrize("kernel", Kernel)
def test_another_zone_equals_gdal(kernel: str) -> None:
    # 6 degrees east, where the zones 31 and 32 meet.
    window = Window(31, 380_000, 56_230, 40, 40)
    centres = place(window, Geometry(32632, 0, 0, 1, 1, 1))
    x, y = centres.across, -centres.down
    chance = np.random.default_rng(1)
    pixels = chance.integers(1, 9000, (20, 20)).astype(np.uint16)
    west, north = np.floor(x.min() / 20) * 20 + 100, np.ceil(y.max() / 20) * 20 - 60
    geometry = Geometry(32632, west, north, 20, 20, 20)
    ours = on_lattice(pixels, geometry, window, kernel)
    theirs = by_gdal(pixels, geometry, window, kernel)
    # GDAL's source coordinates are 0.2 mm off, which turns the rounding of a pixel in a hundred.
    assert (ours != theirs).mean() < 0.03
    assert np.abs(ours.astype(int) - theirs)[(ours != 0) & (theirs != 0)].max() <= 1
    assert 0.1 < (ours != 0).mean() < 0.9


@settings(max_examples=60, deadline=None)
@given(
    epsg=st.sampled_from([32631, 32632]),
    pixel=st.sampled_from([10, 20, 30]),
    kernel=st.sampled_from(sorted(Kernel)),
    row=st.integers(0, 30),
    col=st.integers(0, 30),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    dtype=st.sampled_from(["uint16", "float32"]),
)
def test_a_pixel_does_not_know_the_window(
    epsg: int, pixel: int, kernel: str, row: int, col: int, height: int, width: int, dtype: str
) -> None:
    whole = Window(31, 380_000, 56_230, 42, 42)
    chance = np.random.default_rng(2)
    shape = (360 // pixel, 400 // pixel)
    pixels = chance.integers(0, 9000, shape).astype(dtype)
    if dtype == "float32":
        pixels[pixels < 900] = np.nan
    inside = place(whole, Geometry(epsg, 0, 0, 1, 1, 1))
    west, north = np.floor(inside.across.min() / 10) * 10, -np.floor(inside.down.min() / 10) * 10
    geometry = Geometry(epsg, west + 20, north - 10, pixel, *shape)
    full = on_lattice(pixels, geometry, whole, kernel)
    part = Window(31, whole.row + row, whole.col + col, height, width)
    rows, cols = part.within(whole)
    expected = full[rows, cols]
    ours = on_lattice(pixels, geometry, part, kernel)[: expected.shape[0], : expected.shape[1]]
    np.testing.assert_array_equal(ours, expected)
    placement = place(whole, geometry).crop((rows, cols))
    source = placement.source(kernel)
    if source is not None:
        np.testing.assert_array_equal(resample(pixels[source], source, placement, kernel), expected)
