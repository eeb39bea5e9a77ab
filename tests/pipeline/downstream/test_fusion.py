"""Products at points: how each is read, what is refused, and what a comparison leaves."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio import Affine

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.contracts.state import STATE, Kind, decode_state
from tessera_mosaic.pipeline.downstream.fusion_alphaearth import BANDS, alphaearth_at, dequantized
from tessera_mosaic.pipeline.downstream.fusion_numbers import vectors_at
from tessera_mosaic.pipeline.downstream.fusion_points import read_points
from tessera_mosaic.pipeline.downstream.fusion_products import Product, Sites
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.identity import adopted_identity
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store
from tessera_mosaic.pipeline.tiling.lattice import Tile, to_lonlat

SIDE, DIMS, YEAR = 64, 8, 2024
TILE = Tile(31, 5790, 543, SIDE)
WINDOW = TILE.window


def centres(rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    east, north = WINDOW.west + 10 * (cols + 0.5), WINDOW.north - 10 * (rows + 0.5)
    return to_lonlat(TILE.zone).transform(east, north)


def table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mosaic, AlphaEarth's codes of the same ground in its layout, points, and tables."""
    folder = tmp_path_factory.mktemp("fusion")
    chance = np.random.default_rng(5)
    identity = adopted_identity("somebody", "arrays", nearest=False, margin=0)
    made = create_store(
        Storage(str(folder / "mosaic.zarr")), Layout(SIDE, DIMS), identity, [YEAR], [TILE.zone]
    )
    codes = chance.integers(-100, 100, (SIDE, SIDE, DIMS), np.int8)
    with made.writer(TILE, YEAR) as writer:
        scales = np.full((SIDE, SIDE), 0.02, np.float32)
        scales[:2] = np.inf
        counts = np.full((SIDE, SIDE), 9, np.uint16)
        writer.put(WINDOW, codes, scales, dict.fromkeys(made.layout.observed, counts))
        writer.close()
    sharp = chance.integers(-127, 128, (64, SIDE, SIDE), np.int8)
    sharp[:, :, 60:] = -128
    write_cog(folder / "aef" / str(YEAR) / "31N" / "one.tiff", sharp)
    rows, cols = (of.ravel() for of in np.mgrid[1:SIDE:3, 1:SIDE:3])
    lon, lat = centres(rows, cols)
    value = codes[rows, cols, 0] * 0.02 + 8 * dequantized(sharp[:, rows, cols].T)[:, 3]
    value = np.where(np.isfinite(value), value, 0.0)
    table(folder / "points.parquet", lon=lon, lat=lat, label=value)
    table(folder / "classes.parquet", lon=lon, lat=lat, label=np.where(value > 0, "up", "down"))
    table(folder / "rain.parquet", lon=lon[40:], lat=lat[40:], rain=value[40:] * 2)
    np.savez(folder / "held.npz", codes=codes, sharp=sharp, rows=rows, cols=cols)
    return folder


def write_cog(path: Path, codes: np.ndarray, upward: bool = False, **other: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Affine(*WINDOW.transform)
    if upward:
        codes = codes[:, ::-1]
        place = Affine(10, 0, WINDOW.west, 0, 10, WINDOW.north - 10 * SIDE)
    told: dict[str, Any] = {"nodata": -128, "dtype": codes.dtype.name, "crs": WINDOW.crs}
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=len(codes), transform=place,
        tiled=True, blockxsize=32, blockysize=32, compress="deflate", **told | other,
    ) as file:  # fmt: skip
        file.write(codes)
        if len(codes) == len(BANDS):
            for number, band in enumerate(BANDS, 1):
                file.set_band_description(number, band)


def sites(folder: Path) -> Sites:
    return read_points(str(folder / "points.parquet"), YEAR, tm.Task.VALUE, None).sites


def test_codes_are_taken_exactly_and_come_back() -> None:
    codes = np.arange(-127, 128, dtype=np.int8)
    values = dequantized(np.repeat(codes[:, None], 64, axis=1))[:, 0].astype(np.float64)
    again = np.clip(np.rint(np.sign(values) * np.sqrt(np.abs(values)) * 127.5), -127, 127)
    np.testing.assert_array_equal(again, codes)
    assert values[-1] == np.float32((127 / 127.5) ** 2)


