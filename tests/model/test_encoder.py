"""Encoders against themselves: in another order, with other threads, with too little memory."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tessera_mosaic.model.cards import CardError, card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint, read_checkpoint
from tessera_mosaic.model.encoder import Embedding, Encoder
from tessera_mosaic.model.engine.batches import strips
from tessera_mosaic.model.engine.kernels import UnusableDevice
from tessera_mosaic.model.engine.packed_network import PackedNetwork
from tessera_mosaic.model.engine.slabs import Slab
from tessera_mosaic.model.observations import Stack, pad_pattern
from tests.model.golden import (
    PLACE,
    bf16_here,
    chosen,
    golden_stack,
    small,
    untrained,
    without_others,
)

FAMILIES = ("v2-nano", "v1.1-mpc", "v1.0", "v1.0-float", "v2-teacher")


@pytest.fixture(scope="module")
def everyone(shared: Path) -> dict[str, tuple[Stack, Encoder, Encoder, Embedding]]:
    """Encoders by model and precision: with one thread, with three, and what they embedded."""
    stack = golden_stack(shared, "tile")
    stack = chosen(stack, np.arange(0, 480, 4), (10, 12))
    stack.masks[:, 4, 1:4] = 0
    for sar in (stack.sar_ascending, stack.sar_descending):
        sar[:, 4, 3:7] = 0
    checkpoints = {name: (card_named(name), small(card_named(name))) for name in FAMILIES}
    nano = read_checkpoint(shared / "golden/encoders/v2_nano.pt")
    checkpoints["v2-nano as published"] = card_named("v2-nano"), nano
    made = {}
    for name, (card, checkpoint) in checkpoints.items():
        for precision in ("fp32", "bf16") if bf16_here() else ("fp32",):
            one, three = (Encoder(checkpoint, card, precision, threads=n) for n in (1, 3))
            made[f"{name} {precision}"] = stack, one, three, three.embed(stack, PLACE, values=True)
    return made


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_pixels_bytes_depend_on_the_pixel_alone(everyone: dict, data: st.DataObject) -> None:
    which = data.draw(st.sampled_from(sorted(everyone)))
    stack, one, three, whole = everyone[which]
    width = stack.shape[1]
    if "v1.0" in which:  # These draw by place, so a pixel has to stay where it is.
        top, left = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 11))
        rows, cols = data.draw(st.integers(1, 10 - top)), data.draw(st.integers(1, 12 - left))
        at = dataclasses.replace(PLACE, row=PLACE.row + top, col=PLACE.col + left)
        grid = np.arange(120).reshape(10, 12)[top : top + rows, left : left + cols]
        pixels, shape = grid.ravel(), grid.shape
    else:
        order = data.draw(st.permutations(range(120)))
        pixels = np.array(order[: data.draw(st.integers(1, 120))])
        at, shape = None, (len(pixels), 1)
    encoder = data.draw(st.sampled_from([one, three]))
    part = without_others(chosen(stack, pixels, shape), data.draw(st.sampled_from([0, 0.5, 1])))
    made = encoder.embed(part, at, values=True)
    rows, cols = pixels // width, pixels % width
    assert np.array_equal(made.codes.reshape(len(pixels), -1), whole.codes[rows, cols])
    assert np.array_equal(made.scales.ravel(), whole.scales[rows, cols])
    values = made.values.reshape(len(pixels), -1)
    assert np.array_equal(values, whole.values[rows, cols], equal_nan=True)


def test_threads_share_one_encoder(shared: Path) -> None:
    encoder, stack = untrained(threads=2), golden_stack(shared, "long")
    alone = encoder.embed(stack)
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(encoder.embed, [stack] * 8))
    assert all(np.array_equal(made.codes, alone.codes) for made in together)
    assert all(np.array_equal(made.scales, alone.scales) for made in together)


def test_thousands_of_observations_are_thinned_as_the_pattern_says() -> None:
    draw = np.random.default_rng(1)
    stack = Stack(
        bands=draw.integers(1, 10_000, (1500, 2, 3, 10), np.uint16),
        masks=np.ones((1500, 2, 3), np.uint8),
        doys=np.sort(draw.integers(1, 367, 1500)).astype(np.uint16),
        sar_ascending=np.zeros((0, 2, 3, 2), np.int16),
        sar_ascending_doy=np.zeros(0, np.int16),
        sar_descending=np.zeros((0, 2, 3, 2), np.int16),
        sar_descending_doy=np.zeros(0, np.int16),
    )
    kept = pad_pattern(1500, 256)
    thinned = dataclasses.replace(
        stack, bands=stack.bands[kept], masks=stack.masks[kept], doys=stack.doys[kept]
    )
    encoder = untrained()
    told: list[int] = []
    many, few = encoder.embed(stack, told=told.append), encoder.embed(thinned)
    assert sum(told) == many.tokens
    assert np.array_equal(many.codes, few.codes)
    assert np.array_equal(many.scales, few.scales)


def test_a_block_is_worked_on_in_strips_of_bounded_size() -> None:
    runs = list(strips(512 * 512, dates=20_000, width=card_named("v2-nano").sizes.width))
    assert all(run.stop - run.start == 512 for run in runs)
    assert sum(run.stop - run.start for run in runs) == 512 * 512


def test_shorter_embeddings_are_first_values_with_scales_of_their_own(shared: Path) -> None:
    encoder, stack = untrained(), golden_stack(shared, "long")
    whole, first = encoder.embed(stack, values=True), encoder.embed(stack, values=True, dims=16)
    assert np.array_equal(first.values, whole.values[..., :16], equal_nan=True)
    assert first.codes.shape == (6, 6, 16)
    known = np.isfinite(first.scales)
    assert (np.abs(first.codes[known]).max(axis=-1) == 127).all()
    with pytest.raises(CardError, match="17 values: choose from 16, 32, 64, 128"):
        encoder.embed(stack, dims=17)


@pytest.mark.parametrize("model", ["v1.0", "v1.0-float"])
def test_v1_0_needs_a_place_and_takes_nothing_from_its_neighbours(shared: Path, model: str) -> None:
    card = card_named(model)
    encoder = Encoder(small(card), card)
    stack = golden_stack(shared, "no_ascending")
    with pytest.raises(CardError, match="by place"):
        encoder.embed(stack)
    stack.masks[:, 0, 0] = 0
    stack.sar_descending[:, 0, 1] = 0
    made = encoder.embed(stack, PLACE)
    # Never clear, so left out, whatever clouds it has; without Sentinel-1 it is embedded all the
    # same, and as if no other pixel had been seen by it.
    assert stack.bands[:, 0, 0].any()
    assert np.isposinf(made.scales[0, 0])
    second = without_others(chosen(stack, np.array([1]), (1, 1)), 1)
    assert not len(second.sar_descending)
    alone = encoder.embed(second, dataclasses.replace(PLACE, col=PLACE.col + 1))
    assert np.isfinite(alone.scales[0, 0])
    assert np.array_equal(alone.codes[0, 0], made.codes[0, 1])
    assert alone.scales[0, 0] == made.scales[0, 1]
    other = encoder.embed(stack, dataclasses.replace(PLACE, year=2019))
    assert not np.array_equal(other.codes, made.codes)


@pytest.mark.parametrize(
    ("model", "parameter", "value"),
    [
        ("v2-nano", "s2_backbone.embedding.0.weight", 3e38),
        ("v1.1-mpc", "dim_reducer.4.bias", 3e38),
        ("v1.1-mpc", "dim_reducer.4.bias", 200.0),
    ],
    ids=["nan", "infinite scale", "scale above 1"],
)
def test_numbers_that_are_no_embedding_are_refused(
    shared: Path, model: str, parameter: str, value: float
) -> None:
    checkpoint = small(card_named(model))
    checkpoint.state[parameter].fill_(value)
    if value > 1e38:
        checkpoint.state["dim_reducer.4.weight"].fill_(value)
    encoder = Encoder(checkpoint, card_named(model))
    with pytest.raises(FloatingPointError, match="not finite or too large"):
        encoder.embed(golden_stack(shared, "long"))


def starving(change: Callable[[PackedNetwork], None]) -> Encoder:
    """An encoder whose network runs out of memory, as a change to it says."""

    def lay_out(*parts: object) -> PackedNetwork:
        network = PackedNetwork(*parts)
        change(network)
        return network

    card = card_named("v2-nano")
    return Encoder(random_checkpoint(card.sizes, 0), card, threads=1, lay_out=lay_out)


def with_little_memory(network: PackedNetwork) -> None:
    """Let it take four pixels of Sentinel-2 at once, and fuse eight."""
    sensor, fuse = network.s2, network.fuse

    def starved(slab: Slab) -> torch.Tensor:
        if sum(group.pixels for group in slab.groups) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return sensor(slab)

    def starved_too(s2: torch.Tensor, s1: torch.Tensor) -> torch.Tensor:
        if len(s2.unique(dim=0)) > 9:  # Padding is one vector of zeros.
            raise torch.OutOfMemoryError("out of memory")
        return fuse(s2, s1)

    network.s2, network.fuse = starved, starved_too


def test_batches_are_halved_when_memory_runs_out_and_it_is_said_once(
    shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stack = golden_stack(shared, "tile")
    with caplog.at_level(logging.WARNING):
        made = starving(with_little_memory).embed(stack)
    assert np.array_equal(made.codes, untrained(threads=1).embed(stack).codes)
    assert [record.message for record in caplog.records].count(
        "cpu is out of memory: batches are halved and go on"
    ) == 1


@pytest.mark.parametrize("part", ["s2", "fuse"])
def test_where_not_even_one_pixel_fits_it_is_an_error(shared: Path, part: str) -> None:
    def hopeless(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    encoder = starving(lambda network: setattr(network, part, hopeless))
    with pytest.raises(torch.OutOfMemoryError, match="not even one pixel"):
        encoder.embed(golden_stack(shared, "tile"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(UnusableDevice, match="cuda was asked for, and 0 GPUs"):
        untrained(device="cuda")
    with pytest.raises(UnusableDevice, match="not on meta"):
        untrained(device="meta")
    with pytest.raises(UnusableDevice, match="no precision 'fp8'"):
        untrained(precision="fp8")


def test_identity_tells_published_weights_from_others(shared: Path) -> None:
    encoder = Encoder.load(shared / "golden/encoders/v2_nano.pt", card_named("v2-nano"))
    told = encoder.identity()
    assert told["weights_published"] is False
    assert told["precision"] == "fp32"
    assert told["card"]["statistics"]["s2_mean"][0] == 1633.0042
    published = dataclasses.replace(card_named("v2-nano"), sha256=encoder.weights_sha256)
    encoder.card = published
    assert encoder.identity()["weights_published"] is True
