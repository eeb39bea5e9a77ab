"""What changed between two years, on real embeddings of a fire and on made ones of two zones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import zarr
from numpy.typing import NDArray

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream.change import (
    NOTHING,
    Noise,
    PixelState,
    cosines_of,
    pixel_states,
)
from tessera_mosaic.pipeline.downstream.map_pixels import MapPixels
from tessera_mosaic.pipeline.downstream.map_store import open_map
from tessera_mosaic.pipeline.downstream.year_pairs import even_squares, spread_out
from tessera_mosaic.pipeline.errors import BadInput, StoreMismatch
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.records import read_record
from tessera_mosaic.pipeline.mosaic.layout import COUNTS
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.tiling.ownership import owned
from tests import caldor, jobs, samples
from tests.pipeline.downstream.two_years import (
    FROM,
    TILES,
    TO,
    Pair,
    pair_of_years,
    write_pair,
)

YEARS = (2020, 2022)


def words(folder: Path, out: str, *more: str) -> list[str]:
    """Words of a command that compares the square that burned."""
    return [
        *("changed", f"--store={folder / 'mosaic.zarr'}", "--from=2020", "--to=2022"),
        *(f"--region={folder / 'square.geojson'}", f"--out={folder / out}", *more),
    ]


@pytest.fixture(scope="module")
def burn(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the mosaic of the square in both years, and its change."""
    folder = tmp_path_factory.mktemp("burn")
    caldor.mosaic(shared, folder / "mosaic.zarr", (2020, 2021, 2022))
    caldor.region(folder / "square.geojson")
    assert main(words(folder, "changed")) == 0
    return folder


def ranked_right(score: NDArray[np.floating[Any]], truth: NDArray[np.bool_]) -> float:
    """Area under the curve: how often a pixel that burned has a higher score than another."""
    order = np.argsort(np.argsort(score.ravel()))[truth.ravel()]
    burned, others = int(truth.sum()), int((~truth).sum())
    return float((order.sum() - burned * (burned - 1) / 2) / (burned * others))


