"""A head is trained and a map made on a mosaic that somebody else published, read in place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tessera_mosaic.adopting import prepare_adoption
from tessera_mosaic.pipeline.downstream.map_store import read_map
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.tiling.lattice import Window, to_lonlat
from tessera_mosaic.requests import AdoptRequest
from tests import jobs

YEAR, SHAPE, PLACE = 2023, (96, 128), [10, 0, 500_000, 0, -10, 5_000_000]


def publish(folder: Path) -> str:
    """A mosaic of two kinds of ground, west and east, without anything that is ours alone."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-40, 41, (*SHAPE, 8)).astype(np.int8)
    codes[:, :64, 0], codes[:, 64:, 0] = 100, -100
    np.save(folder / "codes.npy", codes)
    np.save(folder / "scales.npy", rng.uniform(0.04, 0.06, SHAPE).astype(np.float32))
    told = {"crs": "EPSG:32633", "transform": PLACE}
    (folder / "grid.json").write_text(json.dumps(told))
    store = folder / "published.zarr"
    prepared = prepare_adoption(AdoptRequest(str(store), YEAR, "v1", folder=folder, tile=64))
    prepared.create_store()
    maker = prepared.maker.open(Storage(str(store)), 1)
    for tile in prepared.job.tiles:
        maker.make(tile, None, Meter(lambda **_: None), lambda: None)
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"] = {
        name: value for name, value in root["attributes"].items() if name.startswith("geoemb:")
    }
    (store / "zarr.json").write_text(json.dumps(root))
    shutil.rmtree(store / "records", ignore_errors=True)
    return str(store)


def test_a_map_of_a_published_mosaic(tmp_path: Path, run: jobs.Run) -> None:
    store = publish(tmp_path)
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(0, SHAPE[0], 120), rng.integers(0, SHAPE[1], 120)
    lon, lat = to_lonlat(33).transform(500_005 + 10 * cols, 4_999_995 - 10 * rows)
    lines = [
        f"{x},{y},{'west' if col < 64 else 'east'}"
        for x, y, col in zip(lon, lat, cols, strict=True)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["lon,lat,label", *lines]))
    head, made = tmp_path / "west.head", tmp_path / "map.zarr"
    code, told = run("train", f"--store={store}", f"--labels={tmp_path}/labels.csv",
                     f"--year={YEAR}", f"--out={head}")  # fmt: skip
    assert code == 0, told
    corners: Any = to_lonlat(33).transform([500_000, 501_280], [4_999_040, 5_000_000])
    region = f"{corners[0][0]},{corners[1][0]},{corners[0][1]},{corners[1][1]}"
    code, told = run("map", f"--store={store}", f"--head={head}", f"--region={region}",
                     f"--year={YEAR}", f"--out={made}")  # fmt: skip
    assert (code, told["failed"]) == (0, 0)
    lying = read_map(Storage(str(made)))
    window = Window(33, (9_338_880 - 5_000_000) // 10, (500_000 - 151_840) // 10, *SHAPE)
    found = {c.code: c.name for c in lying.layout.classes}
    classes = lying.read_window(window, YEAR)
    mapped = np.vectorize(found.get)(classes)
    assert (mapped[:, :64] == "west").all()
    assert (mapped[:, 64:] == "east").all()
