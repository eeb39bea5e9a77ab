"""`evaluate` scores what a mosaic holds, and nothing that a fold should not know."""

from __future__ import annotations

import argparse
import csv
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import Affine

from tessera_mosaic.model import probes
from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.commands.evaluate import (
    evaluate_arguments,
    evaluate_command,
    print_scores,
)
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.label_scores import EvaluateRequest, evaluate
from tessera_mosaic.pipeline.evaluation.labelled_pixels import gather
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tessera_mosaic.pipeline.tiling.lattice import window_of_bounds
from tests import jobs
from tests.rasters import write_raster

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
    with pytest.raises(BadInput, match=r"^seeds 0: choose 1 or more$"):
        EvaluateRequest(store, near, year, seeds=0)


def test_the_command_makes_a_request_of_its_options() -> None:
    parser = argparse.ArgumentParser()
    evaluate_arguments(parser)
    args = parser.parse_args(["--store=none", "--labels=none", "--year=2024", "--seeds=0"])
    with pytest.raises(BadInput, match=r"^seeds 0: "):
        evaluate_command(args)


@pytest.mark.parametrize("name", ["evaluation.csv", "evaluation.png"])
def test_an_evaluation_is_not_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    request = EvaluateRequest("nowhere", "labels.tif", 2024, out=tmp_path)
    with pytest.raises(BadInput, match=f"it has an {name} already: name another folder"):
        evaluate(request)
    assert (tmp_path / name).read_text() == "mine"
