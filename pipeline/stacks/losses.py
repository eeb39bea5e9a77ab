"""Scenes that may be lost: how many, and which they were."""

from __future__ import annotations

import threading
from collections.abc import Collection

from tessera_mosaic.pipeline.bounds import Bounds
from tessera_mosaic.pipeline.errors import SceneError

LOST_SCENES = Bounds("choose 0 or more", least=0)


class Losses:
    """Scenes that could not be read for good, up to as many as the user allows.

    Shared by the blocks of a tile and by their threads.

    Parameters
    ----------
    allowed
        Number of scenes that may be lost before the tile fails.
    excused
        Ids of scenes that may be lost besides: those of a sensor that may be lost.
    """

    def __init__(self, allowed: int = 0, excused: Collection[str] = ()) -> None:
        self.allowed, self._excused = allowed, frozenset(excused)
        self._lost: dict[str, SceneError] = {}
        self._lock = threading.Lock()

    def add(self, error: SceneError) -> None:
        """Take note of a lost scene, or raise its error if it is one too many."""
        with self._lock:
            self._lost.setdefault(error.scene, error)
            counted = len(self._lost.keys() - self._excused)
            if not error.loses_scene or counted > self.allowed:
                raise error

    @property
    def scenes(self) -> tuple[tuple[str, str, str], ...]:
        """Scene, class of error and message of each."""
        with self._lock:
            return tuple((scene, e.kind, str(e)) for scene, e in sorted(self._lost.items()))
