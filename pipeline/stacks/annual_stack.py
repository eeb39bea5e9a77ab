"""What is known of a block's year: the observations, their dates, and the scenes that gave them."""

from __future__ import annotations

from dataclasses import dataclass

from tessera_mosaic.model.observations import Stack
from tessera_mosaic.pipeline.stacks.offset_evidence import OffsetFinding


@dataclass(frozen=True)
class OffsetNote:
    """A scene whose radiometric offset was not as the reference takes it to be.

    Parameters
    ----------
    scene
        Id of the scene.
    taken_out
        Whether the offset was there, and was taken out; else it was not, and none was.
    by
        What showed it, in words.
    """

    scene: str
    taken_out: bool
    by: str

    @classmethod
    def of(cls, scene: str, finding: OffsetFinding) -> OffsetNote:
        """The note on a scene of which evidence was found."""
        return cls(
            scene, finding.takes_out, "" if finding.evidence is None else finding.evidence.by
        )


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
    offsets
        Scenes among those that were used whose radiometric offset was not as the reference takes
        it to be.
    """

    stack: Stack
    dates: tuple[str, ...]
    ascending_dates: tuple[str, ...]
    descending_dates: tuple[str, ...]
    used: tuple[str, ...]
    unused: tuple[tuple[str, str], ...]
    offsets: tuple[OffsetNote, ...] = ()
