"""The `evaluate` command: what light heads get from a mosaic's embeddings on labelled ground."""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.observations import Stack
from model.pretrain import probes
from model.quantize import dequantize
from pipeline.dpixels import make_directory
from pipeline.errors import BadInput
from pipeline.grid import lonlat_bounds
from pipeline.labels import Labels, read_labels
from pipeline.mosaic import Mosaic, mosaic_at
from pipeline.rasters import Reader
from pipeline.scenes import Source, open_catalogue
from pipeline.stack import Rules, read_stack

MONTHS = range(2, 10)
"""Whose medians are the raw features: February to September, a northern season."""

SEEDS = 5

BLOCK = 16
"""Side in pixels of the squares that spatial folds do not cut."""

READ_BLOCK = 256
"""Side in pixels of the blocks in which imagery is read."""

MOST_PIXELS = 1 << 20
"""Labelled pixels that are scored at most: about a gigabyte of features (ours)."""

TABLE, PICTURE = "evaluation.csv", "evaluation.png"

Features = NDArray[np.float32]
Numbers = NDArray[np.int32]


def monthly_medians(stack: Stack, year: int) -> Features:
    """What the pixels look like without an encoder: medians of each month's valid observations.

    Returns
    -------
    float32 (H, W, 96): 10 bands of Sentinel-2 and 2 of Sentinel-1, both directions together, of
    8 months; NaN where a month has none.
    """
    optical = np.where(stack.masks[..., None] != 0, stack.bands.astype(np.float32), np.nan)
    radar = np.concatenate([stack.sar_ascending, stack.sar_descending]).astype(np.float32)
    radar[radar == 0] = np.nan
    radar_days = np.concatenate([stack.sar_ascending_doy, stack.sar_descending_doy])
    layers = []
    for month in MONTHS:
        for series, days in ((optical, stack.doys), (radar, radar_days)):
            layers.append(_median(series[_months(days, year) == month]))
    return np.concatenate(layers, axis=-1)


def _months(days: NDArray[np.integer], year: int) -> NDArray[np.int64]:
    first = dt.date(year, 1, 1)
    return np.array([(first + dt.timedelta(int(day) - 1)).month for day in days], np.int64)


