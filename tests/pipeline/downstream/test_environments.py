"""`evaluate --environments` on tables of any kind, beside a mosaic, and on made-up sites."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tessera_mosaic.pipeline.downstream.environment_rows import Wanted, rows_of, times_of
from tessera_mosaic.pipeline.downstream.environments import (
    EnvironmentsRequest,
    evaluate_environments,
)
from tessera_mosaic.pipeline.downstream.extract import ExtractRequest, extract
from tessera_mosaic.pipeline.downstream.sample_table import SampleTable, read_table
from tessera_mosaic.pipeline.downstream.site_tables import SiteSchema, read_sites
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.tiling.lattice import to_lonlat
from tests import jobs
from tests.samples import HOLE, TILES, YEARS, Sample, write_sample

SITES, EACH, DIMS = 12, 30, 3


def numbers() -> dict[str, Any]:
    """A value that is a line of vectors, with an error that grows from site to site."""
    rng = np.random.default_rng(0)
    site = np.repeat(np.arange(SITES), EACH)
    vectors = rng.normal(size=(len(site), DIMS)).astype(np.float32)
    noise = rng.normal(size=len(site)) * 0.01 * (1 + site)
    return {"e": vectors, "height": vectors @ [3.0, 2.0, 1.0] + noise, "plot": site}


def write(path: Path, columns: dict[str, Any]) -> Path:
    """A table as CSV, Parquet or NPZ."""
    if path.suffix == ".npz":
        np.savez(path, **columns)
        return path
    flat = {}
    for name, values in columns.items():
        if np.ndim(values) == 2:
            flat |= {f"{name}{k}": values[:, k] for k in range(values.shape[1])}
        else:
            flat[name] = values
    table = pa.table(flat)
    (pyarrow.csv.write_csv if path.suffix == ".csv" else pq.write_table)(table, path)
    return path


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.npz"])
def test_the_same_rows_have_the_same_scores_however_they_are_written(
    run: jobs.Run, tmp_path: Path, name: str
) -> None:
    table = write(tmp_path / name, numbers())
    words = ("--environments=plot", "--target=height", "--methods=constant,ridge")
    code, told = run("evaluate", f"--table={table}", *words, f"--out={tmp_path / 'out'}")
    assert code == 0
    assert (told["rows"], told["environments"], told["features"]) == (360, 12, 3)
    by = {(each["split"], each["method"]): each for each in told["scores"]}
    space = by["space", "ridge"]
    assert space["q90"][0] == pytest.approx(0.11, abs=0.02)
    assert space["skill"]["constant"][1] > 0.95
    assert by["space", "chosen"]["median"] == space["median"]
    with open(told["table"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * SITES
    errors = [
        float(row["rmse"]) for row in rows if (row["split"], row["method"]) == ("space", "ridge")
    ]
    assert np.percentile(errors, 90) == pytest.approx(space["q90"][0], abs=1e-4)
    assert Path(told["picture"]).read_bytes().startswith(b"\x89PNG")
    assert told["notes"][0].startswith("no time split")


def test_what_people_read_says_where_each_number_is_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = numbers() | {"moist": np.arange(SITES * EACH, dtype=float)}
    columns["height"][:7] = np.nan
    table = write(tmp_path / "rows.parquet", columns)
    words = ["--environments=plot", "--target=height", "--methods=ridge", "--tail=moist:low"]
    out = tmp_path / "out"
    assert jobs.run_here(["evaluate", f"--table={table}", *words, f"--out={out}"]) == 0
    told = capsys.readouterr().out
    assert "353 rows of 12 environments, 3 features" in told
    assert "left out: 7 rows without height" in told
    lines = [line.split() for line in told.splitlines()]
    splits = [line[0] for line in lines if line[1:3] == ["rows", "ridge"]]
    assert splits == ["random", "space", "tail"]
    assert "space: validation environments took ridge 12" in told


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(Storage(str(tmp_path_factory.mktemp("sample") / "store")), TILES[:1])


def places(sample: Sample, folder: Path) -> Path:
    """Points of both years whose value is a line of the mosaic's vectors, and one in a hole."""
    rng = np.random.default_rng(3)
    at = [(row, col) for row in range(2, 18, 2) for col in range(2, 62, 3)]
    at += [(HOLE[0].start, HOLE[1].start)]
    weights = rng.normal(size=128)
    lines = ["lon,lat,plot,year,depth"]
    for year in YEARS:
        held = sample.tiles[TILES[0], year]
        for row, col in at:
            lon, lat = centre(row, col)
            scale = held.scales[row, col]
            value = float(held.codes[row, col] @ weights) * scale if np.isfinite(scale) else 1.0
            lines.append(f"{lon},{lat},p{col // 6},{year},{value}")
    path = folder / "places.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def centre(row: int, col: int) -> tuple[float, float]:
    window = TILES[0].window
    at = window.west + 10 * col + 5, window.north - 10 * row - 5
    lon, lat = to_lonlat(TILES[0].zone).transform(*at)
    return float(lon), float(lat)


