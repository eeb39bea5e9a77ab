"""Encoders in bf16 stay close to those in fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.encode import synthetic_stack
from tessera_mosaic.model.cards import SHIPPED, card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint, read_checkpoint
from tessera_mosaic.model.data import WEIGHTS
from tessera_mosaic.model.encoder import Encoder
from tests.model.golden import PLACE, TOKENS, bf16_here, cosines, golden_stack

GATED = {file: (file, card) for file, card, _ in (*TOKENS, ("v1_0", "v1.0", ""))}
PUBLISHED = ("v2-small", "v2-medium", "v2-large", "v1.0", "v1.1-mpc")


@pytest.mark.parametrize("name", [*GATED, SHIPPED.name, *PUBLISHED])
def test_bf16_stays_close_to_fp32(shared: Path, name: str) -> None:
    if not bf16_here():
        pytest.skip("this CPU has no bf16 arithmetic")
    stack = golden_stack(shared, "tile")
    if name in GATED:
        file, model = GATED[name]
        checkpoint, card = read_checkpoint(shared / f"golden/encoders/{file}.pt"), card_named(model)
    elif name == SHIPPED.name:
        checkpoint, card = read_checkpoint(WEIGHTS), SHIPPED
    else:
        card = card_named(name)
        checkpoint = random_checkpoint(card.sizes, 0, card.family)
        stack = synthetic_stack((5, 8), (16, 16))
    exact, fast = (
        Encoder(checkpoint, card, precision).embed(stack, PLACE, values=True)
        for precision in ("fp32", "bf16")
    )
    known = np.isfinite(exact.scales)
    assert np.array_equal(known, np.isfinite(fast.scales))
    a, b = exact.values[known], fast.values[known]
    assert cosines(a, b).min() >= 0.9999
    np.testing.assert_allclose(fast.scales[known], exact.scales[known], rtol=0.016)
    assert neighbour_overlap(a, b, 10) >= 0.97


def neighbour_overlap(a: NDArray, b: NDArray, count: int) -> float:
    """Mean share of each vector's nearest neighbours that are the same in both sets."""

    def nearest(values: NDArray) -> NDArray[np.int64]:
        unit = values / np.linalg.norm(values, axis=-1, keepdims=True)
        closeness = unit @ unit.T
        np.fill_diagonal(closeness, -np.inf)
        return np.argpartition(-closeness, count, axis=1)[:, :count]

    pairs = zip(nearest(a), nearest(b), strict=True)
    return float(np.mean([len(set(x) & set(y)) / count for x, y in pairs]))
