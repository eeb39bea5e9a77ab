"""Vectors of blocks: what they hold, who reads them, and that they follow the mosaic."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import geopandas
import numpy as np
import pytest

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream.block_vectors import decode_blocks
from tessera_mosaic.pipeline.ledger.keys import MANIFEST
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.ownership import owned
from tests import jobs, samples
from tests.pipeline.downstream.two_years import TILES, TO, Pair, pair_of_years, write_pair

COLUMNS = "tile, row, col, lon, lat, pixels, mean, mean_scale, spread, spread_scale, zone, year"


def expected_blocks(held: Pair, year: int) -> dict[tuple[str, int, int], np.ndarray]:
    """Embeddings of the pixels that count of every block, float64 (pixels, dims)."""
    found = {}
    for tile in TILES:
        if (tile, year) not in held:
            continue
        of = held[tile, year]
        mine = owned(tile.window, margin=0) & np.isfinite(of.scales)
        for row in range(0, tile.side, 32):
            for col in range(0, tile.side, 32):
                here = np.s_[row : row + 32, col : col + 32]
                which = mine[here]
                if which.any():
                    values = of.codes[here][which] * of.scales[here][which][:, None].astype(float)
                    found[tile.name, tile.window.row + row, tile.window.col + col] = values
    return found


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Mosaic, Pair]:
    """A mosaic of two zones and two years, of one of which a tile is missing."""
    held = pair_of_years()
    del held[TILES[3], TO]
    return tmp_path / "m.zarr", write_pair(tmp_path / "m.zarr", held), held


def test_duckdb_finds_the_blocks_that_numpy_finds(
    made: tuple[Path, Mosaic, Pair], run: jobs.Run
) -> None:
    store, _, held = made
    code, told = run("publish", f"--store={store}", "--blocks")
    assert (code, told["failed"], told["missing"]) == (0, 0, 0)
    assert told["blocks"]["files"] == f"{store}/blocks/zone=*/year=*/*.parquet"
    rows = duckdb.sql(
        f"SELECT {COLUMNS} FROM read_parquet('{told['blocks']['files']}', hive_partitioning=true)"
    ).fetchall()
    by_year = {year: expected_blocks(held, year) for year in samples.YEARS}
    assert len(rows) == sum(map(len, by_year.values()))
    for tile, row, col, lon, lat, pixels, mean, one, spread, other, zone, year in rows:
        values = by_year[year][tile, row, col]
        assert (pixels, zone) == (len(values), int(tile[3:5]))
        for told_of, scale, wanted in (
            (mean, one, values.mean(axis=0)),
            (spread, other, values.std(axis=0)),
        ):
            off = np.abs(np.array(told_of) * scale - wanted)
            assert off.max() <= 0.5001 * scale
        assert abs(lat) < 0.02
        assert 5.98 < lon < 6.02
    # The nearest by cosine, as a database has it, is the nearest of the means themselves.
    wanted = by_year[TO]
    query = next(iter(wanted.values())).mean(axis=0)
    best = duckdb.sql(
        "SELECT tile, row, col FROM read_parquet($files, hive_partitioning=true) "
        f"WHERE year = {TO} "
        "ORDER BY list_cosine_similarity(mean::FLOAT[], $query::FLOAT[]) DESC LIMIT 1",
        params={"files": told["blocks"]["files"], "query": query.tolist()},
    ).fetchall()
    assert best == [next(iter(wanted))]
    some = next(iter(sorted((store / "blocks").rglob("*.parquet"))))
    frame = geopandas.read_parquet(some)
    assert frame.crs.to_epsg() == 4326 or frame.crs.to_string() == "OGC:CRS84"
    np.testing.assert_allclose(frame.geometry.x, frame["lon"])
    table = decode_blocks(some.read_bytes())
    assert table.mean.shape == (16, len(frame))
    # They follow the lattice: the centre of a block is 16 pixels from its corner.
    assert (table.row % 32 == 0).all()


def test_published_lists_them_and_they_follow_the_mosaic(
    made: tuple[Path, Mosaic, Pair], run: jobs.Run
) -> None:
    store, mosaic, held = made
    words = ("publish", f"--store={store}", "--blocks")
    assert run(*words)[0] == 0
    first = listed(store)
    assert len(first) == 7
    assert sorted(first) == [
        f"blocks/{path.relative_to(store / 'blocks')}"
        for path in sorted((store / "blocks").rglob("*.parquet"))
    ]
    before = {path: path.stat().st_mtime_ns for path in (store / "blocks").rglob("*.parquet")}
    # A tile that came since, one that was made again, and one that is gone.
    held[TILES[3], TO] = held[TILES[2], TO]
    samples.add_tiles(mosaic, [TILES[3]], TO, lambda tile, year: held[tile, year])
    changed, gone = TILES[0], TILES[1]
    samples.write_tile(mosaic, changed, TO, held[changed, samples.YEARS[0]])
    samples.refresh(mosaic, TO)
    samples.fail_tile(mosaic, gone, TO)
    code, told = run(*words)
    assert (code, told["failed"]) == (0, 0)
    now = listed(store)
    assert len(now) == 7
    names = {key for key in now if now[key] != first.get(key)}
    assert names == {
        f"blocks/zone={tile.zone}/year={TO}/{tile.name}.parquet" for tile in (changed, TILES[3])
    }
    for path, written in before.items():
        if path.exists() and changed.name not in path.name:
            assert path.stat().st_mtime_ns == written
    assert not (store / f"blocks/zone={gone.zone}/year={TO}/{gone.name}.parquet").exists()
    # Publishing without them keeps them and their places in the list.
    assert run("publish", f"--store={store}")[0] == 0
    assert listed(store) == now
    code, told = run("status", f"--store={store / 'blocks'}")
    assert (code, told["done"]) == (0, 8)
    assert run("verify", f"--store={store}")[0] == 3  # The tile that failed.


def listed(store: Path) -> dict[str, object]:
    """What the list of what is published says of blocks."""
    lines = json.loads((store / MANIFEST).read_text())
    return {key: of for key, of in lines.items() if key.startswith("blocks/")}


def test_blocks_have_the_same_bytes_in_two_processes_and_after_a_kill(
    made: tuple[Path, Mosaic, Pair],
) -> None:
    store, _, _ = made
    tm.blocks(tm.BlocksRequest(str(store)))
    files = sorted((store / "blocks").rglob("*.parquet"))
    expected = {path: path.read_bytes() for path in files}
    for path in files[::2]:
        # As a worker leaves it that is killed before its record stands.
        path.write_bytes(b"half")
        year = path.parent.name.removeprefix("year=")
        zone = path.parent.parent.name.removeprefix("zone=")
        (store / f"blocks/records/{year}/tiles/utm{zone}/{path.stem}.json").unlink()
    ended = jobs.run_process(["publish", f"--store={store}", "--blocks", "--workers=2"])
    assert ended.code == 0, ended.error
    assert {path: path.read_bytes() for path in files} == expected


def test_a_first_look_ranks_blocks_as_numpy_does(
    made: tuple[Path, Mosaic, Pair], run: jobs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    store, _, _ = made
    words = ["search", f"--store={store}", f"--year={TO}", "--like=5.999,0.003;5.9985,0.001"]
    words += ["--top=5", "--spacing=0", f"--out={store.parent / 'look.parquet'}", "--blocks"]
    assert main(words) == 2
    assert f"--blocks: {store} has none of {TO}: run `publish --blocks`" in capsys.readouterr().err
    tm.blocks(tm.BlocksRequest(str(store)))
    code, told = run(*words)
    assert (code, told["hits"], told["tiles_absent"]) == (0, 5, [])
    assert "this is a first look" in told["notes"][0]
    record = json.loads((store.parent / "look.json").read_text())
    assert record["first_look_at_blocks"] is True
    weights = np.array(record["queries"][0]["weights"])
    scores = {}
    for path in (store / "blocks").rglob(f"year={TO}/*.parquet"):
        table = decode_blocks(path.read_bytes())
        means = table.mean.astype(float)
        at = table.lon, table.lat, weights @ means / np.linalg.norm(means, axis=0)
        scores |= {(lon, lat): score for lon, lat, score in zip(*at, strict=True)}
    best = sorted(scores, key=lambda at: -scores[at])[:5]
    frame = geopandas.read_parquet(store.parent / "look.parquet")
    np.testing.assert_allclose(frame["score"], [scores[at] for at in best])
    # A block's middle is the corner of four pixels, of which one is told.
    np.testing.assert_allclose(frame[["lon", "lat"]], best, atol=1e-4)
    assert frame["percentile"][0] == 100
    assert main(["search", *words[1:], "--depth=8"]) == 2
    assert "--depth 8: a first look at blocks has none" in capsys.readouterr().err


def test_options_of_the_job_are_refused_without_blocks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (["--workers=2"], "--workers 2: it is for --blocks"),
        (["--runner=Dataflow"], "--runner Dataflow: it is for --blocks"),
        (["--bloks"], "--bloks"),
    ):
        assert main(["publish", f"--store={tmp_path}", *words]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
