"""The yearly rerun appends a year, goes on where it was, and touches nothing that is done."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_mosaic.pipeline.cli import some_failed
from tessera_mosaic.pipeline.errors import BrokenOff, ExitCode
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.outcome import Outcome, Whole
from tessera_mosaic.pipeline.ledger.tile_lists import planned_tiles
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.simulation.archive import Simulation, simulate_archive
from tessera_mosaic.pipeline.verification.findings import Checked, Problem, ProblemKind
from tessera_mosaic.requests import RunRequest
from tessera_mosaic.yearly import TOLD, AnnualPacing, AnnualSteps, annual, last_complete_year
from tests import jobs

YEARS = (2024, 2025)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two years over the small job's land."""
    spec = Simulation((jobs.GRANULE,), years=YEARS, s2_days=4, s1_days=4)
    return simulate_archive(tmp_path_factory.mktemp("two-years") / "archive", spec)


def request(catalog: Path, store: Path, year: int, **more: Any) -> RunRequest:
    """A year's run over the small job's land."""
    places = {"catalog": str(catalog), "region": jobs.REGION, "store": str(store)}
    return RunRequest(**places, year=year, tile=jobs.SIDE, **more)


@pytest.mark.parametrize(
    ("today", "year"),
    [("2026-01-14", 2024), ("2026-01-15", 2025), ("2026-02-15", 2025), ("2026-12-31", 2025)],
)
def test_a_year_is_complete_two_weeks_after_its_end(today: str, year: int) -> None:
    assert last_complete_year(datetime.date.fromisoformat(today)) == year


