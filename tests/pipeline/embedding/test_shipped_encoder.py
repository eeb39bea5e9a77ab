"""The shipped encoder, on real pixels: better than raw features where it was never trained too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.model import probes
from tessera_mosaic.model.cards import SHIPPED as CARD
from tessera_mosaic.model.data import WEIGHTS
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.evaluation.raw_features import fill_gaps, monthly_medians
from tessera_mosaic.pipeline.imagery.label_raster import connected
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import lonlat_bounds, window_of_bounds

BASELINES = {"31UDS_2018": 0.607, "31UES_2019": 0.511}
"""What the 5 nearest neighbours get from raw features, as the data's own description says."""

MARGIN = 0.05

BOUNDS = {
    "31UDS_2018": (501_360, 5_629_040, 502_000, 5_629_680),
    "31UES_2019": (574_680, 5_621_800, 575_320, 5_622_440),
}


def test_weights_are_those_of_the_card_and_small() -> None:
    assert WEIGHTS.stat().st_size == CARD.bytes < 5_000_000
    assert Encoder.load(WEIGHTS, CARD, threads=1).weights_sha256 == CARD.sha256


@dataclass(frozen=True)
class Square:
    """Labelled pixels of a square: embeddings before and after int8, raw features."""

    floats: np.ndarray
    codes: np.ndarray
    raw: np.ndarray
    labels: np.ndarray
    fields: np.ndarray

    def score(self, head: str, features: np.ndarray) -> float:
        folds = probes.grouped_folds(self.fields)
        return probes.score(head, features, self.labels, folds).accuracy


@pytest.fixture(scope="module", params=BOUNDS)
def square(request: pytest.FixtureRequest, shared: Path) -> tuple[str, Square]:
    name = request.param
    year = int(name[-4:])
    window = window_of_bounds(31, BOUNDS[name])
    source = open_catalogue(str(shared / "data/flanders/catalog.json"))
    scenes = source.search(lonlat_bounds(window), year)
    rules = Preprocessing(source.imagery, CARD.kernel, CARD.offset)
    stack = read_block(window, scenes, rules, SceneReader(source)).stack
    embedding = Encoder.load(WEIGHTS, CARD).embed(stack, values=True)
    with np.load(shared / f"data/flanders/labels_{name}.npz") as file:
        labels = file["crop_type"].astype(np.int32)
    fields = connected(labels)
    keep = probes.worth_probing(labels.ravel(), fields.ravel()).reshape(labels.shape)
    return name, Square(
        embedding.values[keep],
        dequantize(embedding.codes[keep], embedding.scales[keep]),
        fill_gaps(monthly_medians(stack, year)[keep]),
        labels[keep],
        fields[keep],
    )


def test_neighbours_in_its_space_are_better_than_raw_ones(square: tuple[str, Square]) -> None:
    name, pixels = square
    raw, embedded = pixels.score("knn", pixels.raw), pixels.score("knn", pixels.codes)
    assert raw == pytest.approx(BASELINES[name], abs=0.02)
    assert embedded > max(raw, BASELINES[name]) + MARGIN


def test_int8_loses_nothing_that_probes_would_notice(square: tuple[str, Square]) -> None:
    _, pixels = square
    # Pixels of a field turn together: by chance one head loses as much as the other gains.
    losses = [
        pixels.score(head, pixels.floats) - pixels.score(head, pixels.codes)
        for head in ("knn", "logistic")
    ]
    assert np.mean(losses) < 0.005


def test_its_first_sixteen_values_keep_most_of_it(square: tuple[str, Square]) -> None:
    _, pixels = square
    whole, prefix = (pixels.score("knn", pixels.codes[:, :depth]) for depth in (128, 16))
    assert prefix > 0.9 * whole
