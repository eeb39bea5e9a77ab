"""Scores of heads: what folds cut, what is chosen within them, and published figures again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.model.heads.fitting import Labelled, Recipe, one_thread
from tessera_mosaic.model.heads.head import HeadKind, Task
from tessera_mosaic.pipeline.downstream.extra_features import score_extra
from tessera_mosaic.pipeline.evaluation.folds import (
    FoldKind,
    Ground,
    blocks_of,
    grouped_folds,
    random_folds,
)
from tessera_mosaic.pipeline.evaluation.head_scores import score_head, sheet
from tessera_mosaic.pipeline.evaluation.penalty_choice import Choice, out_of_fold
from tessera_mosaic.pipeline.evaluation.score_sheets import ClassSheet, ValueSheet, class_sheet
from tessera_mosaic.pipeline.tiling.lattice import Tile, to_lonlat

CORNER = Tile(31, 11580, 1086, 32).window


def fields(side: int = 24, size: int = 6, seed: int = 0) -> tuple[Labelled, Ground]:
    """Fields of two classes that share a vector of their own, which tells nothing of the class."""
    rng = np.random.default_rng(seed)
    row, col = (of.ravel() for of in np.mgrid[0:side, 0:side])
    group = (row // size) * (side // size) + col // size
    classes = rng.permutation(np.arange(group.max() + 1) % 2)
    features = rng.normal(size=(group.max() + 1, 8))[group] * 3 + rng.normal(size=(len(row), 8))
    features[:, 0] += 2 * classes[group]
    data = Labelled(
        features.astype(np.float32), classes[group].astype(np.float64), np.ones(len(row))
    )
    zone = np.full(len(row), 31, np.int32)
    at = (row + CORNER.row, col + CORNER.col, group)
    return data, Ground(zone, *(of.astype(np.int32) for of in at))


def test_random_folds_flatter_and_the_others_are_trusted() -> None:
    data, ground = fields()
    found = score_head(Recipe(HeadKind.KNN, Task.CLASS, 2), data, ground)
    by = {each.folds: each.sheet.headline for each in found.kinds}
    assert by[FoldKind.RANDOM].value > 0.95
    assert by[FoldKind.GROUP].value < 0.85
    assert by[FoldKind.GROUP].low < by[FoldKind.GROUP].value < by[FoldKind.GROUP].high
    assert found.trusted is FoldKind.GROUP
    block = found.of(FoldKind.BLOCK)
    assert block is not None
    assert block.metres < 500
    assert any("blocks are of" in note for note in found.notes)
    assert [share for share, _ in found.curve] == [0.1, 0.3, 1.0]


def test_groups_of_single_pixels_are_not_trusted() -> None:
    data, ground = fields()
    lone = Ground(ground.zone, ground.row, ground.col, np.arange(len(ground.row), dtype=np.int32))
    found = score_head(Recipe(HeadKind.KNN, Task.CLASS, 2), data, lone)
    assert found.trusted is FoldKind.BLOCK
    assert "trust the folds by blocks" in " ".join(found.notes)


def test_no_fold_cuts_a_block_and_each_class_can_be_learnt() -> None:
    data, ground = fields()
    blocks = blocks_of(ground, data.targets, 500.0)
    assert blocks is not None
    for train, test in grouped_folds(blocks.numbers):
        assert not set(blocks.numbers[train]) & set(blocks.numbers[test])
    same = Ground(ground.zone, ground.row * 0, ground.col * 0, ground.group)
    assert blocks_of(same, data.targets, 500.0) is None


def test_a_sheet_tells_what_each_class_is_taken_for() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2] * 10)
    told = np.zeros((3, 30), np.float32)
    said = np.array([0] * 8 + [1] * 2 + [1] * 10 + [2] * 5 + [0] * 5)
    told[said, np.arange(30)] = 0.75
    found = class_sheet(labels, told, labels.astype(np.int32))
    assert found.accuracy.value == pytest.approx(23 / 30)
    assert found.recall == pytest.approx((0.8, 1.0, 0.5))
    assert found.precision == pytest.approx((8 / 13, 10 / 12, 1.0))
    assert [found.most_confused_with(n) for n in range(3)] == [(1, 2), None, (0, 5)]
    (only,) = found.calibration
    assert (only.confidence, only.pixels) == (0.75, 30)
    assert found.calibration_error == pytest.approx(abs(0.75 - 23 / 30))
    perfect = class_sheet(labels, np.eye(3, dtype=np.float32)[:, labels], labels.astype(np.int32))
    assert (perfect.accuracy.low, perfect.macro_f1.low) == (1, 1)


def test_numbers_of_another_source_help_only_if_they_tell_something(tmp_path: Path) -> None:
    data, ground = fields()
    rng = np.random.default_rng(1)
    east = CORNER.west + 10 * (ground.col - CORNER.col + 0.5)
    north = CORNER.north - 10 * (ground.row - CORNER.row + 0.5)
    lon, lat = to_lonlat(31).transform(east, north)
    gains = {}
    for name, column in (("useful", 3 * data.targets), ("noise", 0 * data.targets)):
        values = column + rng.normal(size=len(column))
        path = tmp_path / f"{name}.csv"
        lines = [f"{x:.8f},{y:.8f},{v:.3f}" for x, y, v in zip(lon, lat, values, strict=True)]
        path.write_text("\n".join([f"lon,lat,{name}", *lines]) + "\n")
        recipe = Recipe(HeadKind.KNN, Task.CLASS, 2)
        gains[name] = score_extra([str(path)], recipe, data, ground, 500.0, 2024)
    assert gains["useful"].helps
    assert not gains["noise"].helps
    assert gains["useful"].columns == ("useful",)
    assert gains["useful"].pixels == len(ground.row)


def test_biomass_scores_as_published_and_lower_by_blocks(shared: Path) -> None:
    path = shared / "data/downstream/points_biomass.npz"
    if not path.is_file():
        pytest.skip("the points of biomass are not beside this checkout")
    with np.load(path) as file:
        told = {name: file[name] for name in ("aef", "biomass_mean", "lat", "lon")}
    codes = told["aef"].astype(np.float32)
    features = np.sign(codes) * (codes / 127.5) ** 2
    targets = told["biomass_mean"].astype(np.float64)
    data = Labelled(features.astype(np.float32), targets, np.ones(len(targets)))
    recipe = Recipe(HeadKind.RIDGE, Task.VALUE, 1)
    cells = np.floor(told["lat"] / 10) * 100 + np.floor(told["lon"] / 10)
    cell = np.unique(cells, return_inverse=True)[1].astype(np.int32)
    found = {}
    for name, splits in (
        ("published", random_folds(targets, False, 20, 42)),
        ("blocks", grouped_folds(cell, 20)),
    ):
        with one_thread():
            predicted = out_of_fold(recipe, data, splits, [Choice(1.0)] * 20)
        found[name] = sheet(recipe, targets, predicted, splits, None)
    published, blocks = found["published"], found["blocks"]
    assert isinstance(published, ValueSheet)
    assert isinstance(blocks, ValueSheet)
    assert published.r2_of_folds == pytest.approx(0.675, abs=0.01)
    assert blocks.r2.value == pytest.approx(0.645, abs=0.01)


def test_a_class_that_a_fold_lacks_is_told_of_nobody() -> None:
    data, _ = fields()
    recipe = Recipe(HeadKind.LOGISTIC, Task.CLASS, 3)
    told = recipe.predict(recipe.fit(data, 10.0), data.features)
    assert told[2].max() < 1e-6
    found = sheet(recipe, data.targets, told, [], None)
    assert isinstance(found, ClassSheet)
