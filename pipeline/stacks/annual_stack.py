"""What is known of a block's year: the observations, their dates, and the scenes that gave them."""

from __future__ import annotations

from dataclasses import dataclass

from tessera_mosaic.model.observations import Stack


@dataclass(frozen=True)
class AnnualStack:
    """The annual stack of a block and where it comes from.

    Parameters
    ----------
    stack
        The arrays.
    dates, ascending_dates, descending_dates
        UTC dates along the first axis of `bands`, `sar_ascending` and `sar_descending`.
    used
        Ids of the scenes of which at least one pixel is an observation.
    unused
        Ids of all other scenes, each with the reason.
    """

    stack: Stack
    dates: tuple[str, ...]
    ascending_dates: tuple[str, ...]
    descending_dates: tuple[str, ...]
    used: tuple[str, ...]
    unused: tuple[tuple[str, str], ...]
