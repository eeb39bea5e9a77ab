"""Encoders against the reference's own embeddings, and against themselves in another order."""

from __future__ import annotations

import dataclasses
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.encode import synthetic_stack
from tessera_mosaic.model.cards import SHIPPED, Card, CardError, card_named
from tessera_mosaic.model.checkpoints.checkpoint import (
    Checkpoint,
    random_checkpoint,
    read_checkpoint,
)
from tessera_mosaic.model.data import WEIGHTS
from tessera_mosaic.model.encoder import Embedding, Encoder
from tessera_mosaic.model.engine.kernels import UnusableDevice
from tessera_mosaic.model.engine.packed_network import SensorPlan
from tessera_mosaic.model.engine.packing import VOID
from tessera_mosaic.model.engine.slabs import Group, Slab
from tessera_mosaic.model.observations import Origin, Stack, pad_pattern
from tessera_mosaic.model.sizes import Sizes

PLACE = Origin(zone=31, row=370_912, col=34_952, year=2018)

TOKENS = (
    ("v2_nano", "v2-nano", ""),
    ("v2_qknorm", "v2-nano", ""),
    ("v1_1", "v1.1-mpc", "mpc_"),
    ("v1_1", "v1.1-aws", "aws_"),
    ("v2_teacher", "v2-teacher", ""),
)
"""Checkpoint, card and prefix of the reference's vectors."""

STACKS = [
    (file, card, prefix, name)
    for file, card, prefix in TOKENS
    for name in ("tile", "long", "no_ascending")
    if (file, name) != ("v2_teacher", "long")
]


def golden_stack(shared: Path, name: str) -> Stack:
    return Stack(**np.load(shared / f"golden/encoders/input_{name}.npz"))


def cosines(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / lengths


def chosen(stack: Stack, pixels: NDArray[np.int64], shape: tuple[int, int]) -> Stack:
    """Some pixels of a stack, in another order and shape."""

    def pick(array: NDArray) -> NDArray:
        if array.ndim == 1:
            return array
        flat = array.reshape(len(array), stack.shape[0] * stack.shape[1], *array.shape[3:])
        return flat[:, pixels].reshape(len(array), *shape, *array.shape[3:])

    return Stack(**{f.name: pick(getattr(stack, f.name)) for f in dataclasses.fields(Stack)})


def without_others(stack: Stack, share: float) -> Stack:
    """Less of the dates on which no pixel of the stack was seen: as many as a share."""
    s2 = (stack.masks != 0).any(axis=(1, 2))
    sides = [(sar != 0).any(axis=(1, 2, 3)) for sar in (stack.sar_ascending, stack.sar_descending)]
    one, two, three = (
        seen | (np.random.default_rng(0).random(len(seen)) >= share) for seen in (s2, *sides)
    )
    return Stack(
        stack.bands[one],
        stack.masks[one],
        stack.doys[one],
        stack.sar_ascending[two],
        stack.sar_ascending_doy[two],
        stack.sar_descending[three],
        stack.sar_descending_doy[three],
    )


def small(card: Card, seed: int = 0) -> Checkpoint:
    """Random parameters of a card's family, of odd and small sizes."""
    sizes = Sizes(latent=11, layers=2, heads=4, feedforward=56, representation=40)
    return random_checkpoint(sizes, seed, card.family)


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


def test_v1_0_reproduces_the_reference_on_its_own_tokens(shared: Path) -> None:
    golden = shared / "golden/encoders"
    plan = Encoder.load(golden / "v1_0.pt", card_named("v1.0"))._plan
    wanted = np.load(golden / "v1_0_expected.npz")

    def vectors(sensor: SensorPlan, tokens: NDArray[np.float32]) -> torch.Tensor:
        pixels, length, _ = tokens.shape
        flat = torch.from_numpy(tokens).flatten(0, 1)
        kinds = torch.full((len(flat),), VOID)
        slab = Slab(flat[:, :-1], kinds, flat[:, -1].long(), [Group(0, pixels, length)])
        return sensor(slab)

    with torch.inference_mode():
        made = plan.fuse(
            vectors(plan.s2, wanted["s2_tokens"]), vectors(plan.s1, wanted["s1_tokens"])
        ).numpy()
    assert np.abs(made - wanted["embedding"]).max() <= 2e-4
    assert cosines(made, wanted["embedding"]).min() >= 0.999999


def test_pytorchs_own_gru_is_reproduced() -> None:
    card = card_named("v1.0-float")
    checkpoint = small(card)
    draw = np.random.default_rng(0)
    tokens = [draw.normal(size=(8, 40, bands + 1)).astype(np.float32) for bands in (10, 2)]
    for part in tokens:
        part[..., -1] = draw.integers(1, 367, (8, 40))
    plan = Encoder(checkpoint, card, threads=1)._plan
    with torch.inference_mode():
        wanted = checkpoint.network()(*map(torch.from_numpy, tokens))
        vectors = []
        for sensor, part in zip((plan.s2, plan.s1), tokens, strict=True):
            flat = torch.from_numpy(part).flatten(0, 1)
            kinds = torch.full((len(flat),), VOID)
            vectors.append(sensor(Slab(flat[:, :-1], kinds, flat[:, -1].long(), [Group(0, 8, 40)])))
        made = plan.fuse(*vectors)
    torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-5)


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


