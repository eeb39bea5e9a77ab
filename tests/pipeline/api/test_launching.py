"""What is there keeps its own rules, unless others are asked for."""

import dataclasses
import json
import logging
from pathlib import Path

import pytest

from tessera_mosaic.launching import (
    offset_of_store,
    prepare_run,
    prepare_sample,
    run,
    tell_offsets,
)
from tessera_mosaic.pipeline.embedding.sample_recipe import offset_of_folder
from tessera_mosaic.pipeline.errors import BadInput, StoreMismatch
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.keys import RECIPE
from tessera_mosaic.pipeline.ledger.records import read_record
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tessera_mosaic.pipeline.publishing.registry import Row
from tessera_mosaic.pipeline.publishing.report import report_page
from tessera_mosaic.pipeline.publishing.totals import Totals
from tessera_mosaic.pipeline.simulation.archive import Simulation, simulate_archive
from tessera_mosaic.pipeline.tiling.lattice import lonlat_bounds, parse_tile
from tessera_mosaic.requests import RunRequest, SampleRequest
from tests import jobs


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.archive(tmp_path_factory.mktemp("archive") / "archive")


def test_a_store_keeps_its_rule_for_the_offset(archive: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    request = RunRequest(str(archive), jobs.REGION, jobs.YEAR, store, tile=jobs.SIDE)
    assert offset_of_store(Storage(store)) is None
    assert prepare_run(request).maker.rules.offset == "evidence"
    assert not Path(store).exists()
    by_date = prepare_run(dataclasses.replace(request, offset="reference"))
    by_date.create_store()
    again = prepare_run(request)
    assert again.maker.rules.offset == "reference"
    assert again.maker.fingerprint == by_date.maker.fingerprint
    again.create_store()
    with pytest.raises(StoreMismatch, match="offset"):
        prepare_run(dataclasses.replace(request, offset="evidence")).create_store()


def test_what_is_no_mosaic_is_left_to_who_refuses_it(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text("{}")
    assert offset_of_store(Storage(str(tmp_path))) is None


def test_a_folder_of_d_pixels_keeps_its_rule(archive: Path, tmp_path: Path) -> None:
    def request(name: str, **more: str) -> SampleRequest:
        out = str(tmp_path / name)
        return SampleRequest(str(archive), jobs.REGION, jobs.YEAR, out, tile=jobs.SIDE, **more)

    assert prepare_sample(request("new"))[1].rules.offset == "evidence"
    assert prepare_sample(request("old", offset="reference"))[1].rules.offset == "reference"
    assert prepare_sample(request("old"))[1].rules.offset == "reference"
    with pytest.raises(BadInput, match="drawn with other options"):
        prepare_sample(request("old", offset="evidence"))
    storage = Storage(str(tmp_path / "odd"))
    storage.write(RECIPE, json.dumps({"year": 2024}).encode())
    assert offset_of_folder(storage) is None


def test_scenes_that_evidence_decided_about_are_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    measures = {"offsets_taken_out": 3.0, "offsets_not_there": 2.0}
    tell_offsets(Outcome(4, 4, 0, 0, 1.0, {}, measures), "valley.zarr")
    [said] = [record.getMessage() for record in caplog.records]
    assert "3 scenes had it" in said
    assert "2 did not have it" in said
    caplog.clear()
    tell_offsets(Outcome(4, 4, 0, 0, 1.0, {}, dict.fromkeys(measures, 0.0)), "valley.zarr")
    assert not caplog.records


def test_a_run_tells_of_scenes_that_evidence_decided_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, its outcome, the tile's record and the report: a year of ESA's Collection 1."""
    spec = Simulation(
        (jobs.GRANULE,), (2021,), s2_days=2, s1_days=1, baselines=(("2015-01-01", "05.00"),)
    )
    catalogue = simulate_archive(tmp_path / "archive", spec)
    store = str(tmp_path / "store")
    tile = parse_tile(jobs.FIRST, jobs.SIDE)
    west, south, east, north = lonlat_bounds(tile.window)
    x, y = (west + east) / 2, (south + north) / 2
    region = f"{x},{y},{x + 1e-5},{y + 1e-5}"
    with caplog.at_level(logging.WARNING):
        outcome = run(RunRequest(str(catalogue), region, 2021, store, tile=jobs.SIDE))
    assert (outcome.tiles, outcome.done) == (1, 1)
    record = read_record(Storage(store), 2021, tile)
    assert record is not None
    notes = record.offset_by_evidence
    assert [name for name, _, _ in notes] == [n for n in record.scenes_used if "MSIL2A" in n]
    assert {what for _, what, _ in notes} == {"taken out"}
    assert outcome.to_json()["offsets_taken_out"] == len(notes) > 0
    assert outcome.to_json()["offsets_not_there"] == 0
    assert sum("radiometric offset" in each.getMessage() for each in caplog.records) == 1
    row, totals = Row.of(tile, 2021, record), Totals()
    totals.add(tile.zone, 2021, [row])
    page = report_page(mosaic_at(store), totals, {})
    assert f"{len(notes)} scenes had it, and it was taken out; 0 did not have it" in page
