"""Kernels in C and in numpy give the same bytes, and those that resampling without them gives."""

from __future__ import annotations

import dataclasses

import imagecodecs
import numpy as np
import pytest

from tessera_mosaic.pipeline.imagery.gathered import Place, straight
from tessera_mosaic.pipeline.imagery.kernel_types import (
    BandTable,
    Kernels,
    Mode,
    OffsetStep,
    RasterWindow,
)
from tessera_mosaic.pipeline.imagery.kernels import (
    NativeKernels,
    NumpyKernels,
    best_kernels,
    find_library,
)
from tessera_mosaic.pipeline.imagery.resample import Geometry, Kernel, place, resample
from tessera_mosaic.pipeline.stacks.sentinel1 import code_backscatter, code_table
from tessera_mosaic.pipeline.stacks.sentinel2 import OFFSET, after_step
from tessera_mosaic.pipeline.tiling.lattice import Window

LIBRARY = find_library()


@pytest.fixture(
    params=[
        "numpy",
        pytest.param(
            "C", marks=pytest.mark.skipif(LIBRARY is None, reason="nothing was compiled here")
        ),
    ]
)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    if request.param == "numpy" or LIBRARY is None:
        return NumpyKernels()
    return NativeKernels(LIBRARY)


def test_the_fastest_there_are_are_taken() -> None:
    assert isinstance(best_kernels(), NumpyKernels if LIBRARY is None else NativeKernels)


@pytest.mark.parametrize("width", [1, 15, 16, 17, 40])
@pytest.mark.parametrize(
    ("dtype", "predictor"),
    [("u1", 1), ("u1", 2), ("u2", 1), ("u2", 2), ("f4", 1), ("f4", 3)],
)
def test_blocks_are_pasted_as_they_were_packed(
    kernels: Kernels, dtype: str, predictor: int, width: int
) -> None:
    chance = np.random.default_rng(width)
    pixels = chance.integers(0, 256, (7, width * np.dtype(dtype).itemsize), np.uint8).view(dtype)
    packed = pixels
    if predictor == 2:
        packed = imagecodecs.delta_encode(pixels, axis=1)
    if predictor == 3:
        packed = imagecodecs.floatpred_encode(pixels, axis=-1)
    for rows, cols in ((slice(0, 7), slice(0, width)), (slice(2, 6), slice(width // 3, width))):
        out = np.full((9, 50), 7, dtype)
        into = out[1 : 1 + rows.stop - rows.start, 3 : 3 + cols.stop - cols.start]
        raw = np.frombuffer(bytearray(packed.tobytes()), np.uint8)
        kernels.paste(raw, width, rows, cols, predictor, into)
        assert into.tobytes() == pixels[rows, cols].tobytes()
        into[...] = 7
        assert (out == 7).all()


@pytest.mark.parametrize("kernel", [Kernel.NEAREST, Kernel.BILINEAR])
@pytest.mark.parametrize("full", [True, False])
def test_joined_bands_are_those_that_are_resampled_one_by_one(
    kernels: Kernels, kernel: Kernel, full: bool
) -> None:
    chance = np.random.default_rng(4)
    window = Window(31, 100_000, 40_000, 29, 34)
    west, _, _, north = window.bounds
    for shift in ((0, 0), (-30, 10), (40, -70)):
        bands, wanted = [], []
        for pixel, size in ((10, 44), (20, 22)):
            geometry = Geometry(32631, west + shift[0], north + shift[1], pixel, size, size)
            raster = chance.integers(1, 65_536, (size, size)).astype(np.uint16)
            raster[chance.random((size, size)) < (0 if full else 0.3)] = 0
            found = Place.of((window, (slice(2, 27), slice(1, 34))), geometry, kernel)
            assert found.straight is not None
            framed = np.pad(raster, 8)
            bands.append((RasterWindow(framed, -8, -8), found.straight))
            placement = place(window, geometry).crop((slice(2, 27), slice(1, 34)))
            source = placement.source(kernel)
            assert source is not None
            wanted.append(resample(raster[source], source, placement, kernel))
        table = BandTable([band for band, _ in bands], [how.mode for _, how in bands])
        corner = bands[0][1].row, bands[0][1].col
        assert corner == (bands[1][1].row, bands[1][1].col)
        mine = chance.random((25, 33)) < 0.5
        for step in OffsetStep:
            expected = np.stack([after_step(values, step) for values in wanted], axis=-1)
            out = np.zeros((25, 33, 2), np.uint16)
            kernels.join_bands(table, corner, None, step, OFFSET, out)
            np.testing.assert_array_equal(out, expected)
            out[...] = 9
            kernels.join_bands(table, corner, mine, step, OFFSET, out)
            np.testing.assert_array_equal(out, np.where(mine[..., None], expected, 9))


def test_pixels_that_lie_otherwise_are_not_straight() -> None:
    window = Window(31, 100_000, 40_000, 8, 8)
    west, _, _, north = window.bounds
    own = Geometry(32631, west, north, 10, 50, 50)
    modes = {
        "same": (own, Kernel.BILINEAR, Mode.SAME),
        "moved, the nearest": (dataclasses.replace(own, west=west - 3), "nearest", Mode.SAME),
        "moved": (dataclasses.replace(own, west=west - 3), Kernel.BILINEAR, None),
        "of 20 m": (dataclasses.replace(own, pixel=20), Kernel.BILINEAR, Mode.HALF_BILINEAR),
        "of 20 m, moved by 10": (
            dataclasses.replace(own, pixel=20, north=north + 10),
            Kernel.NEAREST,
            Mode.HALF_NEAREST,
        ),
        "of 20 m, cubic": (dataclasses.replace(own, pixel=20), Kernel.CUBIC, None),
        "of 60 m": (dataclasses.replace(own, pixel=60), Kernel.NEAREST, None),
        "of another zone": (dataclasses.replace(own, epsg=32632), Kernel.NEAREST, None),
    }
    for name, (geometry, kernel, mode) in modes.items():
        found = straight(place(window, geometry), Kernel(kernel))
        assert (found and found.mode) == mode, name


def test_codes_by_table_are_those_by_logarithm(kernels: Kernels) -> None:
    table = code_table()
    near = (table.least[:, None] + np.array([-1, 0, 1])).astype(np.uint32)
    drawn = np.random.default_rng(1).integers(0, 2**32, 1 << 18, np.uint32)
    bits = np.concatenate([near.ravel(), drawn, np.arange(64, dtype=np.uint32)])
    power = bits.view(np.float32).reshape(1, -1)
    known = np.zeros((1, power.size, 2), np.int16)
    known[0, ::3, 1] = 5
    for channel in (0, 1):
        before = known[..., channel].copy()
        with np.errstate(invalid="ignore"):
            expected = code_backscatter(power)
        coded, put = kernels.join_codes(power, table, known[..., channel])
        np.testing.assert_array_equal(known[..., channel], np.where(before, before, expected))
        assert coded == np.count_nonzero(expected)
        assert put == np.count_nonzero((before == 0) & (expected != 0))
