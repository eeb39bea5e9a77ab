"""What a check can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from tessera_mosaic.pipeline.errors import BadInput


@dataclass(frozen=True)
class CheckRequest:
    """Artefacts to check beside one another.

    Parameters
    ----------
    artefacts
        Paths or URLs, in any order: one that names another by its digest comes after it, all others
        as they are given.

    Raises
    ------
    BadInput
        If there is none.

    Examples
    --------
    >>> tm.CheckRequest(("valley.zarr", "crops.head")).artefacts
    ('valley.zarr', 'crops.head')
    """

    artefacts: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "artefacts", tuple(map(str, self.artefacts)))
        if not self.artefacts:
            raise BadInput("name one artefact at least", "artefacts")
