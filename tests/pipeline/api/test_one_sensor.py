"""That tiles are from one sensor alone is told before a run, in records, and after it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from tessera_mosaic.launching import expect, prepare_sample
from tessera_mosaic.model.cards import SHIPPED
from tessera_mosaic.pipeline.commands.arguments import one_sensor_lines
from tessera_mosaic.pipeline.job.outcome import add_up
from tessera_mosaic.pipeline.ledger.records import Record, State, TileResult
from tessera_mosaic.pipeline.ledger.standing import Standing
from tessera_mosaic.pipeline.ledger.summary import Found
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.planning.revisits import missing_in
from tessera_mosaic.pipeline.publishing.registry import Row
from tessera_mosaic.pipeline.publishing.totals import Totals
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.sensors import tell_absent
from tessera_mosaic.pipeline.tiling.area import read_area
from tessera_mosaic.pipeline.tiling.lattice import Tile, lonlat_bounds
from tessera_mosaic.requests import RunRequest, SampleRequest
from tests.fakes.catalogues import items_of

TILE = Tile(31, 3, 4, 2048)
WHY = {"s1": "the catalogue lists no scene of it"}
DONE = TileResult(State.DONE, pixels={"embedded": 9, "owned": 9}, absent_sensors=WHY)


@dataclasses.dataclass
class OneSensor:
    """A catalogue that lists Sentinel-2 alone, or radar that is of no use beside it."""

    unusable: str = ""
    name: str = "a catalogue"
    imagery: str = "mpc"

    def search(self, bounds: tuple[float, float, float, float], year: int) -> list[Scene]:
        scene = Scene("s2", "s2", f"{year}-05-01T10:00:00Z", bounds)
        polar = dataclasses.replace(scene, id="s1", sensor="s1", unusable=self.unusable)
        return [scene, polar] if self.unusable else [scene]


@pytest.mark.parametrize("unusable", ["", "its polarisations are HH+HV, not VV and VH"])
def test_a_whole_run_without_a_sensor_says_so_before_it_starts(
    unusable: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = RunRequest("catalogue", "7.0,46.0,7.1,46.1", 2024, "store")
    expect(request, read_area(request.area), SHIPPED, OneSensor(unusable), "laptop")
    assert "the whole run is from Sentinel-2 alone: of Sentinel-1, " in caplog.text
    assert (unusable or WHY["s1"]) in caplog.text


@pytest.mark.parametrize("unusable", ["", "its polarisations are HH+HV, not VV and VH"])
def test_a_whole_sample_without_a_sensor_says_so_before_it_starts(
    unusable: str, caplog: pytest.LogCaptureFixture
) -> None:
    tiles = [dataclasses.replace(TILE, col=col) for col in range(99)]
    tell_absent(missing_in(OneSensor(unusable), tiles, 2024))
    assert "the whole run is from Sentinel-2 alone: of Sentinel-1, " in caplog.text
    assert (unusable or WHY["s1"]) in caplog.text


def test_a_sensor_that_some_tiles_have_is_not_missing_throughout() -> None:
    @dataclasses.dataclass
    class Somewhere(OneSensor):
        def search(self, bounds: tuple[float, float, float, float], year: int) -> list[Scene]:
            scenes = super().search(bounds, year)
            return scenes if bounds[0] < east else [*scenes, dataclasses.replace(ok, bbox=bounds)]

    ok = Scene("s1", "s1", "2024-05-01T10:00:00Z", (0.0, 0.0, 1.0, 1.0))
    tiles = [dataclasses.replace(TILE, col=col) for col in range(3)]
    east = lonlat_bounds(tiles[-1].window)[0]
    assert missing_in(Somewhere(), tiles, 2024) == {}
    assert missing_in(Somewhere(), tiles[:-1], 2024) == WHY


def test_the_command_sample_says_it_too(
    archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = items_of(archive, str(archive.parent))
    optical = [item for item in items if item["collection"] == "sentinel-2-l2a"]
    catalog = tmp_path / "items.json"
    request = SampleRequest(str(catalog), "2.995,50.845,2.998,50.847", 2024, str(tmp_path / "d"))
    for listed, told in ((items, False), (optical, True)):
        caplog.clear()
        catalog.write_text(json.dumps({"type": "FeatureCollection", "features": listed}))
        prepare_sample(request)
        assert ("the whole run is from Sentinel-2 alone" in caplog.text) == told


def test_a_record_says_which_sensor_is_absent_and_why() -> None:
    record = Record.of(TILE, 2024, "f", DONE)
    assert Record.from_json(record.to_json()).absent_sensors == WHY
    row = TileSummary.of(record)
    assert TileSummary.from_json(row.to_json() | {"absent_sensors": ["s1"]}) == row
    assert row.lacks == "s1"
    # Rows of before there was this, and tiles that nobody saw.
    older = {name: value for name, value in row.to_json().items() if name != "absent_sensors"}
    assert TileSummary.from_json(older).lacks == ""
    empty = dataclasses.replace(row, state=State.EMPTY)
    assert empty.lacks == ""
    assert dataclasses.replace(row, absent_sensors=("s2", "s1")).lacks == ""


def test_tiles_of_one_sensor_are_counted() -> None:
    row = TileSummary.of(Record.of(TILE, 2024, "f", DONE))
    outcome, _ = add_up("launch", [Found(TILE, row, asked=False)], 1.0, Counter())
    assert outcome.without == outcome.to_json()["tiles_without"] == {"s1": 1}
    assert one_sensor_lines(outcome.without) == [
        "  1 tiles are from one sensor alone, without Sentinel-1"
    ]
    standing = Standing()
    standing.add(TILE, row)
    assert standing.without == {"s1": 1}
    totals = Totals()
    totals.add(31, 2024, [Row.of(TILE, 2024, Record.of(TILE, 2024, "f", DONE))])
    assert totals.without == {"s1": 1}
