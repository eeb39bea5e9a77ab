"""Runs `checks.py` with the official client, which lives in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.publishing.icechunk import IcechunkRequest
from tessera_mosaic.pipeline.publishing.publish import publish
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, NORTH_EDGE, WEST_EDGE, WIDTH
from tests.client.environment import LACKING, client_python
from tests.samples import DEPTHS, EQUATOR_ROW, SIDE, TILES, YEARS, Sample, write_sample

CHECKS = Path(__file__).with_name("checks.py")


def describe(sample: Sample, folder: Path) -> None:
    """Write down what the store holds, for an environment that has no code of ours."""
    attributes = json.loads(sample.mosaic.storage.read("zarr.json"))["attributes"]
    told = {
        "store": sample.mosaic.storage.url,
        "icechunk": str(folder / "versions"),
        "side": SIDE,
        "depths": DEPTHS,
        "years": sample.mosaic.years,
        "written_years": YEARS,
        "model": attributes["geoemb:model"],
        "version": attributes["geoemb:build_version"],
        "west_edge": WEST_EDGE,
        "north_edge": NORTH_EDGE,
        "shape": [HEIGHT, WIDTH],
        "equator_row": EQUATOR_ROW,
        "tiles": [[tile.zone, tile.row, tile.col] for tile in TILES],
    }
    (folder / "sample.json").write_text(json.dumps(told))
    for (tile, year), put in sample.tiles.items():
        name = f"{tile.zone}-{tile.row}-{tile.col}-{year}.npz"
        np.savez(folder / name, codes=put.codes, scales=put.scales, **put.counts)


@pytest.mark.timeout(1800)
def test_official_client(tmp_path: Path) -> None:
    python = client_python()
    if python is None:
        pytest.skip(LACKING)
    sample = write_sample(Storage(str(tmp_path / "store")))
    publish(sample.mosaic.storage.url, icechunk=IcechunkRequest(str(tmp_path / "versions")))
    describe(sample, tmp_path)
    command = [python, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", "-rs",
               "--noconftest",
               "-o", "python_files=checks.py", "-o", "python_functions=check_*",
               f"--rootdir={CHECKS.parent}", "--import-mode=importlib", str(CHECKS)]  # fmt: skip
    ran = subprocess.run(
        command,
        env=os.environ | {"SAMPLE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr
