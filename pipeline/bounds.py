"""Between which values a number lies: told once, beside the field of the request that holds it.

`check_bounds` refuses what lies beyond when a request is made, and `tools` tells programs the same
bounds as JSON Schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput

BOUNDS = "bounds"
"""Under which a field's metadata holds them."""


@dataclass(frozen=True)
class Bounds:
    """Which numbers can be meant.

    Parameters
    ----------
    said
        What is said of others: what to choose.
    least, most
        The least and the largest of them; None for no limit.
    above, below
        Beyond which they lie.
    multiple_of
        Of what they are multiples.
    among
        All of them, where there are a few.

    Examples
    --------
    >>> share = Bounds("choose a share above 0 and up to 1", above=0, most=1)
    >>> share.hold(0.5), share.hold(0), share.hold(float("nan"))
    (True, False, False)
    >>> share.schema()
    {'maximum': 1, 'exclusiveMinimum': 0}
    """

    said: str
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    multiple_of: float | None = None
    among: tuple[int, ...] = ()

    def hold(self, value: float) -> bool:
        """Whether a number is one of them. None is infinite, or no number."""
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.multiple_of is None or value % self.multiple_of == 0)
            and (not self.among or value in self.among)
        )

    def check(self, value: float | None, parameter: str) -> None:
        """Refuse a number that is none of them; None, which is none at all, passes.

        Raises
        ------
        BadInput
            Naming the parameter.
        """
        if value is not None and not self.hold(value):
            raise BadInput(self.said, parameter, value)

    def schema(self) -> dict[str, Any]:
        """The keywords of JSON Schema that say the same."""
        told = {
            "minimum": self.least,
            "maximum": self.most,
            "exclusiveMinimum": self.above,
            "exclusiveMaximum": self.below,
            "multipleOf": self.multiple_of,
            "enum": list(self.among) or None,
        }
        return {name: value for name, value in told.items() if value is not None}

    @property
    def metadata(self) -> Mapping[str, Bounds]:
        """The metadata of a field that they are of."""
        return {BOUNDS: self}


def bounds_of(request: object) -> dict[str, Bounds]:
    """The bounds of a request's fields, or of its class's, by their names."""
    told = fields(request)  # type: ignore[arg-type]
    return {each.name: each.metadata[BOUNDS] for each in told if BOUNDS in each.metadata}


def check_bounds(request: object) -> None:
    """Refuse a request of which a number lies beyond the bounds of its field.

    Raises
    ------
    BadInput
        Naming the field.
    """
    for name, bounds in bounds_of(request).items():
        bounds.check(getattr(request, name), name)
