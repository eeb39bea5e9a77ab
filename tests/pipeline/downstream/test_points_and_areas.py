"""Samples drawn from maps, labelled, and what is estimated from them, against the truth."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray
import zarr
from numpy.typing import NDArray

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream.map_pixels import MapPixels, column_areas
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.tiling.lattice import Window, from_lonlat, to_lonlat
from tests.pipeline.downstream.maps import (
    COL,
    ROW,
    label,
    place,
    rows_of,
    write_map,
    write_rows,
)

SHAPE = (120, 150)
NAMES = {0: "forest", 3: "wheat", 9: "water"}
HECTARES = float(column_areas(Window(31, ROW, COL, *SHAPE)).sum() * SHAPE[0] / 1e4)


@functools.cache
def ground() -> NDArray[np.uint8]:
    """What is true: a wood, fields, and a pond."""
    rows, cols = np.indices(SHAPE)
    truth = np.where(cols + 10 * np.sin(rows / 9) < 80, 0, 3)
    return np.where((rows - 90) ** 2 + (cols - 110) ** 2 < 200, 9, truth).astype(np.uint8)


def mapped(seed: int = 0, errors: float = 0.1) -> NDArray[np.uint8]:
    """A map of it with errors, a corner without data and some unknown pixels."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(SHAPE) < errors
    pixels = np.where(wrong, rng.choice(np.array([0, 3, 9], np.uint8), SHAPE), ground())
    pixels[:10, :10], pixels[50:54, 60:64] = 255, 254
    return pixels


def true_name(zone: int, row: int, col: int) -> str:
    return NAMES[int(ground()[row, col])]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return write_map(tmp_path / "map.zarr", {31: mapped()})


def request(made: Path, n: int = 300, **more: object) -> tm.PointsRequest:
    return tm.PointsRequest(str(made), str(made.parent / "to_label.csv"), n, **more)  # type: ignore[arg-type]


def estimated(made: Path, **more: str) -> tm.AreaResult:
    return tm.areas(tm.AreasRequest(str(made), str(made.parent / "to_label.csv"), **more))


def true_hectares(which: NDArray[np.bool_]) -> float:
    sizes = column_areas(Window(31, ROW, COL, *SHAPE))
    return float((which * sizes).sum() / 1e4)


@pytest.mark.parametrize("design", ["class", "random"])
def test_intervals_hold_the_truth_where_pixel_counts_do_not(made: Path, design: str) -> None:
    drawn = tm.points(request(made, 300, design=design))
    rows = rows_of(Path(drawn.out))
    assert len(rows) == 300
    assert len({row["id"] for row in rows}) == 300
    stands_for = sum(1 / float(row["inclusion_probability"]) for row in rows)
    seen = mapped() != 255
    assert stands_for == pytest.approx(seen.sum())
    label(Path(drawn.out), true_name)
    found = estimated(made)
    assert found.hectares == pytest.approx(true_hectares(seen))
    assert sum(each.area.value for each in found.classes) == pytest.approx(found.hectares)
    for each in found.classes[:3]:
        truth = true_hectares(seen & (ground() == {v: k for k, v in NAMES.items()}[each.name]))
        assert each.area.low < truth < each.area.high
        code = {v: k for k, v in NAMES.items()}[each.name]
        assert each.counted == pytest.approx(true_hectares(mapped() == code))
    assert found.overall is not None
    right = (ground() == mapped())[seen].mean()
    assert found.overall.low < right < found.overall.high
    if design == "class":
        # The share of what is called water that is so lies within one stratum.
        water = found.classes[2]
        is_so = (ground() == 9)[mapped() == 9].mean()
        assert water.users.low < is_so < water.users.high