@pytest.mark.parametrize("upward", [False, True])
def test_alphaearth_is_read_where_it_lies(folder: Path, tmp_path: Path, upward: bool) -> None:
    held = np.load(folder / "held.npz")
    write_cog(tmp_path / "2024" / "31N" / "a.tif", held["sharp"], upward)
    write_cog(tmp_path / "2024" / "32N" / "b.tif", held["sharp"] * 0)
    found = alphaearth_at(Product.of(f"alphaearth:{tmp_path}"), sites(folder), YEAR)
    expected = dequantized(held["sharp"][:, held["rows"], held["cols"]].T)
    np.testing.assert_array_equal(found.values, expected)
    without = int((held["cols"] >= 60).sum())
    assert dict(found.missing) == {"no data in AlphaEarth": without}
    assert (found.columns, found.year) == (BANDS, YEAR)


def test_a_table_of_codes_is_the_same_as_one_of_values(folder: Path, tmp_path: Path) -> None:
    held, at = np.load(folder / "held.npz"), sites(folder)
    codes = held["sharp"][:, held["rows"], held["cols"]].T
    values = dequantized(codes)
    for name, rows in (("codes", codes), ("values", values)):
        bands = {band: rows[:, place] for place, band in enumerate(BANDS)}
        table(tmp_path / f"{name}.parquet", lon=at.lon, lat=at.lat, year=[YEAR] * len(at), **bands)
        product = Product.of(f"alphaearth:{tmp_path / name}.parquet")
        np.testing.assert_array_equal(alphaearth_at(product, at, YEAR).values, values)


def test_the_mosaics_vectors_are_codes_times_scales(folder: Path) -> None:
    held, at = np.load(folder / "held.npz"), sites(folder)
    double = at.take(np.array([30, 30, 31, 0]))
    found = vectors_at(Product.of(f"mosaic:{folder / 'mosaic.zarr'}"), double, YEAR)
    codes = held["codes"][held["rows"], held["cols"]][[30, 30, 31]]
    np.testing.assert_array_equal(found.values[:3], codes * np.float32(0.02))
    assert np.isnan(found.values[3]).all()
    assert dict(found.missing) == {"no embedding": 1}


def test_rows_are_joined_by_pixel_and_those_of_another_year_are_counted(
    folder: Path, tmp_path: Path
) -> None:
    at = sites(folder)
    years = np.where(np.arange(len(at)) < 100, 2019, YEAR)
    path = table(
        tmp_path / "t.parquet", lon=at.lon[:300], lat=at.lat[:300], year=years[:300],
        rain=np.where(np.arange(300) == 200, np.nan, 1.0), name=["x"] * 300,
    )  # fmt: skip
    found = vectors_at(Product.of(str(path)), at, YEAR)
    assert dict(found.missing) == {
        "its row is of another year": 100,
        "no row of the table in its pixel": len(at) - 300,
        "a number is missing": 1,
    }
    assert found.columns == ("rain",)
    assert found.notes == ("t: columns without numbers are not used: name",)


