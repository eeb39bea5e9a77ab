"""The product of weights and codes in C and by libraries, and bits that are always the same."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tessera_mosaic.model.heads.products import MOST_ROWS, Product, native_product

COMPILED = pytest.mark.skipif(native_product() is None, reason="nothing was compiled here")


def drawn(rows: int, dims: int, pixels: int) -> tuple[NDArray[np.float32], ...]:
    chance = np.random.default_rng(rows * dims + pixels)
    weight, bias = chance.normal(size=(rows, dims)), chance.normal(size=rows)
    scales = chance.uniform(0.01, 0.05, pixels)
    return tuple(of.astype(np.float32) for of in (weight, bias, scales))


def codes_of(dims: int, pixels: int) -> NDArray[np.int8]:
    return np.random.default_rng(dims).integers(-128, 128, (dims, pixels)).astype(np.int8)


@pytest.mark.parametrize("native", [False, pytest.param(True, marks=COMPILED)])
@pytest.mark.parametrize("rows", [1, 3, 10, 37, MOST_ROWS, MOST_ROWS + 1])
@pytest.mark.parametrize(("dims", "pixels"), [(1, 32), (16, 96), (128, 1024), (128, 1100), (64, 5)])
def test_it_is_the_product(rows: int, dims: int, pixels: int, native: bool) -> None:
    weight, bias, scales = drawn(rows, dims, pixels)
    codes = codes_of(dims, pixels)
    found, squares = Product(weight, bias, squares=True, native=native)(codes, scales)
    exact = (weight.astype(float) @ codes.astype(float)) * scales + bias[:, None]
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-4)
    lengths = np.square(codes.astype(np.float32)).sum(axis=0) * np.square(scales)
    np.testing.assert_array_equal(squares, lengths)
    floats, _ = Product(weight, bias, native=native)(codes.astype(np.float32), scales)
    np.testing.assert_allclose(floats, exact, rtol=1e-5, atol=1e-4)


@COMPILED
def test_in_c_one_value_is_added_after_the_other() -> None:
    weight, bias, scales = drawn(10, 128, 64)
    codes = codes_of(128, 64)
    sums = np.zeros((10, 64), np.float32)
    for band in range(128):
        sums += weight[:, band, None] * codes[band].astype(np.float32)
    found, _ = Product(weight, bias)(codes, scales)
    np.testing.assert_array_equal(found, sums * scales + bias[:, None])
    # So a pixel comes to the same wherever it lies, and whatever else is scored with it.
    wide, _ = Product(weight, bias)(np.tile(codes, 3)[:, 32:160], np.tile(scales, 3)[32:160])
    np.testing.assert_array_equal(wide[:, 32:96], found)
    few, _ = Product(weight[:3], bias[:3])(codes, scales)
    np.testing.assert_array_equal(few, found[:3])
