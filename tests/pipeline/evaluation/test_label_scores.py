"""`evaluate` scores what a mosaic holds, and nothing that a fold should not know."""

from __future__ import annotations

import argparse
import csv
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from tessera_mosaic.model import probes
from tessera_mosaic.model.observations import Stack
from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.commands.evaluate import (
    evaluate_arguments,
    evaluate_command,
    print_scores,
)
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.label_scores import EvaluateRequest, evaluate
from tessera_mosaic.pipeline.evaluation.labelled_pixels import gather
from tessera_mosaic.pipeline.evaluation.raw_features import fill_gaps, monthly_medians
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tessera_mosaic.pipeline.tiling.lattice import Tile, window_of_bounds
from tests import jobs


def write_raster(path: Path, values: np.ndarray, **more: Any) -> Path:
    profile = {"crs": "EPSG:32631", "transform": Affine(10, 0, 501_360, 0, -10, 5_629_680)}
    height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=values.dtype,
        nodata=0,
        **(profile | more),
    ) as file:
        file.write(values, 1)
    return path


def test_monthly_medians_are_of_each_months_valid_observations() -> None:
    rng = np.random.default_rng(0)
    days = np.arange(3, 363, 6, dtype=np.uint16)
    stack = Stack(
        bands=rng.integers(1, 9000, (60, 2, 3, 10)).astype(np.uint16),
        masks=rng.integers(0, 2, (60, 2, 3)).astype(np.uint8),
        doys=days,
        sar_ascending=rng.integers(0, 3, (20, 2, 3, 2)).astype(np.int16) * np.int16(1000),
        sar_ascending_doy=np.arange(5, 365, 18, dtype=np.int16),
        sar_descending=rng.integers(1, 9000, (5, 2, 3, 2)).astype(np.int16),
        sar_descending_doy=np.array([40, 130, 131, 132, 250], np.int16),
    )
    features = monthly_medians(stack, 2019).reshape(2, 3, 8, 12)
    may = (days >= 121) & (days <= 151)
    radar = [
        series[(doys >= 121) & (doys <= 151), 1, 2]
        for series, doys in (
            (stack.sar_ascending, stack.sar_ascending_doy),
            (stack.sar_descending, stack.sar_descending_doy),
        )
    ]
    vv = np.concatenate(radar)[:, 0]
    clear = stack.bands[may & (stack.masks[:, 1, 2] != 0), 1, 2]
    assert features[1, 2, 3, :10].tolist() == np.median(clear, axis=0).tolist()
    assert features[1, 2, 3, 10] == np.median(vv[vv != 0])


def test_gaps_get_their_columns_median() -> None:
    features = np.array([[1, np.nan], [np.nan, np.nan], [5, np.nan]], np.float32)
    assert fill_gaps(features).tolist() == [[1, 0], [3, 0], [5, 0]]


def test_grouped_folds_cut_no_group_and_random_folds_do() -> None:
    groups = np.repeat(np.arange(1, 21), 30).astype(np.int32)
    labels = (groups % 2 + 1).astype(np.int32)
    for train, test in probes.grouped_folds(groups):
        assert not set(groups[train]) & set(groups[test])
    train, test = probes.random_folds(labels, 0)[0]
    assert set(groups[train]) & set(groups[test])


def test_folds_by_field_are_not_fooled_by_a_memory_of_fields() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(1, 121), 20).astype(np.int32)
    labels = rng.integers(1, 3, 121)[groups].astype(np.int32)
    signature = rng.normal(size=(121, 8)).astype(np.float32)[groups]
    features = signature + rng.normal(0, 0.05, signature.shape).astype(np.float32)
    fooled = probes.score("knn", features, labels, probes.random_folds(labels, 0))
    honest = probes.score("knn", features, labels, probes.grouped_folds(groups))
    assert fooled.accuracy > 0.99
    assert honest.accuracy < 0.75


