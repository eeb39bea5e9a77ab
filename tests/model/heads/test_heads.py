"""Heads: what they tell of codes is what they tell of embeddings, and where training data lies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import Labelled, Recipe, one_thread
from tessera_mosaic.model.heads.head import HeadKind, Task, pixel_digests
from tessera_mosaic.model.heads.scoring import Scorer
from tessera_mosaic.model.heads.training_space import training_space
from tessera_mosaic.model.quantize import dequantize

DIMS = 12


def labelled(pixels: int = 240, classes: int = 3, seed: int = 0) -> Labelled:
    """Embeddings of classes that lie apart along the first dimensions."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, pixels)
    features = rng.normal(size=(pixels, DIMS)).astype(np.float32)
    features[np.arange(pixels), targets] += 4
    return Labelled(features, targets.astype(np.float64), np.ones(pixels))


@pytest.mark.parametrize("kind", [HeadKind.LOGISTIC, HeadKind.KNN, HeadKind.MLP])
def test_every_kind_of_head_learns_classes_and_tells_probabilities(kind: HeadKind) -> None:
    recipe, data, other = Recipe(kind, Task.CLASS, 3), labelled(), labelled(seed=1)
    with one_thread():
        told = recipe.predict(recipe.fit(data, 10.0), other.features)
    np.testing.assert_allclose(told.sum(axis=0), 1, atol=1e-5)
    assert (told.argmax(axis=0) == other.targets).mean() > 0.9


@pytest.mark.parametrize("kind", [HeadKind.RIDGE, HeadKind.KNN, HeadKind.MLP])
def test_every_kind_of_head_learns_values(kind: HeadKind) -> None:
    data = labelled()
    values = Labelled(data.features, 50 + 10.0 * data.targets, data.weights)
    recipe = Recipe(kind, Task.VALUE, 1)
    with one_thread():
        told = recipe.predict(recipe.fit(values, 0.1), data.features)[0]
    assert np.corrcoef(told, values.targets)[0, 1] > 0.8
    assert abs(told.mean() - values.targets.mean()) < 2


def test_one_product_on_codes_is_the_head_on_embeddings() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (DIMS, 64)).astype(np.int8)
    scales = rng.uniform(0.01, 0.05, 64).astype(np.float32)
    data = labelled()
    space = training_space(data.features, data.targets.astype(np.int32), axes=4)
    shift = rng.normal(size=DIMS).astype(np.float32)
    recipe = Recipe(HeadKind.LOGISTIC, Task.CLASS, 3)
    layers = recipe.fit(data, 1.0)
    features = dequantize(codes.T, scales) + shift
    scored = Scorer(HeadKind.LOGISTIC, Task.CLASS, layers, 3, space, shift)(codes, scales)
    np.testing.assert_allclose(scored.outputs, recipe.predict(layers, features), atol=1e-5)
    assert scored.distance is not None
    np.testing.assert_allclose(scored.distance, distances(features, space), rtol=1e-3)


def distances(features: NDArray[np.float32], space: object) -> NDArray[np.float64]:
    """The distance to the nearest mean by the whole covariance, inverted."""
    axes = space.axes.astype(np.float64)  # type: ignore[attr-defined]
    rest = space.rest  # type: ignore[attr-defined]
    gains = np.diag(space.variances - rest)  # type: ignore[attr-defined]
    inverse = np.linalg.inv(axes.T @ gains @ axes + rest * np.eye(DIMS))
    apart = [features - mean for mean in space.means]  # type: ignore[attr-defined]
    squares = [np.einsum("pd,de,pe->p", each, inverse, each) for each in apart]
    return np.asarray(np.sqrt(np.min(squares, axis=0)))


def test_what_is_unlike_all_training_data_lies_beyond_it() -> None:
    data = labelled(pixels=600)
    space = training_space(data.features, data.targets.astype(np.int32))
    nothing = {"weight": np.zeros((1, DIMS), np.float32), "bias": np.zeros(1, np.float32)}
    scorer = Scorer(HeadKind.RIDGE, Task.VALUE, nothing, 1, space)
    ones = np.ones(600, np.float32)
    inside = scorer(np.ascontiguousarray(data.features.T), ones).distance
    lake = scorer(np.full((DIMS, 1), -6, np.float32), ones[:1]).distance
    assert inside is not None
    assert lake is not None
    assert (inside > space.limit(99)).mean() == pytest.approx(0.01, abs=0.005)
    assert lake[0] > space.limit(100)


def test_polygons_with_few_pixels_count_as_much_as_large_ones() -> None:
    data = labelled()
    rare = data.targets == 0
    weights = np.where(rare, 10.0, 1.0)
    recipe = Recipe(HeadKind.LOGISTIC, Task.CLASS, 3)
    told, plain = (
        recipe.predict(recipe.fit(Labelled(data.features, data.targets, w), 300.0), data.features)
        for w in (weights, data.weights)
    )
    assert told[0].mean() > plain[0].mean() + 0.1


def test_pixels_have_digests_of_their_own() -> None:
    zones, rows, cols = (of.ravel() for of in np.meshgrid([1, 60], np.arange(99), np.arange(99)))
    assert len(np.unique(pixel_digests(zones, rows, cols))) == 2 * 99 * 99
