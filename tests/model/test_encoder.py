"""Encoders against the reference's own embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.cards import card_named
from model.encoder import Embedding, Encoder
from model.observations import Stack

INPUTS = ("tile", "long", "no_ascending")


def golden_stack(shared: Path, name: str) -> Stack:
    return Stack(**np.load(shared / f"golden/encoders/input_{name}.npz"))


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / lengths


def assert_faithful(made: Embedding, wanted: NDArray, codes: NDArray, scales: NDArray) -> None:
    nothing = np.isnan(wanted).any(axis=-1)
    assert np.array_equal(np.isposinf(made.scales), nothing)
    assert not made.codes[nothing].any()
    assert np.isnan(made.values[nothing]).all()
    something = ~nothing
    assert np.abs(made.values - wanted)[something].max() <= 2e-4
    assert cosines(made.values[something], wanted[something]).min() >= 0.999999
    off = np.abs(made.codes.astype(int) - codes)[something]
    assert off.max() <= 1
    assert (off == 0).mean() >= 0.999
    np.testing.assert_allclose(made.scales[something], scales[something], rtol=1e-5)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("student", ["v2_nano", "v2_qknorm"])
def test_students_reproduce_the_reference(shared: Path, student: str, name: str) -> None:
    golden = shared / "golden/encoders"
    encoder = Encoder.load(golden / f"{student}.pt", card_named("v2-nano"))
    made = encoder.embed(golden_stack(shared, name), values=True)
    wanted = np.load(golden / f"{student}_expected.npz")
    assert_faithful(made, *(wanted[f"{name}_{part}"] for part in ("embedding", "codes", "scales")))
