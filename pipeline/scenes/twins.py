"""Versions of one acquisition: which of them counts, and which is read if that one is lost."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tessera_mosaic.pipeline.scenes.scene import LATER_FIELDS, Scene, Sensor


@dataclass(frozen=True)
class Versions:
    """Scenes of one acquisition.

    Parameters
    ----------
    scenes
        The scenes, the newest sound one first.
    told
        Whether they are known to be of one datastrip, so that each shows the same ground. Where
        catalogues do not tell the datastrip they may be halves, and the others count where the
        first has no data.
    """

    scenes: tuple[Scene, ...]
    told: bool


def versions_of(scenes: Iterable[Scene]) -> list[Versions]:
    """Scenes by their acquisitions, in the order in which the first of each competes."""
    shared: dict[tuple[object, ...], list[Scene]] = defaultdict(list)
    alone: list[Versions] = []
    for scene in scenes:
        if scene.twin:
            shared[(scene.sensor, *scene.twin)].append(scene)
        else:
            alone.append(Versions((scene,), told=True))
    found = alone
    for members in shared.values():
        told = all(scene.strip for scene in members)
        strips: dict[str, list[Scene]] = defaultdict(list)
        for scene in members:
            strips[scene.strip if told else ""].append(scene)
        found += [
            Versions(tuple(sorted(of_one, key=_soundness, reverse=True)), told)
            for of_one in strips.values()
        ]
    return sorted(found, key=lambda versions: versions.scenes[0].order)


def settle(scenes: Iterable[Scene], year: int) -> list[Scene]:
    """Put found scenes in order.

    Parameters
    ----------
    scenes
        Scenes of one place in any order, and some perhaps twice.
    year
        The year that was asked for. Scenes of others are dropped; those of an unknown time stay.

    Returns
    -------
    The scenes by time and id. All but the newest sound one of an acquisition say by which one they
    are superseded. Where several that differ have one id, a digest of each is added to it: the ids
    of STAC's items are told apart by their collections alone.
    """
    known = {
        _as_text(scene): scene for scene in scenes if scene.datetime[:4] in ("", f"{year:04d}")
    }
    named = Counter(scene.id for scene in known.values())
    ordered = sorted(
        (
            scene
            if named[scene.id] == 1
            else dataclasses.replace(scene, id=_distinct(scene.id, text))
            for text, scene in known.items()
        ),
        key=lambda scene: scene.order,
    )
    best: dict[str, str] = {}
    for versions in versions_of(scene for scene in ordered if not scene.unusable):
        first, *others = versions.scenes
        best |= {
            scene.id: first.id
            for scene in others
            if versions.told or (scene.faulty and not first.faulty)
        }
    return [
        dataclasses.replace(scene, superseded=best[scene.id]) if scene.id in best else scene
        for scene in ordered
    ]


def stand_in(lost: Scene, others: Sequence[Scene]) -> Scene | None:
    """Another version of an acquisition, which is read in place of a lost one; None for none.

    Parameters
    ----------
    lost
        The scene that is lost.
    others
        Scenes that can still be read.
    """
    for versions in versions_of([lost, *others]):
        if lost in versions.scenes:
            others_of_it = [s for s in versions.scenes if s != lost and not s.faulty]
            covering = (s for s in others_of_it if versions.told or _covers(s, lost))
            return next(covering, None)
    return None


def _covers(scene: Scene, lost: Scene) -> bool:
    """Whether a scene that may be the other half of a lost one shows all of its ground."""
    (west, south, east, north), (w, s, e, n) = scene.bbox, lost.bbox
    room = 0.05 * max(n - s, abs(e - w))
    return west <= w + room and south <= s + room and east >= e - room and north >= n - room


def _soundness(scene: Scene) -> tuple[bool, str, str, str]:
    return not (scene.faulty or scene.missing), scene.made, scene.baseline, scene.id


def _as_text(scene: Scene) -> str:
    """A scene as one text, which stays the same: ids in stored records have digests of it."""
    values = {each.name: getattr(scene, each.name) for each in dataclasses.fields(scene)}
    plain = {
        name: str(value or "") if name in ("sensor", "orbit_state", "offset") else value
        for name, value in values.items()
        if name not in LATER_FIELDS
    }
    plain["twin"] = _twin_before(scene)
    return f"Scene({', '.join(f'{name}={value!r}' for name, value in plain.items())})"


def _twin_before(scene: Scene) -> tuple[str, ...]:
    """What versions of an acquisition shared before there was `strip`, which stood among it."""
    if not scene.twin:
        return ()
    if scene.sensor == Sensor.S2:
        return (*scene.twin[:2], scene.strip or scene.datetime[:19])
    burst, platform = scene.twin[:-1], scene.twin[-1]
    return (*burst, re.sub("[-:]", "", scene.strip)[:15], platform)


def _distinct(name: str, text: str) -> str:
    return f"{name}#{hashlib.sha256(text.encode()).hexdigest()[:8]}"
