"""A field tells what its arrays say, comes to the same bytes however often stopped, and fits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tessera_mosaic.model.fields.components import SQUARES, Baseline, PrincipalComponents
from tessera_mosaic.model.fields.field import Field, FieldError, Nodes, Rectangle, locate
from tessera_mosaic.model.fields.fitting import Fitting, one_thread
from tessera_mosaic.model.fields.sizes import CODE, Sizes, choose_sizes
from tessera_mosaic.model.fields.vectors import Vectors

GROUND = (Rectangle(13, 9), Rectangle(5, 21))
YEARS, DIMS = 3, 6
SIZES = Sizes({4: 3, 2: 2, 1: 1}, hidden=16, code=CODE, dims=DIMS)


def vectors(seed: int = 0, share: float = 0.9) -> Vectors:
    """Vectors that change slowly over the ground and the years; of some pixels there is none."""
    random = np.random.default_rng(seed)
    pixels = sum(each.pixels for each in GROUND)
    places = locate(GROUND, torch.arange(pixels))
    slope = random.normal(size=(3, DIMS)) / 8
    at = np.stack([places.part.numpy() * 9, places.row.numpy(), places.col.numpy()], 1) @ slope
    waves = np.sin(at[None] + np.arange(1, YEARS + 1)[:, None, None] / 2)
    codes = np.round(waves * 100).astype(np.int8)
    year, pixel = map(np.ascontiguousarray, np.nonzero(random.random((YEARS, pixels)) < share))
    scales = random.uniform(0.01, 0.02, len(year)).astype(np.float32)
    return Vectors(GROUND, YEARS, codes[year, pixel], scales, pixel, year)


def fitted(data: Vectors, epochs: int = 2) -> Field:
    fitting = Fitting(data, SIZES, epochs)
    with one_thread():
        while not fitting.done:
            fitting.learn()
    return fitting.field()


def told_slowly(field: Field, pixel: int, year: int) -> NDArray[np.float64]:
    """A vector, node by node and weight by weight."""
    part, within = 0, pixel
    while within >= field.rectangles[part].pixels:
        within -= field.rectangles[part].pixels
        part += 1
    row, col = divmod(within, field.rectangles[part].width)
    told: list[float] = []
    for spacing, grid in field.grids.items():
        more = int(spacing > 1)
        shapes = [
            (math.ceil(each.height / spacing) + more, math.ceil(each.width / spacing) + more)
            for each in field.rectangles
        ]
        first = sum(rows * cols for rows, cols in shapes[:part])
        mine = grid[first : first + math.prod(shapes[part])].reshape(*shapes[part], -1) / 127
        if spacing == 1:
            told += mine[row, col].tolist()
            continue
        y, x = (row + 0.5) / spacing, (col + 0.5) / spacing
        up, left = int(y), int(x)
        upper = mine[up, left] * (1 - x + left) + mine[up, left + 1] * (x - left)
        lower = mine[up + 1, left] * (1 - x + left) + mine[up + 1, left + 1] * (x - left)
        told += (upper * (1 - y + up) + lower * (y - up)).tolist()
    values = np.array(told + field.codes[year].tolist())
    for number, layer in enumerate(field.layers, 1):
        values = (layer.weight * layer.scale[:, None].astype(float)) @ values + layer.bias
        if number < len(field.layers):
            values = values * [(1 + math.erf(each / math.sqrt(2))) / 2 for each in values]
    return values * field.spread + field.mean


def test_a_vector_is_what_the_arrays_say_node_by_node() -> None:
    data = vectors()
    field = fitted(data)
    for at in range(0, len(data), 17):
        pixel, year = data.pixel[at : at + 1], data.year[at : at + 1]
        found = field.vectors(pixel, year)[0]
        np.testing.assert_allclose(
            found, told_slowly(field, int(pixel[0]), int(year[0])), 1e-4, 1e-5
        )


def test_where_there_was_no_vector_there_is_none() -> None:
    data = vectors()
    field = fitted(data, epochs=1)
    pixels = np.tile(np.arange(field.pixels), YEARS)
    years = np.repeat(np.arange(YEARS), field.pixels)
    told = np.isfinite(field.vectors(pixels, years)).all(axis=1).reshape(YEARS, -1)
    expected = np.zeros_like(told)
    expected[data.year, data.pixel] = True
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(told, expected)


def test_it_learns() -> None:
    data = vectors()
    assert data.fidelity(fitted(data, epochs=300)).mean > 0.95 > data.fidelity(fitted(data)).mean


@settings(max_examples=5)
@given(st.lists(st.integers(0, 11), max_size=3))
def test_a_field_that_was_stopped_anywhere_comes_to_the_same_bytes(stops: list[int]) -> None:
    data = vectors()
    with one_thread():
        whole = fitted(data, epochs=12)
        fitting = Fitting(data, SIZES, 12)
        while not fitting.done:
            if fitting.step in stops:
                step, kept = fitting.step, {n: a.copy() for n, a in fitting.tensors().items()}
                fitting = Fitting(data, SIZES, 12)
                fitting.go_on(step, kept)
                stops = [each for each in stops if each != step]
            fitting.learn()
    assert arrays(fitting.field()) == arrays(whole)


def arrays(field: Field) -> list[bytes]:
    held = [*field.grids.values(), field.codes, field.mean]
    held += [array for layer in field.layers for array in vars(layer).values()]
    return [array.tobytes() for array in held]


def test_what_was_begun_with_other_sizes_does_not_go_on() -> None:
    data = vectors()
    other = Fitting(data, replace(SIZES, hidden=8), 2).tensors()
    with pytest.raises(FieldError, match="begun with other sizes"):
        Fitting(data, SIZES, 2).go_on(1, other)


@settings(max_examples=30)
@given(st.data())
def test_nodes_around_pixels_are_there_and_their_weights_add_up(data: Any) -> None:
    side = st.integers(1, 40)
    ground = tuple(Rectangle(data.draw(side), data.draw(side)) for _ in range(2))
    nodes = Nodes(ground, data.draw(st.sampled_from([1, 2, 4, 8])))
    at, weights = nodes.around(locate(ground, torch.arange(sum(each.pixels for each in ground))))
    assert at.min() >= 0
    assert at.max() < nodes.count
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))


@given(st.integers(8, 300), st.integers(8, 300), st.integers(1, 9), st.integers(4, 256), st.data())
def test_sizes_fit_and_leave_little(
    height: int, width: int, years: int, dims: int, data: Any
) -> None:
    ground = [Rectangle(height, width)]
    most = height * width * years * dims // data.draw(st.integers(5, 100))
    try:
        sizes = choose_sizes(ground, years, dims, most)
    except FieldError:
        return
    assert sizes.bytes(ground, years) <= most
    if sizes.features.get(1, 0) < 64:
        more = replace(sizes, features={**sizes.features, 1: sizes.features.get(1, 0) + 1})
        assert more.bytes(ground, years) > most


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("square", SQUARES)
def test_components_lose_less_the_more_there_are(together: bool, square: int) -> None:
    way = PrincipalComponents(vectors(), together)
    means = [way.fidelity(count, square).error for count in (1, 3, 6)]
    assert means == sorted(means, reverse=True)
    for most in (200, 1000, 5000):
        count = way.within(most, square)
        assert count == 0 or way.bytes_of(count, square) <= most


def test_all_components_of_every_pixel_lose_rounding_alone() -> None:
    data = vectors()
    fidelity = PrincipalComponents(data, together=False).fidelity(DIMS, 1)
    assert fidelity.mean > 0.999
    assert fidelity.error < 1e-3
    best = Baseline(data).within(100_000)
    assert best is not None
    assert best.fidelity.mean >= fidelity.mean


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"years": 2}, "codes is float32"),
        ({"rectangles": (Rectangle(13, 9),)}, "grid 4 is int8"),
        ({"rectangles": ()}, "a field of 0 rectangles"),
        ({"spread": math.nan}, "its spread is not above 0"),
        ({"layers": ()}, "a network of 0 layers"),
        ({"mean": np.full(DIMS, np.nan, np.float32)}, "mean has values that are no numbers"),
        ({"grids": {0: np.zeros((1, 1), np.int8)}}, "nodes every 0 pixels"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(FieldError, match=said):
        replace(fitted(vectors(), epochs=1), **changed)