def untrained(precision: str = "fp32", device: str = "cpu", threads: int | None = None) -> Encoder:
    """An encoder of the sizes of the smallest published student, with random parameters."""
    card = card_named("v2-nano")
    return Encoder(random_checkpoint(card.sizes, 0), card, precision, device, threads)


def bf16_here() -> bool:
    try:
        untrained(precision="bf16")
    except UnusableDevice:
        return False
    return True


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
    many, few = encoder.embed(stack), encoder.embed(thinned)
    assert np.array_equal(many.codes, few.codes)
    assert np.array_equal(many.scales, few.scales)


def test_a_block_is_worked_on_in_strips_of_bounded_size(shared: Path) -> None:
    dates = np.ones(20_000, np.uint16)
    nothing = np.zeros((0, 512, 512, 2), np.int16)
    masks = np.broadcast_to(np.uint8(1), (20_000, 512, 512))
    stack = Stack(masks, masks, dates, nothing, dates[:0], nothing, dates[:0])
    strips = list(untrained()._strips(stack))
    assert all(run.stop - run.start == 512 for run in strips)
    assert sum(run.stop - run.start for run in strips) == 512 * 512


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


def test_batches_are_halved_when_memory_runs_out_and_it_is_said_once(
    shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stack = golden_stack(shared, "tile")
    encoder, plain = untrained(threads=1), untrained(threads=1)
    sensor = encoder._plan.s2

    def starved(slab: Slab) -> torch.Tensor:
        if sum(group.pixels for group in slab.groups) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return sensor(slab)

    fuse = encoder._plan.fuse

    def starved_too(s2: torch.Tensor, s1: torch.Tensor) -> torch.Tensor:
        if len(s2.unique(dim=0)) > 9:  # Padding is one vector of zeros.
            raise torch.OutOfMemoryError("out of memory")
        return fuse(s2, s1)

    encoder._plan.s2, encoder._plan.fuse = starved, starved_too
    with caplog.at_level(logging.WARNING):
        made = encoder.embed(stack)
    assert np.array_equal(made.codes, plain.embed(stack).codes)
    assert [record.message for record in caplog.records].count(
        "cpu is out of memory: batches are halved and go on"
    ) == 1

    def hopeless(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    for part in ("s2", "fuse"):
        encoder = untrained(threads=1)
        setattr(encoder._plan, part, hopeless)
        with pytest.raises(torch.OutOfMemoryError, match="not even one pixel"):
            encoder.embed(stack)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(UnusableDevice, match="cuda was asked for, and 0 GPUs"):
        untrained(device="cuda")
    with pytest.raises(UnusableDevice, match="not on meta"):
        untrained(device="meta")
    with pytest.raises(UnusableDevice, match="no precision 'fp8'"):
        untrained(precision="fp8")


def test_without_onednn_the_same_comes_out(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = shared / "golden/encoders"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    encoder = Encoder.load(golden / "v2_nano.pt", card_named("v2-nano"))
    made = encoder.embed(golden_stack(shared, "long"), values=True)
    wanted = np.load(golden / "v2_nano_expected.npz")["long_embedding"]
    known = np.isfinite(made.scales)
    assert np.abs(made.values - wanted)[known].max() <= 2e-4


def test_identity_tells_published_weights_from_others(shared: Path) -> None:
    encoder = Encoder.load(shared / "golden/encoders/v2_nano.pt", card_named("v2-nano"))
    told = encoder.identity()
    assert told["weights_published"] is False
    assert told["precision"] == "fp32"
    assert told["card"]["statistics"]["s2_mean"][0] == 1633.0042
    published = dataclasses.replace(card_named("v2-nano"), sha256=encoder.weights_sha256)
    encoder.card = published
    assert encoder.identity()["weights_published"] is True
