"""What steering by embeddings does on made-up ground: `python -m benchmarks modulation`.

Images of four pixels a side for each of an embedding, whose bands tell the edges of fields well and
their kind badly; embeddings that tell the kind and are blurred over edges. A small network of
convolutions is trained with each switch from several seeds, and scored on other ground.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate

from tessera_mosaic.model.adapters.modulation import Modulation, Steering

KINDS, SIDE = 4, 32


def ground(seed: int, count: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Images (count, 2, 32, 32), embeddings on the same pixels, and kinds of ground."""
    rng = torch.Generator().manual_seed(seed)
    seeds = torch.rand(count, 8, 2, generator=rng) * SIDE
    kind = torch.randint(0, KINDS, (count, 8), generator=rng)
    rows, cols = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    at = torch.stack([rows, cols], -1).float().reshape(1, -1, 2)
    field = torch.cdist(at.expand(count, -1, -1), seeds).argmin(-1)
    kinds = kind.gather(1, field).reshape(count, SIDE, SIDE)
    tone = torch.rand(count, 8, generator=rng).gather(1, field).reshape(count, 1, SIDE, SIDE)
    hint = kinds[:, None] / KINDS + torch.randn(count, 1, SIDE, SIDE, generator=rng)
    image = torch.cat([tone, hint], 1)
    spread = torch.eye(KINDS)[kinds].permute(0, 3, 1, 2)
    coarse = avg_pool2d(spread, 4) + 0.3 * torch.randn(count, KINDS, 8, 8, generator=rng)
    return image, interpolate(coarse, scale_factor=4, mode="bilinear"), kinds


def trained(how: Steering, seed: int, steps: int) -> float:
    """Mean intersection over union on other ground, after training from a seed."""
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
    module, head = Modulation(16, KINDS, how), nn.Conv2d(16, KINDS, 1)
    parts = nn.ModuleList([body, module, head])
    optimiser = torch.optim.Adam(parts.parameters(), lr=0.01)
    image, embedding, kinds = ground(seed)
    for _ in range(steps):
        loss = cross_entropy(head(module(body(image), embedding)), kinds)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    image, embedding, kinds = ground(1000 + seed)
    with torch.inference_mode():
        told = head(module(body(image), embedding)).argmax(1)
    shares = [
        float(((told == k) & (kinds == k)).sum() / ((told == k) | (kinds == k)).sum().clamp_min(1))
        for k in range(KINDS)
    ]
    return float(np.mean(shares))


def main(words: list[str]) -> int:
    """Print a row a switch: mean and spread over the seeds."""
    parser = argparse.ArgumentParser(prog="benchmarks modulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args(words)
    print("| switch | mean IoU | spread (standard deviation) |\n| --- | ---: | ---: |")
    for how in Steering:
        scores = [trained(how, seed, args.steps) for seed in range(args.seeds)]
        print(f"| {how.value} | {np.mean(scores):.3f} | {np.std(scores, ddof=1):.3f} |", flush=True)
    return 0
