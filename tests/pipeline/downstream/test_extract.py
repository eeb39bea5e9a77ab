"""Vectors at places are those of the mosaic, each chunk read once, and no place is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import shapely

from tessera_mosaic.pipeline.downstream.extract import ExtractRequest, batches_of, extract
from tessera_mosaic.pipeline.downstream.made_tiles import tiles_with_data
from tessera_mosaic.pipeline.downstream.place_files import read_places
from tessera_mosaic.pipeline.downstream.places import pixels_of
from tessera_mosaic.pipeline.downstream.vector_table import Statistic
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic import part_reader
from tessera_mosaic.pipeline.mosaic.part_reader import read_at, read_part
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, moved, to_lonlat
from tests import jobs
from tests.samples import HOLE, SIDE, TILES, WATER, YEARS, Sample, write_sample

NORTH = TILES[0]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Two tiles beside the meridian of 6 degrees, two years."""
    folder = tmp_path_factory.mktemp("sample") / "store"
    return write_sample(Storage(str(folder)), TILES[:2])


def centre(tile: Tile, row: float, col: float) -> tuple[float, float]:
    window = tile.window
    at = window.west + 10 * col + 5, window.north - 10 * row - 5
    lon, lat = to_lonlat(tile.zone).transform(*at)
    return float(lon), float(lat)


def table_of(sample: Sample, folder: Path, lines: list[str], **more: Any) -> dict[str, list[Any]]:
    (folder / "at.csv").write_text("\n".join(lines) + "\n")
    out = folder / more.pop("out", "vectors.parquet")
    request = ExtractRequest(sample.mosaic.storage.url, folder / "at.csv", out, **more)
    told = extract(request)
    assert not (folder / f"{out.name}.parts").exists()
    read = pyarrow.csv.read_csv(out) if out.suffix == ".csv" else pq.read_table(out)
    assert told.rows == len(read)
    assert told.vectors == sum(why is None or why == "" for why in read["why"].to_pylist())
    return read.to_pydict()


@pytest.mark.parametrize("out", ["v.parquet", "v.csv", "v.geoparquet"])
def test_rows_hold_the_vectors_of_their_pixels(sample: Sample, tmp_path: Path, out: str) -> None:
    places = [(0, 0), (45, 77), (WATER[0].start, WATER[1].start), (HOLE[0].start, HOLE[1].start)]
    lines = ["lon,lat,crop,year"]
    lines += [f"{lon},{lat},c{k},{k}" for k, (lon, lat) in
              enumerate(centre(NORTH, *at) for at in places)]  # fmt: skip
    lines += ["20,50,far,9", "bad,50,none,9"]
    found = table_of(sample, tmp_path, lines, out=out, years=YEARS)
    assert len(found["place"]) == 2 * len(lines[1:])
    assert Counter(found["place"]) == dict.fromkeys(range(6), 2)
    for k, place in enumerate(found["place"]):
        assert found["crop"][k] == ["c0", "c1", "c2", "c3", "far", "none"][place]
        assert found["file_year"][k] == [0, 1, 2, 3, 9, 9][place]
        vector = np.array([found[f"e{n}"][k] for n in range(128)], float)
        why = [None, None, "water", "no embedding", "no tile", "a coordinate is not a number"]
        if place > 1:
            assert found["why"][k] == why[place]
            assert np.isnan(vector).all()
            continue
        put = sample.tiles[NORTH, found["year"][k]]
        row, col = places[place]
        np.testing.assert_array_equal(
            vector.astype(np.float32), put.codes[row, col] * put.scales[row, col]
        )
        assert found["observations_s2"][k] == put.counts["s2"][row, col]
        assert (found["zone"][k], found["row"][k]) == (31, NORTH.window.row + row)
    if out.endswith("geoparquet"):
        assert shapely.from_wkb(found["geometry"][0]).geom_type == "Point"
        assert b"geo" in pq.read_schema(tmp_path / out).metadata


def parcels(folder: Path, boxes: list[tuple[int, int, int, int]]) -> Path:
    """Rectangles of pixels of a tile, first and last row and column."""
    shapes = [
        moved(shapely.box(*Window(31, NORTH.window.row + top, NORTH.window.col + left,
                                  bottom - top + 1, right - left + 1).bounds), to_lonlat(31))
        for top, left, bottom, right in boxes
    ]  # fmt: skip
    features = [{"type": "Feature", "properties": {"field": k}, "geometry":
                 shapely.geometry.mapping(shape)} for k, shape in enumerate(shapes)]  # fmt: skip
    path = folder / "fields.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.mark.parametrize("statistic", ["pixel", "mean", "median"])
def test_parcels_are_their_pixels_or_what_these_come_to(
    sample: Sample, tmp_path: Path, statistic: str
) -> None:
    # Not in the order in which they lie.
    boxes = [(50, 50, 50, 50), (10, 40, 25, 70), (40, 2, 41, 3), (30, 35, 33, 40)]
    path, out = parcels(tmp_path, boxes), tmp_path / "v.parquet"
    extract(ExtractRequest(sample.mosaic.storage.url, path, out, (2018,), Statistic(statistic)))
    found = pq.read_table(out).to_pydict()
    put = sample.tiles[NORTH, 2018]
    values = put.codes * np.where(np.isfinite(put.scales), put.scales, np.nan)[..., None]
    for k, (top, left, bottom, right) in enumerate(boxes):
        mine = values[top : bottom + 1, left : right + 1].reshape(-1, 128)
        kept = mine[np.isfinite(mine[:, 0])]
        rows = [n for n, place in enumerate(found["place"]) if place == k]
        assert {found["field"][n] for n in rows} == {k}
        got = np.array([[found[f"e{d}"][n] for d in range(128)] for n in rows], float)
        if statistic == "pixel":
            assert len(rows) == len(mine)
            got = got[np.isfinite(got[:, 0])]
            np.testing.assert_array_equal(np.sort(got[:, 0]), np.sort(kept[:, 0]))
            continue
        assert (len(rows), found["pixels"][rows[0]]) == (1, len(mine))
        assert found["embedded"][rows[0]] == len(kept)
        if not len(kept):
            assert found["why"][rows[0]] == "water"
            continue
        wanted = getattr(np, statistic)(kept, axis=0)
        np.testing.assert_allclose(got[0], wanted, atol=1e-6)