def test_the_fire_is_found(burn: Path, shared: Path) -> None:
    made = open_map(str(burn / "changed"))
    value = made.read_window(caldor.SQUARE, 2022, "value")
    cosine = made.read_window(caldor.SQUARE, 2022, "cosine")
    assert (made.read_window(caldor.SQUARE, 2022, "state") == PixelState.COMPARED).all()
    assert ranked_right(value, caldor.burned(shared)) >= 0.93
    told = caldor.square(shared)
    one, other = (
        told["embeddings"][told["years"].tolist().index(year)].astype(np.float64) for year in YEARS
    )
    expected = (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
    np.testing.assert_allclose(cosine, expected, rtol=1e-6)
    noise = json.loads((burn / "changed/baseline-2022.json").read_text())["noise"]
    np.testing.assert_allclose(
        value, (np.log(1 - expected) - noise["middle"]) / noise["spread"], rtol=1e-5, atol=1e-5
    )


def test_the_shift_of_the_years_is_told_and_left(burn: Path, shared: Path) -> None:
    told = json.loads((burn / "changed/report-2022.json").read_text())
    square = caldor.square(shared)
    one, other = (
        (square["embeddings"][at] * square["scales"][at][..., None].astype(float)).mean((0, 1))
        for at in (square["years"].tolist().index(year) for year in YEARS)
    )
    shift = np.linalg.norm(other - one) / np.linalg.norm(one)
    assert told["baseline"]["shift"] == pytest.approx(shift, abs=1e-4)
    assert "was not taken out" in told["notes"][0]
    # Half of the square burned: what is left of it is no measure of calm ground.
    assert "no pixel could lie beyond the noise" in told["notes"][1]
    page = (burn / "changed/report-2022.html").read_text()
    assert "not estimates of areas" in page
    assert 'src="http' not in page


def test_it_is_a_map_like_any_other(
    burn: Path, run: jobs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = shutil.copytree(burn / "changed", tmp_path / "changed")
    pixels = MapPixels(str(made))
    assert (pixels.kind, pixels.year, pixels.unit[:7]) == ("value", 2022, "spreads")
    group = zarr.open_group(made / "utm10", mode="r")
    assert {"value", "cosine", "state"} <= set(group.array_keys())
    states = zarr.open_group(made, mode="r").attrs["states"]
    assert states[1] == {"code": 1, "name": "radar in one year alone"}
    with rasterio.open(made / "utm10-2022.vrt") as file:
        assert np.isfinite(file.read(1)).sum() == 4096
    tile = next(iter(sorted((made / "cog").glob("*.tif"))))
    with rasterio.open(tile) as file:
        assert file.tags()["COMPARED_WITH_YEAR"] == "2020"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    item = json.loads((made / f"stac/{tile.stem}.json").read_text())
    assert item["properties"]["tessera_mosaic:compared_with_year"] == 2020
    code, told = run("status", f"--store={made}")
    assert (code, told["done"], told["planned"]) == (0, 4, 4)
    assert run("verify", f"--store={made}")[0] == 0
    broken = next(iter(sorted((made / "utm10/value/c").rglob("*/*/*"))))
    broken.write_bytes(broken.read_bytes()[:-1] + b"x")
    (made / "baseline-2022.json").unlink()
    code, told = run("verify", f"--store={made}")
    assert code == 3
    assert [each["problem"] for each in told["problems"]] == ["missing", "checksum"]
    assert "`changed` writes it" in told["problems"][0]["detail"]
    tile_name = told["problems"][1]["tile"]
    assert main(words(burn, "x", f"--out={made}", "--overwrite", tile_name)) == 0
    assert run("verify", f"--store={made}")[0] == 0
    mended, first = (without_names(jobs.contents(of)) for of in (made, burn / "changed"))
    assert mended == first


def test_change_has_the_same_bytes_whoever_makes_it(burn: Path) -> None:
    expected = jobs.contents(burn / "changed")
    ended = jobs.run_process(words(burn, "two", "--workers=2"))
    assert ended.code == 0, ended.error
    assert without_names(jobs.contents(burn / "two")) == without_names(expected)
    store = burn / "killed"
    jobs.kill_when(words(burn, "killed"), lambda: jobs.objects(store) >= 25)
    assert main(words(burn, "killed")) == 0
    assert without_names(jobs.contents(store)) == without_names(expected)


def without_names(found: dict[str, Any]) -> dict[str, Any]:
    """A map without what is named after its place."""
    return {key: of for key, of in found.items() if not key.startswith(("stac/", "report"))}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--to=2020",), "--to 2020: choose a year after 2020"),
        (("--from=2015",), "--from 2015: Sentinel-2 has whole years from"),
        (("--to=2023",), "2023"),
        (("--region=-120.3,38.7,-120.29,38.71",), "has no embeddings of 2020 there"),
        (("--from=2021", "--out=changed"), "holds the change from 2020 to 2022, not from 2021"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    burn: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
) -> None:
    more = tuple(word.replace("--out=changed", f"--out={burn / 'changed'}") for word in more)
    before = jobs.contents(burn / "changed")
    assert main(words(burn, "refused", *more)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (burn / "refused").exists()
    assert jobs.contents(burn / "changed") == before


def asked(store: Path, out: Path, region: str = "5.999,-0.001,6.001,0.001") -> tm.ChangedRequest:
    """The region of the four tiles, which lies on both sides of 6 degrees east."""
    return tm.ChangedRequest(str(store), FROM, TO, region, str(out))


def expected_states(held: Pair, tile: Tile) -> NDArray[np.uint8]:
    """What `state` should hold of a tile, reckoned pixel by pixel."""
    states = np.full(tile.window.shape, NOTHING, np.uint8)
    years = [held.get((tile, year)) for year in samples.YEARS]
    mine = owned(tile.window, margin=0)
    for at in np.argwhere(mine):
        here = tuple(at)
        there = [of is not None and bool(np.isfinite(of.scales[here])) for of in years]
        if any(there):
            states[here] = PixelState.NOT_IN_BOTH
        if all(there):
            radar = [
                sum(int(of.counts[name][here]) for name in COUNTS[1:]) > 0
                for of in years
                if of is not None
            ]
            states[here] = PixelState.COMPARED if radar[0] == radar[1] else PixelState.RADAR_GAP
    return states


def test_two_zones_with_gaps_equal_brute_force(tmp_path: Path) -> None:
    held = pair_of_years()
    gap, lost = TILES[0], TILES[3]
    for name in COUNTS[1:]:
        held[gap, TO].counts[name][:, 64:] = 0
    del held[lost, TO]
    write_pair(tmp_path / "m.zarr", held)
    found = tm.changed(asked(tmp_path / "m.zarr", tmp_path / "out"))
    assert (found.outcome.done, found.outcome.failed) == (4, 0)
    made = open_map(str(tmp_path / "out"))
    noise, sums = found.baseline.noise, dict.fromkeys(PixelState, 0)
    beyond = 0
    for tile in TILES:
        states = expected_states(held, tile)
        np.testing.assert_array_equal(made.read(tile, TO, "state"), states)
        compared = states == PixelState.COMPARED
        cosine, value = (made.read(tile, TO, name) for name in ("cosine", "value"))
        np.testing.assert_array_equal(np.isfinite(cosine), compared)
        np.testing.assert_array_equal(np.isfinite(value), compared)
        for state in PixelState:
            sums[state] += int((states == state).sum())
        if compared.any():
            one, other = (held[tile, year].codes[compared].T for year in samples.YEARS)
            np.testing.assert_array_equal(cosine[compared], cosines_of((one, other)).astype("f4"))
            np.testing.assert_array_equal(value[compared], noise.change(cosines_of((one, other))))
            beyond += int((value[compared] >= 3).sum())
    assert min(sums.values()) > 0
    totals = found.totals
    assert list(sums.values()) == [totals.compared, totals.radar_gap, totals.not_in_both]
    assert totals.changed == beyond
    assert found.baseline.pixels == {state.label: sums[state] for state in PixelState} | {
        # Of tiles that one year lacks nothing is sampled.
        PixelState.NOT_IN_BOTH.label: 0
    }
    assert "radar saw 100% of the pixels in 2018" in found.notes[1]
    assert "in one year alone are masked" in found.notes[1]


def test_a_year_without_radar_is_masked_whole_and_told(tmp_path: Path) -> None:
    held = pair_of_years()
    for tile in TILES:
        for name in COUNTS[1:]:
            held[tile, TO].counts[name][:] = 0
    write_pair(tmp_path / "m.zarr", held)
    with pytest.raises(BadInput, match=r"0 pixels .* radar saw 100% of the pixels in 2018 and 0%"):
        tm.changed(asked(tmp_path / "m.zarr", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    # Without radar in either year nothing is masked.
    for tile in TILES:
        for name in COUNTS[1:]:
            held[tile, FROM].counts[name][:] = 0
    write_pair(tmp_path / "none.zarr", held)
    found = tm.changed(asked(tmp_path / "none.zarr", tmp_path / "out"))
    assert found.totals.radar_gap == 0
    assert found.totals.compared > 10_000


def test_a_tile_that_the_mosaic_failed_on_is_named_and_made_later(tmp_path: Path) -> None:
    held = pair_of_years()
    mosaic = write_pair(tmp_path / "m.zarr", held)
    broken = TILES[1]
    samples.fail_tile(mosaic, broken, TO)
    request = replace(asked(tmp_path / "m.zarr", tmp_path / "out"), pacing=jobs.QUICK)
    found = tm.changed(request)
    assert (found.outcome.done, found.outcome.failed) == (3, 1)
    record = read_record(Storage(str(tmp_path / "out")), TO, broken)
    assert record is not None
    assert record.error is not None
    assert "make it there first" in record.error.message
    samples.write_tile(mosaic, broken, TO, held[broken, TO])
    samples.refresh(mosaic, TO)
    # The noise is that of the first launch, so that tiles go together.
    later = tm.changed(request)
    assert (later.outcome.done, later.outcome.failed) == (4, 0)
    assert later.baseline == found.baseline
    with pytest.raises(StoreMismatch, match="over another region, from which its noise"):
        tm.changed(replace(request, region="5.999,0.0001,6.001,0.001"))


def test_noise_is_that_of_calm_ground() -> None:
    rng = np.random.default_rng(0)
    calm = 1 - np.exp(rng.normal(-3.5, 0.3, 100_000))
    noise = Noise.of(calm)
    assert (noise.middle, noise.spread) == pytest.approx((-3.5, 0.3), abs=0.01)
    assert (noise.change(calm) >= 3).mean() < 0.003
    # A tenth that changed hardly moves it; in all of that tenth change is seen.
    changed = rng.uniform(0.2, 0.7, 10_000)
    mixed = Noise.of(np.concatenate([calm[:90_000], changed]))
    assert (mixed.middle, mixed.spread) == pytest.approx((-3.5, 0.3), abs=0.06)
    assert (mixed.change(changed) >= 3).all()
    same = Noise.of(np.ones(1000))
    assert np.isfinite(same.change(np.array([1.0, 0.0]))).all()


def test_counts_that_nobody_knows_mask_nothing() -> None:
    wanted = np.ones((1, 3), bool)
    scales = np.full((1, 3), 0.1, np.float32), np.array([[0.1, np.inf, np.nan]], np.float32)
    none: dict[str, NDArray[np.uint16]] = {}
    assert pixel_states(wanted, scales, (none, none)).tolist() == [[0, 2, 2]]
    one = {name: np.uint16([[9, 9, 9]]) for name in COUNTS}
    unknown = {name: np.uint16([[0, 0, 0]]) for name in COUNTS}
    assert pixel_states(wanted, (scales[0], scales[0]), (one, unknown)).tolist() == [[0, 0, 0]]
    optical = unknown | {"s2": np.uint16([[5, 5, 0]])}
    assert pixel_states(wanted, (scales[0], scales[0]), (one, optical)).tolist() == [[1, 1, 0]]
    radar = {"s1_ascending": np.uint16([[0, 3, 0]])}
    both = {"s1_ascending": np.uint16([[2, 3, 0]])}
    assert pixel_states(wanted, (scales[0], scales[0]), (radar, both)).tolist() == [[1, 0, 0]]


def test_samples_are_spread_over_tiles_and_squares() -> None:
    tiles = [Tile(31, row, 0) for row in range(1000)]
    first = spread_out(tiles, 200)[:200]
    assert [tile.row for tile in first] == list(range(0, 1000, 5))
    assert sorted(spread_out(tiles, 200)) == tiles
    assert spread_out(tiles[:7], 200) == tiles[:7]
    for across, expected in ((1, 1), (8, 64), (16, 64), (64, 64), (128, 64)):
        squares = even_squares(np.ones((across, across), bool))
        assert squares.sum() == expected
        assert squares.any(axis=0).sum() == min(across, 8)


def test_a_sample_of_little_ground_meets_it() -> None:
    """A valley of 640 m in a tile of 20 km, which squares 2.5 km apart would miss."""
    held = np.zeros((64, 64), bool)
    held[9:11, 17:19] = True
    assert (even_squares(held) & held).sum() == 4
    held[:32] = True
    assert (even_squares(held) & held).sum() == 32
