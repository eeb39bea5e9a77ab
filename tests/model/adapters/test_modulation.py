"""The module is nothing at the start, learns, and does what its switch says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from tessera_mosaic.model.adapters.modulation import Modulation, Steering


@pytest.mark.parametrize("how", list(Steering))
@pytest.mark.parametrize("size", [(16, 16), (13, 21)])
def test_at_the_start_it_is_the_identity(how: Steering, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = Modulation(8, 5, how)
    features, embedding = torch.randn(2, 8, *size), torch.randn(2, 5, *size)
    embedding[:, :, :4, :3] = torch.nan
    assert torch.equal(module(features, embedding), features)
    assert torch.equal(module(features, None), features)


@pytest.mark.parametrize("how", [Steering.BIAS, Steering.INJECT, Steering.BOTH, Steering.CONCAT])
def test_an_image_without_an_embedding_passes_untouched_after_training_too(how: Steering) -> None:
    torch.manual_seed(1)
    module = Modulation(8, 5, how)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    features = torch.randn(1, 8, 16, 16)
    assert torch.equal(module(features, None), features)
    assert not torch.equal(module(features, torch.randn(1, 5, 16, 16)), features)
    assert torch.equal(module(features, torch.full((1, 5, 16, 16), torch.nan)), features)


def test_attention_goes_to_what_is_alike() -> None:
    """Of two kinds of ground: with a large beta each pixel is the mean of its own kind."""
    module = Modulation(4, 2, Steering.BIAS, heads=1, window=8)
    nn.init.constant_(module.beta, 200.0)
    with torch.no_grad():
        module.to_qkv.weight.zero_()
        module.to_qkv.weight[8:] = torch.eye(4)
        module.out.weight.copy_(torch.eye(4))
    features = torch.randn(1, 4, 8, 8)
    embedding = torch.zeros(1, 2, 8, 8)
    embedding[:, 0, :, :4] = embedding[:, 1, :, 4:] = 1.0
    change = module(features, embedding) - features
    mean = features.mean(dim=(2, 3), keepdim=True)
    left = features[..., :4].mean(dim=(2, 3), keepdim=True) - mean
    right = features[..., 4:].mean(dim=(2, 3), keepdim=True) - mean
    assert torch.allclose(change[..., :4], left.expand(-1, -1, 8, 4), atol=1e-5)
    assert torch.allclose(change[..., 4:], right.expand(-1, -1, 8, 4), atol=1e-5)


def scenes(seed: int, count: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Images with noise, embeddings four times as coarse, and classes, of made-up ground."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 3, (count, 1, 4, 4), generator=rng).float()
    classes = interpolate(coarse, scale_factor=4)[:, 0].long()
    image = torch.randn(count, 1, 16, 16, generator=rng)
    directions = torch.eye(3)[interpolate(coarse, scale_factor=4)[:, 0].long()].permute(0, 3, 1, 2)
    return image, directions + 0.1 * torch.randn(count, 3, 16, 16, generator=rng), classes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", [Steering.INJECT, Steering.BOTH, Steering.CONCAT])
def test_it_trains(how: Steering, seed: int) -> None:
    """Images that are noise alone: what is learnt can only have come through the module."""
    torch.manual_seed(seed)
    stem, head = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 3, 1)
    module = Modulation(8, 3, how)
    parts = nn.ModuleList([stem, module, head])
    optimiser = torch.optim.Adam(parts.parameters(), lr=0.02)
    image, embedding, classes = scenes(seed)
    losses = []
    for _ in range(60):
        loss = cross_entropy(head(module(stem(image).relu(), embedding)), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    without = float(cross_entropy(head(module(stem(image).relu(), None)), classes).detach())
    assert losses[-1] < without


def test_channels_have_to_fit_the_heads() -> None:
    with pytest.raises(ValueError, match="no multiple"):
        Modulation(6, 3)
