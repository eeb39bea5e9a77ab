"""Two mosaics beside one another: what is equal, how far apart, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tessera_mosaic.pipeline.downstream.compare import CompareRequest, compare
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store
from tessera_mosaic.pipeline.tiling.lattice import lonlat_bounds
from tessera_mosaic.pipeline.tiling.ownership import owned
from tests import jobs
from tests.samples import SIDE, TILES, identity, pixels, write_sample, write_tile

YEAR = 2018
TILE = TILES[0]
REGION = ",".join(f"{edge:.6f}" for edge in lonlat_bounds(TILE.window))


def test_what_differs_is_counted_and_drawn(tmp_path: Path, run: jobs.Run) -> None:
    one = write_sample(Storage(str(tmp_path / "one")), TILES[:1], [YEAR]).mosaic
    put = pixels(TILE, YEAR)
    # What is written beyond the meridian counts for the zone beside.
    mine = owned(TILE.window, margin=0)
    whole = np.isfinite(put.scales) & mine
    other = create_store(Storage(str(tmp_path / "other")), Layout(SIDE), identity(), [YEAR], [31])
    codes, scales = put.codes.copy(), put.scales.copy()
    codes[0, :10] = -codes[0, :10]
    scales[1, :10] *= 2
    scales[2, :7], scales[3, :5] = np.nan, np.inf
    rng = np.random.default_rng(5)
    noise = rng.integers(-20, 21, (20, SIDE, 128))
    codes[40:60] = np.clip(codes[40:60].astype(int) + noise, -127, 127)
    # A pixel that nothing is said of in the first.
    scales[70, 35] = 0.1
    write_tile(other, TILE, YEAR, put.__class__(codes, scales, put.counts))
    words = ["compare", one.storage.url, other.storage.url, f"--region={REGION}", f"--year={YEAR}",
             f"--out={tmp_path}/out"]  # fmt: skip
    code, told = run(*words)
    assert code == 0
    both = whole & np.isfinite(scales)
    here, there = put.codes.astype(float), codes.astype(float)
    with np.errstate(invalid="ignore"):
        cosine = (here * there).sum(2) / np.sqrt((here**2).sum(2) * (there**2).sum(2))
    equal = both & (put.codes == codes).all(2)
    assert told["compared"] == both.sum()
    assert told["equal"] == equal.sum()
    assert told["equal_scales"] == (equal & (scales == put.scales)).sum()
    assert told["codes_equal"] == (put.codes == codes)[both].sum()
    assert told["states"]["embedded"] == {
        "embedded": both.sum(), "water": whole[2, :7].sum(), "nothing": whole[3, :5].sum()
    }  # fmt: skip
    assert told["states"]["nothing"]["embedded"] == 1
    for percent in (1, 5, 50):
        wanted = np.percentile(cosine[both], percent)
        assert told["cosine"][f"p{percent}"] == pytest.approx(wanted, abs=2e-4)
    assert told["cosine"]["least"] == pytest.approx(-1)
    assert told["scale_ratio"]["greatest"] == pytest.approx(2)
    assert told["tiles"][0]["tile"] == TILE.name
    assert json.loads((tmp_path / "out/compare.json").read_text()) == told
    assert (tmp_path / "out/tiles.csv").read_text().splitlines()[1].startswith(TILE.name)
    with rasterio.open(tmp_path / "out/cosine-utm31.tif") as file:
        col, row = ~file.transform @ (TILE.window.west, TILE.window.north)
        drawn = file.read(1)[int(row) : int(row) + SIDE, int(col) : int(col) + SIDE]
        assert file.crs == "EPSG:32631"
    np.testing.assert_allclose(drawn[both], cosine[both], atol=1e-6)
    assert np.isnan(drawn[~both]).all()


def test_mosaics_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    for name, dims in (("one", 128), ("other", 64)):
        create_store(Storage(str(tmp_path / name)), Layout(SIDE, dims), identity(), [YEAR], [31])
    asked = CompareRequest(str(tmp_path / "one"), str(tmp_path / "other"), REGION, YEAR)
    with pytest.raises(BadInput, match=r"128 values a pixel and .* has 64: they cannot be"):
        compare(asked)
