"""What was planned of a run stands beside what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.make_tile import make_tile
from tessera_mosaic.pipeline.job.worker import open_worker
from tessera_mosaic.pipeline.ledger import keys, tile_lists
from tessera_mosaic.pipeline.ledger.forecast import Comparison, Range, read_forecast, write_forecast
from tessera_mosaic.pipeline.ledger.records import Record, State, TileResult
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tessera_mosaic.pipeline.planning.estimate import forecast, make_plan
from tessera_mosaic.pipeline.planning.quantities import NOTES
from tessera_mosaic.pipeline.planning.revisits import ground_of
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tests import jobs
from tests.fakes.stores import WatchedStorage
from tests.makers import Nothing


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert jobs.run_here([*words, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_status_sets_the_plan_beside_the_outcome(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = printed(jobs.options(archive, tmp_path), capsys)
    status = ["status", f"--store={tmp_path}"]
    compared = printed(status, capsys)["plan"][str(jobs.YEAR)]
    assert compared["tiles"] == {"planned": 12, "likely": [12, 12], "outcome": 12}
    assert compared["pixels"]["planned"] == compared["pixels"]["outcome"] == 12 * jobs.SIDE**2
    # Four days of each sensor; Sentinel-1 has two orbits a day or one, and every tile its scenes.
    assert compared["scenes"]["planned"] == compared["scenes"]["outcome"] > 12 * 4
    assert compared["bytes_written"]["outcome"] == outcome["bytes_written"]
    assert compared["requests_read"]["outcome"] == outcome["requests_read"] > 0
    assert compared["tokens_per_pixel"]["outcome"] == pytest.approx(
        outcome["tokens"] / outcome["pixels"], rel=1e-3
    )
    low, high = compared["tokens_per_pixel"]["likely"]
    assert low <= compared["tokens_per_pixel"]["planned"] <= high
    assert "accelerator_hours" not in compared

    capsys.readouterr()
    assert jobs.run_here(status) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["tiles", "12", "12", "to", "12", "12"] for line in lines)


@dataclass(frozen=True)
class Empty(Nothing):
    """A maker whose tiles have nothing to see."""

    def open(self, storage: Storage, threads: int) -> EmptyTiles:
        return EmptyTiles()


class EmptyTiles:
    """Makes tiles with nothing to see."""

    def make(self, *_: object) -> TileResult:
        return TileResult(State.EMPTY)

    def keys(self, tile: Tile) -> tuple[str, ...]:
        return ()

    def renew(self) -> None:
        """Nothing to renew."""


def test_a_tile_has_as_many_notes_put_as_are_planned(tmp_path: Path) -> None:
    tile, put = Tile(31, 1449, 136, 256), []

    def told(method: str, key: str) -> None:
        if method in ("write", "create"):
            put.append(key)

    job = JobSpec(maker=Empty(), store=str(tmp_path), year=2024, request="one", launch="this")
    worker = replace(open_worker(job), storage=WatchedStorage(str(tmp_path), told))
    record = make_tile(tile, job, worker)
    assert record is not None
    assert record.state is State.EMPTY
    assert put == [keys.note_key(2024, tile), keys.record_key(2024, tile)]
    assert len(put) == NOTES


def test_a_plan_is_of_the_latest_run_alone(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    tiles = [Tile(31, 1449, col, 256) for col in range(4)]
    tile_lists.add_planned(storage, 2024, tiles, "both")
    storage.write(keys.request_key(2024, "latest", 31), tile_lists.encode_tiles(tiles[:1]))
    write_forecast(
        storage, 2024, "latest", {"tiles": Range(1, 1, 1), "bytes_read": Range(50, 40, 60)}
    )
    found = Comparison.of(storage, 2024, len(tiles))
    for tile in tiles:
        record = Record(tile.name, 2024, State.DONE, "f", pixels={"embedded": 1}, bytes_read=55)
        found.add(tile, TileSummary.of(record))
    assert {name: entry.to_json() for name, entry in found.compared().items()} == {
        "tiles": {"planned": 1, "likely": [1, 1], "outcome": 1},
        "bytes_read": {"planned": 50, "likely": [40, 60], "outcome": 55},
    }


def test_hours_are_foretold_of_a_machine_with_a_price() -> None:
    plan = make_plan(
        ground_of(read_area(AreaRequest("6.9,45.8,7.0,45.9"))), 2024, card_named("v2-large")
    )
    assert "accelerator_hours" not in forecast(plan, "")
    assert plan.bills
    for bill in plan.bills:
        value, low, high = forecast(plan, bill.machine.name)["accelerator_hours"]
        assert 0 < low <= value <= high


def test_a_store_without_a_forecast_compares_nothing(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    assert read_forecast(storage, 2024) == ("", {})
    assert Comparison.of(storage, 2024, 7).compared() == {}