def test_a_table_of_extract_is_its_vectors_alone(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.parquet"
    tm.extract(tm.ExtractRequest(str(folder / "mosaic.zarr"), folder / "points.parquet", out))
    found = vectors_at(Product.of(str(out)), sites(folder), YEAR)
    same = vectors_at(Product.of(f"mosaic:{folder / 'mosaic.zarr'}"), sites(folder), YEAR)
    np.testing.assert_array_equal(found.values, same.values)
    assert found.columns == same.columns


def words(folder: Path, *products: str, **options: Any) -> list[str]:
    told = {"points": folder / "points.parquet", "year": YEAR, "task": "value"} | options
    return ["fuse", *(f"--{name}={value}" for name, value in told.items()), *products]


def test_a_comparison_says_what_each_tells_and_leaves_files_that_agree(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    products = [
        f"--product=mosaic:{folder / 'mosaic.zarr'}",
        f"--product=a=alphaearth:{folder}/aef",
    ]
    out = tmp_path / "out"
    line = words(folder, *products, folds=5, cells="0.1,0.001", out=out)
    assert main([*line, "--published"]) == 0
    said = capsys.readouterr().out
    assert "they flatter" in said
    assert "mosaic + a: gain under folds by cells" in said
    assert "without: 21 no embedding" in said
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    told = json.loads((out / "fusion.json").read_text())
    assert found == told
    rows = pq.read_table(out / "fused.parquet")
    assert rows.num_rows == found["points"] == found["scored"]
    assert rows.num_columns == 3 + DIMS + 64
    assert {"mosaic_e0", "a_A63"} <= set(rows.column_names)
    state = decode_state(rows.schema.metadata[STATE.encode()])
    assert (state.kind, state.years, state.dims) == (Kind.FUSED, (YEAR,), DIMS + 64)
    assert state.fingerprint in {each["digest"] for each in found["products"]}
    assert state.to_json() == found["state"]
    with (out / "scores.csv").open() as file:
        scores = list(csv.DictReader(file))
    assert len(scores) == 3 * len(found["folds"])
    assert {row["verdict"] for row in scores if row["products"] == "mosaic + a"} == {"gain"}
    with rasterio.open(out / "scores.png") as picture:
        assert picture.width > 800
    assert {plan["degrees"] for plan in found["folds"]} == {0, 0.001}
    assert any("cells of 0.1 deg hold points" in note for note in found["notes"])


def test_nothing_is_gained_from_what_is_known_already(folder: Path) -> None:
    held, at = np.load(folder / "held.npz"), sites(folder)
    noise = np.random.default_rng(0).normal(size=(len(at), 3))
    path = table(
        folder / "noise.parquet", lon=at.lon, lat=at.lat, **{f"n{k}": noise[:, k] for k in range(3)}
    )
    products = (f"mosaic:{folder / 'mosaic.zarr'}", str(path))
    request = tm.FuseRequest(
        str(folder / "classes.parquet"), products, YEAR, folds=5, cells=(0.001,)
    )
    found = tm.complementarity(request)
    assert found.verdicts["mosaic", "noise"] is not found.plans[0].gains[0].verdict.GAIN
    assert found.measure == "accuracy"
    assert len(held["rows"]) == found.points + sum(found.left_out.values())


def of_floats(folder: Path, tmp_path: Path) -> str:
    write_cog(tmp_path / str(YEAR) / "31N" / "a.tif", np.zeros((64, SIDE, SIDE), np.float32))
    return f"--product=alphaearth:{tmp_path}"


def of_few_bands(folder: Path, tmp_path: Path) -> str:
    write_cog(tmp_path / str(YEAR) / "31N" / "a.tif", np.zeros((3, SIDE, SIDE), np.int8))
    return f"--product=alphaearth:{tmp_path}"


def aef_table(path: Path, folder: Path, code: float, bands: int = 64) -> str:
    at = sites(folder)
    columns = {band: np.full(len(at), 3.0) for band in BANDS[:bands]}
    columns["A07"][5] = code
    return f"--product=alphaearth:{table(path / 'a.parquet', lon=at.lon, lat=at.lat, **columns)}"


def of_words(folder: Path, tmp_path: Path) -> str:
    at = sites(folder)
    rain = ["1.5"] * len(at)
    rain[2] = "much"
    return f"--product={table(tmp_path / 'w.parquet', lon=at.lon, lat=at.lat, rain=rain)}"


def swapped(folder: Path, tmp_path: Path) -> str:
    at = sites(folder)
    return f"--product={table(tmp_path / 's.parquet', lon=at.lat, lat=at.lon, rain=at.lat)}"


def of_2019(folder: Path, tmp_path: Path) -> str:
    at, year = sites(folder), [2019] * len(sites(folder))
    return f"--product={table(tmp_path / 'y.parquet', lon=at.lon, lat=at.lat, year=year, n=at.lat)}"


WRONG: dict[str, tuple[Callable[[Path, Path], str], str]] = {
    "floats": (of_floats, "has 64 bands of float32, not 64 of int8"),
    "few bands": (of_few_bands, "has 3 bands of int8, not 64 of int8"),
    "no such year": (lambda f, t: f"--product=alphaearth:{f}", "it has no folder 2024"),
    "too large a code": (lambda f, t: aef_table(t, f, 130), "it has the code 130: codes lie"),
    "half a code": (lambda f, t: aef_table(t, f, 2.5), "it has 2.5 beside 3: codes are whole"),
    "a band short": (lambda f, t: aef_table(t, f, 3, 63), "it has no column A63"),
    "words": (of_words, "row 3 has 'much' in column rain, where others have numbers"),
    "swapped": (swapped, "check the year, and that lon and lat are not swapped"),
    "another year": (of_2019, "its rows are of 2019, not of 2024"),
    "no kind": (lambda f, t: f"--product={f / 'mosaic.zarr'}", "name a table"),
    "no path": (lambda f, t: "--product=alphaearth:", "say where it lies: alphaearth:PATH"),
    "a path": (lambda f, t: "--product=geoclip:w.pt", "it takes no path"),
    "no mosaic": (lambda f, t: f"--product=x=mosaic:{t}", "holds no mosaic"),
    "twice": (lambda f, t: f"--product=mosaic:{f / 'mosaic.zarr'}", "two products are called"),
    "no weights": (lambda f, t: f"--product=satclip:{f / 'rain.parquet'}", "no weights file"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    make, says = WRONG[what]
    first = f"--product=mosaic:{folder / 'mosaic.zarr'}"
    assert main(words(folder, first, make(folder, tmp_path), out=tmp_path / "out")) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder_is_refused_before_a_head_is_fitted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    products = [f"--product=mosaic:{folder / 'mosaic.zarr'}", f"--product={folder}/rain.parquet"]
    assert main(words(folder, *products, out=out)) == 2
    said = capsys.readouterr().err
    assert said.endswith(f"--out {out}: it cannot be made a directory: File exists\n")
    assert out.read_text() == "mine"


def test_an_empty_column_is_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    at = sites(folder)
    path = table(tmp_path / "e.parquet", lon=at.lon, lat=at.lat, n=at.lat, none=[np.nan] * len(at))
    found = vectors_at(Product.of(str(path)), at, YEAR)
    assert found.columns == ("n",)
    assert found.notes == ("e: columns without numbers are not used: none",)


def test_points_beyond_the_mosaic_or_of_another_year_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    products = [f"--product=mosaic:{folder / 'mosaic.zarr'}", f"--product={folder}/rain.parquet"]
    at = sites(folder)
    for name, columns, says in (
        ("far", {"lon": at.lat, "lat": at.lon}, "it has nothing of 2024 at any of the"),
        ("old", {"lon": at.lon, "lat": at.lat, "year": [2020] * len(at)}, "label of another year"),
        ("few", {"lon": at.lon[:60], "lat": at.lat[:60]}, "points have vectors of all products"),
    ):
        label = np.arange(len(columns["lon"]), dtype=float)
        path = table(tmp_path / f"{name}.parquet", label=label, **columns)
        assert main(words(folder, *products, points=path)) == 2
        said = capsys.readouterr().err
        assert says in said
        assert said.count("\n") == 1
    for options, says in (({"cells": "wide"}, "give degrees"), ({"folds": 2}, "take 3 to 100")):
        assert main(words(folder, *products, **options)) == 2
        assert says in capsys.readouterr().err
    assert main(words(folder, products[0])) == 2
    assert "compare two to 8" in capsys.readouterr().err


def test_train_takes_the_same_products(folder: Path, tmp_path: Path) -> None:
    extra = (f"alphaearth:{folder / 'aef'}", str(folder / "rain.parquet"))
    request = tm.TrainRequest(
        str(folder / "mosaic.zarr"), str(folder / "points.parquet"), YEAR,
        str(tmp_path / "both.head"), task="value", folds=100, extra=extra,
    )  # fmt: skip
    found = tm.train(request)
    assert found.extra is not None
    assert found.extra.columns == (*BANDS, "rain")
    assert found.extra.helps
    assert found.head.layers["weight"].shape == (1, DIMS + 65)
    assert len(found.scores.choice.gains) == 3
    with pytest.raises(BadInput, match="another product has a column A00"):
        tm.train(
            tm.TrainRequest(
                str(folder / "mosaic.zarr"), str(folder / "points.parquet"), YEAR,
                str(tmp_path / "no.head"), task="value", extra=(extra[0], f"b={extra[0]}"),
            )
        )  # fmt: skip
