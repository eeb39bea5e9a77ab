"""How many bytes of a field go where, so that all of it fits into so many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tessera_mosaic.model.fields.field import FieldError, Nodes, Rectangle

FINE, WIDE = 1, (8, 4, 2)
"""Pixels from node to node: of the grid with a node a pixel, and of the wider ones."""

HIDDEN = (128, 112, 96, 80, 64, 48, 32, 24, 16)
"""Widths of the hidden layers, the first that leaves enough for the grids."""

FEATURES = (16, 12, 8, 6, 4, 3, 2, 1)
"""Features of a wide grid's node, the first that leaves enough for the fine grid."""

MOST_FINE = 64
"""Features of a fine grid's node beyond which more bring little."""

NETWORK_SHARE, WIDE_SHARE = 0.45, 0.5
"""Largest share of the bytes that the network takes, unless it is the smallest, and that wide grids
take of the rest."""

CODE = 16
"""Values of a year's code, where there are several."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a field.

    Parameters
    ----------
    features
        Features of a node by the spacing of the nodes, wide ones first.
    hidden
        Width of the two hidden layers.
    code
        Values of a year's code.
    dims
        Values of a vector.
    """

    features: Mapping[int, int]
    hidden: int
    code: int
    dims: int

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of each layer."""
        inputs = sum(self.features.values()) + self.code
        return (inputs, self.hidden), (self.hidden, self.hidden), (self.hidden, self.dims)

    @property
    def network_bytes(self) -> int:
        """Bytes of the layers: int8 weights, and two float32 a row."""
        return sum(inputs * outputs + 8 * outputs for inputs, outputs in self.layers)

    def bytes(self, rectangles: Sequence[Rectangle], years: int) -> int:
        """Bytes of all arrays."""
        grids = sum(
            Nodes(tuple(rectangles), spacing).count * features
            for spacing, features in self.features.items()
        )
        return grids + self.network_bytes + 4 * (years * self.code + self.dims)


def choose_sizes(rectangles: Sequence[Rectangle], years: int, dims: int, most_bytes: int) -> Sizes:
    """Sizes of a field that fits into so many bytes.

    Parameters
    ----------
    rectangles, years, dims
        The ground, number of years, and of values of a vector.
    most_bytes
        Bytes that its arrays may take.

    Raises
    ------
    FieldError
        If nothing useful does.

    Examples
    --------
    >>> sizes = choose_sizes([Rectangle(64, 64)], years=7, dims=128, most_bytes=180_000)
    >>> sizes.hidden, dict(sizes.features)
    (128, {8: 16, 4: 16, 2: 16, 1: 26})
    """
    code = CODE if years > 1 else 0
    pixels = sum(each.pixels for each in rectangles)
    for hidden in HIDDEN:
        for wide in FEATURES:
            features = dict.fromkeys(WIDE, wide)
            coarse = Sizes(features, hidden, code, dims)
            left = most_bytes - coarse.bytes(rectangles, years)
            grids = most_bytes - coarse.network_bytes
            if left < 0 or grids - left > WIDE_SHARE * grids:
                continue
            # A feature of the fine grid is one more input of the first layer, too.
            fine = min(left // (pixels + hidden), MOST_FINE)
            sizes = Sizes(features | ({FINE: fine} if fine else {}), hidden, code, dims)
            if sizes.network_bytes <= NETWORK_SHARE * most_bytes or hidden == HIDDEN[-1]:
                return sizes
            break
    raise FieldError(
        f"{pixels:,} pixels of {years} years are too few to be told in {max(most_bytes, 0):,} bytes"
    )