@pytest.mark.parametrize("head", probes.HEADS)
def test_heads_find_what_is_there_with_few_labels_too(head: str) -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(1, 41), 10).astype(np.int32)
    labels = (groups % 4 + 1).astype(np.int32)
    features = (np.eye(5)[labels] + rng.normal(0, 0.1, (400, 5))).astype(np.float32)
    folds = probes.grouped_folds(groups)
    assert probes.score(head, features, labels, folds).accuracy > 0.97
    few = [probes.score(head, features, labels, folds, 0.05, seed) for seed in (0, 0, 1)]
    assert few[0] == few[1]
    assert few[0].accuracy > 0.9 or head == "knn"


def test_classes_that_stand_in_one_field_or_in_few_pixels_are_left_out() -> None:
    labels = np.repeat([1, 4, 2, 3, 0], [80, 80, 80, 20, 50]).astype(np.int32)
    groups = np.concatenate([np.arange(160) // 40, np.full(80, 4), np.arange(70) + 5])
    keep = probes.worth_probing(labels, groups.astype(np.int32))
    assert set(labels[keep]) == {1, 4}
    with pytest.raises(probes.ProbeError, match="no two classes"):
        probes.worth_probing(np.where(labels == 4, 0, labels), groups.astype(np.int32))


def test_labels_come_to_the_lattice_where_they_lie(tmp_path: Path) -> None:
    classes = np.zeros((6, 8), np.uint16)
    classes[1:3, 2:5] = 7
    classes[4:, 2:4] = 7
    classes[1, 5] = 9
    labels = read_labels(write_raster(tmp_path / "labels.tif", classes))
    window = window_of_bounds(31, (501_380, 5_629_620, 501_420, 5_629_670))
    found, fields = labels.on(window)
    assert np.array_equal(found, classes[1:6, 2:6])
    assert len(set(fields[found == 7].tolist())) == 2
    assert (fields[found == 0] == 0).all()
    side = 32
    rows, cols = np.nonzero(found)
    places = zip((rows + window.row) // side, (cols + window.col) // side, strict=True)
    corners = set(places)
    assert labels.tiles(side) == [Tile(31, *corner, side) for corner in sorted(corners)]


def test_ground_between_labels_that_lie_far_apart_is_not_looked_at(tmp_path: Path) -> None:
    classes = np.zeros((8, 3000), np.uint8)
    classes[2, 3] = classes[5, 2990] = 1
    labels = read_labels(write_raster(tmp_path / "labels.tif", classes))
    tiles = labels.tiles(64)
    assert len(tiles) == 2
    assert [labels.on(tile.window)[0].sum() for tile in tiles] == [1, 1]


def test_labels_across_the_antimeridian_lie_in_two_zones(tmp_path: Path) -> None:
    line = {"crs": "EPSG:32660", "transform": Affine(10, 0, 833_900, 0, -10, 100_000)}
    labels = read_labels(write_raster(tmp_path / "labels.tif", np.ones((20, 20), np.uint8), **line))
    tiles = labels.tiles(64)
    assert {tile.zone for tile in tiles} == {1, 60}
    # At the line, where two lattices meet, a column may come twice or not at all.
    assert 380 <= sum(labels.on(tile.window)[0].sum() for tile in tiles) <= 420


@pytest.mark.parametrize(
    ("values", "more", "says"),
    [
        (np.ones((3, 3), np.float32), {}, "whole numbers"),
        (np.ones((3, 3), np.uint8), {"crs": None}, "no reference system"),
        (np.full((3, 3), -1, np.int16), {}, "whole numbers from 0"),
        (np.zeros((3, 3), np.uint8), {}, "no labelled pixel"),
    ],
)
def test_rasters_that_are_no_labels_are_refused(
    tmp_path: Path, values: np.ndarray, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        read_labels(write_raster(tmp_path / "labels.tif", values, **more))


def test_fields_have_to_lie_on_the_labels_grid(tmp_path: Path) -> None:
    labels = write_raster(tmp_path / "labels.tif", np.ones((3, 3), np.uint8))
    fields = write_raster(tmp_path / "fields.tif", np.ones((3, 4), np.uint8))
    with pytest.raises(BadInput, match="not on the grid"):
        read_labels(labels, fields)


FEW = functools.partial(probes.learning_curves, heads=("knn",), fractions=(0.1, 1.0))
"""Probes that take little time."""


def test_a_mosaic_is_scored_beside_raw_features(
    archive: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{jobs.GRANULE.name}_{jobs.YEAR}.tif"
    truth = archive.parent / "ground_truth"
    request = EvaluateRequest(
        str(finished),
        str(truth / f"land_cover_{name}"),
        jobs.YEAR,
        fields=str(truth / f"parcels_{name}"),
        catalog=str(archive),
        out=str(tmp_path / "out"),
        seeds=1,
    )
    found = evaluate(request, learning_curves=FEW)
    print_scores(found.scores)
    told = found.to_json()
    with open(told["table"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 2
    assert Path(told["picture"]).read_bytes().startswith(b"\x89PNG")
    by = {
        (row["features"], row["folds"]): row["accuracy"]
        for row in told["scores"]
        if row["fraction"] == 1.0
    }
    chance = 1 / told["classes"]
    assert by["embedding", "random"] > by["embedding", "field"]
    assert by["raw", "field"] > chance
    assert "embedding  field" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_told_before_the_work(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    def never(*_: object) -> Iterator[probes.ProbeScore]:
        raise AssertionError("the work has begun")

    taken = tmp_path / "out"
    taken.touch()
    truth = archive.parent / "ground_truth"
    labels = truth / f"land_cover_{jobs.GRANULE.name}_{jobs.YEAR}.tif"
    with pytest.raises(BadInput, match="out cannot be made a directory"):
        evaluate(
            EvaluateRequest(str(finished), str(labels), 2024, out=str(taken)),
            learning_curves=never,
        )


def crossing(tmp_path: Path) -> Path:
    """Labels of two classes over a corner of the mosaic and over ground beside it."""
    values = np.ones((40, 40), np.uint8)
    values[:, ::2] = 2
    place = {"transform": Affine(10, 0, 499_160, 0, -10, 5_633_480)}
    return write_raster(tmp_path / "labels.tif", values, **place)


def test_labels_without_embeddings_are_left_out(finished: Path, tmp_path: Path) -> None:
    mosaic = mosaic_at(str(finished))
    found = gather(mosaic, read_labels(crossing(tmp_path)), jobs.YEAR)
    window = window_of_bounds(31, (499_360, 5_633_080, 499_560, 5_633_280))
    held = mosaic.read_window(window, jobs.YEAR)
    there = np.isfinite(held.scales)
    assert 0 < len(found.classes) == there.sum() == len(found.groups["field"])
    wanted = dequantize(held.codes[there], held.scales[there])
    assert np.array_equal(np.sort(found.features["embedding"], axis=0), np.sort(wanted, axis=0))
    assert len(np.unique(found.groups["block"])) >= 4


def test_what_cannot_be_scored_is_refused(finished: Path, tmp_path: Path) -> None:
    away = {"transform": Affine(10, 0, 411_360, 0, -10, 5_629_680)}
    far = str(write_raster(tmp_path / "far.tif", np.ones((30, 30), np.uint8), **away))
    near, store, year = str(crossing(tmp_path)), str(finished), jobs.YEAR
    with pytest.raises(BadInput, match="no embeddings of 2024 where the labels are"):
        evaluate(EvaluateRequest(store, far, year))
    with pytest.raises(BadInput, match="no two classes with 60 labelled pixels in 2 fields"):
        evaluate(EvaluateRequest(store, near, year, fields=near))
    with pytest.raises(BadInput, match="holds no mosaic"):
        evaluate(EvaluateRequest(str(tmp_path), near, year))
    with pytest.raises(BadInput, match="has no year 1999"):
        evaluate(EvaluateRequest(store, near, 1999))
    with pytest.raises(BadInput, match="more than 10 pixels"):
        gather(mosaic_at(store), read_labels(near), year, most_pixels=10)
    with pytest.raises(BadInput, match=r"^seeds 0: at least one$"):
        EvaluateRequest(store, near, year, seeds=0)


def test_the_command_makes_a_request_of_its_options() -> None:
    parser = argparse.ArgumentParser()
    evaluate_arguments(parser)
    args = parser.parse_args(["--store=none", "--labels=none", "--year=2024", "--seeds=0"])
    with pytest.raises(BadInput, match=r"^seeds 0: "):
        evaluate_command(args)
