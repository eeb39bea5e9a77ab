"""Embeddings that were made elsewhere lie where they belong, byte for byte, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer

from tessera_mosaic.adopting import PreparedAdoption, prepare_adoption
from tessera_mosaic.pipeline.errors import BadInput, StoreMismatch
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, TileResult, write_record
from tessera_mosaic.pipeline.mosaic.store import Mosaic, mosaic_at
from tessera_mosaic.pipeline.tiling.lattice import (
    NORTH_EDGE,
    WEST_EDGE,
    Window,
    from_lonlat,
    to_lonlat,
    window_of_bounds,
)
from tessera_mosaic.requests import AdoptRequest
from tests import jobs

SIDE, YEAR, DIMS = 64, 2023, 8
INF, NAN = np.float32(np.inf), np.float32(np.nan)


def embeddings(shape: tuple[int, int], seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Codes and scales of pixels, with water and gaps."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, (*shape, DIMS)).astype(np.int8)
    scales = rng.uniform(0.01, 0.1, shape).astype(np.float32)
    scales[rng.random(shape) < 0.1] = NAN
    scales[rng.random(shape) < 0.1] = INF
    return codes, scales


def write_grid(folder: Path, crs: str, transform: list[float], seed: int = 0,
               shape: tuple[int, int] = (90, 70)) -> tuple[NDArray[Any], NDArray[Any]]:  # fmt: skip
    """Arrays with their place, as `encode` writes them; what they hold."""
    folder.mkdir(parents=True, exist_ok=True)
    codes, scales = embeddings(shape, seed)
    np.save(folder / "codes.npy", codes)
    np.save(folder / "scales.npy", scales)
    (folder / "grid.json").write_text(json.dumps({"crs": crs, "transform": transform}))
    return codes, scales


def request(store: Path, folder: Path | None, **more: Any) -> AdoptRequest:
    options = {"tile": SIDE, "folder": folder} | more
    return AdoptRequest(str(store), YEAR, "tessera-v1.1", **options)


def adopted(asked: AdoptRequest) -> Mosaic:
    """The mosaic once every tile is made, without a runner."""
    prepared = prepare_adoption(asked)
    prepared.create_store()
    storage = Storage(asked.store)
    prepared.job.tiles.write(storage, asked.year)
    for tile, made in results(prepared).items():
        record = Record.of(tile, asked.year, prepared.maker.fingerprint, made)
        write_record(storage, tile, record)
    return mosaic_at(asked.store)


def results(prepared: PreparedAdoption) -> dict[Any, TileResult]:
    maker = prepared.maker.open(Storage(prepared.job.store), 1)
    made = {}
    for tile in prepared.job.tiles:
        result = maker.make(tile, None, Meter(lambda **_: None), lambda: None)
        assert result is not None
        made[tile] = result
    return made


def kept(codes: NDArray[Any], scales: NDArray[Any]) -> NDArray[Any]:
    """Codes of the pixels that have a scale."""
    return np.where(np.isfinite(scales)[..., None], codes, 0)


@pytest.mark.parametrize(
    ("crs", "north", "canonical"),
    [("EPSG:32633", 5_000_000, 5_000_000), ("EPSG:32733", 9_999_500, -500),
     ("EPSG:32633", 450, 450), ("EPSG:32601", 7_000_000, 7_000_000)],
)  # fmt: skip
def test_pixels_of_the_lattice_are_taken_bit_for_bit(
    tmp_path: Path, crs: str, north: int, canonical: int
) -> None:
    codes, scales = write_grid(tmp_path / "made", crs, [10, 0, 500_120, 0, -10, north])
    mosaic = adopted(request(tmp_path / "store", tmp_path / "made"))
    zone = int(crs[-2:])
    window = Window(zone, (NORTH_EDGE - canonical) // 10, (500_120 - WEST_EDGE) // 10, 90, 70)
    found = mosaic.read_window(window, YEAR)
    np.testing.assert_array_equal(found.codes, kept(codes, scales))
    np.testing.assert_array_equal(found.scales, scales)
    assert found.counts == {}
    around = Window(zone, window.row - 5, window.col - 5, 100, 80)
    assert np.isfinite(mosaic.read_window(around, YEAR).scales).sum() == np.isfinite(scales).sum()


def test_counts_are_kept_where_they_are_known_and_have_no_array_where_they_are_not(
    tmp_path: Path,
) -> None:
    made, store = tmp_path / "made", tmp_path / "store"
    write_grid(made, "EPSG:32633", [10, 0, 500_000, 0, -10, 5_000_000])
    counts = np.random.default_rng(1).integers(0, 99, (90, 70)).astype(np.uint16)
    np.save(tmp_path / "s2.npy", counts)
    arrays = {name: made / f"{name}.npy" for name in ("codes", "scales")}
    more = {**arrays, "georef": made / "grid.json", "folder": None}
    mosaic = adopted(request(store, **more, observations_s2=tmp_path / "s2.npy"))
    window = Window(33, (NORTH_EDGE - 5_000_000) // 10, (500_000 - WEST_EDGE) // 10, 90, 70)
    assert list(mosaic.read_window(window, YEAR).counts) == ["s2"]
    np.testing.assert_array_equal(mosaic.read_window(window, YEAR).counts["s2"], counts)
    assert mosaic == mosaic_at(str(store))
    assert not list(store.rglob("observations_s1*"))
    with pytest.raises(StoreMismatch, match="observed"):
        adopted(request(store, made, overwrite=tuple(t.name for t in tiles_of(store, made))))


def tiles_of(store: Path, made: Path) -> list[Any]:
    return list(prepare_adoption(request(store.with_name("other"), made)).job.tiles)


def test_a_scale_that_is_none_is_no_embedding_and_is_counted(tmp_path: Path) -> None:
    made = tmp_path / "made"
    _, scales = write_grid(made, "EPSG:32633", [10, 0, 500_000, 0, -10, 5_000_000])
    scales[0, :6] = [0, -0.1, 1, 1e6, -INF, 0.5]
    np.save(made / "scales.npy", scales)
    prepared = prepare_adoption(request(tmp_path / "store", made))
    prepared.create_store()
    made_of = results(prepared).values()
    assert sum(result.pixels["refused"] for result in made_of) == 5
    window = Window(33, (NORTH_EDGE - 5_000_000) // 10, (500_000 - WEST_EDGE) // 10, 1, 6)
    found = mosaic_at(str(tmp_path / "store")).read_window(window, YEAR).scales
    np.testing.assert_array_equal(found, [[INF, INF, INF, INF, INF, np.float32(0.5)]])


@pytest.mark.parametrize(
    ("crs", "transform", "said"),
    [
        ("EPSG:32633", [10, 0, 500_003.2, 0, -10, 5_000_001], "lie 3.200 m east and 1.000 m north"),
        ("EPSG:32733", [10, 0, 499_998, 0, -10, 9_000_004], "lie 2.000 m west and 4.000 m north"),
        (
            "EPSG:32633",
            [20, 0, 500_000, 0, -20, 5_000_000],
            "codes.npy are 20 by 20 m, not 10",
        ),
        (
            "EPSG:3035",
            [10, 0, 4_500_000, 0, -10, 3_000_000],
            "EPSG:3035 of codes.npy is no UTM",
        ),
    ],
)
def test_other_pixels_are_refused_with_how_far_off_they_are_or_the_nearest_is_taken(
    tmp_path: Path, crs: str, transform: list[float], said: str
) -> None:
    made = tmp_path / "made"
    codes, scales = write_grid(made, crs, transform, shape=(30, 40))
    with pytest.raises(BadInput, match=f"^nearest: without it pixels .*{said}"):
        prepare_adoption(request(tmp_path / "store", made))
    assert not (tmp_path / "store").exists()
    mosaic = adopted(request(tmp_path / "store", made, nearest=True))
    a, _, west, _, e, north = transform
    centre = west + 20 * a, north + 15 * e
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*centre)
    zone = mosaic.zones[0]
    x, y = from_lonlat(zone).transform(lon, lat)
    window = window_of_bounds(zone, (x - 60, y - 60, x + 60, y + 60))
    found = mosaic.read_window(window, YEAR)
    there = Transformer.from_crs(window.crs, crs, always_xy=True)
    for row, col in np.ndindex(window.shape):
        back = there.transform(window.west + 10 * col + 5, window.north - 10 * row - 5)
        i, j = int((back[1] - north) // e), int((back[0] - west) // a)
        np.testing.assert_array_equal(found.scales[row, col], scales[i, j])
        np.testing.assert_array_equal(found.codes[row, col], kept(codes, scales)[i, j])


def test_a_later_source_into_a_done_tile_is_refused_by_name(tmp_path: Path) -> None:
    store, made = tmp_path / "store", tmp_path / "made"
    write_grid(made / "a", "EPSG:32633", [10, 0, 500_000, 0, -10, 5_000_000])
    adopted(request(store, made))
    again = prepare_adoption(request(store, made))
    assert again.job.overwrite == ()
    name = next(iter(again.job.tiles)).name
    write_grid(made / "b", "EPSG:32633", [10, 0, 500_000, 0, -10, 5_000_000], seed=1)
    with pytest.raises(BadInput, match=rf"overwrite: .*\(a/codes.npy, a/scales.npy\): .*{name}"):
        prepare_adoption(request(store, made))
    every = tuple(tile.name for tile in again.job.tiles)
    assert prepare_adoption(request(store, made, overwrite=every)).job.overwrite == every


def test_of_folders_named_after_years_that_of_the_year_counts(tmp_path: Path) -> None:
    for year in (YEAR, YEAR - 1):
        place = [10, 0, 500_000, 0, -10, 5_000_000]
        write_grid(tmp_path / f"made/{year}/a", "EPSG:32633", place, seed=year)
    prepared = prepare_adoption(request(tmp_path / "store", tmp_path / "made"))
    assert [grid.name for grid in prepared.maker.grids] == [f"{YEAR}/a/codes.npy"]
    with pytest.raises(BadInput, match=r"no cell grid_LON_LAT.npy of 2019"):
        prepare_adoption(AdoptRequest(str(tmp_path), 2019, "v1", folder=tmp_path / "made"))


def test_what_holds_other_embeddings_is_refused(tmp_path: Path) -> None:
    store, made = tmp_path / "store", tmp_path / "made"
    write_grid(made, "EPSG:32633", [10, 0, 500_000, 0, -10, 5_000_000])
    adopted(request(store, made))
    other = AdoptRequest(str(store), 2022, "another", folder=made, tile=SIDE)
    with pytest.raises(StoreMismatch, match=r"adopted.model: .*another.*tessera-v1"):
        prepare_adoption(other).create_store()


# Published cells.


def cell(tree: Path, lon: float, lat: float, value: int, water: bool = False) -> Window:
    """A cell of 0.1 degrees in a tree, all of whose codes are one value; its pixels."""
    zone = int((lon + 180) // 6) + 1
    south = 10_000_000 if lat < 0 else 0
    corners = [(lon + x, lat + y) for x in (-0.05, 0.05) for y in (-0.05, 0.05)]
    xs, ys = from_lonlat(zone).transform(*zip(*corners, strict=True))
    window = window_of_bounds(zone, (min(xs), min(ys), max(xs), max(ys)))
    name = f"grid_{lon:.2f}_{lat:.2f}"
    folder = tree / f"global_0.1_degree_representation/{YEAR}" / name
    folder.mkdir(parents=True)
    codes = np.full((*window.shape, DIMS), value, np.int8)
    scales = np.full(window.shape, 0.05, np.float32)
    scales[3, 3] = NAN
    np.save(folder / f"{name}.npy", codes)
    np.save(folder / f"{name}_scales.npy", scales)
    masks = tree / "global_0.1_degree_tiff_all"
    masks.mkdir(exist_ok=True)
    land = np.full(window.shape, 1, np.uint8)
    land[200:210, 200:210] = 0
    a, b, c, d, e, f = window.transform
    with rasterio.open(
        masks / f"{name}.tiff", "w", driver="GTiff", height=window.height, width=window.width,
        count=1, dtype="uint8", crs=f"EPSG:32{7 if lat < 0 else 6}{zone:02d}",
        transform=rasterio.Affine(a, b, c, d, e, f + south),
    ) as file:  # fmt: skip
        file.write(land, 1)
    return window


@pytest.mark.parametrize("lat", [60.05, -60.15])
def test_a_pixel_comes_from_the_cell_that_owns_its_centre(tmp_path: Path, lat: float) -> None:
    windows = {value: cell(tmp_path / "tree", lon, lat + more, value) for value, (lon, more) in
               {1: (15.05, 0), 2: (15.15, 0), 3: (15.05, 0.1)}.items()}  # fmt: skip
    other = tmp_path / "tree/global_0.1_degree_representation/2020/grid_15.05_60.05"
    other.mkdir(parents=True)
    (other / "grid_15.05_60.05.npy").write_text("of another year, and broken")
    asked = AdoptRequest(str(tmp_path / "store"), YEAR, "v1", folder=tmp_path / "tree", tile=1024)
    mosaic = adopted(asked)
    water = embedded = 0
    for value, window in windows.items():
        found = mosaic.read_window(window, YEAR)
        east = window.west + 10 * np.arange(window.width) + 5.0
        north = window.north - 10 * np.arange(window.height) - 5.0
        lon, at = to_lonlat(window.zone).transform(*np.meshgrid(east, north))
        owner = np.zeros(window.shape, int)
        owner[(lon >= 15.0) & (lon < 15.1) & (at >= lat - 0.05) & (at < lat + 0.05)] = 1
        owner[(lon >= 15.1) & (lon < 15.2) & (at >= lat - 0.05) & (at < lat + 0.05)] = 2
        owner[(lon >= 15.0) & (lon < 15.1) & (at >= lat + 0.05) & (at < lat + 0.15)] = 3
        finite = np.isfinite(found.scales)
        np.testing.assert_array_equal(found.codes[finite][:, 0], owner[finite])
        assert np.isnan(found.scales[200:210, 200:210]).all()
        mine = owner == value
        water += int(np.isnan(found.scales[mine]).sum())
        embedded += int(finite[mine].sum())
        # Land without a scale is no water.
        assert int((~finite & mine).sum()) in (100, 101)
    assert water == 300
    record = next(iter(Path(tmp_path / "store").rglob("tiles/utm33/*.json")))
    names = [name for name, _ in json.loads(record.read_bytes())["sources"]]
    assert any(name.endswith("_scales.npy") for name in names)
    assert any(name.endswith(".tiff") for name in names)


def test_a_cell_without_its_landmask_is_refused_by_name(tmp_path: Path) -> None:
    cell(tmp_path / "tree", 15.05, 80.05, 1)
    next((tmp_path / "tree").rglob("*.tiff")).unlink()
    with pytest.raises(BadInput, match=r"grid_15.05_80.05.npy has no landmask"):
        prepare_adoption(request(tmp_path / "store", tmp_path / "tree"))


# The whole job.


def test_the_job_resumes_and_nothing_else_writes_into_the_store(
    tmp_path: Path, run: jobs.Run, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, store = tmp_path / "made", tmp_path / "store"
    write_grid(made, "EPSG:32631", [10, 0, 500_000, 0, -10, 5_633_200])
    words = ["adopt", f"--from={made}", f"--year={jobs.YEAR}", "--model=v1.1", f"--tile={SIDE}",
             f"--store={store}"]  # fmt: skip
    code, told = run(*words)
    assert (code, told["done"], told["failed"]) == (0, 4, 0)
    first = jobs.contents(store)
    next(store.rglob("tiles/utm31/*.json")).unlink()
    (made / "codes.npy").touch()
    assert run(*words)[1]["tiles_kept"] == 3
    assert jobs.contents(store) == first
    assert {told["kind"] for told in run("verify", f"--store={store}")[1]["problems"]} <= {"border"}
    assert jobs.run_here(jobs.options(archive, store)) == 2
    assert "holds embeddings of v1.1, which were made elsewhere" in capsys.readouterr().err
    code, told = run("publish", f"--store={store}")
    assert code == 0
    assert "product: v1.1" in (store / "ATTRIBUTION.md").read_text()


def test_two_processes_that_were_killed_once_adopt_the_bytes_of_one(tmp_path: Path) -> None:
    made, one, two = (tmp_path / name for name in ("made", "one", "two"))
    write_grid(made, "EPSG:32631", [10, 0, 500_000, 0, -10, 5_633_200])
    adopted(AdoptRequest(str(one), YEAR, "v1.1", folder=made, tile=SIDE))
    words = ["adopt", f"--from={made}", f"--year={YEAR}", "--model=v1.1", f"--tile={SIDE}",
             f"--store={two}", "--workers=2"]  # fmt: skip
    jobs.kill_when(words, lambda: any((two / "utm31/embeddings").rglob("c/*/*/*")))
    ended = jobs.run_process(words)
    assert ended.code == 0, ended.error
    assert jobs.shards(two) == jobs.shards(one)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"transform": [10, 0, 5]}, "does not say where the grid lies"),
        ({"crs": "EPSG:1"}, "declares an unknown reference system"),
        ({"transform": [10, 0, 0, 0, 0, 0]}, "its transform has no pixels"),
    ],
)
def test_a_broken_description_is_told_in_one_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    write_grid(tmp_path, "EPSG:32633", [10, 0, 500_000, 0, -10, 5_000_000])
    told = json.loads((tmp_path / "grid.json").read_text()) | change
    (tmp_path / "grid.json").write_text(json.dumps(told))
    with pytest.raises(BadInput, match=said):
        prepare_adoption(request(tmp_path / "store", tmp_path))


def test_arrays_that_do_not_fit_together_are_told_in_one_line(tmp_path: Path) -> None:
    codes, scales = write_grid(tmp_path, "EPSG:32633", [10, 0, 500_000, 0, -10, 5_000_000])
    np.save(tmp_path / "scales.npy", scales[1:])
    with pytest.raises(BadInput, match=r"scales.npy is float32 \(89, 70\): scales of these codes"):
        prepare_adoption(request(tmp_path / "store", tmp_path))
    np.save(tmp_path / "codes.npy", codes.astype(np.float32))
    with pytest.raises(BadInput, match="codes are int8"):
        prepare_adoption(request(tmp_path / "store", tmp_path))
    np.save(tmp_path / "codes.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(BadInput, match=r"is no \.npy file of numbers"):
        prepare_adoption(request(tmp_path / "store", tmp_path))
