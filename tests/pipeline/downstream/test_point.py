"""One pixel: its vector, its counts, its tile's scenes, and why where there is nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import records, tile_lists
from tessera_mosaic.pipeline.ledger.records import State
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, to_lonlat
from tests.pipeline.mosaic.test_foreign import NORTH, WEST, publish
from tests.samples import HOLE, TILES, WATER, YEARS, Sample, fail_tile, pixels, write_sample

TILE = TILES[0]


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return write_sample(Storage(str(tmp_path / "a.zarr")), TILES[:2])


def place(row: int, col: int) -> tuple[float, float]:
    """Longitude and latitude within a pixel of the tile, off its centre."""
    west, _, _, north = TILE.window.bounds
    lon, lat = to_lonlat(31).transform(west + col * PIXEL + 2, north - row * PIXEL - 7)
    return lon, lat


def ask(sample: Sample, row: int, col: int, year: int | None = None) -> tm.PointFound:
    return tm.point(tm.PointRequest(sample.mosaic.storage.url, *place(row, col), year))


def test_the_pixel_that_holds_the_place(sample: Sample) -> None:
    for year in (*YEARS, None):
        found, put = ask(sample, 5, 7, year), sample.tiles[TILE, year or YEARS[-1]]
        assert found.vector is not None
        np.testing.assert_array_equal(found.vector, put.codes[5, 7] * put.scales[5, 7])
        assert (found.year, found.why) == (year or YEARS[-1], "")
        assert found.observations == {name: c[5, 7] for name, c in put.counts.items()}
        assert (found.tile, found.zone) == (TILE.name, 31)
        assert found.scenes_used == ("S2A_1", "S1A_1")
        assert found.scenes_unused == (("S2A_2", "no clear pixel"),)
        west, _, _, north = TILE.window.bounds
        assert (found.x, found.y) == (west + 75, north - 55)


def test_why_there_is_nothing(sample: Sample) -> None:
    mosaic, year = sample.mosaic, YEARS[0]
    assert ask(sample, WATER[0].start, WATER[1].start).why == "water"
    assert "was not observed" in ask(sample, HOLE[0].start, HOLE[1].start).why
    url = mosaic.storage.url
    assert "no zone 60, but zone 31" in tm.point(tm.PointRequest(url, 179.9, 0)).why
    nowhere = tm.point(tm.PointRequest(url, 3.0, 50.0))
    assert (nowhere.why, nowhere.year) == (
        "its tile was never planned: no run's region touched it",
        YEARS[-1],
    )
    assert nowhere.vector is None
    record = records.read_record(mosaic.storage, year, TILE)
    assert record is not None
    for key in [stored.key for stored in record.objects]:
        mosaic.storage.delete(key)
    empty = dataclasses.replace(record, state=State.EMPTY, objects=())
    records.write_record(mosaic.storage, TILE, empty)
    assert "nothing was observed in its tile" in ask(sample, 5, 7, year).why
    fail_tile(mosaic, TILE, year)
    assert ask(sample, 5, 7, year).why == "its tile failed (corrupt): truncated <block>"
    beside = dataclasses.replace(TILE, col=TILE.col - 1)
    tile_lists.add_planned(mosaic.storage, year, [beside], "another")
    assert "was not made yet" in ask(sample, 5, -20, year).why


def test_what_others_published(tmp_path: Path) -> None:
    held = publish(tmp_path / "theirs")

    def at(row: int, col: int, year: int | None = None) -> tm.PointFound:
        lon, lat = to_lonlat(33).transform(WEST + col * 10 + 5, NORTH - row * 10 - 5)
        return tm.point(tm.PointRequest(str(tmp_path / "theirs"), lon, lat, year))

    found = at(10, 20)
    assert found.vector is not None
    expected = held["embeddings"][1, :, 10, 20] * held["scales"][1, 10, 20]
    np.testing.assert_array_equal(found.vector, expected)
    assert found.observations == {"s2": held["s2_obs_count"][1, 10, 20]}
    assert (found.tile, found.scenes_used) == ("", ())
    assert at(4, 20).why == "water"
    assert "nothing was embedded there" in at(3, 20).why
    assert at(10, 100, 2022).vector is None


def test_the_command(sample: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    lon, lat = map(str, place(5, 7))
    store = ["--store", sample.mosaic.storage.url]
    assert main(["point", *store, lon, lat]) == 0
    told = capsys.readouterr().out
    assert f"tile {TILE.name}" in told
    assert "S1A_1" in told
    # A longitude west of Greenwich is no option, wherever it stands.
    for words in ([*store, "--json", "-70.5", "-10.25"], ["-70.5", "-10.25", *store, "--json"]):
        assert main(["point", *words]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["lon"], found["lat"], found["vector"]) == (-70.5, -10.25, None)
        assert found["why"] == "the mosaic has no zone 19, but zone 31"
    assert main(["point", *store, lon, lat, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    held = pixels(TILE, YEARS[-1])
    assert found["vector"] == (held.codes[5, 7] * held.scales[5, 7]).tolist()
    assert found["crs"] == "EPSG:32631"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["200", "5"], "--lon 200.0: a longitude is -180 to 180"),
        (["5", "95"], "--lat 95.0: a latitude is -90 to 90"),
        (["5", "nan"], "--lat nan: a latitude"),
        (["5", "86"], "--lat 86.0: UTM covers latitudes -80 to 84"),
        (["5.99", "0", "--year", "2031"], "no year 2031: the years that were made are 2018, 2019"),
    ],
)
def test_bad_input_is_one_line(
    sample: Sample, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["point", "--store", sample.mosaic.storage.url, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
