"""float32 embeddings to int8 codes with one float32 scale a pixel, and back.

A pixel's value is its codes times its scale. A scale that is not finite says that there is
nothing: +inf on land, NaN on water.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 127
"""Largest code; -128 is never used, so that codes are symmetric."""

SMALLEST_SCALE = 1e-8
"""Scale of a vector of zeros (TESSERA reference, v1.0 and v1.1)."""

NOTHING = np.float32(np.inf)
"""Scale of a pixel on land that has no embedding."""


def quantize(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize each vector symmetrically by its own largest magnitude, halves to even.

    Parameters
    ----------
    values : float32 (..., D)
        Embeddings of D values each.

    Returns
    -------
    codes : int8 (..., D)
        Whole numbers from -127 to 127.
    scales : float32 (...)
        What a vector's codes are to be multiplied by, between 0 and 1.

    Raises
    ------
    FloatingPointError
        If a value is not finite, or a scale would not be below 1.

    Examples
    --------
    >>> codes, scales = quantize(np.array([[127.0, -63.5]], np.float32) / 256)
    >>> codes.tolist(), scales.tolist()
    ([[127, -64]], [0.00390625])
    """
    # Imported here, so that who only reads codes back does not load it.
    import torch

    codes, scales = quantize_tensor(torch.from_numpy(np.ascontiguousarray(values, np.float32)))
    check_scales(scales.numpy())
    return codes.numpy(), scales.numpy()


def quantize_tensor(values: Tensor) -> tuple[Tensor, Tensor]:
    """`quantize` on the device that the values are on, unchecked: a bad vector has a bad scale."""
    scales = (values.abs().amax(dim=-1) / LIMIT).clamp(min=SMALLEST_SCALE)
    codes = (values / scales[..., None]).round().clamp(-LIMIT, LIMIT)
    return codes.char(), scales


def check_scales(scales: NDArray[np.float32]) -> None:
    """Check that every scale is between 0 and 1, which is what readers of a mosaic trust.

    Parameters
    ----------
    scales : float32 (...)
        Scales of pixels that have an embedding.

    Raises
    ------
    FloatingPointError
        If one is not.
    """
    bad = ~((scales > 0) & (scales < 1))
    if bad.any():
        worst = scales[bad][0]
        raise FloatingPointError(
            f"{int(bad.sum())} of {bad.size} embeddings are not finite or too large to store "
            f"(the first has a scale of {worst}): the weights do not fit this imagery"
        )


def dequantize(codes: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give codes their values back.

    Parameters
    ----------
    codes : int8 (..., D)
        Codes of D values a pixel.
    scales : float32 (...)
        A scale a pixel.

    Returns
    -------
    float32 (..., D)
        Embeddings; NaN where the scale is not finite.

    Examples
    --------
    >>> dequantize(np.array([[127, -64]], np.int8), np.array([0.5], np.float32)).tolist()
    [[63.5, -32.0]]
    """
    known = np.where(np.isfinite(scales), scales, np.float32(np.nan))
    return codes.astype(np.float32) * known[..., None]


@dataclass(frozen=True)
class Fidelity:
    """How faithful codes are to the values they stand for.

    Parameters
    ----------
    pixels
        Number of pixels that were compared.
    mean_cosine, least_cosine
        Mean and smallest cosine over the pixels, between a pixel's values and its dequantized
        codes.
    largest_error
        Largest difference of a value and its dequantized code, in units of the embedding.
    share_at_limit
        Share of the codes that are 127 or -127; each pixel has at least one.
    """

    pixels: int
    mean_cosine: float
    least_cosine: float
    largest_error: float
    share_at_limit: float

    def __add__(self, other: Fidelity) -> Fidelity:
        """Fidelity of both sets of pixels together."""
        pixels = self.pixels + other.pixels
        ours, theirs = self.pixels / pixels, other.pixels / pixels
        return Fidelity(
            pixels,
            ours * self.mean_cosine + theirs * other.mean_cosine,
            min(self.least_cosine, other.least_cosine),
            max(self.largest_error, other.largest_error),
            ours * self.share_at_limit + theirs * other.share_at_limit,
        )


def fidelity(
    values: NDArray[np.float32], codes: NDArray[np.int8], scales: NDArray[np.float32]
) -> Fidelity | None:
    """Compare values with the codes and scales that stand for them.

    Parameters
    ----------
    values : float32 (..., D)
        Embeddings before quantization.
    codes : int8 (..., D)
        Codes of the same pixels.
    scales : float32 (...)
        Scales of the same pixels; not finite where there is nothing, which is left out.

    Returns
    -------
    Fidelity or None
        None where there is nothing at all.
    """
    known = np.isfinite(scales)
    if not known.any():
        return None
    given, kept = values[known].astype(np.float64), dequantize(codes[known], scales[known])
    lengths = np.linalg.norm(given, axis=-1) * np.linalg.norm(kept, axis=-1)
    # Zeros that are kept as zeros have no direction to lose.
    cosines = np.array(given.any(axis=-1) == kept.any(axis=-1), np.float64)
    np.divide((given * kept).sum(axis=-1), lengths, out=cosines, where=lengths > 0)
    return Fidelity(
        pixels=len(given),
        mean_cosine=float(cosines.mean()),
        least_cosine=float(cosines.min()),
        largest_error=float(np.abs(given - kept).max()),
        share_at_limit=float((np.abs(codes[known].astype(np.int16)) == LIMIT).mean()),
    )
