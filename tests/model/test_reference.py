"""Encoders against the reference's own embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.checkpoints.checkpoint import Checkpoint, read_checkpoint
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.engine.batches import cpu_batches
from tessera_mosaic.model.engine.kernels import find_place
from tessera_mosaic.model.engine.packed_network import PackedNetwork, SensorPlan
from tessera_mosaic.model.engine.packing import VOID, statistics_tables
from tessera_mosaic.model.engine.slabs import Group, Slab
from tests.model.golden import TOKENS, cosines, golden_stack, small

STACKS = [
    (file, card, prefix, name)
    for file, card, prefix in TOKENS
    for name in ("tile", "long", "no_ascending")
    if (file, name) != ("v2_teacher", "long")
]


@pytest.mark.parametrize(("file", "card", "prefix", "name"), STACKS)
def test_encoders_reproduce_the_reference(
    shared: Path, file: str, card: str, prefix: str, name: str
) -> None:
    golden = shared / "golden/encoders"
    encoder = Encoder.load(golden / f"{file}.pt", card_named(card))
    made = encoder.embed(golden_stack(shared, name), values=True)
    wanted = np.load(golden / f"{file}_expected.npz")
    values = wanted[f"{prefix}{name}_embedding"]
    nothing = np.isposinf(made.scales)
    assert not made.codes[nothing].any()
    assert np.isnan(made.values[nothing]).all()
    stack = golden_stack(shared, name)
    assert np.array_equal(nothing, stack.blank())
    if file != "v1_1":  # Its reference embeds pixels that nothing saw; a mosaic must not.
        assert np.array_equal(nothing, np.isnan(values).any(axis=-1))
    something = ~nothing
    assert np.abs(made.values - values)[something].max() <= 2e-4
    assert cosines(made.values[something], values[something]).min() >= 0.999999
    if file == "v2_teacher":  # Its reference does not quantize.
        return
    off = np.abs(made.codes.astype(int) - wanted[f"{prefix}{name}_codes"])[something]
    assert off.max() <= 1
    assert (off == 0).mean() >= 0.999
    scales = wanted[f"{prefix}{name}_scales"]
    np.testing.assert_allclose(made.scales[something], scales[something], rtol=1e-5)


def packed(checkpoint: Checkpoint) -> PackedNetwork:
    """The fast path of an encoder whose tokens come standardised."""
    statistics = card_named(checkpoint.family).statistics
    place, batches = find_place("cpu", "fp32"), cpu_batches(checkpoint.family)
    with torch.inference_mode():
        return PackedNetwork(checkpoint.network(), statistics_tables(statistics), place, batches)


def vectors(sensor: SensorPlan, tokens: NDArray[np.float32]) -> torch.Tensor:
    """A sensor's vectors of pixels, of their standardised tokens and days."""
    pixels, length, _ = tokens.shape
    flat = torch.from_numpy(tokens).flatten(0, 1)
    kinds = torch.full((len(flat),), VOID)
    return sensor(Slab(flat[:, :-1], kinds, flat[:, -1].long(), [Group(0, pixels, length)]))


def test_v1_0_reproduces_the_reference_on_its_own_tokens(shared: Path) -> None:
    golden = shared / "golden/encoders"
    network = packed(read_checkpoint(golden / "v1_0.pt"))
    wanted = np.load(golden / "v1_0_expected.npz")
    with torch.inference_mode():
        made = network.fuse(
            vectors(network.s2, wanted["s2_tokens"]), vectors(network.s1, wanted["s1_tokens"])
        ).numpy()
    assert np.abs(made - wanted["embedding"]).max() <= 2e-4
    assert cosines(made, wanted["embedding"]).min() >= 0.999999


def test_pytorchs_own_gru_is_reproduced() -> None:
    checkpoint = small(card_named("v1.0-float"))
    draw = np.random.default_rng(0)
    tokens = [draw.normal(size=(8, 40, bands + 1)).astype(np.float32) for bands in (10, 2)]
    for part in tokens:
        part[..., -1] = draw.integers(1, 367, (8, 40))
    network = packed(checkpoint)
    with torch.inference_mode():
        wanted = checkpoint.network()(*map(torch.from_numpy, tokens))
        made = network.fuse(vectors(network.s2, tokens[0]), vectors(network.s1, tokens[1]))
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)


def test_without_onednn_the_same_comes_out(shared: Path) -> None:
    golden = shared / "golden/encoders"
    with torch.backends.mkldnn.flags(enabled=False):
        encoder = Encoder.load(golden / "v2_nano.pt", card_named("v2-nano"))
        assert not encoder.place.onednn
        made = encoder.embed(golden_stack(shared, "long"), values=True)
    wanted = np.load(golden / "v2_nano_expected.npz")["long_embedding"]
    known = np.isfinite(made.scales)
    assert np.abs(made.values - wanted)[known].max() <= 2e-4
