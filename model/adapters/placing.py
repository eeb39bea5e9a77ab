"""Embeddings on the pixels of an image: first as numbers, then by where both lie."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

Affine = tuple[float, float, float, float, float, float]
"""Six numbers a, b, c, d, e, f: x = a col + b row + c, y = d col + e row + f, of pixel corners."""


def place_embedding(
    codes: NDArray[np.int8],
    scales: NDArray[np.float32],
    lies: Affine,
    image: Affine,
    shape: tuple[int, int],
    bilinear: bool = True,
) -> Tensor:
    """Lay stored embeddings onto the pixels of an image of the same coordinate system.

    Codes are multiplied with their scales first: the codes of two pixels have no common unit, so
    that a mean of them means nothing. Between pixels only what is known counts: a neighbour
    without an embedding has no weight.

    Parameters
    ----------
    codes : int8 (height, width, D)
    scales : float32 (height, width)
        As they are stored; what is not finite says that there is no embedding.
    lies, image
        Where the pixels of the embeddings and of the image lie.
    shape
        Number of rows and of columns of the image.
    bilinear
        Whether values between the centres of pixels are interpolated; the nearest otherwise.

    Returns
    -------
    float32 (D, rows, columns)
        NaN where there is no embedding.

    Examples
    --------
    >>> codes, scales = np.full((2, 2, 3), 10, np.int8), np.full((2, 2), 0.5, np.float32)
    >>> ten, five = (10.0, 0, 0, 0, -10.0, 20.0), (5.0, 0, 0, 0, -5.0, 20.0)
    >>> place_embedding(codes, scales, ten, five, (4, 4)).shape
    torch.Size([3, 4, 4])
    """
    known = torch.from_numpy(np.isfinite(scales))[None]
    values = torch.from_numpy(codes).permute(2, 0, 1) * torch.from_numpy(scales)
    at = _sampled_at(lies, image, shape, values.shape[1:])
    mode = "bilinear" if bilinear else "nearest"
    both = torch.cat([torch.where(known, values, 0.0), known.float()])
    drawn = grid_sample(both[None], at[None], mode, "zeros", align_corners=False)[0]
    weight = drawn[-1:]
    return torch.where(weight > 0, drawn[:-1] / weight.clamp_min(1e-12), torch.nan)


def _sampled_at(lies: Affine, image: Affine, shape: tuple[int, int], size: torch.Size) -> Tensor:
    """Centres of the image's pixels among the embeddings', as `grid_sample` takes them."""
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    a, b, c, d, e, f = image
    x, y = a * cols + b * rows + c, d * cols + e * rows + f
    a, b, c, d, e, f = lies
    col, row = np.linalg.solve([[a, b], [d, e]], np.stack([x - c, y - f]).reshape(2, -1))
    at = np.stack([2 * col / size[1] - 1, 2 * row / size[0] - 1], axis=-1)
    return torch.from_numpy(at.reshape(*shape, 2).astype(np.float32))
