"""What a comparison of products leaves in a folder: table, scores, report, picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from tessera_mosaic.pipeline.contracts.state import STATE, encode_state
from tessera_mosaic.pipeline.downstream.fusion import Complementarity
from tessera_mosaic.pipeline.downstream.fusion_points import FusedPoints
from tessera_mosaic.pipeline.evaluation.complementarity import Gain, Names

TABLE, SCORES, REPORT, PICTURE = "fused.parquet", "scores.csv", "fusion.json", "scores.png"
"""Names of the files."""

COLUMNS = (
    "folds", "degrees", "products", "score", "low", "high", "best", "difference",
    "difference_low", "difference_high", "complementarity", "p_adjusted", "verdict",
)  # fmt: skip
"""Columns of the scores."""


def write_fusion(folder: Path, found: Complementarity, fused: FusedPoints) -> None:
    """Write all files into a folder."""
    write_table(folder / TABLE, found, fused)
    write_scores(folder / SCORES, found)
    draw_scores(folder / PICTURE, found)
    (folder / REPORT).write_text(json.dumps(found.to_json(), indent=1) + "\n")


def write_table(path: Path, found: Complementarity, fused: FusedPoints) -> None:
    """Write the vectors of all products side by side, a row a point, with the table's state."""
    points = fused.points
    told = points.targets
    columns: dict[str, Any] = {"lon": points.sites.lon, "lat": points.sites.lat}
    columns["label"] = [points.classes[int(k)] for k in told] if points.classes else told
    for each in fused.products:
        for place, name in enumerate(each.columns):
            own = name.startswith(f"{each.product.name}_")
            columns[name if own else f"{each.product.name}_{name}"] = each.values[:, place]
    table = pa.table(columns).replace_schema_metadata({STATE: encode_state(found.state)})
    pq.write_table(table, path, compression="zstd")


def write_scores(path: Path, found: Complementarity) -> None:
    """Write a row for every combination under every kind of folds."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        for plan in found.plans:
            gains = {gain.products: gain for gain in plan.gains}
            for each in plan.scores:
                score = each.score
                row = {"folds": plan.name, "degrees": plan.degrees, "products": said(each.products)}
                row |= {"score": f"{score.value:.4f}"}
                row |= {"low": f"{score.low:.4f}", "high": f"{score.high:.4f}"}
                table.writerow(row | _gain_row(gains.get(each.products)))


def _gain_row(gain: Gain | None) -> dict[str, str]:
    if gain is None:
        return {}
    return {
        "best": gain.best,
        "difference": f"{gain.difference.value:.4f}",
        "difference_low": f"{gain.difference.low:.4f}",
        "difference_high": f"{gain.difference.high:.4f}",
        "complementarity": f"{gain.complementarity.value:.4f}",
        "p_adjusted": f"{gain.p_adjusted:.4g}",
        "verdict": gain.verdict.value,
    }


def said(products: Names) -> str:
    """A combination in words."""
    return " + ".join(products)


def draw_scores(path: Path, found: Complementarity) -> None:
    """Draw scores with their intervals by combination, random folds beside cells, and the gains."""
    combos = [each.products for each in found.plans[0].scores]
    rows = {products: len(combos) - k for k, products in enumerate(combos)}
    figure = Figure(figsize=(11, 2.1 + 0.55 * len(combos)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    offsets = np.linspace(0.28, -0.28, len(found.plans)) if len(found.plans) > 1 else [0.0]
    for number, (plan, offset) in enumerate(zip(found.plans, offsets, strict=True)):
        colour = "0.55" if not plan.degrees else f"C{number - 1}"
        style: dict[str, Any] = {"color": colour, "fmt": "o" if plan.degrees else "s"}
        style |= {"markersize": 5, "capsize": 2, "linewidth": 1.4}
        told = [(rows[each.products], each.score) for each in plan.scores]
        gains = [(rows[each.products], each.difference) for each in plan.gains]
        for axis, values in ((left, told), (right, gains)):
            axis.errorbar(
                [each.value for _, each in values],
                [row + offset for row, _ in values],
                xerr=np.abs([[e.value - e.low, e.high - e.value] for _, e in values]).T,
                label=plan.name,
                **style,
            )
    right.axvline(0, color="0.3", linewidth=1)
    left.set_yticks(list(rows.values()), [said(products) for products in rows])
    left.set(
        xlabel=f"{'R2' if found.measure == 'r2' else found.measure} (95 % interval)",
        ylim=(0.4, len(combos) + 0.6),
        title=f"{found.scored:,} points",
    )
    right.set(xlabel="difference to the best product alone", title="what fusion adds")
    for products, verdict in found.verdicts.items():
        right.annotate(
            verdict.value,
            (1.01, rows[products]),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="small",
        )
    for axis in (left, right):
        axis.grid(axis="x", alpha=0.3)
    handles, names = left.get_legend_handles_labels()
    below: dict[str, Any] = {"loc": "outside lower center", "ncols": len(names)}
    figure.legend(handles, names, frameon=False, fontsize="small", **below)
    figure.savefig(path, dpi=120, metadata={"Software": None})