def test_a_chunk_is_read_once_however_many_points_lie_in_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{lon},{lat}" for lon, lat in
             (centre(NORTH, *rng.uniform(0, (SIDE - 1, 63))) for _ in range(500))]  # fmt: skip
    (tmp_path / "at.csv").write_text("\n".join(["lon,lat", *lines]))
    pixels = pixels_of(read_places(tmp_path / "at.csv"))
    batches = list(batches_of(pixels, SIDE, Statistic.PIXEL, most=20))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    chunks = [
        {(int(pixels.row[k]) // 32, int(pixels.col[k]) // 32) for k in batch} for batch in batches
    ]
    assert len(batches) == 8
    assert sum(map(len, chunks)) == len(set().union(*chunks)) == 8


def test_a_run_that_was_killed_goes_on_and_another_begins_afresh(
    sample: Sample, tmp_path: Path
) -> None:
    lines = ["lon,lat", *(f"{lon},{lat}" for lon, lat in
                          (centre(NORTH, n, n) for n in range(60)))]  # fmt: skip
    (tmp_path / "at.csv").write_text("\n".join(lines))
    request = ExtractRequest(sample.mosaic.storage.url, tmp_path / "at.csv", tmp_path / "v.parquet")

    def stop(done: int, parts: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(request, stop)
    parts = tmp_path / "v.parquet.parts"
    times = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert len(times) >= 2
    kept: dict[str, int] = {}

    def look(done: int, all_: int) -> None:
        kept.update({p.name: p.stat().st_mtime_ns for p in parts.glob("*.parquet")})

    whole = extract(request, look)
    assert all(kept[name] == time for name, time in times.items())
    first = (tmp_path / "v.parquet").read_bytes()
    assert extract(request) == whole
    assert (tmp_path / "v.parquet").read_bytes() == first


def test_scattered_pixels_and_windows_are_those_of_whole_tiles(sample: Sample) -> None:
    put = sample.tiles[NORTH, 2018]
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(0, SIDE, (2, 200))
    at = NORTH.window.row + rows, NORTH.window.col + cols
    found = read_at(sample.mosaic, 31, *at, 2018)
    np.testing.assert_array_equal(found.codes, put.codes[rows, cols])
    np.testing.assert_array_equal(found.scales, put.scales[rows, cols])
    np.testing.assert_array_equal(found.counts["s2"], put.counts["s2"][rows, cols])
    window = Window(31, NORTH.window.row + 90, NORTH.window.col - 7, 70, 90)
    part, whole = read_part(sample.mosaic, window, 2018), sample.mosaic.read_window(window, 2018)
    np.testing.assert_array_equal(part.codes, whole.codes)
    np.testing.assert_array_equal(part.scales, whole.scales)
    np.testing.assert_array_equal(part.counts["s1_ascending"], whole.counts["s1_ascending"])
    assert part_reader.MOST_AT_ONCE > part_reader.GAP


def test_records_say_which_tiles_have_data_and_shards_where_there_are_none(
    sample: Sample, tmp_path: Path
) -> None:
    asked = [*TILES[:2], Tile(31, 5, 5, SIDE)]
    assert tiles_with_data(sample.mosaic, 2018, asked) == sorted(TILES[:2])
    folder = Path(sample.mosaic.storage.url)
    (folder / "records").rename(tmp_path / "records")
    try:
        assert tiles_with_data(sample.mosaic, 2018, asked) == sorted(TILES[:2])
        assert tiles_with_data(sample.mosaic, 2017, asked) == []
    finally:
        (tmp_path / "records").rename(folder / "records")
    with pytest.raises(BadInput, match="has no year 2030"):
        tiles_with_data(sample.mosaic, 2030, asked)


def test_the_command_tells_why_rows_are_empty(
    sample: Sample, tmp_path: Path, run: jobs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    lon, lat = centre(NORTH, 5, 5)
    (tmp_path / "at.csv").write_text(f"lon,lat\n{lon},{lat}\n9,9\n")
    words = ["extract", f"--store={sample.mosaic.storage.url}", f"--at={tmp_path}/at.csv",
             f"--out={tmp_path}/v.csv"]  # fmt: skip
    code, told = run(*words, "--years=2018-2019")
    assert (code, told["rows"], told["vectors"], told["empty"]) == (0, 4, 2, {"no tile": 2})
    for wrong, said in (("--years=2030", "has no year 2030"), ("--years=x", "--years x: name"),
                        (f"--out={tmp_path}/v.txt", "use one of .parquet")):  # fmt: skip
        capsys.readouterr()
        assert jobs.run_here([*words, wrong]) == 2
        assert said in capsys.readouterr().err
