"""Places that look alike: as brute force finds them, whoever searches and however often stopped."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from numpy.typing import NDArray

import tessera_mosaic as tm
from tessera_mosaic.model.heads.head import HeadKind
from tessera_mosaic.pipeline.cli import main, some_failed
from tessera_mosaic.pipeline.downstream.head_file import write_head
from tessera_mosaic.pipeline.downstream.search_examples import example_places
from tessera_mosaic.pipeline.downstream.search_plan import prepare_search
from tessera_mosaic.pipeline.downstream.search_queries import (
    Examples,
    Measure,
    Query,
    exact_weights,
    queries_of_head,
    query_of,
)
from tessera_mosaic.pipeline.downstream.search_scan import best_pixels
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.mosaic.identity import fingerprint
from tessera_mosaic.pipeline.tiling.lattice import NORTH_EDGE, PIXEL, WEST_EDGE, to_lonlat
from tests import caldor, jobs
from tests.model.heads.test_files import head as small_head
from tests.pipeline.downstream.lands import DEPTH, YEAR, Land, tiles, write_land
from tests.pipeline.mosaic.test_foreign import COL, ROW, YEARS, publish


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Land:
    return write_land(tmp_path_factory.mktemp("land") / "mosaic.zarr")


@pytest.fixture(scope="module")
def examples(land: Land) -> NDArray[np.int64]:
    """Three pixels of one cover that are alike and not the same, in both zones."""
    known = np.flatnonzero(np.isfinite(land.scales))
    cosines = (land.cosines(known[[k]]) for k in range(0, len(known), 7))
    near = next(each for each in cosines if 0.9 < np.nanmax(each[each < 1 - 1e-9]) < 1 - 1e-6)
    alike = np.flatnonzero(near > 0.9)
    return alike[[0, len(alike) // 2, -1]]


def places(land: Land, of: NDArray[np.int64]) -> tuple[tuple[float, float], ...]:
    return tuple((float(lon), float(lat)) for lon, lat in land.lonlat(of))


def asked(land: Land, examples: NDArray[np.int64], out: Path, **more: Any) -> tm.SearchRequest:
    given = {"like": places(land, examples), "top": 40} | more
    return tm.SearchRequest(land.store, YEAR, str(out / "hits.parquet"), **given)


def words(request: tm.SearchRequest, *more: str) -> list[str]:
    """The same as words of the command line."""
    like = ";".join(f"{lon!r},{lat!r}" for lon, lat in request.like)
    return [
        *("search", f"--store={request.store}", f"--year={request.year}", f"--like={like}"),
        *(f"--top={request.top}", f"--out={request.out}", *more),
    ]


def is_found(
    table: Path | str, land: Land, expected: NDArray[np.int64], scores: NDArray[np.float64]
) -> bool:
    """Whether a table holds these pixels in this order, with these scores."""
    rows = pq.read_table(table)
    at = land.lonlat(expected)
    np.testing.assert_allclose(rows["lon"].to_numpy(), at[:, 0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(rows["lat"].to_numpy(), at[:, 1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(rows["score"].to_numpy(), scores[expected], rtol=0, atol=1e-11)
    np.testing.assert_array_equal(rows["observations_s2"].to_numpy(), land.s2[expected])
    return len(rows) == len(expected)


@pytest.fixture(scope="module")
def whole(
    land: Land, examples: NDArray[np.int64], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a search over all of the mosaic."""
    out = tmp_path_factory.mktemp("whole")
    found = tm.search(asked(land, examples, out))
    assert found.outcome.done == len(found.read) == 16
    return out


def test_hits_are_those_of_brute_force(
    land: Land, examples: NDArray[np.int64], whole: Path
) -> None:
    scores = land.cosines(examples)
    assert is_found(whole / "hits.parquet", land, land.best(scores, 40, 16), scores)
    rows = pq.read_table(whole / "hits.parquet")
    known = np.sort(scores[np.isfinite(scores)])
    share = np.searchsorted(known, rows["score"].to_numpy() + 1e-12, side="right") / len(known)
    np.testing.assert_allclose(rows["percentile"].to_numpy(), 100 * share, atol=1e-9)
    zones = {name[:5] for name in rows["tile"].to_pylist()}
    assert zones == {"utm31", "utm32"}
    # Nothing is left of the job, which lay beside the result.
    assert not (whole / "hits.parquet.job").exists()