def test_a_census_is_the_truth(made: Path) -> None:
    label(Path(tm.points(request(made, 10**6)).out), true_name)
    found = estimated(made)
    seen = mapped() != 255
    for each, code in zip(found.classes, (0, 3, 9), strict=False):
        truth = true_hectares(seen & (ground() == code))
        assert (each.area.low, each.area.high) == pytest.approx((truth, truth), rel=1e-5)
        both = (ground() == code) & (mapped() == code)
        assert each.users.value == pytest.approx(both.sum() / (mapped() == code).sum())
        assert each.producers.value == pytest.approx(
            both.sum() / (seen & (ground() == code)).sum(), rel=1e-5
        )


def test_the_seed_decides_and_the_region_confines(made: Path) -> None:
    files = []
    for seed in (5, 5, 6):
        tm.points(request(made, 40, seed=seed))
        files.append((made.parent / "to_label.csv").read_bytes())
    assert files[0] == files[1] != files[2]
    lon, lat = to_lonlat(31).transform(491_840 + 500, 5_638_880 - 600)
    box = f"{lon - 0.004},{lat - 0.004},{lon + 0.004},{lat + 0.004}"
    tm.points(request(made, 40, region=box))
    for row in rows_of(made.parent / "to_label.csv"):
        assert abs(float(row["lon"]) - lon) < 0.004
        assert abs(float(row["lat"]) - lat) < 0.004
        _, y, x = place(row["id"])
        assert mapped()[y, x] != 255
    label(made.parent / "to_label.csv", true_name)
    assert estimated(made).hectares == pytest.approx(0.89 * 0.56 * 100, rel=0.05)


def test_what_two_zones_hold_is_drawn_once(tmp_path: Path) -> None:
    """Zone 31 ends far east of this map, so all of zone 32's copy is margin, or nobody's."""
    path = write_map(tmp_path / "map.zarr", {31: mapped(), 32: mapped(1)})
    drawn = tm.points(request(path, 50))
    assert drawn.pixels == (mapped() != 255).sum() + (mapped(1) != 255).sum()
    west = write_map(tmp_path / "west.zarr", {31: mapped()[:, :50]})
    wide = np.pad(mapped()[:, :50], ((0, 0), (0, 0)))
    assert tm.points(request(west, 50)).pixels == (wide != 255).sum()


def districts(path: Path, names: tuple[str, ...], cut: float = 0.5) -> Path:
    """Districts side by side from west to east, which cover a map."""
    west, north = 151_840 + 10 * COL, 9_338_880 - 10 * ROW
    edges = np.linspace(0, SHAPE[1] * 10, len(names) + 1)
    features = []
    for name, left, right in zip(names, edges[:-1], edges[1:], strict=True):
        x = west + np.array([left, right, right, left, left])
        y = north - np.array([-5, -5, SHAPE[0] * 10 + 5, SHAPE[0] * 10 + 5, -5])
        ring = np.stack(to_lonlat(31).transform(x, y), axis=1).tolist()
        shape = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"name": name}, "geometry": shape})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_strata_of_ones_own_and_districts(made: Path, tmp_path: Path) -> None:
    file = str(districts(tmp_path / "districts.geojson", ("west", "middle", "east")))
    drawn = tm.points(request(made, 240, design="strata", strata=file))
    assert drawn.points.strata == ("west", "middle", "east")
    label(Path(drawn.out), true_name)
    found = estimated(made, domains=file, out=str(tmp_path / "out"))
    seen = mapped() != 255
    assert [each.name for each in found.domains] == ["west", "middle", "east"]
    assert sum(each.hectares for each in found.domains) == pytest.approx(found.hectares)
    # Where strata are the districts themselves, districts add up to the whole.
    for k, each in enumerate(found.classes):
        parts = sum(domain.areas[k].value for domain in found.domains)
        assert parts == pytest.approx(each.area.value, abs=1e-6)
    for number, domain in enumerate(found.domains):
        mine = np.zeros(SHAPE, bool)
        mine[:, 50 * number : 50 * (number + 1)] = True
        assert domain.hectares == pytest.approx(true_hectares(mine & seen), rel=0.02)
        for area, code in zip(domain.areas, (0, 3, 9), strict=False):
            truth = true_hectares(mine & seen & (ground() == code))
            assert area.low - 0.5 <= truth <= area.high + 0.5


