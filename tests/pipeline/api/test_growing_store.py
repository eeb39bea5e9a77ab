"""A store of a region's own pixels grows by regions and years, and by no more than is allowed."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from tessera_mosaic.expectation import Expected, check_cost, check_tiles
from tessera_mosaic.outlines import grown_outline, known_outline
from tessera_mosaic.pipeline.commands.arguments import years
from tessera_mosaic.pipeline.commands.verify import verify_command
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome, together
from tessera_mosaic.pipeline.ledger.keys import FIRST_REGION, REGION
from tessera_mosaic.pipeline.ledger.outline import write_outline
from tessera_mosaic.pipeline.ledger.records import Record
from tessera_mosaic.pipeline.mosaic.identity import INSIDE, fingerprint
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tessera_mosaic.pipeline.tiling.ownership import region_window
from tessera_mosaic.pipeline.tiling.region import read_region
from tessera_mosaic.yearly import TOLD
from tests import jobs

WEST, EAST = "2.9920,50.8440,2.9990,50.8470", "2.9975,50.8450,3.0030,50.8490"
"""Boxes that share ground, and tiles of which each has a part."""


def words(catalog: Path, store: Path, region: str, *more: str) -> list[str]:
    options = jobs.options(catalog, store, "--pixels=inside", *more)
    options[options.index(f"--region={jobs.REGION}")] = f"--region={region}"
    return options


def records(store: Path) -> dict[str, Record]:
    paths = sorted((store / "records").glob("*/tiles/*/*.json"))
    return {path.name: Record.from_json(path.read_bytes()) for path in paths}


def problems(store: Path) -> set[str]:
    """Kinds of problems, but for what unusual ground may raise."""
    args = argparse.Namespace(store=str(store), year=None, json=True, store_patience=0)
    return {told["problem"] for told in verify_command(args)["problems"]} - set(TOLD)


@pytest.fixture(scope="module")
def both(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of both boxes that was made at once."""
    folder = tmp_path_factory.mktemp("both")
    region = shapely.union(read_region(WEST), read_region(EAST))
    (folder / "both.geojson").write_text(shapely.to_geojson(region))
    assert jobs.run_here(words(archive, folder / "store", str(folder / "both.geojson"))) == 0
    return folder / "store"


def same_pixels(one: Path, other: Path) -> bool:
    window = region_window(31, shapely.union(read_region(WEST), read_region(EAST)))
    here, there = (mosaic_at(str(path)).read_window(window, jobs.YEAR) for path in (one, other))
    return bool((here.codes == there.codes).all() and np.array_equal(here.scales, there.scales))


