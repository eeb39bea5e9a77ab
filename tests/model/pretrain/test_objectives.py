"""Views, losses and ranks are what the papers' formulas say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.observations import Stack
from tessera_mosaic.model.pretrain.objectives import (
    WATCHED,
    BarlowTwins,
    Distillation,
    barlow_twins,
    correlate,
    fake_quantize,
    projector,
    rank_me,
    spread,
    standardize,
)
from tessera_mosaic.model.pretrain.samples import samples_of
from tessera_mosaic.model.pretrain.tokens import embed_samples, mixed, random_view
from tests.model.pretrain.seasons import TINY, fields

STATISTICS = card_named("v2-nano").statistics
S2_TABLE, S1_TABLE = STATISTICS.tables()


def test_a_view_has_distinct_valid_observations_in_order() -> None:
    samples = fields(count=2)
    view = random_view(samples.s2, S2_TABLE, 6, np.random.default_rng(0)).numpy()
    for pixel, start in enumerate(samples.s2.starts):
        own = slice(start, start + samples.s2.counts[pixel])
        days, values = samples.s2.days[own], samples.s2.values[own]
        assert (np.diff(view[pixel, :, -1]) > 0).all()
        for token in view[pixel]:
            (at,) = np.flatnonzero(days == token[-1])
            expected = (values[at] - np.array(STATISTICS.s2_mean)) / np.array(STATISTICS.s2_std)
            np.testing.assert_allclose(token[:-1], expected, rtol=1e-5, atol=1e-6)


def test_orbit_directions_have_their_own_statistics() -> None:
    samples = fields(count=1)
    view = random_view(samples.s1, S1_TABLE, 24, np.random.default_rng(0)).numpy()[0]
    kinds = samples.s1.kinds[:24]
    assert set(kinds) == {0, 1}
    for token, value, kind in zip(view, samples.s1.values[:24], kinds, strict=True):
        mean = (STATISTICS.ascending_mean, STATISTICS.descending_mean)[kind]
        std = (STATISTICS.ascending_std, STATISTICS.descending_std)[kind]
        np.testing.assert_allclose(token[:2], (value - np.array(mean)) / np.array(std), atol=1e-5)


def test_views_differ_in_both_sensors_and_from_pixel_to_pixel() -> None:
    objective = BarlowTwins(random_checkpoint(TINY, 0).network(), 8, STATISTICS, (6, 6))
    s2, s1, s2_again, s1_again, share, mate = objective.draw(fields(), np.random.default_rng(0))
    for one, other in ((s2, s2_again), (s1, s1_again)):
        assert (one[..., -1] != other[..., -1]).any(dim=1).float().mean() > 0.99
        assert len(torch.unique(one[..., -1], dim=0)) > 0.9 * len(one)
    assert 0 < share < 1
    assert sorted(mate.tolist()) == list(range(len(s2)))


def test_few_observations_are_repeated_and_none_are_zeros() -> None:
    samples = fields(count=1).take(np.arange(3))
    few = samples.s2.take(np.arange(3))
    two = type(few)(few.values[:2], few.days[:2], few.kinds[:2], np.array([2, 0, 0], np.int32))
    view = random_view(two, S2_TABLE, 8, np.random.default_rng(0))
    assert set(view[0, :, -1].tolist()) <= set(two.days.tolist())
    assert not view[1:].any()


def test_embedding_d_pixels_is_what_the_encoder_does() -> None:
    rng = np.random.default_rng(0)
    stack = Stack(
        bands=rng.integers(0, 8000, (20, 4, 5, 10)).astype(np.uint16),
        masks=(rng.random((20, 4, 5)) < rng.random((4, 5))).astype(np.uint8),
        doys=np.arange(5, 365, 18, dtype=np.uint16),
        sar_ascending=rng.integers(0, 2, (9, 4, 5, 1)).astype(np.int16) * np.int16([6000, 3000]),
        sar_ascending_doy=np.arange(1, 361, 40, dtype=np.int16),
        sar_descending=np.zeros((0, 4, 5, 2), np.int16),
        sar_descending_doy=np.zeros(0, np.int16),
    )
    stack.masks[0] = 1
    stack.masks[:, 0, 0] = 0
    stack.sar_ascending[0] = 1000
    stack.sar_ascending[:, 1, 1] = 0
    card = card_named("v2-nano")
    checkpoint = random_checkpoint(card.sizes, 3)
    expected = Encoder(checkpoint, card, threads=1).embed(stack, values=True).values
    samples = samples_of(stack, np.arange(20), np.zeros((20, 4), np.int32))
    got = embed_samples(checkpoint.network(), samples, card.statistics)
    np.testing.assert_allclose(got, expected.reshape(20, -1), atol=1e-4)


def naive_loss(one, two, mix, mate, share, redundancy, weight) -> float:
    """The loss of mixed Barlow Twins, element by element."""

    def correlation(a, b):
        a, b = ((x - x.mean(0)) / x.std(0) for x in (a, b))
        return np.array(
            [[np.mean(a[:, i] * b[:, j]) for j in range(b.shape[1])] for i in range(a.shape[1])]
        )

    loss = 0.0
    c = correlation(one, two)
    for i in range(len(c)):
        for j in range(len(c)):
            loss += (c[i, j] - 1) ** 2 if i == j else redundancy * c[i, j] ** 2
    for other in (one, two):
        aim = share * correlation(one, other) + (1 - share) * correlation(two[mate], other)
        loss += weight * redundancy * ((correlation(mix, other) - aim) ** 2).sum()
    return loss


def test_the_loss_is_that_of_mixed_barlow_twins() -> None:
    network = random_checkpoint(TINY, 0).network()
    objective = BarlowTwins(network, 6, STATISTICS, (5, 4), quantize=False)
    inputs = objective.draw(fields(count=2), np.random.default_rng(1))
    s2, s1, s2_again, s1_again, share, mate = inputs
    parts = objective(*inputs)
    views = (
        (s2, s1),
        (s2_again, s1_again),
        (mixed(s2, s2_again[mate], float(share)), mixed(s1, s1_again[mate], float(share))),
    )
    with torch.no_grad():
        one, two, mix = (objective.projector(network(*view)).double().numpy() for view in views)
    expected = naive_loss(one, two, mix, mate.numpy(), float(share), 5e-3, 1.0)
    assert parts["total"].item() == pytest.approx(expected, rel=1e-4)
    assert set(parts) == {"total", "invariance", "redundancy", "mix"}


def test_a_student_is_not_asked_for_what_all_vectors_share() -> None:
    student, teacher = (random_checkpoint(TINY, seed).network() for seed in range(2))
    objective = Distillation(student, teacher, STATISTICS, STATISTICS, (5, 4), (6, 5))
    s2, s1, teacher_s2, teacher_s1 = objective.draw(fields(count=2), np.random.default_rng(0))
    parts = objective(s2, s1, teacher_s2, teacher_s1)
    with torch.no_grad():
        z, wanted = student(s2, s1), teacher(teacher_s2, teacher_s1)
        for depth, head in objective.heads.items():
            error = (wanted - head(z[:, : int(depth)])).double().numpy()
            left = np.mean((error - error.mean(axis=0)) ** 2)
            assert parts[f"prefix_{depth}"].item() == pytest.approx(left, rel=1e-4)
    total = np.mean([parts[f"prefix_{depth}"].item() for depth in (16, 32)])
    assert parts["total"].item() == pytest.approx(total, rel=1e-4)


def test_what_all_vectors_share_is_found_over_all_processes() -> None:
    rows = torch.randn(20, 3) + torch.arange(20)[:, None]
    halves = rows.chunk(2)
    whole = float(spread(rows))
    means = torch.stack([half.mean(dim=0) for half in halves])
    shared = [float(spread(half, lambda _: means)) for half in halves]
    assert np.mean(shared) == pytest.approx(whole, rel=1e-4)


def test_equal_views_correlate_with_exactly_one() -> None:
    z = standardize(torch.randn(50, 7))
    invariance, _ = barlow_twins(correlate(z, z))
    assert float(invariance) < 1e-10


def test_mixed_days_are_days() -> None:
    rng = np.random.default_rng(0)
    samples = fields(count=1)
    one, other = (random_view(samples.s2, S2_TABLE, 6, rng) for _ in range(2))
    days = mixed(one, other, 0.37)[..., -1]
    assert torch.equal(days, days.round())
    assert days.min() >= 1
    assert days.max() <= 366


def test_quantization_is_seen_by_the_loss_and_not_by_the_gradient() -> None:
    z = torch.randn(4, 16, requires_grad=True)
    quantized = fake_quantize(z)
    steps = z.detach().abs().amax(dim=1, keepdim=True) / 127
    assert ((quantized / steps).detach() - (quantized / steps).detach().round()).abs().max() < 1e-3
    assert ((quantized - z).abs() <= steps / 2 + 1e-6).all()
    quantized.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))


@pytest.mark.parametrize(("width", "parameters"), [(4096, 84_475_904), (16_384, 1_344_536_576)])
def test_the_projector_has_the_published_number_of_parameters(width: int, parameters: int) -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in projector(128, width).parameters())
    assert count == parameters


def test_rank_is_high_for_noise_and_low_for_a_line() -> None:
    noise = torch.randn(500, 20)
    assert rank_me(noise) > 0.95
    assert rank_me(noise[:, :1] * torch.randn(20)) < 0.01


@pytest.mark.parametrize("watched", [WATCHED, 16])
def test_the_rank_of_a_large_batch_is_that_of_some_of_its_pixels(watched: int) -> None:
    network = random_checkpoint(TINY, 0).network()
    objective = BarlowTwins(network, 64, STATISTICS, (4, 4), watched=watched)
    projected: list[torch.Tensor] = []
    objective.projector.register_forward_hook(lambda _, __, made: projected.append(made.detach()))
    objective(*objective.draw(fields(count=2), np.random.default_rng(0)))
    one = standardize(projected[0])
    assert one.shape == (50, 64)
    assert 0 < objective.watch()["rank_projection"] == rank_me(one[:watched]) < 1
