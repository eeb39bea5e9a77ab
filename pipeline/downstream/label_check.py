"""What labels look like before anything is learnt from them: count, extent and clustering."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.downstream.labels import LabelledGround
from tessera_mosaic.pipeline.downstream.places import PlacePixels
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import PIXEL

FEWEST_PIXELS, FEWEST_GROUPS = 5, 2
"""Labelled pixels and groups that a class needs: with fewer nothing can be learnt and tested."""


@dataclass(frozen=True)
class ClassCheck:
    """What the labels of a class look like, or all labels where they are values.

    Parameters
    ----------
    name
        Of the class.
    pixels, groups
        Numbers of its pixels, and of its fields or polygons.
    west, south, east, north
        Degrees box that holds them.
    neighbour_alike
        Share of its groups whose nearest other group is of the same class, 0 to 1: near 1, the
        labels come in clusters, and a map between them is worth less than scores say. None for
        values.
    """

    name: str
    pixels: int
    groups: int
    west: float
    south: float
    east: float
    north: float
    neighbour_alike: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        return {
            name: round(value, 5) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def enough_of_each(ground: LabelledGround) -> LabelledGround:
    """The pixels of classes of which there are enough; those left out are counted by class.

    Raises
    ------
    BadInput
        If fewer than two classes are left.
    """
    if not ground.classes:
        return ground
    kept: list[int] = []
    for place, each in enumerate(ground.classes):
        of = ground.target == place
        groups = len(np.unique(ground.group[of]))
        if of.sum() >= FEWEST_PIXELS and groups >= FEWEST_GROUPS:
            kept.append(place)
        elif of.any():
            why = f"pixel of class {each.name}, which has too few ({int(of.sum())} in {groups})"
            ground = ground.take(~of, why)
    if len(kept) < 2:
        counts = [
            f"{each.name} {int((ground.target == place).sum())}"
            for place, each in enumerate(ground.classes)
        ]
        left = "; ".join(f"{count} {why}" for why, count in ground.left_out.items())
        raise BadInput(
            f"there are no two classes with {FEWEST_PIXELS} pixels in {FEWEST_GROUPS} places each "
            f"({', '.join(counts)}{'; left out: ' + left if left else ''})",
            "labels",
        )
    places = np.full(len(ground.classes), -1)
    places[kept] = np.arange(len(kept))
    classes = tuple(ground.classes[place] for place in kept)
    target = places[ground.target.astype(np.int64)].astype(np.float64)
    return LabelledGround(**{**vars(ground), "target": target, "classes": classes})


def check_labels(ground: LabelledGround) -> tuple[ClassCheck, ...]:
    """Count, extent and clustering of each class.

    Parameters
    ----------
    ground
        Labelled pixels.
    """
    pixels = PlacePixels(ground.place, ground.zone, ground.row, ground.col)
    lon, lat = pixels.centres()
    alike = _alike(ground)
    found = []
    for place, name in enumerate([each.name for each in ground.classes] or ["values"]):
        of = ground.target == place if ground.classes else np.ones(len(ground), bool)
        found.append(
            ClassCheck(
                name,
                int(of.sum()),
                len(np.unique(ground.group[of])),
                float(lon[of].min()),
                float(lat[of].min()),
                float(lon[of].max()),
                float(lat[of].max()),
                alike.get(place),
            )
        )
    return tuple(found)


def _alike(ground: LabelledGround) -> dict[int, float]:
    """Share of each class's groups whose nearest other group is of the same class."""
    from scipy.spatial import cKDTree

    if not ground.classes:
        return {}
    keys, first, of, counts = np.unique(
        np.stack([ground.group, ground.target.astype(np.int64)], axis=1),
        axis=0,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    at: NDArray[np.float64] = np.stack(
        [np.bincount(of.ravel(), values) / counts for values in (ground.row, ground.col)], axis=1
    )
    at *= PIXEL
    # Zones are far apart here: the nearest group is looked for in the same one.
    apart = np.concatenate([at, 1e8 * ground.zone[first][:, None]], axis=1)
    if len(apart) < 2:
        return {}
    _, near = cKDTree(apart).query(apart, 2)
    # Of two groups at the same place either may come first.
    other = np.where(near[:, 0] == np.arange(len(apart)), near[:, 1], near[:, 0])
    same = keys[other, 1] == keys[:, 1]
    return {int(place): float(same[keys[:, 1] == place].mean()) for place in np.unique(keys[:, 1])}
