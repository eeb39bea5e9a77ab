"""Labels of the ground, from whatever a user has, as pixels of the lattice with a class or value.

What cannot be used is counted and said; nothing is dropped silently.
"""

from __future__ import annotations

import colorsys
import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.model.heads.head import MOST_CLASSES, HeadClass, Task
from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.downstream.places import Places, pixels_of
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.imagery.label_raster import label_raster, read_labels
from tessera_mosaic.pipeline.imagery.value_raster import value_raster
from tessera_mosaic.pipeline.tiling.ownership import owned

LABEL, YEAR, GROUP = "label", "year", "group"
"""Columns of a file of labels: the class or value, and, where there are such, the calendar year
and the number or name of what folds must not cut."""

RASTERS = (".tif", ".tiff")
"""Endings of rasters of labels."""

COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (120, 120, 60),
)
"""Colours of the first classes that have none of their own (Okabe and Ito, which every eye can
tell apart)."""

MOST_SIDECAR_BYTES = 1 << 20
"""Largest file of class names beside a raster."""

Numbers = NDArray[np.int32]


@dataclass(frozen=True)
class LabelledGround:
    """Labelled pixels of the lattice.

    Parameters
    ----------
    zone, row, col : int32 (P,)
        UTM zone of each pixel, and its row and column of the zone's lattice.
    target : float64 (P,)
        Place of its class among the classes, or its value.
    group : int32 (P,)
        Number of the field, polygon or group that folds must not cut.
    place : int32 (P,)
        Number of the point or polygon that it is of; pixels of one polygon share its weight.
    classes
        The classes; empty for values.
    left_out
        Number of labels or pixels that are not used, by the reason.
    """

    zone: Numbers
    row: Numbers
    col: Numbers
    target: NDArray[np.float64]
    group: Numbers
    place: Numbers
    classes: tuple[HeadClass, ...]
    left_out: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.target)

    def take(self, which: NDArray[Any], why: str) -> LabelledGround:
        """Some of the pixels; those left out are counted under a reason."""
        kept = {
            name: getattr(self, name)[which]
            for name in ("zone", "row", "col", "target", "group", "place")
        }
        left = len(self) - len(kept["target"])
        counted = self.left_out + Counter({why: left}) if left else self.left_out
        return LabelledGround(**kept, classes=self.classes, left_out=counted)

    def weights(self) -> NDArray[np.float64]:
        """How much each pixel counts: the pixels of one polygon together as much as a point."""
        _, of, counts = np.unique(self.place, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / counts[of])


def read_ground(path: str, year: int, task: Task, name: str | None, side: int) -> LabelledGround:
    """Read labels from a file of points and polygons, or from a raster.

    Parameters
    ----------
    path
        Path of the file. A raster is told by its ending.
    year
        Calendar year; labels that name another one are left out.
    task
        Whether labels are classes or values.
    name
        Name of the column with the label; by default `label`.
    side
        Side in pixels of the mosaic's tiles.

    Raises
    ------
    BadInput
        If the file cannot be read, or labels nothing.
    """
    if Path(path).suffix.lower() in RASTERS:
        return _of_raster(path, task, name, side)
    return _of_places(read_places(path, "labels"), year, task, name)


def _of_raster(path: str, task: Task, name: str | None, side: int) -> LabelledGround:
    if name is not None:
        raise BadInput("a raster of labels has no columns", "field", name)
    if task is Task.VALUE:
        return _of_value_raster(path, side)
    labels = read_labels(path)
    parts = []
    for tile in labels.tiles(side):
        classes, fields = labels.on(tile.window)
        row, col = np.nonzero(classes)
        if len(row):
            zones = np.full(len(row), tile.zone)
            at = [zones, row + tile.window.row, col + tile.window.col]
            parts.append(np.stack([*at, classes[row, col], fields[row, col]], axis=1))
    if not parts:
        raise BadInput("none of its labelled ground lies between 80 S and 84 N", "labels", path)
    zone, row, col, codes, fields = np.concatenate(parts).astype(np.int32).T
    known, target = np.unique(codes, return_inverse=True)
    if len(known) > MOST_CLASSES:
        raise BadInput(f"it has {len(known)} classes, and a map {MOST_CLASSES}", "labels", path)
    names, colours = raster_classes(path)
    fits = int(known.max()) < MOST_CLASSES
    classes_told = tuple(
        HeadClass(
            int(code) if fits else place,
            names.get(int(code), str(code)),
            colours.get(int(code), colour_of(place)),
        )
        for place, code in enumerate(known)
    )
    pixels = np.arange(len(zone), dtype=np.int32)
    return LabelledGround(
        zone, row, col, target.ravel().astype(np.float64), fields, pixels, classes_told
    )


