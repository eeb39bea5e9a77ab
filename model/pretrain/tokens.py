"""From d-pixels to tokens: random sparse views for training, and the whole year for probes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.cards import Statistics
from model.networks import Student
from model.observations import length_bin, pad_pattern
from model.pretrain.samples import Samples, Series


@dataclass(frozen=True)
class Tables:
    """Means and deviations of each kind of observation, float32 (kinds, channels)."""

    means: NDArray[np.float32]
    stds: NDArray[np.float32]


def tables_of(statistics: Statistics) -> tuple[Tables, Tables]:
    """Tables of Sentinel-2 and of Sentinel-1."""
    given = statistics
    return (
        Tables(np.float32([given.s2_mean]), np.float32([given.s2_std])),
        Tables(
            np.float32([given.ascending_mean, given.descending_mean]),
            np.float32([given.ascending_std, given.descending_std]),
        ),
    )


def random_view(series: Series, tables: Tables, length: int, rng: np.random.Generator) -> Tensor:
    """A sparse random sample of each pixel's year, in order.

    Observations are drawn without replacement where a pixel has as many as asked for, else with
    replacement (TESSERA reference, v1.0). A pixel that the sensor did not see has tokens of zeros,
    which the encoder cannot tell from the single one that inference gives it.

    Parameters
    ----------
    series
        Of P pixels.
    tables
        Of the sensor.
    length
        Observations to draw.
    rng
        Source of chance.

    Returns
    -------
    float32 (P, length, C + 1)
        Standardised bands, and the day of the year.
    """
    counts = series.counts.astype(np.int64)
    most = max(int(counts.max(initial=0)), length)
    chance = rng.random((len(counts), most))
    chance[np.arange(most) >= counts[:, None]] = 2.0
    drawn = np.argsort(chance, axis=1)[:, :length]
    again = (rng.random((len(counts), length)) * counts[:, None]).astype(np.int64)
    picked = np.sort(np.where((counts < length)[:, None], again, drawn), axis=1)
    return _tokens(series, tables, picked)


def _tokens(series: Series, tables: Tables, picked: NDArray[np.int64]) -> Tensor:
    """Tokens of the picked observations of each pixel, counted from the pixel's first."""
    seen = series.counts > 0
    tokens = np.zeros((*picked.shape, series.values.shape[1] + 1), np.float32)
    rows = (series.starts[:, None] + picked)[seen]
    kinds = series.kinds[rows]
    tokens[seen, :, :-1] = (series.values[rows] - tables.means[kinds]) / tables.stds[kinds]
    tokens[seen, :, -1] = series.days[rows]
    return torch.from_numpy(tokens)


def mixed(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Two views of other pixels mixed token by token, `share` of the first.

    The days are mixed with the bands, as in the TESSERA reference, and rounded to whole days,
    because the encoder looks days up (ours).
    """
    mix = share * one + (1 - share) * other
    mix[..., -1] = mix[..., -1].round()
    return mix


@torch.no_grad()
def embed_samples(network: Student, samples: Samples, statistics: Statistics) -> Tensor:
    """Embed d-pixels as inference does, with all their observations.

    Parameters
    ----------
    network
        Of the v2 family; its mode and gradients are left alone.
    samples
        P pixels.
    statistics
        To standardise with.

    Returns
    -------
    float32 (P, representation), on the network's device.
    """
    backbones = (network.s2_backbone, network.s1_backbone)
    vectors = [
        _pooled(backbone, series, tables, next(network.parameters()).device)
        for backbone, series, tables in zip(
            backbones, (samples.s2, samples.s1), tables_of(statistics), strict=True
        )
    ]
    return torch.cat(
        [
            network.dim_reducer(torch.cat(part, dim=-1))
            for part in zip(*(vector.split(EMBED_BATCH) for vector in vectors), strict=True)
        ]
    )


EMBED_BATCH = 256
"""Pixels of equal sequence length that `embed_samples` runs at once."""


def _pooled(
    backbone: torch.nn.Module, series: Series, tables: Tables, device: torch.device
) -> Tensor:
    """One sensor's vectors, float32 (P, width)."""
    lengths = np.array([length_bin(int(count)) or 1 for count in series.counts], np.int64)
    parts, order = [], []
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        for batch in np.array_split(members, -(-len(members) // EMBED_BATCH)):
            part = series.take(batch)
            picked = np.stack(
                [pad_pattern(max(int(count), 1), int(length)) for count in part.counts]
            )
            parts.append(backbone(_tokens(part, tables, picked).to(device)))
            order.append(batch)
    back = torch.from_numpy(np.argsort(np.concatenate(order)))
    return torch.cat(parts)[back.to(device)]