def test_a_district_without_points_is_between_nothing_and_all(made: Path, tmp_path: Path) -> None:
    tm.points(request(made, 20, design="random"))
    label(made.parent / "to_label.csv", true_name)
    names = tuple(f"d{k}" for k in range(50))
    found = estimated(made, domains=str(districts(tmp_path / "many.geojson", names)))
    empty = [domain for domain in found.domains if not domain.points]
    assert empty
    assert (empty[0].areas[0].low, empty[0].areas[0].high) == (0.0, empty[0].hectares)
    assert (
        found.to_json()["domains"][found.domains.index(empty[0])]["classes"][0]["area_ha"]["value"]
        is None
    )


def test_areas_of_change_between_two_maps(made: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    before = write_map(tmp_path / "before.zarr", {31: mapped(3, 0.02)}, year=2020)
    felled = (rng.random(SHAPE) < 0.3) & (ground() == 0)
    after = np.where(felled, 3, mapped(4, 0.02)).astype(np.uint8)
    write_map(made, {31: after})
    drawn = tm.points(request(made, 400, before=str(before)))

    def truth(zone: int, row: int, col: int) -> str:
        now = "wheat" if felled[row, col] else true_name(zone, row, col)
        return f"{true_name(zone, row, col)}>{now.upper()}"

    label(Path(drawn.out), truth)
    found = estimated(made)
    change = next(each for each in found.classes if each.name == "forest > wheat")
    seen = (after != 255) & (mapped(3) != 255)
    assert change.area.low < true_hectares(felled & seen) < change.area.high
    assert found.overall is not None
    assert 0.9 < found.overall.value < 1


def test_means_and_totals_of_values_and_the_uncertainty_of_a_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    truth = 100 + 50 * np.sin(np.indices(SHAPE)[1] / 20) + 5 * rng.standard_normal(SHAPE)
    values = (truth + 8 + 6 * rng.standard_normal(SHAPE)).astype(np.float32)
    values[:10] = np.nan
    path = write_map(tmp_path / "map.zarr", {31: values}, classes=(), name="value")
    drawn = tm.points(request(path, 200, design="random", seed=1))
    label(Path(drawn.out), lambda zone, row, col: f"{truth[row, col]:.3f}".replace(".", ","))
    file = str(districts(tmp_path / "districts.geojson", ("west", "east")))
    found = estimated(path, domains=file, out=str(tmp_path / "out"))
    seen = np.isfinite(values)
    assert found.mean is not None
    assert found.total is not None
    assert found.mean.low < truth[seen].mean() < found.mean.high
    assert found.mapped_mean == pytest.approx(values[seen].mean(), rel=1e-4)
    # The points correct the map, and the map is worth more than the points alone.
    assert found.mean.high < found.mapped_mean
    assert found.mean.standard_error < 0.5 < truth[seen].std() / 200**0.5
    assert found.total.value == pytest.approx(found.mean.value * found.hectares)
    held = np.abs(truth - values)[seen] <= (found.bands[0].covering or 0)
    assert 0.92 < held.mean() < 0.99
    for domain, part in zip(found.domains, (slice(0, 75), slice(75, 150)), strict=True):
        assert domain.mean is not None
        assert domain.mean.low < truth[10:, part].mean() < domain.mean.high
    told = json.loads((tmp_path / "out" / "areas.json").read_text())
    assert told["pixel_uncertainty"][0]["points"] == 200
    assert (tmp_path / "out" / "report.html").read_text().count("<rect") == 3


def test_a_perfect_sample_of_values_has_an_interval(tmp_path: Path) -> None:
    values = np.tile(np.arange(150, dtype=np.float32), (120, 1))
    path = write_map(tmp_path / "map.zarr", {31: values}, classes=(), name="value")
    tm.points(request(path, 30, design="random"))
    label(tmp_path / "to_label.csv", lambda zone, row, col: values[row, col])
    found = estimated(path).mean
    assert found is not None
    assert found.low < found.value < found.high


def without_a_row(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return rows[1:]


def with_a_row_twice(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [*rows[1:], rows[1]]


def with_another_pixel(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**rows[0], "id": f"{rows[0]['id'][:-5]}34099"}, *rows[1:]]


def with_another_stratum(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    names = [row["stratum"] for row in rows]
    other = next(k for k, name in enumerate(names) if name != names[0])
    swapped = {key: rows[other][key] for key in ("stratum", "inclusion_probability")}
    back = {key: rows[0][key] for key in swapped}
    sizes = [{"stratum_pixels": rows[k]["stratum_pixels"]} for k in (0, other)]
    rows[0], rows[other] = rows[0] | swapped | sizes[1], rows[other] | back | sizes[0]
    return rows


def with_another_probability(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**row, "inclusion_probability": "0.5"} for row in rows]


def without_a_label(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**rows[0], "label": " "}, *rows[1:]]


def with_a_slip(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**rows[0], "label": "forrest"}, *rows[1:]]


