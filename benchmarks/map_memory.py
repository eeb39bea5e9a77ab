"""The memory of the process of a map's job, from few tiles to many.

`python -m benchmarks.map_memory --job TILES [--apart]` is the process that is measured.

The command's own job runs: a mosaic of small tiles, which all hold the same embeddings, is mapped
with a head of ten classes. Every job runs twice, each time in processes of its own: in one process,
and with a worker apart from its launcher.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.scale import SIDE, YEAR, some_region
from tessera_mosaic.model.heads.head import Head, HeadClass, HeadKind, Task
from tessera_mosaic.model.heads.training_space import training_space
from tessera_mosaic.pipeline.downstream.head_file import write_head
from tessera_mosaic.pipeline.downstream.make_map import map
from tessera_mosaic.pipeline.downstream.map_request import MapRequest
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.identity import adopted_identity, fingerprint
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area

DIMS, CLASSES = 128, 10

GROWTH = 1.1
"""Times the memory of the smallest job that the largest may take."""

APART = ("--direct_running_mode=multi_processing", "--direct_num_workers=1")
"""Beam's options for a worker in a process of its own."""


def measure_memory(tiles: Sequence[int]) -> bool:
    """Print the peak memory of jobs of so many tiles; whether the largest took hardly more."""
    kept = True
    for apart in (False, True):
        peaks = [_in_own_process(count, apart) for count in sorted(tiles)]
        for name in ("worker", "launcher") if apart else ("process",):
            found = [peak[name] for peak in peaks]
            told = ", ".join(f"{peak['tiles']:,} tiles {peak[name]:,.0f}" for peak in peaks)
            flat = found[-1] <= GROWTH * found[0]
            kept &= flat
            print(
                f"  peak memory in MiB of the job's {name}: {told} "
                f"({found[-1] / found[0]:.2f} times, {'kept' if flat else 'missed'})"
            )
    return kept


def _in_own_process(tiles: int, apart: bool) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmarks.map_memory", f"--job={tiles}"]
    words += ["--apart"] if apart else []
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: Sequence[str]) -> int:
    """Make a mosaic, map it, and print the peak memory in MiB that this took."""
    parser = argparse.ArgumentParser(prog="benchmarks.map_memory", description=__doc__)
    parser.add_argument("--job", type=int, required=True, help="number of tiles")
    parser.add_argument("--apart", action="store_true", help="have a worker in a process apart")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tessera-map-memory-") as folder:
        request = _prepared(Path(folder), args.job, APART if args.apart else ())
        outcome = map(request).outcome
        assert outcome.done == outcome.tiles, outcome
    launcher, worker = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    peaks = {"process": launcher, "launcher": launcher, "worker": worker}
    print(json.dumps({"tiles": outcome.tiles} | peaks))
    return 0


def _prepared(folder: Path, tiles: int, options: tuple[str, ...]) -> MapRequest:
    """A mosaic of so many tiles and a head for it, and the request to map it."""
    region, store, head = folder / "region.json", folder / "mosaic.zarr", folder / "ten.head"
    region.write_text(json.dumps(some_region(tiles)))
    area = list(read_area(AreaRequest(str(region), SIDE)).tiles())
    identity = adopted_identity("stand-in", "arrays", nearest=False, margin=0)
    zones = {tile.zone for tile in area}
    mosaic = create_store(Storage(str(store)), Layout(SIDE), identity, [YEAR], zones)
    rng = np.random.default_rng(0)
    first = area[0]
    with mosaic.writer(first, YEAR) as writer:
        codes = rng.integers(-127, 128, (SIDE, SIDE, DIMS), np.int8)
        scales = rng.uniform(0.01, 0.03, (SIDE, SIDE)).astype(np.float32)
        counts = np.full((SIDE, SIDE), 40, np.uint16)
        writer.put(first.window, codes, scales, dict.fromkeys(mosaic.layout.observed, counts))
        writer.close()
    for tile in area[1:]:
        for key, other in zip(mosaic.keys(first, YEAR), mosaic.keys(tile, YEAR), strict=True):
            to = store / other
            to.parent.mkdir(parents=True, exist_ok=True)
            to.hardlink_to(store / key)
    write_head(str(head), _ten_classes(fingerprint(identity), rng))
    return MapRequest(
        str(store), str(head), str(region), YEAR, str(folder / "map.zarr"), beam_options=options
    )


def _ten_classes(mosaic: str, rng: np.random.Generator) -> Head:
    features = rng.normal(size=(2000, DIMS)).astype(np.float32)
    return Head(
        kind=HeadKind.LOGISTIC,
        task=Task.CLASS,
        layers={
            "weight": rng.normal(0, 0.1, (CLASSES, DIMS)).astype(np.float32),
            "bias": np.zeros(CLASSES, np.float32),
        },
        space=training_space(features, np.arange(2000, dtype=np.int32) % CLASSES),
        classes=tuple(HeadClass(code, f"class {code}", (code, 0, 0)) for code in range(CLASSES)),
        mosaic=mosaic,
        model="stand-in",
        dims=DIMS,
        years=(YEAR,),
        year_means=features.mean(axis=0, keepdims=True),
        pixels=np.arange(2000, dtype=np.uint64),
        labels_sha256="",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