def _of_value_raster(path: str, side: int) -> LabelledGround:
    """Values of a raster. A pixel of it that is larger than ours is one place and one group."""
    raster = value_raster(path)
    if len(raster.names) > 1:
        raise BadInput(f"it has {len(raster.names)} bands: values are one", "labels", path)
    parts = []
    for tile in raster.tiles(side):
        values, numbers = raster.on(tile.window)
        row, col = np.nonzero(np.isfinite(values[0]) & owned(tile.window, margin=0))
        zones = np.full(len(row), tile.zone)
        at = [zones, row + tile.window.row, col + tile.window.col, numbers[row, col]]
        parts.append((np.stack(at, axis=1), values[0][row, col]))
    if not sum(len(values) for _, values in parts):
        raise BadInput("it has no value between 80 S and 84 N", "labels", path)
    zone, row, col, number = np.concatenate([at for at, _ in parts]).T
    place = np.unique(number, return_inverse=True)[1].ravel().astype(np.int32)
    target = np.concatenate([values for _, values in parts]).astype(np.float64)
    zone, row, col = (of.astype(np.int32) for of in (zone, row, col))
    return LabelledGround(zone, row, col, target, place, place, ())


def raster_classes(path: str) -> tuple[dict[int, str], dict[int, tuple[int, int, int]]]:
    """Names and colours of the classes of a raster by their codes, as far as it tells them.

    Names come from its tags `CLASS_1`, or from the category names in the file beside it
    (`.aux.xml`), of which nothing else is read; colours from its colour table.
    """
    with label_raster(path) as file:
        tags = {**file.tags(), **file.tags(1)}
        try:
            table = file.colormap(1)
        except ValueError:
            table = {}
    names: dict[int, str] = {}
    beside = Path(f"{path}.aux.xml")
    if beside.is_file() and beside.stat().st_size <= MOST_SIDECAR_BYTES:
        text = beside.read_text(errors="replace")
        found = re.findall(r"<Category>([^<]*)</Category>|<Category\s*/>", text)
        names = {code: html.unescape(each) for code, each in enumerate(found) if each}
    for key, value in tags.items():
        if match := re.fullmatch(r"CLASS_(\d{1,9})", key):
            names[int(match[1])] = value
    colours = {code: (each[0], each[1], each[2]) for code, each in table.items()}
    if len(set(colours.values()) - {(0, 0, 0)}) < 2:
        colours = {}
    return names, colours