def test_the_second_year_appends_and_the_first_stays(catalog: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for year in YEARS:
        before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
        report = annual(request(catalog, store, year)).to_json()
        assert (report["year"], report["rounds"], report["published"]) == (year, 1, True)
        assert (report["done"], report["failed"], report["missing"]) == (12, 0, 0)
        assert report["pixels"] == 12 * jobs.SIDE**2
    first = {p for p in before if "/c/7/" in str(p) or "/records/2024/" in str(p)}
    assert len(first) > 12 * 6
    assert [path for path in first if path.read_bytes() != before[path]] == []

    mosaic = read_mosaic(Storage(str(store)))
    assert mosaic.years[-2:] == YEARS
    tile = next(iter(planned_tiles(mosaic.storage, YEARS[0])))
    both = [mosaic.read_window(tile.window, year) for year in YEARS]
    assert all(np.isfinite(pixels.scales).all() for pixels in both)
    assert not np.array_equal(both[0].codes, both[1].codes)

    # What was published is damaged, and made again.
    for key in ("zarr.json", "utm31/scales/zarr.json", "report.html", "published/list.json"):
        kept = (store / key).read_bytes() if key == "zarr.json" else b"damaged"
        (store / key).write_bytes(kept + b"\n")
    again = annual(request(catalog, store, YEARS[-1])).to_json()
    assert again["published"]
    assert {problem["problem"] for problem in again["problems"]} <= set(TOLD)

    # February: nothing is left to do, and nothing is touched.
    settled = {p: p.stat().st_mtime_ns for p in store.glob("**/c/**/*") if p.is_file()}
    again = annual(request(catalog, store, YEARS[-1])).to_json()
    assert (again["done"], again["pixels"], again["published"]) == (12, 0, True)
    assert all(path.stat().st_mtime_ns == then for path, then in settled.items())


# What the rerun does about the outcomes of its launches.


@dataclass
class Told:
    """A rerun whose launches end as told, and in which verify finds the problems told."""

    ends: list[Any]
    problems: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    seen: list[RunRequest] = field(default_factory=list)

    def rerun(self, **more: Any) -> dict[str, Any]:
        """Do it; what it told."""
        pacing = AnnualPacing(round_pause=0.0, busy_pause=0.0)
        asked = request(Path("c"), Path("s"), 2024, **more)
        return annual(asked, pacing=pacing, steps=self.steps).to_json()

    @property
    def steps(self) -> AnnualSteps:
        """The steps."""
        return AnnualSteps(
            self._run,
            lambda store, year: found(self.problems),
            lambda store: None,
            lambda store: found(self.lost),
        )

    def _run(self, request: RunRequest) -> Outcome:
        self.seen.append(request)
        end = self.ends[len(self.seen) - 1]
        if isinstance(end, Exception):
            raise end
        if isinstance(end, Outcome):
            return end
        failures = {"timeout": end} if end else {}
        return Outcome(12, 12 - end, end, 0, 2.0, failures, {"pixels_embedded": 100})


def found(kinds: tuple[str, ...]) -> list[Checked]:
    return [Checked("t", 2024, (Problem("t", ProblemKind(kind), ""),)) for kind in kinds]


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_failed_tiles_are_tried_again() -> None:
    told = Told([3, 0])
    report = told.rerun()
    assert (report["rounds"], report["failed"], report["pixels"]) == (2, 0, 200)
    assert len(told.seen) == 2


def test_it_gives_up_after_a_few_rounds_and_says_so() -> None:
    told = Told([3, 2, 2, 2], problems=("failed", "untried"))
    report = told.rerun()
    assert (report["rounds"], report["failed"]) == (AnnualPacing.rounds, 2)
    assert len(told.seen) == AnnualPacing.rounds
    assert report["published"]


def test_what_publish_mends_does_not_keep_it_from_publishing() -> None:
    report = Told([0], lost=("missing", "metadata", "published")).rerun()
    assert report["published"]
    assert len(report["problems"]) == 3


def test_tiles_are_overwritten_until_none_failed() -> None:
    told = Told([1, 0])
    told.rerun(overwrite=("a",))
    assert [each.overwrite for each in told.seen] == [("a",), ("a",)]


@pytest.mark.parametrize("last", [True, False])
def test_who_ends_the_last_share_verifies_and_publishes(last: bool) -> None:
    """The others have said what came of their shares, and failed tiles are theirs to try again."""
    whole = Whole(12, 12, 0, 0, {}) if last else None
    measures = {"pixels_embedded": 100.0}
    ends = [
        Outcome(4, 3, 1, 0, 2.0, {"timeout": 1}, measures, share="1/3"),
        Outcome(4, 4, 0, 0, 2.0, {}, measures, share="1/3", whole=whole),
    ]
    told = Told(ends)
    report = told.rerun(share="1/3")
    assert [each.share for each in told.seen] == ["1/3", "1/3"]
    assert (report["rounds"], report["done"], report["published"]) == (2, 4, last)
    assert ("problems" in report) == last
    assert not some_failed(report)


@pytest.mark.parametrize("problem", ["missing", "record", "codes"])
def test_what_is_damaged_is_not_published(problem: str) -> None:
    report = Told([0], problems=("border", problem)).rerun()
    assert not report["published"]


def test_a_long_report_fits_into_a_log_and_the_store_has_it_all() -> None:
    kinds = "border", "missing", "histogram"
    many = ("border",) * 4000 + ("missing",) * 2 + ("histogram",) * 2000
    report = Told([0], problems=many).rerun()
    assert not report["published"]
    assert len(json.dumps(report)) < 10_000
    assert report["problem_counts"] == dict(zip(kinds, (4000, 2, 2000), strict=True))
    assert Counter(p["problem"] for p in report["problems"]) == dict(
        zip(kinds, (3, 2, 3), strict=True)
    )
    whole = json.loads(Storage("s").read(report["problem_list"]))
    assert len(whole["problems"]) == 6002
    assert Told([0]).rerun()["problems"] == []
    assert json.loads(Storage("s").read(report["problem_list"]))["problems"] == []


@pytest.mark.parametrize(
    ("ends", "problems", "code"),
    [
        ([0], ("border", "histogram"), 0),
        ([1, 1, 1], ("failed",), 3),
        ([0], ("border", "codes"), 3),
    ],
)
def test_only_holes_and_damage_have_the_schedule_run_it_again(
    ends: list[int], problems: tuple[str, ...], code: int
) -> None:
    report = Told(ends, problems=problems).rerun()
    assert (ExitCode.SOME_TILES_FAILED if some_failed(report) else ExitCode.DONE) == code


class DataflowJobAlreadyExistsError(Exception):
    """As Beam's error is called."""


def broken_off(cause: Exception) -> BrokenOff:
    error = BrokenOff("the runner gave up")
    error.__cause__ = cause
    return error


def test_it_waits_for_the_job_of_an_earlier_launch() -> None:
    busy = broken_off(DataflowJobAlreadyExistsError())
    told = Told([busy, busy, 0])
    report = told.rerun()
    assert (len(told.seen), report["rounds"]) == (3, 1)


def test_other_ends_of_the_job_are_its_own() -> None:
    told = Told([broken_off(RuntimeError("quota")), 0])
    with pytest.raises(BrokenOff):
        told.rerun()
