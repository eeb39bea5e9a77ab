"""A small made-up set of d-pixels: fields of four crops, each with its own season and soil."""

from __future__ import annotations

import numpy as np

from tessera_mosaic.model.observations import Stack
from tessera_mosaic.model.pretrain.samples import Samples, samples_of
from tessera_mosaic.model.sizes import Sizes

TINY = Sizes(latent=8, layers=1, heads=2, feedforward=64, representation=32)

SOIL = np.array([1500, 900, 1200, 2200, 2400, 1700, 2000, 2100, 3000, 2600])
GREEN = np.array([400, 300, 700, 4000, 4200, 1100, 3000, 3600, 1800, 900])


def trained_and_other_fields(seed: int = 0, soils: float = 0.03) -> tuple[Samples, Samples]:
    """d-pixels to train on, and those of as many other fields that were seen on the same days.

    An encoder knows only the days that it was trained on, as it does where it is used.
    """
    samples = fields(seed, count=64, soils=soils)
    one, other = np.array_split(np.arange(len(samples)), 2)
    return samples.take(one), samples.take(other)


def fields(seed: int = 0, count: int = 32, side: int = 5, soils: float = 0.03) -> Samples:
    """d-pixels of `count` fields of `side` squared pixels each; labels 1 to 4, groups from 1.

    `soils` is how much the fields' soils differ, each band by itself.
    """
    rng = np.random.default_rng(seed)
    pixels = count * side * side
    field = np.arange(pixels) // side**2
    crop = field % 4
    start = 60 + 50 * crop + rng.normal(0, 6, count)[field]
    vigour = rng.normal(1, 0.1, count)[field]

    def greenness(days: np.ndarray) -> np.ndarray:
        rising = 1 / (1 + np.exp(-(days[:, None] - start) / 8))
        falling = 1 / (1 + np.exp((days[:, None] - start - 90) / 8))
        return np.clip(vigour * rising * falling, 0, 1)

    s2_days = np.sort(rng.choice(np.arange(1, 366), 30, replace=False))
    s1_days = np.sort(rng.choice(np.arange(1, 366), 24, replace=False))
    green = greenness(s2_days)[..., None]
    soil = SOIL * rng.normal(1, soils, (count, 10)).clip(0.3)[field]
    bands = (soil + green * (GREEN - soil)) * rng.normal(1, 0.05, (30, pixels, 10))
    radar = np.array([6000, 3200]) + greenness(s1_days)[..., None] * [300, 1500]
    radar = radar + rng.normal(0, 500, radar.shape)
    stack = Stack(
        bands=bands.astype(np.uint16)[:, None],
        masks=(rng.random((30, pixels)) < 0.7).astype(np.uint8)[:, None],
        doys=s2_days.astype(np.uint16),
        sar_ascending=radar[::2].astype(np.int16)[:, None],
        sar_ascending_doy=s1_days[::2].astype(np.int16),
        sar_descending=radar[1::2].astype(np.int16)[:, None],
        sar_descending_doy=s1_days[1::2].astype(np.int16),
    )
    places = np.stack([np.full(pixels, 31), field, np.arange(pixels), np.full(pixels, 2020)], 1)
    return samples_of(stack, np.arange(pixels), places, crop + 1, field + 1)
