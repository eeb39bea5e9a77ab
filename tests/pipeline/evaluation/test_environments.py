"""Environments: what is held out is not learnt from, and errors are those of plain arithmetic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tessera_mosaic.model.heads.fitting import one_thread
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.evaluation.environment_models import (
    CHOSEN,
    Candidate,
    ModelChoice,
    Trial,
    ValueMethod,
    tell,
)
from tessera_mosaic.pipeline.evaluation.environment_scores import MethodScore, score
from tessera_mosaic.pipeline.evaluation.environment_splits import SplitKind, held_out
from tessera_mosaic.pipeline.evaluation.environments import Rows, environments_of
from tessera_mosaic.pipeline.evaluation.extrapolation import extrapolate
from tessera_mosaic.pipeline.evaluation.time_scales import Scale, on_scale, scales_of


def made(
    keys: Sequence[str], columns: dict[str, NDArray[Any]], target: NDArray[Any], **more: Any
) -> Rows:
    found = environments_of(keys, columns)
    given = {"features": np.zeros((len(target), 1), np.float32), "year": columns.get("year")}
    given["measured"] = np.ones(len(target), bool)
    return Rows(
        target=np.asarray(target, np.float64),
        environment=found.number,
        names=found.names,
        place=found.place,
        place_names=found.place_names,
        **(given | more),
    )


def site_years(sites: int = 10, years: int = 6, each: int = 4) -> Rows:
    """Rows of sites and years whose covariate is larger from site to site."""
    site = np.repeat(np.arange(sites), years * each)
    year = np.tile(np.repeat(np.arange(2015, 2015 + years), each), sites)
    rng = np.random.default_rng(1)
    return made(
        ["site", "year"],
        {"site": site, "year": year},
        rng.normal(size=len(site)),
        tail=site + rng.normal(size=len(site)) / 10,
        features=rng.normal(size=(len(site), 2)).astype(np.float32),
        measured=rng.random(len(site)) > 0.2,
    )


@given(
    st.lists(st.tuples(st.floats(-180, 179.9), st.floats(-80, 80)), min_size=1), st.integers(1, 60)
)
def test_places_are_together_that_lie_in_a_cell(
    at: list[tuple[float, float]], degrees: int
) -> None:
    lon, lat = np.array(at).T
    found = environments_of([f"{degrees}deg"], {"lon": lon, "lat": lat})
    cells = [(np.floor(y / degrees), np.floor(x / degrees)) for x, y in at]
    assert len(found.names) == len(set(found.names)) == len(set(cells))
    assert sorted(set(cells)) == [
        cells[found.number.tolist().index(k)] for k in range(len(set(cells)))
    ]
    assert found.number.tolist() == found.place.tolist()


def test_environments_are_named_after_their_columns() -> None:
    columns = {"site": np.array(["b", "a", "b"], object), "year": np.array([2.0, 1.0, 3.0])}
    found = environments_of(["site", "year"], columns)
    assert [found.names[k] for k in found.number] == ["b 2", "a 1", "b 3"]
    assert [found.place_names[k] for k in found.place] == ["b", "a", "b"]
    assert environments_of(["year"], columns).place.tolist() == [-1, -1, -1]
    with pytest.raises(BadInput, match=r"environments plot: there is no such column.* site, year"):
        environments_of(["plot"], columns)
    with pytest.raises(BadInput, match="environments 10deg: cells need the column lon"):
        environments_of(["10deg"], columns)
    with pytest.raises(BadInput, match="a cell has 0 to 180 degrees"):
        environments_of(["0deg"], {"lon": np.zeros(1), "lat": np.zeros(1)})


@pytest.mark.parametrize("kind", SplitKind)
def test_what_is_tested_is_not_learnt_from(kind: SplitKind) -> None:
    rows = site_years()
    splits = held_out(rows, kind)
    for split in splits:
        parts = [set(part.tolist()) for part in (split.fit, split.validation, split.test)]
        assert all(parts)
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
        assert rows.measured[split.train].all()
        if kind is not SplitKind.TIME:
            assert not set(rows.place[split.fit]) & set(rows.place[split.validation])
        if kind in (SplitKind.SPACE, SplitKind.TAIL):
            assert not set(rows.place[split.test]) & set(rows.place[split.train])
    tested = np.concatenate([split.test for split in splits])
    assert len(np.unique(tested)) == len(tested)
    if kind in (SplitKind.RANDOM, SplitKind.SPACE):
        assert len(tested) == len(rows)
    elif kind is SplitKind.TIME:
        assert set(rows.year[splits[0].test]) == {2019, 2020}
        assert set(rows.year[splits[0].validation]) == {2018}
    else:
        assert set(rows.place[tested]) == {8, 9}
        assert set(rows.place[splits[0].validation]) == {6, 7}


def test_the_other_end_and_another_year_may_be_held_out() -> None:
    rows = site_years()
    (low,) = held_out(rows, SplitKind.TAIL, smallest=True)
    assert set(rows.place[low.test]) == {0, 1}
    (late,) = held_out(rows, SplitKind.TIME, test_from=2020)
    assert set(rows.year[late.test]) == {2020}
    for year in (2016, 2021):
        with pytest.raises(
            BadInput, match=f"test_from {year}: two years before it .* 2015, .* to 2020"
        ):
            held_out(rows, SplitKind.TIME, test_from=year)
    with pytest.raises(BadInput, match="tail: 4 places are too few"):
        held_out(site_years(sites=4), SplitKind.TAIL)


def test_a_split_that_rows_do_not_allow_is_said_and_not_made_up() -> None:
    rows = replace(site_years(), year=None, tail=None)
    found = extrapolate(rows, [ValueMethod.CONSTANT], fewest=1)
    assert {each.split for each in found.scores} == {"random", "space"}
    assert [note[:14] for note in found.notes] == ["no time split:"]
    with pytest.raises(BadInput, match=r"^fewest 1000: no environment has so many rows$"):
        extrapolate(rows, [ValueMethod.CONSTANT], fewest=1000)


def test_scores_are_those_of_plain_arithmetic() -> None:
    rows = site_years()
    told = {"constant": np.zeros(len(rows)), "ridge": rows.target * 0.5}
    trial = Trial(np.arange(len(rows)), told, {})
    constant, ridge = score(rows, trial, SplitKind.SPACE, fewest=4)
    errors = defaultdict(list)
    for number, value in zip(rows.environment, rows.target, strict=True):
        errors[rows.names[number]].append(value**2)
    each = {name: fmean(squares) ** 0.5 for name, squares in errors.items()}
    assert {one.environment: one.rmse for one in constant.errors} == pytest.approx(each)
    assert constant.median.value == pytest.approx(np.median(list(each.values())))
    assert constant.q90.value == pytest.approx(np.percentile(list(each.values()), 90))
    assert constant.pooled == pytest.approx(np.sqrt((rows.target**2).mean()))
    assert ridge.skill["constant"] == pytest.approx((0.5, 0.5))
    assert ridge.q90_above_ridge is None
    assert constant.q90_above_ridge is not None
    assert constant.q90_above_ridge.value == pytest.approx(constant.q90.value / 2)
    assert constant.q90.low < constant.q90.value < constant.q90.high
    assert score(rows, trial, SplitKind.SPACE, fewest=5) == []


def test_validation_chooses_what_it_is_asked_to() -> None:
    """A line fits all places but four, where it is twice as wrong as a constant."""
    errors = np.array([1.0, 1.0, 4.0])
    assert [choice.of(errors) for choice in ModelChoice] == [2.0, 4.0, 3.0]
    rng = np.random.default_rng(0)
    site = np.repeat(np.arange(40), 20)
    x = rng.normal(size=(800, 1)).astype(np.float32)
    slope = np.where(site % 10 == 0, -1.0, 1.0)
    rows = made(["site"], {"site": site}, slope * x[:, 0], features=x)
    splits = held_out(rows, SplitKind.SPACE)
    taken = {
        choice: tell(rows, splits, list(ValueMethod)[:2], choice).taken for choice in ModelChoice
    }
    assert taken[ModelChoice.MEAN] == {"ridge": 20}
    assert taken[ModelChoice.SPREAD].get("constant", 0) > 4
    told = tell(rows, splits, [ValueMethod.CONSTANT, ValueMethod.RIDGE]).told
    assert np.array_equal(told[CHOSEN], told["ridge"])


def hourly(days: int, per_day: int, start: str, seed: int = 0) -> Rows:
    """Rows of two sites with gaps, some of them filled in."""
    rng = np.random.default_rng(seed)
    step = np.timedelta64(86_400 // per_day, "s")
    whole = np.datetime64(start, "s") + np.arange(days * per_day) * step
    kept = [np.sort(rng.choice(len(whole), len(whole) * 3 // 4, replace=False)) for _ in range(2)]
    site = np.concatenate([np.full(len(each), f"s{k}", object) for k, each in enumerate(kept)])
    time = np.concatenate([whole[each] for each in kept])
    year = time.astype("datetime64[Y]").astype(int) + 1970
    columns = {"site": site, "year": year.astype(np.int32)}
    measured = rng.random(len(site)) > 0.25
    return made(["site", "year"], columns, rng.normal(size=len(site)), time=time, measured=measured)


def plain_means(rows: Rows, told: NDArray[np.float64], key: Any, fewest: int) -> dict[Any, float]:
    """Mean errors by a key of site and moment, where there are at least so many."""
    found = defaultdict(list)
    for k in np.flatnonzero(rows.measured):
        moment = rows.time[k].astype(datetime)
        found[key(int(rows.place[k]), moment)].append(told[k] - rows.target[k])
    return {name: fmean(each) for name, each in found.items() if len(each) >= fewest}


def again(days: dict[Any, float], key: Any, fewest: int) -> dict[Any, float]:
    """Means of means of days."""
    found = defaultdict(list)
    for (site, day), value in days.items():
        found[key(site, day)].append(value)
    return {name: fmean(each) for name, each in found.items() if len(each) >= fewest}


@pytest.mark.parametrize("per_day", [1, 24])
def test_scales_are_means_of_what_was_measured_of_them(per_day: int) -> None:
    """Weeks begin on Monday, and one that two years share is cut where environments are years."""
    rows = hourly(900 if per_day == 1 else 800, per_day, "2019-01-01")
    assert scales_of(rows) == tuple(Scale)[1:]
    told = np.random.default_rng(9).normal(size=len(rows))
    days = plain_means(rows, told, lambda s, t: (s, t.date()), 12 if per_day == 24 else 1)
    expected = {
        Scale.DAILY: days,
        Scale.WEEKLY: again(days, lambda s, d: (s, d.year, (d.toordinal() - 1) // 7), 4),
        Scale.MONTHLY: again(days, lambda s, d: (s, d.year, d.month), 15),
        Scale.SPATIAL: again(days, lambda s, d: s, 1),
        Scale.SEASONAL: again(days, lambda s, d: (s, d.timetuple().tm_yday), 2),
    }
    season = expected[Scale.SEASONAL]
    expected[Scale.ANOMALY] = {
        (s, d): value - season[s, d.timetuple().tm_yday]
        for (s, d), value in days.items()
        if (s, d.timetuple().tm_yday) in season
    }
    years = again(days, lambda s, d: (s, d.year), 183)
    site = {s: fmean([v for (t, _), v in years.items() if t == s]) for s, _ in years}
    several = [s for s in site if sum(t == s for t, _ in years) > 1]
    expected[Scale.INTERANNUAL] = {k: v - site[k[0]] for k, v in years.items() if k[0] in several}
    assert expected[Scale.INTERANNUAL]
    for scale, values in expected.items():
        found = np.sort(on_scale(rows, told, scale).wrong)
        np.testing.assert_allclose(found, np.sort(list(values.values())), atol=1e-9, err_msg=scale)


def test_rows_of_years_have_means_of_years_and_places_alone() -> None:
    rows = site_years(each=1)
    assert scales_of(rows) == (Scale.INTERANNUAL, Scale.SPATIAL)
    found = on_scale(rows, np.zeros(len(rows)), Scale.SPATIAL)
    truth = [-rows.target[(rows.place == k) & rows.measured].mean() for k in range(10)]
    np.testing.assert_allclose(found.wrong, truth)
    assert scales_of(replace(rows, year=None)) == ()


@pytest.fixture(scope="module")
def biomass(shared: Path) -> Rows:
    """Real points of biomass (t/ha) with AlphaEarth's vectors, in cells of 10 degrees."""
    with np.load(shared / "data/downstream/points_biomass.npz") as file:
        of = dict(file)
    codes = of["aef"].astype(np.float32)
    vectors = np.sign(codes) * (codes / np.float32(127.5)) ** 2
    at = {"lon": of["lon"], "lat": of["lat"]}
    return made(["10deg"], at, of["biomass_mean"], features=vectors)