def test_rows_are_told_from_the_vectors_of_their_own_year(sample: Sample, tmp_path: Path) -> None:
    table, store = places(sample, tmp_path), sample.mosaic.storage.url
    request = EnvironmentsRequest(
        table, "depth", ("plot", "year"), store=store, methods=("constant", "ridge"), fewest=5,
        out=tmp_path / "out",
    )  # fmt: skip
    found = evaluate_environments(request)
    assert found.left_out == {"without an embedding in the mosaic": 2}
    assert found.features == 128
    by = {(each.split, each.scale, each.method): each for each in found.scores}
    # 304 rows tell of 128 weights all but exactly; vectors of the wrong year would tell nothing.
    assert by["space", "rows", "ridge"].skill["constant"][0] > 0.9
    assert {scale for _, scale, _ in by} == {"rows", "iav", "spatial"}
    rows, _ = rows_of(
        read_table(table), Wanted("depth", ("plot",), mosaic=sample.mosaic, year=YEARS[0])
    )
    assert len(rows) == 2 * 160
    assert np.array_equal(rows.features[:160], rows.features[160:])


def test_the_table_that_extract_writes_is_evaluated_as_it_is(
    sample: Sample, tmp_path: Path
) -> None:
    at, store = places(sample, tmp_path), sample.mosaic.storage.url
    extract(ExtractRequest(store, at, tmp_path / "vectors.parquet", (YEARS[0],)))
    table = read_table(tmp_path / "vectors.parquet")
    rows, out = rows_of(table, Wanted("depth", ("plot",)))
    assert rows.features.shape == (2 * 160, 128)
    assert out == {"without one of the features": 2}


def test_whole_numbers_of_an_npz_are_codes_where_it_says_so(tmp_path: Path) -> None:
    codes = np.array([[-127, 0], [51, 127]], np.int8)
    scale = np.array([0.5, 2.0], np.float32)
    path = tmp_path / "codes.npz"
    np.savez(path, aef=codes, geo=codes, geo_scale=scale, plain=codes, name=np.array(["a", "b"]))
    table = read_table(path)
    np.testing.assert_allclose(
        table.blocks["aef"], np.sign(codes) * (codes / 127.5) ** 2, rtol=1e-6
    )
    np.testing.assert_array_equal(table.blocks["geo"], codes * scale[:, None])
    np.testing.assert_array_equal(table.blocks["plain"], codes)
    np.testing.assert_array_equal(table.features("name"), np.eye(2))


