from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.simulation.landscape import CODES
from tessera_mosaic.pipeline.simulation.overpass import passes

SQUARE = Footprint("31UDS", 32631, 500_000, 5_632_000, 64, 64)
EAST = Footprint("31UES", 32631, 500_320, 5_632_000, 64, 64)
TINY = Simulation((SQUARE, EAST), s2_days=6, s1_days=6)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_archive(tmp_path_factory.mktemp("simulate") / "tiny", TINY).parent


def items(archive: Path, collection: str) -> list[dict[str, Any]]:
    """Items of a collection, reached through the catalogue's links; `at` is their folder."""
    catalogue = json.loads((archive / "catalog.json").read_text())
    [child] = [link["href"] for link in catalogue["links"] if f"/{collection}/" in link["href"]]
    path = archive / child
    found = []
    for link in json.loads(path.read_text())["links"]:
        if link["rel"] == "item":
            item = json.loads((path.parent / link["href"]).read_text())
            found.append(item | {"at": (path.parent / link["href"]).parent})
    return found


def read(item: dict[str, Any], asset: str) -> np.ndarray[Any, Any]:
    with rasterio.open(item["at"] / item["assets"][asset]["href"]) as file:
        return file.read(1)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_simulation_makes_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    simulate_archive(tmp_path / "again", TINY)
    assert contents(tmp_path / "again") == contents(archive)
    simulate_archive(tmp_path / "other", replace(TINY, seed=1))
    assert contents(tmp_path / "other").keys() == contents(archive).keys()
    scenes = [items(folder, "sentinel-2-l2a")[0] for folder in (archive, tmp_path / "other")]
    assert not np.array_equal(*(read(scene, "B04") for scene in scenes))


def test_an_archive_is_kept_and_nothing_else_is_overwritten(archive: Path) -> None:
    before = (archive / "catalog.json").stat().st_mtime_ns
    assert simulate_archive(archive, TINY) == archive / "catalog.json"
    assert (archive / "catalog.json").stat().st_mtime_ns == before
    with pytest.raises(BadInput, match="exists and is not this archive"):
        simulate_archive(archive, replace(TINY, seed=5))


