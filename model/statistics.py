"""What tokens are standardised with: statistics of each published model's training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Table(NamedTuple):
    """Means and standard deviations of one sensor's channels, a row for each kind of observation.

    Parameters
    ----------
    means, deviations : float32 (kinds, channels)
        In stored units. Sentinel-2 has one kind of observation; of Sentinel-1, kind 0 is ascending
        and kind 1 descending.
    """

    means: NDArray[np.float32]
    deviations: NDArray[np.float32]


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel of a model's training data.

    Stored units are reflectance times 10,000 for Sentinel-2, and backscatter as
    `observations.Stack` codes it for Sentinel-1.

    Parameters
    ----------
    s2_mean, s2_std
        Mean and standard deviation of the 10 bands of Sentinel-2 in stored units, in the order of
        `observations.S2_BANDS`.
    ascending_mean, ascending_std, descending_mean, descending_std
        Mean and standard deviation of VV and VH of Sentinel-1 in stored units, for each orbit
        direction; equal where one set serves both.
    """

    s2_mean: tuple[float, ...]
    s2_std: tuple[float, ...]
    ascending_mean: tuple[float, float]
    ascending_std: tuple[float, float]
    descending_mean: tuple[float, float]
    descending_std: tuple[float, float]

    def tables(self) -> tuple[Table, Table]:
        """Tables of Sentinel-2 (one kind, 10 channels) and of Sentinel-1 (two kinds, 2 channels).

        Examples
        --------
        >>> s2, s1 = V2_STUDENT.tables()
        >>> s2.means.shape, s1.deviations.shape
        ((1, 10), (2, 2))
        """
        s1_means = self.ascending_mean, self.descending_mean
        s1_deviations = self.ascending_std, self.descending_std
        return (
            Table(np.array([self.s2_mean], np.float32), np.array([self.s2_std], np.float32)),
            Table(np.array(s1_means, np.float32), np.array(s1_deviations, np.float32)),
        )


def _statistics(
    s2_mean: tuple[float, ...],
    s2_std: tuple[float, ...],
    ascending: tuple[float, float, float, float],
    descending: tuple[float, float, float, float],
) -> Statistics:
    """Statistics, those of an orbit direction as mean VV, mean VH, std VV, std VH."""
    return Statistics(s2_mean, s2_std, ascending[:2], ascending[2:], descending[:2], descending[2:])


# Statistics of the TESSERA reference, in stored units. v1.0 and the v2 teacher have one set for
# both orbit directions.
_V1_0_S1 = (5484.0407, 3003.7812, 1871.2334, 1726.0670)
V1_0 = _statistics(
    (
        *(1711.0938, 1308.8511, 1546.4543, 3010.1293, 3106.5083),
        *(2068.3044, 2685.0845, 2931.5889, 2514.6928, 1899.4922),
    ),
    (
        *(1926.1026, 1862.9751, 1803.1792, 1741.7837, 1677.4543),
        *(1888.7862, 1736.3090, 1715.8104, 1514.5199, 1398.4779),
    ),
    _V1_0_S1,
    _V1_0_S1,
)
V1_1_MPC = _statistics(
    (
        *(2683.4553, 2223.3630, 2432.0950, 3633.1970, 3602.1755),
        *(3006.4324, 3400.2710, 3515.6392, 2456.9163, 1983.8783),
    ),
    (
        *(2739.5217, 2846.2993, 2690.8250, 2290.0439, 2088.8970),
        *(2673.1106, 2381.4521, 2229.5225, 1601.0942, 1495.3545),
    ),
    (5588.3291, 3025.6270, 1713.4646, 1693.0471),
    (5552.9683, 2955.0520, 1685.5857, 1677.6414),
)
V1_1_AWS = _statistics(
    (
        *(2793.6589, 2356.7776, 2551.0496, 3741.9229, 3713.7844),
        *(3120.1997, 3516.3342, 3637.0342, 2501.0283, 2038.1504),
    ),
    (
        *(2810.0093, 2933.8835, 2755.6360, 2344.5027, 2145.7986),
        *(2743.9019, 2438.8601, 2286.5977, 1680.7367, 1585.5529),
    ),
    (5697.0859, 2838.6687, 1671.3737, 1789.4116),
    (5759.1367, 2873.2854, 1583.2858, 1747.8390),
)
_V2_S2_MEAN = (
    *(1633.0042, 1341.1090, 1539.5536, 3054.8269, 3117.4658),
    *(2004.1648, 2694.7275, 2945.1504, 2266.6079, 1657.3094),
)
_V2_S2_STD = (
    *(1999.4603, 2014.7549, 1929.2201, 1754.2493, 1649.9807),
    *(1936.8988, 1748.6041, 1708.6991, 1207.5250, 1108.6046),
)
V2_STUDENT = _statistics(
    _V2_S2_MEAN,
    _V2_S2_STD,
    (5909.3921, 3405.0322, 1507.1750, 1531.2615),
    (5816.1382, 3277.7576, 1554.6475, 1546.4733),
)
_V2_TEACHER_S1 = (5862.7652, 3341.3949, 1531.8051, 1540.2014)
V2_TEACHER = _statistics(_V2_S2_MEAN, _V2_S2_STD, _V2_TEACHER_S1, _V2_TEACHER_S1)
