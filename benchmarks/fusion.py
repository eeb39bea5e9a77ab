"""Better Together again: AlphaEarth, GeoCLIP and both, by its protocol and by honest folds.

    python -m benchmarks fusion --points FILE [--target NAME] [--folds N] [--out DIR]

`FILE` is a `.npz` with `lat`, `lon`, `aef` (codes, int8 (P, 64)), and `label` with `label_names`,
or an array of values; vdplasthijs/better_together has the AlphaEarth vectors and labels that it is
made of (data: CC-BY-SA). GeoCLIP's vectors are computed with the weights of the package `geoclip`.
Printed is what `tessera-mosaic fuse --published` prints.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tessera_mosaic.model.heads.head import Task
from tessera_mosaic.pipeline.commands.fuse import print_fusion
from tessera_mosaic.pipeline.commands.progress import progress_bar
from tessera_mosaic.pipeline.downstream.fusion import FuseRequest, complementarity
from tessera_mosaic.pipeline.downstream.fusion_alphaearth import BANDS, NODATA

YEAR = 2024
"""Stands for the year: the points have none."""


def main(argv: Sequence[str]) -> int:
    """Write the points as tables, compare the products, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fusion", description=__doc__)
    parser.add_argument("--points", type=Path, required=True, metavar="FILE")
    parser.add_argument("--target", default="", help="array of values (classes of `label`)")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--out", type=Path, metavar="DIR")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        points, codes = write_tables(args.points, args.target, Path(folder))
        request = FuseRequest(
            str(points),
            (f"alphaearth:{codes}", "geoclip"),
            YEAR,
            Task.VALUE if args.target else Task.CLASS,
            folds=args.folds,
            published=True,
            out=args.out,
        )
        begun = time.process_time()
        with progress_bar("fusing", "steps") as tell:
            found = complementarity(request, tell)
    print_fusion(found)
    print(f"{time.process_time() - begun:.0f} s of one core")
    return 0


def write_tables(source: Path, target: str, folder: Path) -> tuple[Path, Path]:
    """Paths of tables of the labelled points, and of AlphaEarth's codes at them.

    Parameters
    ----------
    source
        Path of the `.npz`.
    target
        Name of an array of values; empty for classes.
    folder
        Where the tables are put.
    """
    with np.load(source) as file:
        held = {name: file[name] for name in file.files}
    labels = held[target] if target else held["label_names"][held["label"]]
    at = {"lon": held["lon"], "lat": held["lat"]}
    codes = held["aef"]
    assert (codes != NODATA).all()
    bands = {band: codes[:, place] for place, band in enumerate(BANDS)}
    points, table = folder / "points.parquet", folder / "alphaearth.parquet"
    pq.write_table(pa.table({**at, "label": labels}), points)
    pq.write_table(pa.table({**at, **bands}), table)
    return points, table