def _median(series: Features) -> Features:
    """Median over the first axis of what is not NaN; NaN where nothing is left."""
    ordered = np.sort(series, axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    if not len(series):
        return np.full(series.shape[1:], np.nan, np.float32)
    low, high = (np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2)
    high = np.minimum(high, np.maximum(count - 1, 0))
    ends = [np.take_along_axis(ordered, at[None], axis=0)[0] for at in (low, high)]
    return np.where(count > 0, (ends[0] + ends[1]) / 2, np.nan).astype(np.float32)


def fill_gaps(features: Features) -> Features:
    """Put each column's median in the place of NaN; a column without any number becomes 0."""
    known = np.isfinite(features)
    middle = [np.median(c[k]) if k.any() else 0.0 for c, k in zip(features.T, known.T, strict=True)]
    return np.where(known, features, np.array(middle, np.float32))


def gather(
    mosaic: Mosaic, labels: Labels, year: int, source: Source | None
) -> tuple[dict[str, Features], Numbers, dict[str, Numbers]]:
    """Features, classes and groups of all labelled pixels that the mosaic holds.

    Of one tile after the other what is labelled is kept, so memory is bounded by a tile and
    `MOST_PIXELS`.

    Parameters
    ----------
    mosaic, year
        Whose embeddings.
    labels
        Of the ground.
    source
        Imagery for the raw features beside them, if any.

    Returns
    -------
    Features by kind, float32 (P, D); classes, int32 (P,); and numbers of fields and of spatial
    blocks, int32 (P,).

    Raises
    ------
    BadInput
        If there are none, or more than `MOST_PIXELS`.
    """
    parts: dict[str, list[Any]] = defaultdict(list)
    pixels = 0
    for part in _labelled_parts(mosaic, labels, year, source):
        pixels += len(part["class"])
        if pixels > MOST_PIXELS:
            raise BadInput(f"the labels have more than {MOST_PIXELS:,} pixels: thin them")
        for name, values in part.items():
            parts[name].append(values)
    if not parts:
        raise BadInput(f"{mosaic.storage.url} has no embeddings of {year} where the labels are")
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    _, blocks = np.unique(joined.pop("block"), axis=0, return_inverse=True)
    groups = {"field": joined.pop("field"), "block": blocks.astype(np.int32).ravel()}
    classes = joined.pop("class")
    if "raw" in joined:
        joined["raw"] = fill_gaps(joined["raw"])
    return joined, classes, groups


def _labelled_parts(
    mosaic: Mosaic, labels: Labels, year: int, source: Source | None
) -> Iterator[dict[str, Any]]:
    """What `gather` joins, block by block of the tiles that the mosaic has."""
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(contextlib.closing(Reader(source))) if source else None
        for tile in labels.tiles(mosaic.layout.side):
            window = tile.window
            classes, fields = labels.on(window)
            if not classes.any() or not mosaic.storage.exists(mosaic.keys(tile, year)[-1]):
                continue
            held = mosaic.read(tile, year)
            keep = (classes > 0) & np.isfinite(held.scales)
            scenes = source.search(lonlat_bounds(window), year) if source and keep.any() else []
            for block in window.blocks(READ_BLOCK):
                here = block.within(window)
                kept = keep[here]
                if not kept.any():
                    continue
                row, col = np.nonzero(kept)
                places = [(block.row + row) // BLOCK, (block.col + col) // BLOCK]
                part = {
                    "embedding": dequantize(held.codes[here][kept], held.scales[here][kept]),
                    "block": np.stack([np.full_like(row, block.zone), *places], axis=1),
                    "class": classes[here][kept],
                    "field": fields[here][kept],
                }
                if source is not None and reader is not None:
                    annual = read_stack(block, scenes, _rules(mosaic, source), reader)
                    part["raw"] = monthly_medians(annual.stack, year)[kept]
                yield part


def _rules(mosaic: Mosaic, source: Source) -> Rules:
    """Those that the mosaic was made with, so that both kinds of features are of one stack."""
    return Rules.told(mosaic.identity["rules"], source.imagery)


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `evaluate`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument("--labels", required=True, help="raster of class codes, 0 is unlabelled")
    parser.add_argument("--fields", help="raster of field numbers on the grid of --labels")
    parser.add_argument("--year", required=True, type=int)
    parser.add_argument("--catalog", help="imagery, for raw features beside the embeddings")
    parser.add_argument(
        "--out", default="evaluation", help="folder for the table and the picture (%(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="repetitions with other draws (%(default)s)"
    )


def evaluate_command(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a mosaic on labels.

    Returns
    -------
    `pixels`, `classes`, `fields`, where `table` and `picture` are, and `scores`: mean and spread
    over the seeds of the accuracy, for each kind of features, folds, head and share of labels.

    Raises
    ------
    BadInput
        If the labels cannot be used with the mosaic, or there is no folder for what is found.
    """
    if args.seeds < 1:
        raise BadInput(f"--seeds {args.seeds}: at least one")
    labels = read_labels(args.labels, args.fields)
    mosaic = mosaic_at(args.store)
    mosaic.step(args.year)
    source = open_catalogue(args.catalog) if args.catalog else None
    if source is not None:
        _rules(mosaic, source).check(source)
    features, classes, groups = gather(mosaic, labels, args.year, source)
    try:
        keep = probes.worth_probing(classes, groups["field"])
        classes = classes[keep]
        groups = {kind: numbers[keep] for kind, numbers in groups.items()}
        for numbers in groups.values():
            probes.grouped_folds(numbers)
    except probes.ProbeError as error:
        raise BadInput(
            f"{args.labels}, where {args.store} has embeddings of {args.year}: {error}"
        ) from None
    out = Path(args.out)
    make_directory(out)
    scored = (
        {"features": kind, **row}
        for kind, values in features.items()
        for row in probes.learning_curves(values[keep], classes, groups, args.seeds)
    )
    folds = len(groups) + 1
    each = folds * len(probes.HEADS) * len(probes.FRACTIONS) * args.seeds
    # On a terminal only.
    rows = list(tqdm(scored, "scoring", each * len(features), disable=None))
    write_table(rows, out / TABLE)
    scores = summarize(rows)
    draw_curves(scores, out / PICTURE)
    if not args.json:
        print_scores(scores)
    return {
        "pixels": len(classes),
        "classes": len(np.unique(classes)),
        "fields": len(np.unique(groups["field"])),
        "table": str(out / TABLE),
        "picture": str(out / PICTURE),
        "scores": scores,
    }


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Write every score as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def summarize(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds."""
    keys = ("features", "folds", "head", "fraction")
    by: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by[tuple(row[key] for key in keys)].append(row)
    return [
        {
            **dict(zip(keys, key, strict=True)),
            "accuracy": round(float(np.mean([row["accuracy"] for row in members])), 4),
            "spread": round(float(np.std([row["accuracy"] for row in members])), 4),
            "balanced_accuracy": round(
                float(np.mean([row["balanced_accuracy"] for row in members])), 4
            ),
        }
        for key, members in by.items()
    ]


def print_scores(scores: list[dict[str, Any]]) -> None:
    """Print a line for each head and kind of folds, with a column for each share of labels."""
    print("accuracy, mean over folds and seeds, by share of the training labels")
    print(
        f"{'features':<10} {'folds':<7} {'head':<9}"
        + "".join(f"{fraction:>8.0%}" for fraction in probes.FRACTIONS)
    )
    lines: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in scores:
        lines[row["features"], row["folds"], row["head"]].append(row["accuracy"])
    for (kind, folds, head), values in lines.items():
        print(f"{kind:<10} {folds:<7} {head:<9}" + "".join(f"{value:>8.3f}" for value in values))


def draw_curves(scores: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy over the share of labels, a panel for each kind of folds."""
    # Imported here: it is slow to import, and only this needs it.
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(row["folds"] for row in scores))
    figure = Figure(figsize=(4.5 * len(kinds), 4), layout="constrained")
    axes = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    styles = dict(zip(dict.fromkeys(row["features"] for row in scores), ("-", "--"), strict=False))
    for axis, kind in zip(axes, kinds, strict=True):
        for number, head in enumerate(probes.HEADS):
            for features, style in styles.items():
                mine = [
                    row
                    for row in scores
                    if (row["folds"], row["head"], row["features"]) == (kind, head, features)
                ]
                axis.errorbar(
                    [row["fraction"] for row in mine],
                    [row["accuracy"] for row in mine],
                    [row["spread"] for row in mine],
                    label=f"{features}, {head}",
                    color=f"C{number}",
                    linestyle=style,
                )
        title = "random folds" if kind == "random" else f"folds by {kind}"
        axis.set(title=title, xlabel="share of training labels", xscale="log")
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="accuracy")
    axes[-1].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120, metadata={"Software": None})
