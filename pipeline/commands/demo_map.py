"""The end of the demo: from a few hundred labels to a crop map, beside what the simulation grew."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.console import install_hint
from tessera_mosaic.pipeline.downstream.area_result import AreaResult
from tessera_mosaic.pipeline.downstream.areas import AreasRequest, areas
from tessera_mosaic.pipeline.downstream.make_map import Mapped
from tessera_mosaic.pipeline.downstream.make_map import map as make_map
from tessera_mosaic.pipeline.downstream.map_layout import NO_DATA, UNKNOWN, UNKNOWN_COLOUR
from tessera_mosaic.pipeline.downstream.map_request import MapRequest
from tessera_mosaic.pipeline.downstream.map_store import open_map
from tessera_mosaic.pipeline.downstream.points import PointsRequest, points
from tessera_mosaic.pipeline.publishing.drawing import Panel, class_colours, draw_figure
from tessera_mosaic.pipeline.simulation.landscape import COVERS
from tessera_mosaic.pipeline.tiling.lattice import (
    PIXEL,
    Window,
    from_lonlat,
    lonlat_bounds,
    to_lonlat,
)

LABELS = 400
"""Labelled pixels: fewer than one in 200."""

POINTS = 300
"""Pixels of the sample from which areas are estimated."""


@dataclass(frozen=True)
class Truth:
    """What the simulation put on a piece of ground.

    Parameters
    ----------
    window
        The ground.
    covers : uint8 (height, width)
        Land cover, by its place among `COVERS` from 1 on.
    parcels : int32 (height, width)
        Number of the field.
    """

    window: Window
    covers: NDArray[np.uint8]
    parcels: NDArray[np.int32]


@dataclass(frozen=True)
class CropMap:
    """The crop map of a demo.

    Parameters
    ----------
    labels, head, store, picture
        Files and folders that were made.
    right
        Share of all pixels whose class is that of the simulation, 0 to 1.
    mapped
        What `map` told.
    areas
        What `areas` told from a sample of the map.
    """

    labels: Path
    head: Path
    store: Path
    picture: Path
    right: float
    mapped: Mapped
    areas: AreaResult

    def to_json(self) -> dict[str, Any]:
        """The fields that `demo --json` tells of it."""
        return {
            "labels": str(self.labels),
            "head": str(self.head),
            "map": str(self.store),
            "map_picture": str(self.picture),
            "map_report": self.mapped.report,
            "map_right": round(self.right, 4),
            "map_areas": self.areas.to_json(),
        }


def make_crop_map(
    out: Path, mosaic: Path, year: int, truth: Truth, say: Callable[[str], None]
) -> CropMap | None:
    """Draw labels, train a head on them, map the ground, and draw the map beside the truth.

    Parameters
    ----------
    out
        Folder of the demo.
    mosaic, year
        The mosaic, and its calendar year.
    truth
        What the simulation put there.
    say
        Tells people what is done.

    Returns
    -------
    CropMap or None
        None where the extra `training` is not installed.
    """
    try:
        import sklearn  # noqa: F401

        from tessera_mosaic.pipeline.downstream.train import TrainRequest, train
    except ModuleNotFoundError:
        say(f"The demo ends with a crop map after {install_hint('training')}.")
        return None
    labels, head, store = out / "labels.csv", out / "crops.head", out / "crops.zarr"
    write_labels(labels, truth)
    say(f"Training a head on {LABELS} of {truth.covers.size:,} pixels ({labels}) ...")
    trained = train(TrainRequest(str(mosaic), str(labels), year, str(head)))
    headline = trained.scores.headline
    if headline is not None:
        say(f"  macro F1 {headline.sheet.headline} by folds that cut no {headline.folds}")
    say(f"Mapping every pixel with it ({store}) ...")
    west, south, east, north = lonlat_bounds(truth.window)
    region = f"{west},{south},{east},{north}"
    mapped = make_map(MapRequest(str(mosaic), str(head), region, year, str(store)))
    told = open_map(str(store)).read_window(truth.window, year)
    names = [cover.name for cover in COVERS]
    table = np.zeros(256, np.uint8)
    for each in trained.head.classes:
        table[each.code] = names.index(each.name) + 1
    found = table[told]
    known = told != NO_DATA
    right = float((found == truth.covers)[known].mean()) if known.any() else 0.0
    say(f"  {right:.0%} of the pixels have the class that the simulation gave them")
    picture = out / "crops.png"
    draw_crops(picture, truth, np.where(told == UNKNOWN, len(COVERS) + 1, found), right)
    estimated = estimate_areas(out, store, truth, say)
    return CropMap(labels, head, store, picture, right, mapped, estimated)


def estimate_areas(out: Path, store: Path, truth: Truth, say: Callable[[str], None]) -> AreaResult:
    """Draw a sample of the map, label it by what the simulation put there, and estimate areas."""
    sample, labelled = out / "to_label.csv", out / "labelled.csv"
    say(f"Drawing {POINTS} points of the map to look at ({sample}), and estimating areas ...")
    points(PointsRequest(str(store), str(sample), n=POINTS))
    label_points(sample, labelled, truth)
    found = areas(AreasRequest(str(store), str(labelled), str(out / "estimates")))
    say(f"  {'class':22}{'area with its interval, ha':>30}{'pixels count':>14}{'truth':>8}")
    names = [cover.name for cover in COVERS]
    for each in found.classes:
        if each.is_class and each.name in names:
            area = f"{each.area.value:,.1f} ({each.area.low:,.1f} to {each.area.high:,.1f})"
            true = (truth.covers == names.index(each.name) + 1).sum() * PIXEL**2 / 1e4
            say(f"  {each.name:22}{area:>30}{each.counted:>14,.1f}{true:>8,.1f}")
    return found


def label_points(sample: Path, labelled: Path, truth: Truth) -> None:
    """Fill in the labels of a sample, as somebody would who knows the ground."""
    with sample.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    window = truth.window
    for row in rows:
        at = from_lonlat(window.zone).transform(float(row["lon"]), float(row["lat"]))
        col, down = (at[0] - window.west) // PIXEL, (window.north - at[1]) // PIXEL
        row["label"] = COVERS[int(truth.covers[int(down), int(col)]) - 1].name
    with labelled.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_labels(path: Path, truth: Truth) -> None:
    """Write labels at pixels drawn by chance, each with the number of its field."""
    rng = np.random.default_rng(0)
    places = np.flatnonzero(truth.covers)
    drawn = np.sort(rng.choice(places, min(LABELS, len(places)), replace=False))
    rows, cols = np.divmod(drawn, truth.window.width)
    east = truth.window.west + PIXEL * (cols + 0.5)
    north = truth.window.north - PIXEL * (rows + 0.5)
    lon, lat = to_lonlat(truth.window.zone).transform(east, north)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("lon", "lat", "label", "group"))
        for at, x, y in zip(drawn, lon, lat, strict=True):
            name = COVERS[int(truth.covers.flat[at]) - 1].name
            writer.writerow((f"{x:.7f}", f"{y:.7f}", name, int(truth.parcels.flat[at])))


def draw_crops(path: Path, truth: Truth, found: NDArray[np.uint8], right: float) -> None:
    """Draw a map beside the truth, and where the two differ."""
    legend = tuple((cover.name, cover.colour) for cover in COVERS)
    colours: Sequence[tuple[int, int, int]] = [cover.colour for cover in COVERS]
    wrong = (found != truth.covers) & (found > 0)
    missed = np.where(wrong, 1, np.where(found > 0, 2, 0)).astype(np.uint8)
    panels = [
        Panel(
            "Crop map",
            f"By a logistic head that saw {LABELS} labelled pixels.",
            *class_colours(found, [*colours, UNKNOWN_COLOUR]),
            classes=legend,
        ),
        Panel(
            "Land cover",
            "What the simulation put there.",
            *class_colours(truth.covers, colours),
            classes=legend,
        ),
        Panel(
            "Where they differ",
            f"{right:.0%} of the pixels are right; the others lie mostly along edges.",
            *class_colours(missed, [(200, 40, 40), (236, 238, 240)]),
            classes=(("another class", (200, 40, 40)), ("right", (236, 238, 240))),
        ),
    ]
    draw_figure(
        path,
        "A crop map of the simulated land",
        "Counts of pixels are no estimates of areas: `points` draws a sample to label, and `areas` "
        "says from it how much of each class there is, with intervals.",
        panels,
        columns=3,
        pixel=PIXEL,
    )
