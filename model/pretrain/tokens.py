"""From d-pixels to tokens: random sparse views for training, and the whole year for probes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_mosaic.model.networks import Network
from tessera_mosaic.model.observations import length_bin, pad_pattern
from tessera_mosaic.model.pretrain.samples import Samples, Series
from tessera_mosaic.model.statistics import Statistics, Table

EMBED_BATCH = 256
"""Pixels that `embed_samples` runs at once."""


def random_view(series: Series, table: Table, length: int, rng: np.random.Generator) -> Tensor:
    """A sparse random sample of each pixel's year, in order.

    Observations are drawn without replacement where a pixel has as many as asked for, else with
    replacement (TESSERA reference, v1.0). A pixel that the sensor did not see has tokens of zeros,
    which the encoder cannot tell from the single one that inference gives it.

    Parameters
    ----------
    series
        Observations of P pixels by one sensor of C channels.
    table
        Statistics of the sensor's channels.
    length
        Number of observations to draw of each pixel.
    rng
        Source of chance.

    Returns
    -------
    float32 (P, length, C + 1)
        Standardised channels, and the day of the year, 1 to 366.
    """
    counts = series.counts.astype(np.int64)
    most = max(int(counts.max(initial=0)), length)
    chance = rng.random((len(counts), most))
    chance[np.arange(most) >= counts[:, None]] = 2.0
    drawn = np.argsort(chance, axis=1)[:, :length]
    again = (rng.random((len(counts), length)) * counts[:, None]).astype(np.int64)
    picked = np.sort(np.where((counts < length)[:, None], again, drawn), axis=1)
    return _tokens(series, table, picked)


def _tokens(series: Series, table: Table, picked: NDArray[np.int64]) -> Tensor:
    """Tokens of the picked observations of each pixel, counted from the pixel's first."""
    seen = series.counts > 0
    tokens = np.zeros((*picked.shape, series.values.shape[1] + 1), np.float32)
    rows = (series.starts[:, None] + picked)[seen]
    kinds = series.kinds[rows]
    tokens[seen, :, :-1] = (series.values[rows] - table.means[kinds]) / table.deviations[kinds]
    tokens[seen, :, -1] = series.days[rows]
    return torch.from_numpy(tokens)


def mixed(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Two views of other pixels mixed token by token.

    The days are mixed with the channels, as in the TESSERA reference, and rounded to whole days,
    because the encoder looks days up (ours).

    Parameters
    ----------
    one, other : float32 (P, T, C + 1)
        Views, as `random_view` makes them.
    share
        Share of the first view in the mix, 0 to 1.
    """
    mix = share * one + (1 - share) * other
    mix[..., -1] = mix[..., -1].round()
    return mix


@torch.no_grad()
def embed_samples(network: Network, samples: Samples, statistics: Statistics) -> Tensor:
    """Embed d-pixels as inference does, with all their observations.

    Parameters
    ----------
    network
        Encoder of the v2 family; its mode and gradients are left alone.
    samples
        d-pixels of P pixels.
    statistics
        Means and standard deviations to standardise with.

    Returns
    -------
    float32 (P, representation)
        Embeddings, on the network's device.
    """
    device = next(network.parameters()).device
    lengths = np.stack([_lengths(samples.s2), _lengths(samples.s1)], axis=1)
    kinds, kind = np.unique(lengths, axis=0, return_inverse=True)
    tables = statistics.tables()
    embeddings = torch.empty(len(samples), network.sizes.representation, device=device)
    for number, pair in enumerate(kinds):
        members = np.flatnonzero(kind.ravel() == number)
        for batch in np.array_split(members, -(-len(members) // EMBED_BATCH)):
            part = samples.take(batch)
            tokens = [
                _whole_year(series, table, int(length)).to(device)
                for series, table, length in zip((part.s2, part.s1), tables, pair, strict=True)
            ]
            embeddings[torch.from_numpy(batch).to(device)] = network(*tokens)
    return embeddings


def _lengths(series: Series) -> NDArray[np.int64]:
    """Number of tokens of each pixel: a sensor that saw nothing has one, of zeros."""
    return np.array([max(length_bin(int(count)), 1) for count in series.counts], np.int64)


def _whole_year(series: Series, table: Table, length: int) -> Tensor:
    """All observations of pixels, in sequences of one length."""
    picked = [pad_pattern(max(int(count), 1), length) for count in series.counts]
    return _tokens(series, table, np.stack(picked))