def colour_of(place: int) -> tuple[int, int, int]:
    """A colour for the class at a place among all, unlike those before it."""
    if place < len(COLOURS):
        return COLOURS[place]
    hue = (place * 0.618034) % 1.0
    light = 0.35 + 0.3 * ((place // 3) % 2)
    red, green, blue = colorsys.hls_to_rgb(hue, light, 0.6)
    return round(255 * red), round(255 * green), round(255 * blue)


@dataclass(frozen=True)
class PlaceLabels:
    """What the places of a file are labelled.

    Parameters
    ----------
    targets : float64 (places,)
        Place of the class among the classes, or the value; NaN where a place is not used.
    classes
        The classes; empty for values.
    left_out
        Number of places that are not used, by the reason.
    """

    targets: NDArray[np.float64]
    classes: tuple[HeadClass, ...]
    left_out: Counter[str]


def place_labels(places: Places, year: int, task: Task, name: str | None) -> PlaceLabels:
    """The labels of places that belong to a year.

    Parameters
    ----------
    places, year, task, name
        As in `read_ground`.

    Raises
    ------
    BadInput
        If none is labelled.
    """
    name = name or LABEL
    left_out: Counter[str] = Counter()
    usable = places.sound.copy()
    for problem in places.problems:
        if problem:
            left_out[f"place that cannot be used: {problem}"] += 1
    labels = places.column(name, "field")
    if YEAR in {each.casefold() for each in places.columns}:
        given = [year_of(each) for each in places.column(YEAR)]
        other = np.array([each not in (None, year) for each in given]) & usable
        left_out["label of another year"] += int(other.sum())
        usable &= ~other
    targets, classes = _targets(labels, usable, task, places.name, name, left_out)
    usable &= np.isfinite(targets)
    if not usable.any():
        told = "; ".join(f"{count} {why}" for why, count in left_out.items() if count)
        raise BadInput(f"{places.name} labels nothing of {year}: {told or 'it has no labels'}")
    return PlaceLabels(np.where(usable, targets, np.nan), classes, +left_out)


def _of_places(places: Places, year: int, task: Task, name: str | None) -> LabelledGround:
    labels = place_labels(places, year, task, name)
    usable, left_out = np.isfinite(labels.targets), labels.left_out
    columns = {each.casefold() for each in places.columns}
    pixels = pixels_of(places)
    kept = usable[pixels.place]
    place = pixels.place[kept]
    missed = set(np.flatnonzero(usable).tolist()) - set(place.tolist())
    left_out["polygon that holds no pixel's centre"] += len(missed)
    groups = np.arange(len(places), dtype=np.int32)
    if GROUP in columns:
        words = [
            f"{number}" if each is None else f"g {each}"
            for number, each in enumerate(places.column(GROUP))
        ]
        groups = np.unique(words, return_inverse=True)[1].astype(np.int32)
    ground = LabelledGround(
        pixels.zone[kept],
        pixels.row[kept],
        pixels.col[kept],
        labels.targets[place],
        groups[place],
        place,
        labels.classes,
        +left_out,
    )
    return _once(ground, task)


def _targets(
    labels: Sequence[Any],
    usable: NDArray[np.bool_],
    task: Task,
    name: str,
    column: str,
    left_out: Counter[str],
) -> tuple[NDArray[np.float64], tuple[HeadClass, ...]]:
    """The class by its place, or the value, of each label; NaN where there is none."""
    targets = np.full(len(labels), np.nan)
    if task is Task.VALUE:
        for number in np.flatnonzero(usable).tolist():
            targets[number] = _value(labels[number])
        left_out["value that is no number"] += int((usable & ~np.isfinite(targets)).sum())
        return targets, ()
    words = [None if each is None else _word(each) for each in labels]
    known = {words[number] for number in np.flatnonzero(usable).tolist()} - {None, ""}
    left_out["place without a label"] += sum(
        words[number] in (None, "") for number in np.flatnonzero(usable).tolist()
    )
    if len(known) > MOST_CLASSES:
        raise BadInput(
            f"{name} has {len(known)} classes in column {column}, and a map {MOST_CLASSES}: "
            "are they values? Then say --task value",
        )
    whole = all(re.fullmatch(r"\d{1,3}", each or "") for each in known)
    ordered = sorted((each for each in known if each), key=lambda w: (int(w) if whole else 0, w))
    codes = [int(each) for each in ordered] if whole else list(range(len(ordered)))
    if len(set(codes)) < len(codes) or max(codes, default=0) >= MOST_CLASSES:
        codes = list(range(len(ordered)))
    places = {word: place for place, word in enumerate(ordered)}
    for number in np.flatnonzero(usable).tolist():
        targets[number] = places.get(words[number] or "", np.nan)
    classes = tuple(
        HeadClass(code, word, colour_of(place))
        for place, (code, word) in enumerate(zip(codes, ordered, strict=True))
    )
    return targets, classes


def _once(ground: LabelledGround, task: Task) -> LabelledGround:
    """Every pixel once: those in two classes at once are left out, and values are averaged."""
    at = np.stack([ground.zone, ground.row, ground.col], axis=1)
    _, first, of, counts = np.unique(
        at, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    of = of.ravel()
    if (counts == 1).all():
        return ground
    mean = np.bincount(of, ground.target) / counts
    if task is Task.VALUE:
        once = np.zeros(len(ground), bool)
        once[first] = True
        averaged = LabelledGround(
            **{**vars(ground), "target": mean[of]},
        )
        return averaged.take(once, "pixel with several values, which were averaged")
    low, high = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
    np.minimum.at(low, of, ground.target)
    np.maximum.at(high, of, ground.target)
    one_class = (low == high)[of]
    told = ground.take(one_class, "pixel in two classes at once")
    _, first = np.unique(
        np.stack([told.zone, told.row, told.col], axis=1), axis=0, return_index=True
    )
    return told.take(np.sort(first), "pixel labelled twice alike, which counts once")


def _word(value: Any) -> str:
    """A label as a name: whole numbers without a point."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _value(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return float("nan")
    return found if np.isfinite(found) else float("nan")


def year_of(value: Any) -> int | None:
    """The year that a label names; None where it names none; 0 where it is no year."""
    if value is None or value == "":
        return None
    found = _value(value)
    return int(found) if found == found and found == int(found) else 0
