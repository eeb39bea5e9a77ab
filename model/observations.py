"""Which observations of a pixel become tokens.

The annual stack is what was seen over a block in one year, in the d-pixel arrays of the field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

S2_BANDS = ("B04", "B02", "B03", "B08", "B8A", "B05", "B06", "B07", "B11", "B12")
"""Sentinel-2 bands in the order of the encoders' channels."""

S1_BANDS = ("vv", "vh")
"""Sentinel-1 polarisations in the order of the encoders' channels."""


@dataclass(frozen=True)
class Stack:
    """The annual stack of a block: every observation of every pixel, in d-pixel arrays.

    Parameters
    ----------
    bands : uint16 (T, H, W, 10)
        Sentinel-2 surface reflectance times 10,000, channels in the order of `S2_BANDS`.
    masks : uint8 (T, H, W)
        1 where the pixel was seen clear that day.
    doys : uint16 (T,)
        Ordinal day of the year, UTC, 1 to 366.
    sar_ascending, sar_descending : int16 (A, H, W, 2), (D, H, W, 2)
        Coded Sentinel-1 backscatter, channels VV and VH; 0 is no data. An observation is valid
        where either channel is not 0.
    sar_ascending_doy, sar_descending_doy : int16 (A,), (D,)
        Ordinal day of the year, UTC.
    """

    bands: NDArray[np.uint16]
    masks: NDArray[np.uint8]
    doys: NDArray[np.uint16]
    sar_ascending: NDArray[np.int16]
    sar_ascending_doy: NDArray[np.int16]
    sar_descending: NDArray[np.int16]
    sar_descending_doy: NDArray[np.int16]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the block."""
        return self.masks.shape[1], self.masks.shape[2]

    def counts(self) -> dict[str, NDArray[np.uint16]]:
        """How often each pixel was seen: `s2`, `s1_ascending` and `s1_descending`, uint16 (H, W)."""
        return {
            "s2": (self.masks != 0).sum(axis=0).astype(np.uint16),
            "s1_ascending": (self.sar_ascending != 0).any(axis=-1).sum(axis=0).astype(np.uint16),
            "s1_descending": (self.sar_descending != 0).any(axis=-1).sum(axis=0).astype(np.uint16),
        }
