"""What training looked like: loss parts, rank and probe accuracy, as CSV and as a picture."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CSV, PICTURE = "history.csv", "history.png"
"""Files of a training's folder."""


@dataclass
class History:
    """What was seen of a training, a row for each look at it.

    Parameters
    ----------
    rows
        Rows of numbers by name: the step of the look, the means over the steps since the look
        before of each part of the loss and of the gradient's norm, and what the look said.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    _sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _steps: int = 0

    def add(self, step: int, parts: dict[str, float], norm: float) -> None:
        """Count one step in.

        Parameters
        ----------
        step
            Number of the step, from 0.
        parts
            Parts of its loss, by name.
        norm
            Norm of its gradient.
        """
        for name, value in {**parts, "gradient": norm}.items():
            self._sums[name] += value
        self._steps += 1

    def look(self, step: int, seen: dict[str, float]) -> None:
        """Make a row of the steps since the last one.

        Parameters
        ----------
        step
            Number of steps so far.
        seen
            What the look said, by name.
        """
        means = {name: value / self._steps for name, value in self._sums.items()}
        self.rows.append({"step": step, **means, **seen})
        self._sums.clear()
        self._steps = 0

    def best_probe(self) -> float | None:
        """Highest probe score so far; None where there was no probe."""
        return max((row["probe"] for row in self.rows if "probe" in row), default=None)

    def write(self, folder: Path) -> None:
        """Write `history.csv` and `history.png` into a folder."""
        partial = folder / f"{CSV}.partial"
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, folder / CSV)
        draw(self.rows, folder / PICTURE)


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Draw the loss and its parts, the ranks, and the probe over the steps.

    Parameters
    ----------
    rows
        Rows of a `History`.
    path
        Path of the PNG file to write.
    """
    # Imported here: pyplot is slow to import, and only this needs it.
    from matplotlib.figure import Figure

    ranks = [name for name in rows[0] if name.startswith("rank")]
    probes = [name for name in rows[0] if name.startswith("probe")]
    losses = [name for name in rows[0] if name not in ("step", "gradient", *ranks, *probes)]
    panels: list[tuple[str, list[str], dict[str, Any]]] = [
        ("loss", losses, {"yscale": "log"}),
        ("RankMe", ranks, {"ylim": (0, 1)}),
        ("probe accuracy", probes, {}),
    ]
    panels = [panel for panel in panels if panel[1]]
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, names, look) in zip(axes, panels, strict=True):
        for name in names:
            axis.plot([row["step"] for row in rows], [row[name] for row in rows], label=name)
        axis.set(title=title, xlabel="step", **look)
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120, metadata={"Software": None})