def towers(folder: Path, days: int = 70) -> Path:
    """Hourly rows of six flux towers in two years, as FLUXtrapolation names their columns."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    lines = ["site,lon,lat,IGBP"]
    for k in range(6):
        hours = np.concatenate(
            [
                np.datetime64(f"{year}-05-01T00", "h") + np.arange(days * 24)
                for year in (2016, 2017, 2019)
            ]
        )
        sun = np.clip(np.sin((hours.astype(int) % 24 - 6) / 24 * 2 * np.pi), 0, None) * 800
        warm = 5.0 * k + rng.normal(size=len(hours))
        gpp = sun * (0.01 + 0.002 * (k % 2)) + 0.1 * warm + rng.normal(size=len(hours))
        stamp = [str(h).replace("-", "").replace("T", "") + "00" for h in hours]
        table = {
            "time": stamp,
            "GPP": gpp,
            "NEE": -gpp,
            "ET": gpp / 50,
            "qc_mask": (rng.random(len(hours)) > 0.1).astype(int),
            "TA": warm,
            "SW_IN": np.where(rng.random(len(hours)) < 0.01, -9999.0, sun),
        }
        pyarrow.csv.write_csv(pa.table(table), folder / f"XX-T{k:02d}.csv")
        lines.append(f"XX-T{k:02d},{10 + k},{50 + k},{'ENF' if k % 2 else 'GRA'}")
    (folder / "sites.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_site_tables_are_told_of_on_every_scale(tmp_path: Path) -> None:
    folder = towers(tmp_path / "sites")
    table = read_sites(folder)
    assert SiteSchema().covariates(table) == ["IGBP", "TA", "SW_IN"]
    assert str(times_of(table)[0]) == "2016-05-01T00:00:00"
    request = EnvironmentsRequest(
        folder, "GPP", ("site", "year"), tail="TA", methods=("constant", "ridge"),
        out=tmp_path / "out",
    )  # fmt: skip
    found = evaluate_environments(request)
    assert set(found.left_out) == {"without one of the features"}
    # Two kinds of ground as ones and zeros, and two numbers; never another target.
    assert found.features == 4
    by = {(each.split, each.scale, each.method): each for each in found.scores}
    scales = {scale.value for _, scale, _ in by}
    assert scales == {"rows", "daily", "weekly", "monthly", "seasonal", "anomaly", "spatial"}
    assert any("iav" in note for note in found.found.notes)
    for split in ("random", "space", "time", "tail"):
        ridge = by[split, "rows", "ridge"]
        assert ridge.skill["constant"][1] > 0.4, split
    assert {one.environment for one in by["tail", "rows", "ridge"].errors} == {
        "XX-T05 2016",
        "XX-T05 2017",
        "XX-T05 2019",
    }
    assert {one.environment[-4:] for one in by["time", "rows", "ridge"].errors} == {"2019"}
    assert {one.environment for one in by["tail", "spatial", "ridge"].errors} == {"XX-T05"}


def test_sites_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = towers(tmp_path / "sites", days=1)
    (folder / "XX-T99.csv").write_text("time,GPP\n201601010000,1\n")
    with pytest.raises(BadInput, match=r"XX-T99.csv: its columns are not those of XX-T00.csv"):
        read_sites(folder)
    (folder / "XX-T99.csv").write_text((folder / "XX-T00.csv").read_text())
    with pytest.raises(BadInput, match=r"sites\.csv says nothing of XX-T99"):
        read_sites(folder)
    (folder / "XX-T99.csv").write_text("GPP\n1\n")
    with pytest.raises(BadInput, match="has no column time; it has GPP"):
        read_sites(folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput, match="has 0 tables of sites"):
        read_sites(empty)


def test_times_are_read_as_fluxnet_and_everybody_else_writes_them() -> None:
    def of(*values: Any) -> list[str]:
        array = np.array(values, object if isinstance(values[0], str) else None)
        found = times_of(SampleTable("table", {"time": array}))
        assert found is not None
        return found.astype(str).tolist()

    assert of("201907011230", None) == ["2019-07-01T12:30:00", "NaT"]
    assert of(20190701, 20191231) == ["2019-07-01T00:00:00", "2019-12-31T00:00:00"]
    assert of("2019-07-01T12:30Z") == ["2019-07-01T12:30:00"]
    with pytest.raises(BadInput, match="a time is neither"):
        of("yesterday")


def test_rows_that_say_too_little_are_counted(tmp_path: Path) -> None:
    columns = {name: values for name, values in numbers().items() if name != "plot"}
    rows = len(columns["height"])
    columns["site"] = np.array([None if k < 3 else f"s{k % 9}" for k in range(rows)], object)
    columns["year"] = np.where(np.arange(rows) < 5, np.nan, 2020.0)
    columns["lon"] = np.where(np.arange(rows) < 8, 200.0, 3.0 + np.arange(rows) % 7)
    columns["lat"] = np.where(np.arange(rows) < 10, np.nan, 50.0)
    table = read_table(write(tmp_path / "rows.parquet", columns))
    _, out = rows_of(table, Wanted("height", ("site",)))
    assert out == {"without a year": 5}
    kept, out = rows_of(table, Wanted("height", ("site", "5deg")))
    assert out == {"with lon beyond 180 degrees": 8, "without lat": 2}
    assert len(kept) == rows - 10
    named = SampleTable(table.name, {k: v for k, v in table.columns.items() if k != "year"})
    assert rows_of(named, Wanted("height", ("site",)))[1] == {"without site": 3}


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str], str]] = {
    "no target": (lambda c: c, ["--target=hight"], "--target hight: .* it has height, plot"),
    "no column": (lambda c: c, ["--environments=site"], "--environments site: there is no such"),
    "no coordinates": (lambda c: c, ["--environments=10deg"], "10deg: cells need the column lon"),
    "no features": (lambda c: c, ["--features=soil"], "--features soil: .* no such column or"),
    "the target itself": (lambda c: c, ["--features=height"], "height: it is what is told"),
    "no vectors": (lambda c: c.pop("e"), [], "--features: name what it is told from"),
    "one place": (lambda c: c.update(plot=c["plot"] * 0), [], "plot: all rows are of one"),
    "words": (
        lambda c: c.update(height=np.array(["high"] * len(c["plot"]))),
        [],
        "--target height: .* other values than numbers",
    ),
    "nothing": (
        lambda c: c.update(height=c["height"] * np.nan),
        [],
        "0 rows are left, 50 are needed .360 without height",
    ),
    "no years": (lambda c: c, ["--test-from=2020"], "later years can be held out of rows with"),
    "no tail": (lambda c: c, ["--tail=TA"], "--tail TA: .* no such column"),
    "methods": (lambda c: c, ["--methods=forest"], "--methods forest: choose of constant, ridge"),
    "fewest": (lambda c: c, ["--fewest=0"], "--fewest 0: an environment has 1 row"),
    "year": (lambda c: c, ["--year=2020"], "--year 2020: it is of a mosaic's vectors"),
    "labels": (lambda c: c, ["--labels=l.tif"], "--labels: environments take a table"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_what_cannot_be_evaluated_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoilt: str
) -> None:
    change, words, line = SPOILT[spoilt]
    columns = numbers()
    change(columns)
    table = write(tmp_path / "rows.npz", columns)
    options = ["--environments=plot", "--target=height", f"--out={tmp_path / 'out'}", *words]
    assert jobs.run_here(["evaluate", f"--table={table}", *options]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert re.search(line, error), error
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("rows.xls", b"x", "use one of .csv, .parquet"),
        ("rows.npz", b"PK", "cannot be read as NPZ"),
        ("rows.parquet", b"PAR1", "cannot be read as PARQUET"),
        ("rows.csv", b"a,b\n1\n", "cannot be read as CSV"),
        ("rows.csv", b"a,b\n", "has no rows"),
    ],
)
def test_files_that_are_no_tables_are_refused(
    tmp_path: Path, name: str, data: bytes, line: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match=line):
        read_table(tmp_path / name)


def test_objects_in_an_npz_are_never_made(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", e=np.array([{"a": 1}, None], object))
    with pytest.raises(BadInput, match="cannot be read as NPZ"):
        read_table(tmp_path / "rows.npz")


def test_environments_need_all_that_they_are_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    for words, line in (
        (["--environments=site"], "--table: environments need it"),
        (["--table=t.csv"], "--environments: say of which environments"),
        (["--labels=l.tif"], "--store: it is needed, unless"),
    ):
        assert jobs.run_here(["evaluate", *words]) == 2
        assert line in capsys.readouterr().err


def test_a_value_whose_square_is_no_number_is_left_out_and_counted() -> None:
    told = np.arange(100.0)
    told[7] = 1e300
    columns = {"depth": told, "e0": np.arange(100.0), "site": np.arange(100) // 10}
    rows, out = rows_of(SampleTable("table", columns), Wanted("depth", ("site",), ("e0",)))
    assert (len(rows), out) == (99, {"with depth beyond 1e+100": 1})
