"""Draw a field beside the mosaic that it was made from, as false colours of the same components.

python tools/field_picture.py --store m.zarr --field field.safetensors --out field.png
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tessera_mosaic.pipeline.downstream.field_file import read_field
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any, part_of

ENLARGED, GAP = 6, 12
"""Pixels of the picture that a pixel has, and between two panels."""


def main() -> None:
    """Draw a row of panels for each year: the mosaic, the field, and 20 times 1 - cosine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--field", required=True)
    parser.add_argument("--years", type=int, nargs="+", default=[2020, 2022])
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    mosaic, told = open_any(args.store), read_field(args.field)
    window = told.windows[0]
    size = window.height * window.width
    real, made = [], []
    for year in args.years:
        read = part_of(mosaic, window, year)
        known = np.isfinite(read.scales)[..., None]
        scales = np.where(known, read.scales[..., None], np.nan)
        real.append(read.codes * scales)
        at = np.full(size, told.years.index(year))
        made.append(told.field.vectors(np.arange(size), at).reshape(*window.shape, -1))
    flat = np.concatenate([each.reshape(size, -1) for each in real])
    flat = flat[np.isfinite(flat).all(axis=1)]
    mean = flat.mean(axis=0)
    axes = np.linalg.eigh(np.cov(flat.T))[1][:, -3:][:, ::-1]
    low, high = np.percentile((flat - mean) @ axes, (2, 98), axis=0)
    rows = []
    for one, other in zip(real, made, strict=True):
        lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
        lost = np.repeat(20 * (1 - (one * other).sum(axis=-1) / lengths)[..., None], 3, axis=-1)
        panels = [((each - mean) @ axes - low) / (high - low) for each in (one, other)]
        rows.append(np.concatenate([panel(each) for each in (*panels, lost)], axis=1))
    Image.fromarray(np.concatenate(rows)[GAP // 2 : -GAP // 2, GAP // 2 : -GAP // 2]).save(args.out)


def panel(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Shares of full brightness as enlarged pixels within a white frame; white where unknown."""
    colours = np.nan_to_num(np.clip(shares, 0, 1) * 255, nan=255).astype(np.uint8)
    large = colours.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
    edge = (GAP // 2, GAP // 2)
    return np.pad(large, (edge, edge, (0, 0)), constant_values=255)


if __name__ == "__main__":
    main()