def test_a_store_grows_by_a_region_and_makes_again_what_it_outgrew(
    archive: Path, both: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    assert jobs.run_here(words(archive, store, WEST)) == 0
    before = records(store)
    identity = mosaic_at(str(store)).identity
    assert identity["pixels"] == INSIDE
    assert jobs.run_here(words(archive, store, EAST)) == 0
    after = records(store)
    assert mosaic_at(str(store)).identity == identity
    assert same_pixels(store, both)
    assert jobs.shards(store) == jobs.shards(both)
    assert problems(store) == set()
    again = {name for name in before if after[name].launch != before[name].launch}
    grown = {name for name in before if after[name].pixels["owned"] > before[name].pixels["owned"]}
    assert again == grown
    assert set() < grown < set(before) < set(after)
    for record in after.values():
        outline = shapely.from_wkb(record.outline)
        assert record.pixels["owned"] == 0 or outline.area > 0
    # The first region once more: nothing is left to make, and nothing is taken away.
    assert jobs.run_here(words(archive, store, WEST)) == 0
    assert records(store) == after
    # Without the outline it comes together from the records.
    (store / REGION).unlink()
    assert problems(store) == {"missing"}
    known = known_outline(Storage(str(store)))
    assert known is not None
    whole = shapely.union(read_region(WEST), read_region(EAST))
    assert known.symmetric_difference(whole).area < 1e-6 * whole.area


def test_a_store_of_an_older_identity_resumes_and_grows(
    archive: Path, both: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    prepared = jobs.prepared(words(archive, tmp_path / "nowhere", WEST))
    wkb = bytes(shapely.to_wkb(read_region(WEST)))
    identity = prepared.identity | {"pixels": f"inside {hashlib.sha256(wkb).hexdigest()}"}
    older = dataclasses.replace(
        prepared,
        job=dataclasses.replace(prepared.job, store=str(store)),
        maker=dataclasses.replace(prepared.maker, fingerprint=fingerprint(identity)),
        identity=identity,
    )
    older.create_store()
    launch(older.job, older.maker)
    (store / REGION).unlink()
    (store / FIRST_REGION).write_bytes(wkb)
    for path in (store / "records").glob("*/tiles/*/*.json"):
        record = Record.from_json(path.read_bytes())
        path.write_bytes(dataclasses.replace(record, outline="").to_json())
        assert b'"outline"' not in path.read_bytes()
    assert problems(store) == set()
    made = records(store)
    assert jobs.run_here(words(archive, store, WEST)) == 0
    assert records(store) == made
    assert jobs.run_here(words(archive, store, EAST)) == 0
    assert mosaic_at(str(store)).identity == identity
    assert same_pixels(store, both)
    assert problems(store) == set()


def test_an_outline_grows_only_as_far_as_a_job_can_carry_it(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    west, east = read_region(WEST), read_region(EAST)
    assert grown_outline(storage, west) is west
    write_outline(storage, west)
    assert grown_outline(storage, shapely.box(2.993, 50.8445, 2.994, 50.846)).equals(west)
    assert grown_outline(storage, east).equals(shapely.union(west, east))
    many = shapely.segmentize(shapely.box(10, 50, 11, 51), 5e-5)
    with pytest.raises(BadInput, match="corners and may have"):
        grown_outline(storage, many)
    (tmp_path / REGION).write_bytes(b"{}")
    assert known_outline(storage) is None


def test_a_run_above_what_is_allowed_is_refused_before_the_store_is_touched(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    for more, says in (
        ("--max-tiles=11", "--max-tiles 11: the run would have 12 tiles"),
        ("--max-cost=1e-9", "--max-cost 1e-09: the plan comes to 0.0"),
        ("--max-tiles=0", "--max-tiles 0: a run has at least one tile"),
        ("--max-cost=0", "--max-cost 0.0: choose US dollars above 0"),
    ):
        assert jobs.run_here(jobs.options(archive, store, more)) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == 1
        assert says in told[0]
        assert not store.exists()
    # Of several years all tiles count.
    options = jobs.options(archive, store, "--max-tiles=23")
    options[options.index(f"--year={jobs.YEAR}")] = f"--year={jobs.YEAR}-{jobs.YEAR + 1}"
    assert jobs.run_here(options) == 2
    assert not store.exists()


def test_what_is_allowed_is_for_all_years_together() -> None:
    year = Expected({}, np.array([3.0, 2.0, 4.0]), "g2-standard-8")
    check_cost(None, [year, Expected({})])
    check_cost(6.0, [year, year])
    with pytest.raises(BadInput, match=r"max_cost 5: the plan comes to 6.00 USD .* g2-standard-8"):
        check_cost(5.0, [year, year])
    with pytest.raises(BadInput, match="no plan"):
        check_cost(5.0, [Expected({})])
    check_tiles(12, 12)
    check_tiles(None, 10**9)
    with pytest.raises(BadInput, match="would have 13 tiles"):
        check_tiles(12, 13)


@pytest.mark.parametrize(
    ("text", "found"),
    [("2024", 2024), ("2019-2021", (2019, 2020, 2021)), ("2020-2020", (2020,))],
)
def test_years_are_one_or_a_span(text: str, found: object) -> None:
    assert years(text) == found


@pytest.mark.parametrize("text", ["2021-2019", "x", "2019-", "-2019", "2019-20x", "1-2000", ""])
def test_what_is_no_span_of_years_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no year"):
        years(text)


def test_several_years_are_made_by_one_command(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    options = words(archive, store, "2.9920,50.8440,2.9930,50.8446", "--json")
    options[options.index(f"--year={jobs.YEAR}")] = f"--year={jobs.YEAR}-{jobs.YEAR}"
    assert jobs.run_here(options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["years"].keys() == {str(jobs.YEAR)}
    assert told["years"][str(jobs.YEAR)]["done"] == told["done"] == told["tiles"]
    # A year of which the catalogue has nothing is refused before any is begun.
    options[options.index(f"--year={jobs.YEAR}-{jobs.YEAR}")] = (
        f"--year={jobs.YEAR - 1}-{jobs.YEAR}"
    )
    options[options.index(f"--store={store}")] = f"--store={tmp_path / 'other'}"
    assert jobs.run_here(options) == 2
    assert "no scenes of" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_outcomes_of_years_add_up() -> None:
    measures = {"pixels_embedded": 5.0, "tiles_done": 1.0}
    one = Outcome(2, 1, 1, 0, 3.0, {"gone": 1}, measures, {"s1": 1})
    two = Outcome(3, 3, 0, 0, 1.0, {}, measures)
    whole = together([one, two])
    assert (whole.tiles, whole.done, whole.failed, whole.seconds) == (5, 4, 1, 4.0)
    assert (whole.failures, whole.without, whole.pixels) == ({"gone": 1}, {"s1": 1}, 10)
    assert together([one]) is one
