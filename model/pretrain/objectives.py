"""What training minimises: mixed Barlow Twins, or the distance to a frozen teacher.

An objective draws its inputs from d-pixels on the CPU (`draw`), and computes the parts of its loss
from them (`forward`), of which `total` is minimised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tessera_mosaic.model.networks import Network
from tessera_mosaic.model.pretrain.recipe import MIX, REDUNDANCY
from tessera_mosaic.model.pretrain.samples import Samples
from tessera_mosaic.model.pretrain.tokens import mixed, random_view
from tessera_mosaic.model.quantize import LIMIT
from tessera_mosaic.model.statistics import Statistics

PREFIXES = (16, 32, 64, 128)
"""Numbers of leading values of a student from which a head rebuilds the teacher (TESSERA v2)."""

WATCHED = 512
"""Pixels of a batch whose projection's rank is monitored: the singular values of a batch of the
papers' size would take hours and gigabytes (ours)."""

MIN_STD = 1e-9
"""Smallest deviation that a column is divided by (TESSERA reference)."""

NORM_EPS = 1e-5
"""What batch normalisation adds to a variance, as PyTorch does."""


class Objective(Protocol):
    """What training needs of an objective, which is a module besides."""

    encoder: Network

    def draw(self, samples: Samples, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Inputs of a step, made from d-pixels on the CPU."""
        ...

    def watch(self) -> dict[str, float]:
        """What monitoring should know about the last step, by name."""
        ...


class BarlowTwins(nn.Module):
    """Two sparse views of a pixel should project alike, and the projection's values be unrelated.

    Sources: Zbontar et al. 2021 (arXiv 2103.03230), Bandara et al. 2023 (2312.02151), TESSERA v1
    (2506.20380). Both sensors are drawn anew for each view. Other than the TESSERA reference,
    deviations are those of the population, so that equal columns correlate with exactly 1, and
    fake quantization has a scale a pixel, as deployment does.

    Parameters
    ----------
    encoder
        Encoder to train.
    projector_width
        Number of features of the projector's hidden layers and of its output.
    statistics
        Means and standard deviations to standardise with.
    lengths
        Number of tokens of Sentinel-2 and of Sentinel-1 in a view.
    redundancy, mix
        Weights of the off-diagonal terms and of the mix term; with a `mix` of 0 the third pass is
        saved.
    quantize
        Whether the loss sees representations as they come back from int8.
    watched
        Number of pixels of a batch whose projection's rank is monitored.
    """

    def __init__(
        self,
        encoder: Network,
        projector_width: int,
        statistics: Statistics,
        lengths: tuple[int, int],
        redundancy: float = REDUNDANCY,
        mix: float = MIX,
        quantize: bool = True,
        watched: int = WATCHED,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector(encoder.sizes.representation, projector_width)
        self.tables, self.lengths = statistics.tables(), lengths
        self.redundancy, self.mix, self.quantize = redundancy, mix, quantize
        self.watched, self._projected = watched, torch.zeros(0)

    def draw(self, samples: Samples, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Two views of each sensor, and how they are mixed: one share a batch, from Beta(1, 1)."""
        views = [
            random_view(series, tables, length, rng)
            for _ in range(2)
            for series, tables, length in zip(
                (samples.s2, samples.s1), self.tables, self.lengths, strict=True
            )
        ]
        share = torch.tensor(rng.beta(1.0, 1.0), dtype=torch.float32)
        return (*views, share, torch.from_numpy(rng.permutation(len(samples))))

    def forward(
        self,
        s2: Tensor,
        s1: Tensor,
        s2_again: Tensor,
        s1_again: Tensor,
        share: Tensor,
        mate: Tensor,
    ) -> dict[str, Tensor]:
        """Parts of the loss by name, of which `total` is minimised."""
        if dist.is_initialized():
            dist.broadcast(share, 0)
        optical, radar = [s2, s2_again], [s1, s1_again]
        if self.mix:
            optical.append(mixed(s2, s2_again[mate], float(share)))
            radar.append(mixed(s1, s1_again[mate], float(share)))
        z = self.encoder(torch.cat(optical), torch.cat(radar))
        if self.quantize:
            z = fake_quantize(z)
        projected = [self.projector(part) for part in z.chunk(len(optical))]
        one, two, *mix = (standardize(part.float()) for part in projected)
        self._projected = one[: self.watched].detach().clone()
        invariance, redundancy = barlow_twins(correlate(one, two))
        parts = {"invariance": invariance, "redundancy": self.redundancy * redundancy}
        if mix:
            # Like the reference, the targets are not detached.
            error = torch.zeros((), device=z.device)
            mate = _mates_of_all(mate)
            for other in (one, two):
                aim = share * correlate(one, other) + (1 - share) * correlate(two[mate], other)
                error = error + (correlate(mix[0], other) - aim).square().sum()
            parts["mix"] = self.mix * self.redundancy * error
        return {"total": sum(parts.values(), torch.zeros((), device=z.device)), **parts}

    def watch(self) -> dict[str, float]:
        """Rank of the projection of the last batch's first pixels: a collapse shows there first."""
        return {"rank_projection": rank_me(self._projected)}


class Distillation(nn.Module):
    """A student's leading values, each prefix through a linear head, should give the teacher's all.

    Source: TESSERA v2 (arXiv 2607.03949). The distance (mean squared error about the batch's mean),
    the equal weights of the prefixes, and what the two see are ours: the teacher sees one sparse
    view, and the student another.

    The mean is left out because it is most of a teacher's vectors and tells no pixel from another.
    A student that is asked for it too spends its first steps on giving every pixel the same
    values, and may not come back from there.

    Parameters
    ----------
    encoder
        Student to train.
    teacher
        Encoder whose embeddings the student learns; it is frozen.
    statistics, teacher_statistics
        Means and standard deviations to standardise the student's and the teacher's tokens with.
    lengths, teacher_lengths
        Number of tokens of Sentinel-2 and of Sentinel-1 in the student's and the teacher's view.
    """

    def __init__(
        self,
        encoder: Network,
        teacher: Network,
        statistics: Statistics,
        teacher_statistics: Statistics,
        lengths: tuple[int, int],
        teacher_lengths: tuple[int, int],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        # Held in a tuple: the teacher is no part of what is trained, saved or wrapped.
        self._teacher = (teacher.eval().requires_grad_(False),)
        target = teacher.sizes.representation
        depths = [depth for depth in PREFIXES if depth <= encoder.sizes.representation]
        self.heads = nn.ModuleDict(
            {str(depth): nn.Linear(depth, target, bias=False) for depth in depths}
        )
        self.sides = (
            (statistics.tables(), lengths),
            (teacher_statistics.tables(), teacher_lengths),
        )

    def draw(self, samples: Samples, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """The student's view and the teacher's, of each sensor."""
        return tuple(
            random_view(series, tables, length, rng)
            for side, lengths in self.sides
            for series, tables, length in zip((samples.s2, samples.s1), side, lengths, strict=True)
        )

    def forward(
        self, s2: Tensor, s1: Tensor, teacher_s2: Tensor, teacher_s1: Tensor
    ) -> dict[str, Tensor]:
        """Parts of the loss by name: the error of each prefix, and their mean as `total`."""
        with torch.no_grad():
            teacher = self._teacher[0].to(teacher_s2.device)
            target = teacher(teacher_s2, teacher_s1).float()
        z = self.encoder(s2, s1)
        parts = {
            f"prefix_{depth}": spread(head(z[:, : int(depth)]).float() - target)
            for depth, head in self.heads.items()
        }
        total = torch.stack(list(parts.values())).mean()
        return {"total": total, **parts}

    def watch(self) -> dict[str, float]:
        """Nothing: the parts of the loss say all."""
        return {}


class _Gather(torch.autograd.Function):
    """Rows of all processes; a row's gradient is the sum of what all processes make of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather(rows: Tensor) -> Tensor:
    """Rows of the batches of all processes, in the order of the processes."""
    if not dist.is_initialized():
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def _mates_of_all(mate: Tensor) -> Tensor:
    """Permutations of the batches of all processes, as one of the joined batch."""
    starts = torch.arange(len(gather(mate)) // len(mate), device=mate.device) * len(mate)
    return gather(mate) + starts.repeat_interleave(len(mate))


def projector(dims: int, width: int) -> nn.Sequential:
    """Six linear layers with batch normalisation and ReLU between them (TESSERA v1).

    Parameters
    ----------
    dims
        Number of values of an embedding, which go in.
    width
        Number of features of every layer.
    """
    layers: list[nn.Module] = []
    for fan_in in (dims, *[width] * 4):
        layers += [nn.Linear(fan_in, width), BatchNorm(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, width))


class BatchNorm(nn.Module):
    """Batch normalisation over the batch of all processes, on any device.

    It has no running statistics: a projector is thrown away after training.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        moments = torch.stack([x.float().mean(dim=0), x.float().square().mean(dim=0)])
        mean, power = gather(moments[None]).mean(dim=0)
        scale = self.weight * (power - mean.square()).clamp_min(0).add(NORM_EPS).rsqrt()
        return (x * scale + (self.bias - mean * scale)).to(x.dtype)


def standardize(z: Tensor) -> Tensor:
    """Columns of the batch of all processes, with mean 0 and deviation 1."""
    z = gather(z)
    z = z - z.mean(dim=0)
    return z / z.square().mean(dim=0).sqrt().clamp_min(MIN_STD)


def correlate(one: Tensor, other: Tensor) -> Tensor:
    """Cross-correlation, float32 (D, D), of the standardised columns of two batches, (B, D)."""
    return one.T @ other / len(one)


def barlow_twins(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """How far the diagonal is from 1 and the rest from 0, both as sums of squares."""
    diagonal = correlation.diagonal()
    off = correlation.square().sum() - diagonal.square().sum()
    return (diagonal - 1).square().sum(), off


def spread(rows: Tensor, gathered: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Mean squared distance of a process's rows from the mean row of all processes.

    Parameters
    ----------
    rows
        A row a pixel, float (pixels, values).
    gathered
        Joins a row of each process, float (processes, values); by default by the process group.
    """
    # The gradient that goes through the mean adds up to nothing over the batch.
    mean = (gathered or gather)(rows.detach().mean(dim=0, keepdim=True)).mean(dim=0)
    return (rows - mean).square().mean()


def fake_quantize(z: Tensor) -> Tensor:
    """What comes back from int8 with a scale a pixel; gradients pass as if nothing had happened."""
    scale = z.detach().abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / LIMIT
    return z + ((z / scale).round() * scale - z).detach()


def rank_me(z: Tensor) -> float:
    """Entropy of the normalised singular values over the logarithm of their number, 0 to 1.

    RankMe (Garrido et al. 2022, arXiv 2210.02885), normalised as TESSERA logs it.

    Parameters
    ----------
    z : float32 (B, D)
        Vectors of B pixels.

    Examples
    --------
    >>> round(rank_me(torch.eye(4)), 3)
    1.0
    """
    values = torch.linalg.svdvals(z.double())
    shares = values / values.sum().clamp_min(1e-300)
    entropy = -(shares * shares.clamp_min(1e-300).log()).sum()
    return float(entropy / np.log(len(values)))