def told_by(
    rows: Rows, kind: SplitKind, candidates: dict[str, Candidate]
) -> dict[str, MethodScore]:
    splits = held_out(rows, kind)
    with one_thread():
        told = {
            name: np.concatenate([one.tell(rows, split.train, split.test) for split in splits])
            for name, one in candidates.items()
        }
    trial = Trial(np.concatenate([split.test for split in splits]), told, {})
    return {each.method: each for each in score(rows, trial, kind)}


LIGHT = {"constant": Candidate(ValueMethod.CONSTANT), "ridge": Candidate(ValueMethod.RIDGE, 100.0)}


@pytest.mark.parametrize(
    ("kind", "method", "pooled", "median", "q90"),
    [
        (SplitKind.SPACE, "constant", 74.6, 49.4, 108.6),
        (SplitKind.SPACE, "ridge", 44.4, 27.4, 54.2),
        (SplitKind.RANDOM, "constant", 74.5, 49.3, 108.3),
        (SplitKind.RANDOM, "ridge", 43.8, 27.0, 53.9),
    ],
)
def test_biomass_of_cells_held_out_is_what_others_measured(
    biomass: Rows, kind: SplitKind, method: str, pooled: float, median: float, q90: float
) -> None:
    found = told_by(biomass, kind, LIGHT)[method]
    assert len(found.errors) == 88
    told = (found.pooled, found.median.value, found.q90.value)
    assert told == pytest.approx((pooled, median, q90), abs=0.06)


@pytest.mark.soak
def test_the_tail_turns_the_ranking_of_trees_and_ridge(biomass: Rows) -> None:
    trees = {"trees": Candidate(ValueMethod.TREES)}
    found = told_by(biomass, SplitKind.SPACE, LIGHT | trees)
    assert found["trees"].median.value == pytest.approx(27.3, abs=0.8)
    assert found["trees"].q90.value == pytest.approx(58.5, abs=1.5)
    assert found["trees"].median.value < found["ridge"].median.value + 0.5
    assert found["trees"].q90.value > found["ridge"].q90.value + 2