def test_a_killed_simulation_is_begun_anew(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.partial" / "sentinel-2-l2a").mkdir(parents=True)
    (tmp_path / "tiny.partial" / "left.tif").write_bytes(b"half")
    simulate_archive(tmp_path / "tiny", TINY)
    assert contents(tmp_path / "tiny") == contents(archive)


def test_everything_says_that_it_is_simulated(archive: Path) -> None:
    catalogue = json.loads((archive / "catalog.json").read_text())
    assert catalogue["id"] == "simulated"
    for collection in ("sentinel-2-l2a", "sentinel-1-rtc"):
        for item in items(archive, collection):
            assert item["id"].startswith("SIMULATED_")
            assert item["properties"]["simulated"] is True
    for path in archive.rglob("*.tif"):
        with rasterio.open(path) as file:
            assert file.tags()["SIMULATED"] == "YES"


def test_items_describe_their_files(archive: Path) -> None:
    scenes = items(archive, "sentinel-2-l2a")
    assert len(scenes) == 12, "six days, two granules"
    for item in scenes + items(archive, "sentinel-1-rtc"):
        for asset in item["assets"].values():
            with rasterio.open(item["at"] / asset["href"]) as file:
                assert list(file.shape) == asset["proj:shape"]
                assert list(file.transform)[:6] == asset["proj:transform"]
                assert f"EPSG:{file.crs.to_epsg()}" == item["properties"]["proj:code"]
                assert file.profile["tiled"]
                assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    states = Counter(i["properties"]["sat:orbit_state"] for i in items(archive, "sentinel-1-rtc"))
    assert set(states) == {"ascending", "descending"}


def test_formats_are_those_of_the_public_archives(archive: Path) -> None:
    [scene, *_] = items(archive, "sentinel-2-l2a")
    [radar, *_] = items(archive, "sentinel-1-rtc")
    expected = {"B04": ("uint16", 10, 0), "B8A": ("uint16", 20, 0), "SCL": ("uint8", 20, 0)}
    for name, (dtype, pixel, nodata) in expected.items():
        with rasterio.open(scene["at"] / f"{name}.tif") as file:
            assert (file.dtypes[0], file.res[0], file.nodata) == (dtype, pixel, nodata)
    with rasterio.open(radar["at"] / "vv.tif") as file:
        assert (file.dtypes[0], file.res[0], file.nodata) == ("float32", 10, -32768)


def test_larger_files_have_overviews(tmp_path: Path) -> None:
    wide = Simulation((replace(SQUARE, height=300, width=600),), s2_days=1, s1_days=0)
    [scene] = items(simulate_archive(tmp_path / "wide", wide).parent, "sentinel-2-l2a")
    with rasterio.open(scene["at"] / "B02.tif") as file:
        assert file.overviews(1) == [2, 4]


def test_granules_of_one_pass_agree_where_they_overlap(archive: Path) -> None:
    scenes = items(archive, "sentinel-2-l2a")
    for west in scenes[:6]:
        [east] = [
            other
            for other in scenes[6:]
            if other["properties"]["datetime"] == west["properties"]["datetime"]
        ]
        assert np.array_equal(read(west, "SCL")[:, 16:], read(east, "SCL")[:, :16])
        numbers = read(west, "B04")[:, 32:].astype(float), read(east, "B04")[:, :32].astype(float)
        seen = numbers[0] > 0
        assert np.array_equal(seen, numbers[1] > 0)
        apart = np.abs(numbers[0] - numbers[1])[seen]
        assert 0 < apart.mean() < 100, "the same ground, each with its own noise"


def test_cloud_cover_is_counted_and_clouds_are_bright(tmp_path: Path) -> None:
    spec = Simulation((replace(SQUARE, height=128, width=128),), s2_days=20, s1_days=0)
    scenes = items(simulate_archive(tmp_path / "cloud", spec).parent, "sentinel-2-l2a")
    classes = Counter[int]()
    for scene in scenes:
        scl, blue = read(scene, "SCL"), read(scene, "B02")[::2, ::2]
        seen = scl > 0
        assert np.array_equal(seen, blue > 0)
        share = 100 * np.isin(scl[seen], (8, 9, 10)).mean()
        assert scene["properties"]["eo:cloud_cover"] == pytest.approx(share, abs=1e-5)
        if (scl == 9).any() and (scl == 4).any():
            assert blue[scl == 9].min() > np.median(blue[scl == 4])
        classes.update(scl.ravel().tolist())
    assert set(classes) >= {0, 3, 4, 5, 8, 9, 10}, "swath edge, shadow, land and cloud"


def test_numbers_carry_the_offset_from_baseline_4_on(tmp_path: Path) -> None:
    """2022 has both baselines; without the later one its numbers are 1000 less from then on."""
    spec = Simulation((SQUARE,), years=(2022,), s2_days=40, s1_days=0, cloudiness=0)
    old = replace(spec, baselines=(("2015-01-01", "03.01"),))
    archives = (simulate_archive(tmp_path / n, s).parent for n, s in (("a", spec), ("b", old)))
    for new, plain in zip(*(items(a, "sentinel-2-l2a") for a in archives), strict=True):
        late = new["properties"]["datetime"] >= "2022-01-25"
        assert (new["properties"]["s2:processing_baseline"] >= "04.00") == late
        numbers, bare = read(new, "B8A").astype(int), read(plain, "B8A").astype(int)
        seen = bare > 0
        assert seen.any()
        assert (numbers[seen] - bare[seen] == (1000 if late else 0)).all()
        assert (numbers[~seen] == 0).all()


@pytest.mark.parametrize("nodata", [0.0, float("nan"), -32768.0])
def test_radar_has_speckle_and_ends_at_the_swath(tmp_path: Path, nodata: float) -> None:
    spec = Simulation((replace(SQUARE, width=128),), s2_days=0, s1_days=6, s1_nodata=nodata)
    scenes = items(simulate_archive(tmp_path / "radar", spec).parent, "sentinel-1-rtc")
    shares = []
    for scene in scenes:
        power = read(scene, "vv")
        beyond = np.isnan(power) if np.isnan(nodata) else power == nodata
        assert (power[~beyond] > 0).all()
        shares.append(beyond.mean())
    assert Counter(share > 0 for share in shares) == {False: 4, True: 2}
    assert max(shares) < 0.9


def test_ground_truth_lies_beside_the_scenes(archive: Path) -> None:
    with rasterio.open(archive / "ground_truth" / "land_cover_31UDS_2024.tif") as file:
        assert json.loads(file.tags()["CLASSES"]) == {str(c): n for n, c in CODES.items()}
        west = file.read(1)
    with rasterio.open(archive / "ground_truth" / "land_cover_31UES_2024.tif") as file:
        assert np.array_equal(file.read(1)[:, :32], west[:, 32:])
    with rasterio.open(archive / "ground_truth" / "parcels_31UDS_2024.tif") as file:
        parcels = file.read(1)
    for parcel in np.unique(parcels):
        assert len(np.unique(west[parcels == parcel])) == 1


def test_years_of_their_own(tmp_path: Path) -> None:
    spec = Simulation((SQUARE,), years=(2021, 2024), s2_days=3, s1_days=3)
    scenes = items(simulate_archive(tmp_path / "years", spec).parent, "sentinel-2-l2a")
    assert Counter(s["properties"]["datetime"][:4] for s in scenes) == {"2021": 3, "2024": 3}


def test_a_granule_across_the_antimeridian_is_cut_there(tmp_path: Path) -> None:
    spec = Simulation((Footprint.around("60UYB", 180.0, 52.0, 64, 32660),), s2_days=1, s1_days=1)
    [scene] = items(simulate_archive(tmp_path / "dateline", spec).parent, "sentinel-2-l2a")
    west, _, east, _ = scene["bbox"]
    assert 179.9 < west < 180
    assert -180 < east < -179.9
    geometry = shapely.geometry.shape(scene["geometry"])
    assert geometry.geom_type == "MultiPolygon"
    assert geometry.bounds[0] == -180
    assert geometry.bounds[2] == 180
    assert scene["properties"]["datetime"].startswith("2024-")


def test_north_of_the_equator_and_south_of_it(tmp_path: Path) -> None:
    north = Footprint.around("31NAA", 3.0, 0.001, 64)
    south = Footprint.around("31MAV", 3.0, -0.001, 64)
    assert (north.epsg, south.epsg) == (32631, 32731)
    spec = Simulation((north, south), s2_days=1, s1_days=0, cloudiness=0)
    scenes = items(simulate_archive(tmp_path / "equator", spec).parent, "sentinel-2-l2a")
    red = [read(scene, "B04").astype(float) for scene in scenes]
    offset = round((north.north - (south.north - 10_000_000)) / 10)
    overlap = red[0][offset:], red[1][: 64 - offset]
    assert 0 < np.abs(overlap[0] - overlap[1]).mean() < 100


def test_forty_scenes_a_day_far_north() -> None:
    granules = tuple(
        Footprint.around(name, 15.0, 78.0, 64, epsg)
        for name, epsg in zip(
            "ABCDEFGH", (32633, 32633, 32632, 32632, 32634, 32634, 32635, 32635), strict=True
        )
    )
    flown = [p for p in passes(Simulation(granules, s2_days=3, s2_passes=5)) if p.sensor == "s2"]
    a_day = Counter(p.time.date() for p in flown)
    assert [n * len(granules) for n in a_day.values()] == [40, 40, 40]
    assert len({p.time for p in flown}) == 15


def test_a_footprint_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="grid of 20 m"):
        Footprint("31UDS", 32631, 500_010, 5_632_000, 64, 64)