def test_spacing_region_and_observations_are_respected(
    land: Land, examples: NDArray[np.int64], tmp_path: Path
) -> None:
    scores = land.cosines(examples)
    middle = land.lonlat(np.array([len(land.zone) // 3]))[0]
    region = tmp_path / "around.geojson"
    ring = shapely.Point(*middle).buffer(0.006)
    region.write_text(shapely.to_geojson(ring))
    # Squares of 100 m lie across tiles and chunks; those of 10 m are pixels.
    for spacing, square in ((100, 10), (10, 1)):
        request = asked(
            land, examples, tmp_path, spacing=spacing, region=str(region), min_observations=20
        )
        tm.search(request)
        at = land.lonlat(np.arange(len(land.zone)))
        inside = shapely.contains_xy(ring, at[:, 0], at[:, 1])
        # A pixel that the ring cuts may lie on either side of it.
        edge = shapely.distance(ring.exterior, shapely.points(at)) < 1e-6
        assert not (edge & (scores > 0.5)).any()
        expected = land.best(scores, 40, square, inside & (land.s2 >= 20))
        assert is_found(request.out, land, expected, scores)


def test_two_processes_and_the_portable_runner_find_the_same(
    land: Land, examples: NDArray[np.int64], whole: Path, tmp_path: Path
) -> None:
    portable = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")
    for more in (("--workers=2",), portable):
        request = asked(land, examples, tmp_path)
        ended = jobs.run_process(words(request, *more))
        assert ended.code == 0, ended.error
        for name in ("hits.parquet", "hits.png", "hits.json"):
            assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), (name, more)
            (tmp_path / name).unlink()


def test_killed_and_run_again_it_finds_the_same(
    land: Land, examples: NDArray[np.int64], whole: Path, tmp_path: Path
) -> None:
    request = asked(land, examples, tmp_path)
    heaps = tmp_path / "hits.parquet.job/heaps"
    killed = jobs.kill_when(
        words(request), lambda: heaps.is_dir() and len(list(heaps.iterdir())) >= 3
    )
    assert killed is None or killed < 0
    if killed is not None:
        made = {path.name: path.stat().st_mtime_ns for path in heaps.iterdir()}
        assert made
        kept = tm.search(request).outcome.measures["tiles_kept"]
        # The note of a tile under way keeps it from counting as done.
        assert kept >= len(made) - 2
    for name in ("hits.parquet", "hits.png"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    assert not heaps.parent.exists()


def test_a_tile_that_the_mosaic_lost_is_named_and_made_up_for(
    land: Land, examples: NDArray[np.int64], whole: Path, tmp_path: Path
) -> None:
    store = tmp_path / "mosaic.zarr"
    shutil.copytree(land.store, store)
    # Of one tile all is gone, of another the embeddings alone, which its record says are there.
    gone, damaged = tiles()[5], tiles()[12]
    lost = [*land.mosaic.keys(gone, YEAR), f"records/{YEAR}/tiles/utm31/{gone.name}.json"]
    lost += [land.mosaic.keys(damaged, YEAR)[-1], f"records/{YEAR}/summary/utm31.json"]
    held = {key: (store / key).read_bytes() for key in lost}
    for key in lost:
        (store / key).unlink()
    request = asked(land, examples, tmp_path, pacing=jobs.QUICK)
    request = dataclasses.replace(request, store=str(store))
    found = tm.search(request)
    assert list(found.failed) == [gone.name, damaged.name]
    assert "does not have it" in found.failed[gone.name]
    assert "has lost utm32/embeddings" in found.failed[damaged.name]
    assert found.outcome.done == 14
    assert some_failed(found.to_json())
    record = json.loads((tmp_path / "hits.json").read_text())
    assert list(record["tiles"]["failed"]) == [gone.name, damaged.name]
    assert len(record["tiles"]["read"]) == 14
    assert (tmp_path / "hits.parquet.job").exists()
    for key, data in held.items():
        (store / key).write_bytes(data)
    found = tm.search(request)
    assert found.outcome.measures["tiles_kept"] == 14
    assert not found.failed
    assert (tmp_path / "hits.parquet").read_bytes() == (whole / "hits.parquet").read_bytes()
    assert not (tmp_path / "hits.parquet.job").exists()


def test_tiles_that_were_never_asked_for_are_told(
    land: Land, examples: NDArray[np.int64], tmp_path: Path
) -> None:
    at = land.lonlat(np.arange(0, len(land.zone), 97))
    (west, south), (east, north) = at.min(axis=0), at.max(axis=0)
    box = f"{west - 0.02},{south},{east},{north}"
    found = tm.search(asked(land, examples, tmp_path, region=box))
    assert found.outcome.done == len(found.read)
    assert set(found.absent).isdisjoint(tile.name for tile in tiles())
    assert found.absent
    record = json.loads((tmp_path / "hits.json").read_text())
    assert record["tiles"]["missing"] == list(found.absent)


def test_several_queries_find_what_each_finds_alone(
    land: Land, examples: NDArray[np.int64], whole: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    known = np.flatnonzero(np.isfinite(land.scales))
    asked_for = [examples, *(rng.choice(known, 3, replace=False) for _ in range(7))]
    lines = ["query,lon,lat,kind"]
    for number, of in enumerate(asked_for):
        lines += [f"q{number},{lon!r},{lat!r},like" for lon, lat in places(land, of)]
    (tmp_path / "queries.csv").write_text("\n".join(lines) + "\n")
    request = asked(
        land, examples, tmp_path, like=(), queries=str(tmp_path / "queries.csv"), top=25
    )
    tm.search(request)
    rows = pq.read_table(request.out)
    assert rows["query"].to_pylist() == [f"q{k}" for k in range(8) for _ in range(25)]
    alone = pq.read_table(whole / "hits.parquet").slice(0, 25)
    assert rows.slice(0, 25).drop_columns("query").equals(alone)
    for number, of in enumerate(asked_for):
        scores = land.cosines(of)
        expected = land.best(scores, 25, 16)
        found = rows.slice(25 * number, 25)
        np.testing.assert_allclose(found["score"].to_numpy(), scores[expected], atol=1e-11)
        np.testing.assert_allclose(found["lon"].to_numpy(), land.lonlat(expected)[:, 0], atol=1e-9)


def test_candidates_of_a_nested_depth_are_scored_with_all_values(
    land: Land, examples: NDArray[np.int64], tmp_path: Path
) -> None:
    request = asked(land, examples, tmp_path, depth=DEPTH, top=20)
    tm.search(request)
    shallow, scores = land.cosines(examples, DEPTH), land.cosines(examples)
    # The best of each square by the first values, of which the best by all values are hits.
    candidates = land.best(shallow, 80, 16)
    among = np.isin(np.arange(len(scores)), candidates)
    assert is_found(request.out, land, land.best(scores, 20, 16, among), scores)


def test_scores_of_all_pixels_and_geojson(
    land: Land, examples: NDArray[np.int64], tmp_path: Path
) -> None:
    out, raster = tmp_path / "hits.geojson", tmp_path / "scores.tif"
    request = asked(land, examples, tmp_path, scores=str(raster), top=5)
    found = tm.search(dataclasses.replace(request, out=str(out)))
    told = json.loads(out.read_text())
    first = told["features"][0]
    assert first["properties"]["percentile"] == 100
    assert first["geometry"]["type"] == "Point"
    assert found.scores == (str(tmp_path / "scores-utm31.tif"), str(tmp_path / "scores-utm32.tif"))
    scores = land.cosines(examples)
    for zone, path in zip((31, 32), found.scores, strict=True):
        with rasterio.open(path) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            of = np.flatnonzero((land.zone == zone) & np.isfinite(scores))[::50]
            cols = land.col[of] - round((file.bounds.left - WEST_EDGE) / PIXEL)
            rows = land.row[of] - round((NORTH_EDGE - file.bounds.top) / PIXEL)
            values = file.read(1)
            np.testing.assert_array_equal(values[rows, cols], scores[of].astype(np.float32))


def test_a_mosaic_of_others_is_searched(tmp_path: Path) -> None:
    held = publish(tmp_path / "store")
    codes = held["embeddings"][1].astype(np.float64)
    row, col = 40, 50
    x, y = WEST_EDGE + (COL + col + 0.5) * PIXEL, NORTH_EDGE - (ROW + row + 0.5) * PIXEL
    lon, lat = to_lonlat(33).transform(x, y)
    request = tm.SearchRequest(
        str(tmp_path / "store"),
        YEARS[1],
        str(tmp_path / "hits.parquet"),
        ((lon, lat),),
        top=9,
        spacing=10,
        region=f"{lon - 0.02},{lat - 0.02},{lon + 0.02},{lat + 0.02}",
    )
    tm.search(request)
    lengths = np.linalg.norm(codes, axis=0)
    with np.errstate(invalid="ignore"):
        scores = np.einsum("d,dhw->hw", codes[:, row, col], codes) / lengths / lengths[row, col]
    usable = np.isfinite(held["scales"][1]) & (held["scales"][1] > 0) & (held["scales"][1] < 1)
    expected = np.sort(scores[usable & np.isfinite(scores)])[::-1][:9]
    np.testing.assert_allclose(pq.read_table(request.out)["score"].to_numpy(), expected, atol=1e-11)
    with pytest.raises(BadInput, match="say what is searched"):
        prepare_search(dataclasses.replace(request, region=None))


@pytest.mark.parametrize(("clicks", "least"), [(1, 0.73), (5, 0.79), (10, 0.88), (25, 0.91)])
def test_few_clicks_find_what_burned(shared: Path, clicks: int, least: float) -> None:
    told = caldor.square(shared)
    codes = told["embeddings"][told["years"].tolist().index(2022)]
    burned, west = caldor.burned(shared), np.arange(64) < 32
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        half = np.broadcast_to(west if seed % 2 else ~west, burned.shape)
        like, unlike = (codes[half & of].astype(np.float64) for of in (burned, ~burned))
        query = query_of(
            Examples(
                "",
                like[rng.choice(len(like), clicks, replace=False)],
                unlike[rng.choice(len(unlike), clicks, replace=False)],
            )
        )
        others = np.ascontiguousarray(codes[~half].T)
        scores = best_pixels([query]).exact(others, np.ones(others.shape[1], np.float32))[0]
        hit = burned[~half][np.argsort(-scores, kind="stable")]
        found.append((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit].mean())
    assert np.mean(found) >= least


def test_a_search_of_real_ground_is_exact_in_another_year_too(shared: Path, tmp_path: Path) -> None:
    caldor.mosaic(shared, tmp_path / "mosaic.zarr", (2021, 2022))
    lon, lat = (float(of[40, 10]) for of in caldor.centres())
    request = tm.SearchRequest(
        str(tmp_path / "mosaic.zarr"), 2022, str(tmp_path / "hits.parquet"), ((lon, lat),)
    )
    found = tm.search(request)
    told = caldor.square(shared)
    step = told["years"].tolist().index(2022)
    codes = told["embeddings"][step].astype(np.float64)
    codes /= np.linalg.norm(codes, axis=-1, keepdims=True)
    scores = codes @ codes[40, 10]
    rows, cols = np.indices((64, 64))
    rows, cols = (rows + caldor.SQUARE.row) // 16, (cols + caldor.SQUARE.col) // 16
    squares = np.unique(np.stack([rows.ravel(), cols.ravel()]), axis=1).T
    best = [scores[(rows == row) & (cols == col)].max() for row, col in squares]
    table = pq.read_table(request.out)
    np.testing.assert_allclose(table["score"].to_numpy(), np.sort(best)[::-1], atol=1e-11)
    assert found.first[0]["score"] == pytest.approx(1)
    share = [(scores <= score + 1e-12).mean() * 100 for score in table["score"].to_numpy()]
    np.testing.assert_allclose(table["percentile"].to_numpy(), share, atol=1e-9)

    earlier = dataclasses.replace(request, like_year=2021)
    with pytest.raises(BadInput, match="without it 2022 is not searched") as refused:
        prepare_search(earlier)
    assert refused.value.parameter == "match_years"
    matched = prepare_search(dataclasses.replace(earlier, match_years=True))
    other = told["years"].tolist().index(2021)
    vectors = [
        told["embeddings"][k].astype(np.float64) * told["scales"][k][..., None]
        for k in (other, step)
    ]
    shift = vectors[0].mean(axis=(0, 1)) - vectors[1].mean(axis=(0, 1))
    expected = vectors[0][40, 10] - shift
    np.testing.assert_allclose(
        matched.maker.queries[0].weights, expected / np.linalg.norm(expected), atol=1e-6
    )


def test_weights_make_sums_exact_in_any_order() -> None:
    rng = np.random.default_rng(0)
    for dims in (3, 64, 128, 1024):
        weights = np.array(exact_weights(rng.normal(size=dims) * 10.0 ** rng.integers(-9, 9)))
        codes = rng.integers(-128, 128, (dims, 50)).astype(np.float64)
        order = rng.permutation(dims)
        np.testing.assert_array_equal(weights @ codes, weights[order] @ codes[order])
        loop = sum(w * c for w, c in zip(weights[::-1], codes[::-1], strict=True))
        np.testing.assert_array_equal(weights @ codes, loop)


def test_a_head_is_a_query_a_class() -> None:
    head = small_head(3, 128)
    queries = queries_of_head(head)
    assert [each.name for each in queries] == ["class 0", "class 1", "class 2"]
    codes = np.random.default_rng(0).integers(-127, 128, (128, 20)).astype(np.int8)
    scales = np.full(20, 0.02, np.float32)
    logits = head.layers["weight"].astype(float) @ (codes * 0.02) + head.layers["bias"][:, None]
    found = best_pixels(queries).exact(codes, scales)
    expected = logits - (logits.sum(axis=0) - logits) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert all(each.measure is Measure.SCALE for each in queries)
    layers = head.layers | {"targets": np.zeros(3, np.float32)}
    with pytest.raises(BadInput, match="knn head is no product"):
        queries_of_head(dataclasses.replace(head, kind=HeadKind.KNN, layers=layers))


def test_a_head_is_searched_for(land: Land, tmp_path: Path) -> None:
    mosaic = fingerprint(land.mosaic.identity)
    head = dataclasses.replace(small_head(2, 128), mosaic=mosaic, years=(YEAR,))
    write_head(str(tmp_path / "a.head"), head)
    request = tm.SearchRequest(
        land.store, YEAR, str(tmp_path / "hits.parquet"), head=str(tmp_path / "a.head"), top=7
    )
    tm.search(request)
    rows = pq.read_table(request.out)
    assert rows["query"].to_pylist() == ["class 0"] * 7 + ["class 1"] * 7
    query: Query = queries_of_head(head)[1]
    values = land.codes.astype(np.float64) * land.scales.astype(np.float64)[:, None]
    scores = values @ np.array(query.weights) + query.bias
    expected = land.best(scores, 7, 16)
    np.testing.assert_allclose(rows["score"].to_numpy()[7:], scores[expected], rtol=1e-12)


REFUSED = (
    ({"like": ()}, "like: give examples, a head or a file of queries"),
    ({"head": "a.head"}, "one of them"),
    ({"out": "hits.csv"}, "out hits.csv: use one of"),
    ({"spacing": 25.0}, "a multiple of 10 m"),
    ({"top": 0}, "choose 1 to"),
    ({"like": ((200.0, 50.0),)}, "is no longitude and latitude"),
    ({"like": ((6.5, 50.0),)}, "has no embedding of 2024 at 6.5,50"),
    ({"depth": 32}, "other nested depths: 16"),
    ({"like_year": 2023}, "2023"),
    ({"region": "10,50,11,51"}, "no embeddings of 2024 there"),
    ({"runner": "NoSuchRunner"}, "NoSuchRunner"),
    ({"queries": "no.csv", "like": ()}, "no.csv"),
)


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_cannot_be_searched_is_told_before_anything_is_written(
    land: Land,
    examples: NDArray[np.int64],
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(BadInput) as refused:
        prepare_search(dataclasses.replace(asked(land, examples, tmp_path), **change))
    assert message in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query,lon,lat\na,6,50\n", "kind"),
        ("query,lon,lat,kind\na,6,50,similar\n", "place 1 is neither like nor unlike but similar"),
        ("query,lon,lat,kind\na,6,50,unlike\n", "query a has no place to be like"),
        ("query,lon,lat,kind\na,6,50,like\na,x,50,like\n", "place 2: a coordinate is not a number"),
    ],
)
def test_files_of_queries_are_checked(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "queries.csv").write_text(text)
    request = tm.SearchRequest("m", YEAR, "hits.parquet", queries=str(tmp_path / "queries.csv"))
    with pytest.raises(BadInput) as refused:
        example_places(request)
    assert message in str(refused.value)


def test_the_command_tells_what_was_found(
    land: Land, examples: NDArray[np.int64], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(asked(land, examples, tmp_path))) == 0
    told = capsys.readouterr().out
    assert "16 of 16 tiles done" in told
    assert "percentile 100 of the ground" in told
    assert main([*words(asked(land, examples, tmp_path)), "--unlike=6.0"]) == 2
    assert "--unlike: '6.0' is no LON,LAT" in capsys.readouterr().err
