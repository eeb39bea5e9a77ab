from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tessera_mosaic.model.observations import Stack
from tessera_mosaic.pipeline.publishing.drawing import (
    RAMP,
    Panel,
    class_colours,
    count_colours,
    draw_figure,
    principal_components,
    true_colour,
)


def stack(bands: np.ndarray, masks: np.ndarray) -> Stack:
    shape = masks.shape[1:]
    none = np.zeros((0, *shape, 2), np.int16), np.zeros(0, np.int16)
    return Stack(bands, masks, np.arange(len(masks), dtype=np.uint16), *none, *none)


def test_components_are_the_strongest_and_keep_their_sign() -> None:
    """Three latent images of falling strength come out as red, green and blue."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((40, 50, 3)) * (9, 3, 1)
    basis, _ = np.linalg.qr(rng.standard_normal((16, 3)))
    values = (latent @ basis.T + 5).astype(np.float32)
    image, known = principal_components(values)
    assert known.all()
    for channel in range(3):
        loadings = basis[:, channel]
        sign = np.sign(loadings[np.abs(loadings).argmax()])
        expected, drawn = sign * latent[..., channel].ravel(), image[..., channel].ravel()
        assert np.corrcoef(expected, drawn)[0, 1] > 0.95
        assert (drawn.min(), drawn.max()) == (0, 255)
    turned, _ = principal_components(values[::-1])
    assert np.abs(turned[::-1].astype(int) - image).max() <= 1


def test_components_leave_out_what_is_missing() -> None:
    values = np.random.default_rng(1).standard_normal((8, 8, 16)).astype(np.float32)
    values[2, 3] = np.nan
    image, known = principal_components(values)
    assert np.argwhere(~known).tolist() == [[2, 3]]
    assert (image[2, 3] == 0).all()
    assert not principal_components(np.full((4, 4, 16), np.nan, np.float32))[1].any()


def test_true_colour_is_the_median_of_clear_days() -> None:
    """Channels are B04, B03, B02; cloudy days and unseen pixels play no part."""
    bands = np.zeros((4, 1, 3, 10), np.uint16)
    bands[..., 0], bands[..., 1], bands[..., 2] = 400, 800, 600
    bands[3] = 9_000
    bands[0, 0, 1, :3], bands[1, 0, 1, :3], bands[2, 0, 1, :3] = 10, 2_000, 3_000
    masks = np.ones((4, 1, 3), np.uint8)
    masks[3], masks[:, 0, 2] = 0, 0
    image, known = true_colour(stack(bands, masks))
    assert known.tolist() == [[True, True, False]]
    assert image[0, 0].argsort().tolist() == [0, 1, 2], "red < green < blue"
    assert (image[0, 1] == 255).all(), "the middle of 10, 2000, 3000 is the brightest here"
    assert not true_colour(stack(bands, masks * 0))[1].any()


def test_counts_run_along_the_ramp() -> None:
    image, known = count_colours(np.array([[0, 3, 8, 13]], np.uint16), 3, 13)
    assert known.tolist() == [[False, True, True, True]]
    assert np.array_equal(image[0, 1:], RAMP[[0, 2, 4]])


def test_classes_have_their_colours() -> None:
    image, known = class_colours(np.array([[0, 1, 2]], np.uint8), [(1, 2, 3), (4, 5, 6)])
    assert known.tolist() == [[False, True, True]]
    assert image[0, 1:].tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("shape", [(30, 50), (1000, 1400)])
def test_a_figure_shows_its_panels_and_hatches_the_rest(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[...] = (200, 30, 40)
    known = np.ones(shape, bool)
    known[:, : shape[1] // 2] = False
    classes = tuple((f"class number {n}", (n, n, n)) for n in range(9))
    panels = [
        Panel("One", "A caption " * 20, image, known, bar=(2, 9)),
        Panel("Two", "", image, ~known),
        Panel("Three", "", image, known, classes=classes),
    ]
    path = tmp_path / "new" / "figure.png"
    draw_figure(path, "Title", "Subtitle", panels, columns=2, pixel=10)
    with Image.open(path) as file:
        figure = np.asarray(file)
    red = (figure == (200, 30, 40)).all(axis=-1)
    first_red, last_red = red.any(axis=0).argmax(), red.any(axis=0)[::-1].argmax()
    assert first_red > figure.shape[1] / 8, "the first panel's left half is hatched"
    assert last_red > figure.shape[1] / 8, "so is the second one's right half"
    share = red.sum() / figure.shape[0] / figure.shape[1]
    assert 0.1 < share < 0.5