def of_training(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: row[name] for name in ("lon", "lat", "label")} for row in rows]


def of_another_map(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**row, "map": "m0123456789abcde"} for row in rows]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_a_row, "points, and by their inclusion probabilities .* were drawn"),
        (with_a_row_twice, "is in it 2 times"),
        (with_another_pixel, "not those that `points` wrote"),
        (with_another_stratum, "not those that `points` wrote"),
        (with_another_probability, "put back what is missing"),
        (without_a_label, "1 of 60 points have no label"),
        (with_a_slip, "did you mean 'forest'"),
        (of_training, "has no column id: only a sample that `points` drew"),
        (of_another_map, "not those that `points` wrote"),
    ],
)
def test_only_a_sample_as_it_was_drawn_is_taken(
    made: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[list[dict[str, str]]], list[dict[str, str]]],
    said: str,
) -> None:
    path = label(Path(tm.points(request(made, 60)).out), true_name)
    write_rows(path, damage(rows_of(path)))
    with pytest.raises(BadInput, match=said):
        estimated(made)
    assert main(["areas", "--map", str(made), "--labelled", str(path)]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1


def test_what_spreadsheets_do_to_a_file_does_no_harm(made: Path) -> None:
    path = label(Path(tm.points(request(made, 60)).out), true_name)
    expected = estimated(made).to_json()
    rows = rows_of(path)
    for row in rows:
        row["inclusion_probability"] = f"{float(row['inclusion_probability']):.9g}".replace(
            ".", ","
        )
        row["label"] = {"forest": "FOREST ", "wheat": "3", "water": "water"}[row["label"]]
        row["remark"] = "seen from the road; twice"
    write_rows(path, rows[::-1], ";")
    assert estimated(made).to_json() == expected


def test_a_map_that_has_changed_is_not_the_one_that_was_sampled(made: Path) -> None:
    path = label(Path(tm.points(request(made, 60)).out), true_name)
    write_map(made, {31: mapped(9)})
    with pytest.raises(BadInput, match=r"stratum forest has .* pixels in the map, and others when"):
        estimated(made)
    other = write_map(made.parent / "other.zarr", {31: mapped()}, year=2023)
    with pytest.raises(BadInput, match=r"year 2024: .*has 2023"):
        tm.areas(tm.AreasRequest(str(other), str(path)))


def test_labels_are_not_written_over(made: Path) -> None:
    path = label(Path(tm.points(request(made, 60)).out), true_name)
    before = path.read_bytes()
    with pytest.raises(BadInput, match="would be lost"):
        tm.points(request(made, 60))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"n": 1}, "two points at least"),
        ({"n": 5}, "strata need 2 points each"),
        ({"seed": -1}, "a seed is 0 or more"),
        ({"design": "systematic"}, "choose one of random, class, strata"),
        ({"design": "strata"}, "strata of one's own"),
        ({"strata_field": "name"}, "names the strata of a file"),
        ({"before_year": 2020}, "year of the earlier map"),
        ({"region": "60,0,61,1"}, "none of its pixels is in the region"),
        ({"year": 2020}, "has 2024"),
        ({"map": "nowhere.zarr"}, "there is no map"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(
    made: Path, values: dict[str, object], said: str
) -> None:
    given = {"map": str(made), "out": str(made.parent / "out.csv"), "n": 60} | values
    with pytest.raises(BadInput, match=said):
        tm.points(tm.PointsRequest(**given))  # type: ignore[arg-type]
    assert not (made.parent / "out.csv").exists()


def test_areas_that_overlap_or_have_no_name_are_refused(made: Path, tmp_path: Path) -> None:
    file = districts(tmp_path / "districts.geojson", ("west", "east"))
    document = json.loads(file.read_text())
    document["features"][0]["geometry"] = document["features"][1]["geometry"]
    file.write_text(json.dumps(document))
    with pytest.raises(BadInput, match=r"(west and east|east and west) overlap"):
        tm.points(request(made, 60, design="strata", strata=str(file)))
    del document["features"][0]["properties"]["name"]
    file.write_text(json.dumps(document))
    with pytest.raises(BadInput, match="area 1 cannot be used: it has no name"):
        tm.points(request(made, 60, design="strata", strata=str(file)))


def test_a_class_that_the_map_does_not_list_is_told(tmp_path: Path) -> None:
    pixels = mapped()
    pixels[40, 40] = 7
    path = write_map(tmp_path / "map.zarr", {31: pixels})
    with pytest.raises(BadInput, match="pixels of class 7, which its `classes` do not list"):
        tm.points(request(path, 60))


def test_true_pixels_are_smaller_at_the_meridian_than_beside_it() -> None:
    at = {east: (east - 151_840) // 10 for east in (500_000, 320_000, 180_000)}
    sizes = {east: float(column_areas(Window(31, ROW, col, 1, 1))[0]) for east, col in at.items()}
    assert sizes[500_000] == pytest.approx(100 / 0.9996**2, rel=1e-6)
    assert sizes[320_000] == pytest.approx(100.0, abs=0.01)
    assert sizes[180_000] == pytest.approx(99.83, abs=0.01)


def test_commands_tell_and_the_page_needs_nothing_but_itself(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "to_label.csv", tmp_path / "out"
    where = ["--map", str(made)]
    assert main(["points", *where, "--n", "60", "--seed", "3", "--out", str(path)]) == 0
    assert "60 points of 17,900 pixels" in capsys.readouterr().out
    label(path, lambda *at: "meadow" if at[2] > 140 else true_name(*at))
    assert main(["areas", *where, "--labelled", str(path), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "mapped right:" in told
    assert "pixel count" in told
    assert "The map has no class meadow" in told
    assert main(["areas", *where, "--labelled", str(path), "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields == json.loads((out / "areas.json").read_text())
    assert fields["classes"][-1]["class"] == "meadow"
    assert any("not how much there is" in note for note in fields["notes"])
    page = (out / "report.html").read_text()
    drawing = page[page.index("<svg") : page.index("</svg>") + len("</svg>")]
    assert len(ElementTree.fromstring(drawing).findall("rect")) == 4
    for outside in ("http", "src=", "@import", "url("):
        assert outside not in page
    table = (out / "areas.csv").read_text().splitlines()
    assert table[0].startswith("domain,class,quantity,value")
    assert len(table) == 1 + 3 * len(fields["classes"]) + 1


def test_points_are_suggested_where_the_map_doubts_and_well_apart(tmp_path: Path) -> None:
    confidence = np.full(SHAPE, 250, np.uint8)
    confidence[60:, 75:] = 90
    confidence[100, 20] = 10
    pixels = mapped()
    confidence[pixels == 255] = 255
    path = write_map(tmp_path / "map.zarr", {31: pixels}, confidence=confidence)
    out = tmp_path / "next.geojson"
    found = tm.suggest(tm.SuggestRequest(str(path), str(out), 12, spacing=160))
    assert len(found) == 12
    assert found[0].doubt == pytest.approx(1 - 10 / 254, abs=1e-3)
    assert all(each.doubt == pytest.approx(1 - 90 / 254, abs=1e-3) for each in found[1:])
    x, y = from_lonlat(31).transform([each.lon for each in found], [each.lat for each in found])
    apart = np.hypot(np.subtract.outer(x, x), np.subtract.outer(y, y))
    assert apart[~np.eye(12, dtype=bool)].min() >= 159.5
    few = tm.suggest(tm.SuggestRequest(str(path), str(out), 500, spacing=400))
    assert 3 <= len(few) <= 20
    with pytest.raises(BadInput, match="what `suggest` names was chosen"):
        tm.areas(tm.AreasRequest(str(path), str(out)))


def test_suggestions_go_by_the_margin_between_classes_where_it_is_known(tmp_path: Path) -> None:
    probability = np.stack([np.full(SHAPE, value, np.uint8) for value in (120, 80, 54)])
    probability[:, 100, 100] = 128, 126, 0
    confidence = probability.max(axis=0)
    path = write_map(
        tmp_path / "map.zarr", {31: ground()}, confidence=confidence, probability=probability
    )
    (first,) = tm.suggest(tm.SuggestRequest(str(path), str(tmp_path / "next.geojson"), 1))
    assert first.doubt == pytest.approx(1 - 2 / 254, abs=1e-3)
    bare = write_map(tmp_path / "bare.zarr", {31: ground()})
    with pytest.raises(BadInput, match="nothing of how sure it is"):
        tm.suggest(tm.SuggestRequest(str(bare), str(tmp_path / "next.geojson"), 1))


def test_pixels_that_the_map_calls_unknown_are_an_error_and_no_class(made: Path) -> None:
    label(Path(tm.points(request(made, 60)).out), true_name)
    unknown = estimated(made).classes[-1]
    assert (unknown.name, unknown.is_class, unknown.points) == ("unknown", False, 0)
    assert unknown.users.value == 0
    assert unknown.counted == pytest.approx(true_hectares(mapped() == 254))


def test_a_map_that_xarray_wrote_is_read(made: Path, tmp_path: Path) -> None:
    zone = xarray.open_zarr(made, group="utm31", consolidated=False).load()
    zone = zone.assign_coords(time=np.array(["2024-01-01"], "datetime64[ns]"))
    other = tmp_path / "other.zarr"
    for array in zone.variables.values():
        array.encoding.clear()
    zone.to_zarr(other, group="utm31", zarr_format=3, consolidated=False)
    classes = [{"code": code, "name": name, "colour": [1, 2, 255]} for code, name in NAMES.items()]
    zarr.open_group(other).attrs["classes"] = classes
    drawn = tm.points(request(other, 50))
    assert (drawn.points.origin.year, drawn.pixels) == (2024, (mapped() != 255).sum())


def test_windows_of_a_map_are_those_that_were_written(made: Path) -> None:
    pixels = MapPixels(str(made))
    assert sum(window.height * window.width for window in pixels.windows()) == SHAPE[0] * SHAPE[1]
    whole = pixels.read(Window(31, ROW - 1, COL - 1, SHAPE[0] + 2, SHAPE[1] + 2))
    assert (whole[0] == 255).all()
    np.testing.assert_array_equal(whole[1:-1, 1:-1], mapped())
    assert pixels.year == 2024
