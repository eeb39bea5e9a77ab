"""The official client reads adopted embeddings of TESSERA back, bit for bit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.adopting import prepare_adoption
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.requests import AdoptRequest
from tests.client.environment import LACKING, client_python
from tests.conftest import SHARED

SQUARE = SHARED / "data" / "downstream" / "tessera_v11_caldor_64.npz"

READ = """
import sys
import numpy as np
from geotessera.store import GeoTesseraZarr

folder, west, north = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
client = GeoTesseraZarr(folder + "/store")
assert client.years == [2017, 2018, 2019, 2020, 2021, 2022], client.years
zone = client.open_zone(zone=10)
square = zone.sel(x=slice(west, west + 640), y=slice(north, north - 640)).sel(time=2022)
codes, scales = np.load(folder + "/codes.npy"), np.load(folder + "/scales.npy")
assert np.array_equal(np.moveaxis(square["embeddings"].values, 0, -1), codes)
assert np.array_equal(square["scales"].values, scales)
"""


@pytest.mark.timeout(1800)
def test_real_embeddings_come_back_bit_for_bit(tmp_path: Path) -> None:
    if not SQUARE.is_file():
        pytest.skip("the real square is not beside this checkout (../shared/data/downstream)")
    python = client_python()
    if python is None:
        pytest.skip(LACKING)
    with np.load(SQUARE) as square:
        at = int(np.flatnonzero(square["years"] == 2022)[0])
        transform = square["transform"].tolist()
        arrays = {"codes": square["embeddings"][at], "scales": square["scales"][at]}
        arrays["s2"] = square["s2_obs_count"][at]
        crs = f"EPSG:{square['epsg']}"
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values)
    (tmp_path / "grid.json").write_text(json.dumps({"crs": crs, "transform": transform}))
    request = AdoptRequest(
        str(tmp_path / "store"),
        2022,
        "tessera-v1.1",
        codes=tmp_path / "codes.npy",
        scales=tmp_path / "scales.npy",
        georef=tmp_path / "grid.json",
        observations_s2=tmp_path / "s2.npy",
    )
    prepared = prepare_adoption(request)
    prepared.create_store()
    maker = prepared.maker.open(Storage(request.store), 1)
    for tile in prepared.job.tiles:
        maker.make(tile, None, Meter(lambda **_: None), lambda: None)
    words = [python, "-c", READ, str(tmp_path), str(transform[2]), str(transform[5])]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
