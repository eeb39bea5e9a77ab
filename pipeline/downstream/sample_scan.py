"""What a map holds where a sample was drawn from it: counts of its pixels, and the points' own."""

from __future__ import annotations

import numpy as np

from tessera_mosaic.pipeline.downstream.map_scan import (
    OUTSIDE,
    Scanned,
    Strata,
    Tally,
    Tallying,
)
from tessera_mosaic.pipeline.downstream.point_file import Points


class MapScan:
    """What a pass over the map gathers: counts, and what the map holds at the points.

    Parameters
    ----------
    points
        The sample.
    classes
        Number of the population's names.
    strata, domains
        How the population is cut.

    Attributes
    ----------
    mapped, stratum, domain : int64 (points,)
        Numbers that each point has in the map; `OUTSIDE` where it has none.
    values : float64 (points,)
        What a map of values holds at each point.
    """

    def __init__(self, points: Points, classes: int, strata: Strata, domains: Strata) -> None:
        self._strata, self._domains = strata, domains
        # Pixels of no domain are counted, too: their number is one more.
        self._tallying = Tallying((len(strata.names), classes, len(domains.names) + 1))
        self._points = points
        count = len(points)
        self.mapped = np.full(count, OUTSIDE, np.int64)
        self.stratum = np.full(count, OUTSIDE, np.int64)
        self.domain = np.full(count, OUTSIDE, np.int64)
        self.values = np.full(count, np.nan)

    def add(self, scanned: Scanned) -> None:
        """Gather from a window."""
        stratum, domain = self._strata.on(scanned), self._domains.on(scanned)
        outside = np.where(domain < 0, len(self._domains.names), domain)
        self._tallying.add(scanned, (stratum, scanned.mapped, outside))
        window, points = scanned.window, self._points
        row, col = points.row - window.row, points.col - window.col
        here = (points.zone == window.zone) & (row >= 0) & (row < window.height)
        here &= (col >= 0) & (col < window.width)
        place = row[here], col[here]
        self.mapped[here] = scanned.mapped[place]
        self.stratum[here] = stratum[place]
        self.domain[here] = domain[place]
        if scanned.values.size:
            self.values[here] = scanned.values[place]

    def tally(self) -> Tally:
        """What was counted, by stratum, class and domain."""
        return self._tallying.tally()
