"""The whole job: the same bytes from every runner, after every kill, and clear words for bad input.

Where processes matter the command itself is run; elsewhere its `main` is called.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch

from tessera_mosaic.pipeline.commands.run import retry_command
from tessera_mosaic.pipeline.commands.verify import verify_command
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.keys import REGION
from tessera_mosaic.pipeline.ledger.records import Record
from tessera_mosaic.pipeline.mosaic.datasets import dequantize, open_mosaic
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.tiling.lattice import Window
from tessera_mosaic.pipeline.tiling.ownership import region_window
from tessera_mosaic.pipeline.tiling.region import pixels_inside, read_region
from tessera_mosaic.yearly import TOLD
from tests import jobs


def records_of(store: Path) -> list[Record]:
    paths = sorted((store / "records").glob("*/tiles/*/*.json"))
    return [Record.from_json(path.read_bytes()) for path in paths]


@pytest.mark.parametrize("how", ["in process", "--workers=2", "--runner=BundleBasedDirectRunner"])
def test_every_runner_makes_the_same_store(
    archive: Path, finished: Path, tmp_path: Path, how: str
) -> None:
    words = jobs.options(archive, tmp_path / "store")
    if how == "in process":
        assert jobs.run_here(words) == 0
    else:
        ended = jobs.run_process([*words, how])
        assert ended.code == 0, ended.error
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


def test_blocks_decide_no_byte(archive: Path, tmp_path: Path) -> None:
    for block in ("32", "128"):
        words = jobs.options(archive, tmp_path / block, f"--block={block}")
        words[words.index(f"--tile={jobs.SIDE}")] = "--tile=128"
        assert jobs.run_here(words) == 0
    assert jobs.shards(tmp_path / "32") == jobs.shards(tmp_path / "128")


def test_a_rerun_makes_what_is_missing_and_nothing_else(
    archive: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    gone = sorted(store.glob("records/*/tiles/*/*.json"))[4]
    gone.unlink()
    others = {path: path.stat().st_mtime_ns for path in store.glob("records/*/tiles/*/*.json")}
    assert jobs.run_here(jobs.options(archive, store, "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["done"], result["pixels"]) == (12, jobs.SIDE**2)
    assert all(path.stat().st_mtime_ns == then for path, then in others.items())
    assert jobs.contents(store) == jobs.contents(finished)


def test_other_weights_are_refused(
    archive: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = jobs.contents(finished)
    other = tmp_path / "other.pt"
    jobs.weights(other, seed=1)
    words = jobs.options(archive, finished, f"--weights={other}", "--model=v2-nano")
    assert jobs.run_here(words) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "weights_sha256" in error
    assert jobs.contents(finished) == before


def test_the_rules_of_a_run_can_be_chosen_and_are_part_of_its_identity(
    archive: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--offset=item", "--s1-mosaic=mean"]
    error = refused(jobs.options(archive, finished, *chosen), capsys)
    assert "offset" in error
    store = tmp_path / "store"
    assert jobs.run_here(jobs.options(archive, store, *chosen)) == 0
    rules = read_mosaic(Storage(str(store))).identity["rules"]
    assert (rules["offset"], rules["s1_mosaic"]) == ("item", "mean")


@pytest.mark.parametrize("files", [3, 40, 80])
def test_killed_and_run_again_it_ends_the_same(
    archive: Path, finished: Path, tmp_path: Path, files: int
) -> None:
    store = tmp_path / "store"
    words = jobs.options(archive, store)
    assert jobs.kill_when(words, lambda: jobs.objects(store) >= files) == -9
    assert jobs.run_here(words) == 0
    assert jobs.contents(store) == jobs.contents(finished)


def test_the_command_that_tries_again_is_told_without_credentials() -> None:
    words = ["run", "--catalog=https://me:word@h/c.json?sig=SECRET", "--store", "gs://b/x?k=SECRET"]
    words += ["--region=2.9,50.8,3.0,50.9", "--overwrite", "a b"]
    told = retry_command(words, came_to(failed=1))
    assert told == (
        "tessera-mosaic run --catalog=https://h/c.json --store gs://b/x "
        "--region=2.9,50.8,3.0,50.9 --overwrite 'a b'"
    )


def came_to(done: int = 0, failed: int = 0, missing: int = 0) -> Outcome:
    return Outcome(done + failed + missing, done, failed, missing, 1.0, {}, {"pixels_embedded": 0})


@pytest.mark.parametrize(
    ("failed", "missing", "told"),
    [
        (0, 0, None),
        (3, 0, "tessera-mosaic run --year=2024 --retry-failed --store s"),
        (0, 3, "tessera-mosaic run --year=2024 --store s"),
        (3, 3, "tessera-mosaic run --year=2024 --store s"),
    ],
)
def test_tiles_that_were_never_tried_are_among_those_that_are_tried_again(
    failed: int, missing: int, told: str | None
) -> None:
    words = ["run", "--year=2024", "--retry-failed", "--store", "s"]
    assert retry_command(words, came_to(4, failed, missing)) == told


# What is wrong with the input as a whole ends the command before the store is touched.


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_run_that_asks_for_a_gpu_and_finds_none(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = jobs.options(archive, tmp_path / "store", "--device=cuda")
    capsys.readouterr()
    assert jobs.run_here(words) == 2
    assert "cuda" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "store").exists()


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line in which the command refuses."""
    assert jobs.run_here(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    return said.err


def test_region_or_year_without_scenes(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = jobs.options(archive, tmp_path / "store")
    elsewhere = [w.replace(jobs.REGION, "20.0,10.0,20.01,10.01") for w in words]
    assert "no scenes of 2024" in refused(elsewhere, capsys)
    before = [word.replace("--year=2024", "--year=2019") for word in words]
    assert "no scenes of 2019" in refused(before, capsys)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"type": "Recipe"}', '{"type": "Catalog"}'])
def test_a_file_that_is_no_catalogue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    catalog = tmp_path / "catalog.json"
    catalog.write_text(text)
    assert str(catalog) in refused(jobs.options(catalog, tmp_path / "store"), capsys)
    assert not (tmp_path / "store").exists()


class _Trap:
    """Unpickled without care, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.path, "executed")


def test_a_checkpoint_that_is_a_pickle_of_something_else(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, mark = tmp_path / "weights.pt", tmp_path / "mark"
    words = jobs.options(archive, tmp_path / "store", f"--weights={file}")
    for payload in ({"some": "thing"}, [1, 2, 3], _Trap(mark)):
        file.write_bytes(pickle.dumps(payload))
        assert str(file) in refused(words, capsys)
        torch.save(payload, file)
        assert str(file) in refused(words, capsys)
    assert not mark.exists()
    assert not (tmp_path / "store").exists()


# What is wrong with a scene fails the tiles that need it, under the class of the error.


def damaged(archive: Path, out: Path, asset: str) -> Path:
    """A copy of the archive, and the path of an asset of one Sentinel-2 scene in it."""
    shutil.copytree(archive.parent, out)
    return sorted((out / "sentinel-2-l2a").glob(f"*/{asset}"))[1]


def test_a_truncated_raster_fails_its_tiles_and_harms_no_other(
    archive: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    raster = damaged(archive, tmp_path / "archive", "B04.tif")
    whole = raster.read_bytes()
    raster.write_bytes(whole[: len(whole) // 2])
    words = jobs.options(tmp_path / "archive/catalog.json", store)
    assert jobs.run_here([*words, "--json"]) == 3
    result = json.loads(capsys.readouterr().out)
    failed = [record for record in records_of(store) if record.state == "failed"]
    assert len(failed) == result["failed"] == result["failures"]["corrupt"] > 0
    for record in failed:
        assert record.error is not None
        assert record.error.kind == "corrupt"
        assert record.error.scene == raster.parent.name
        assert record.error.asset == "B04"
        assert not record.objects

    raster.write_bytes(whole)
    assert jobs.run_here(words) == 0
    assert jobs.contents(store) == jobs.contents(finished)


def test_a_missing_scene_class_asset_fails_its_tiles(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    item = damaged(archive, tmp_path / "archive", "*.json")
    document = json.loads(item.read_text())
    del document["assets"]["SCL"]
    item.write_text(json.dumps(document))
    words = jobs.options(tmp_path / "archive/catalog.json", tmp_path / "store", "--json")
    assert jobs.run_here(words) == 3
    assert json.loads(capsys.readouterr().out)["failures"] == {"incomplete": 12}
    error = records_of(tmp_path / "store")[0].error
    assert error is not None
    assert (error.scene, error.asset) == (document["id"], "SCL")


def test_a_scene_may_be_lost_where_the_user_allows_it(archive: Path, tmp_path: Path) -> None:
    raster = damaged(archive, tmp_path / "archive", "SCL.tif")
    raster.unlink()
    words = jobs.options(tmp_path / "archive/catalog.json", tmp_path / "store")
    assert jobs.run_here(words) == 3
    assert {record.error.kind for record in records_of(tmp_path / "store") if record.error} == {
        "gone"
    }
    assert jobs.run_here([*words, "--allow-lost-scenes=1"]) == 0
    for record in records_of(tmp_path / "store"):
        assert dict(record.scenes_unused)[raster.parent.name].startswith("lost: gone")


def test_of_a_tile_only_the_pixels_inside_the_region_where_the_user_says_so(
    archive: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    region = "2.9950,50.8440,3.0000,50.8470"
    words = jobs.options(archive, store, "--pixels=inside")
    words[words.index(f"--region={jobs.REGION}")] = f"--region={region}"
    assert jobs.run_here(words) == 0

    whole, part = (read_mosaic(Storage(str(path))) for path in (finished, store))
    window = region_window(31, read_region(region))
    around = Window(31, window.row - 40, window.col - 20, window.height + 60, window.width + 60)
    there, here = (mosaic.read_window(around, jobs.YEAR) for mosaic in (whole, part))
    inside = pixels_inside(read_region(region), around)
    assert 0 < inside.sum() < inside.size
    assert (here.codes[inside] == there.codes[inside]).all()
    assert (here.scales[inside] == there.scales[inside]).all()
    assert np.isposinf(here.scales[~inside]).all()
    seen = sum(int(count[inside].sum()) for count in there.counts.values())
    assert 0 < sum(record.tokens for record in records_of(store)) <= 8 * inside.sum() + 2 * seen

    def found() -> set[str]:
        """Classes of problems, but for what unusual ground may raise."""
        args = argparse.Namespace(store=str(store), year=None, json=True, store_patience=0)
        return {told["problem"] for told in verify_command(args)["problems"]} - set(TOLD)

    assert found() == set()
    kept = (store / REGION).read_bytes()
    for damaged in (kept[:-1], shapely.to_wkb(read_region("2.99,50.84,3.0,50.85"))):
        (store / REGION).write_bytes(damaged)
        assert found() == {"plan"}
    (store / REGION).unlink()
    assert found() == {"missing"}
    assert jobs.run_here(words) == 0
    assert found() == set()
    capsys.readouterr()
    assert "pixels" in refused([*words[:-1], "--pixels=all"], capsys)


def test_nested_depths_are_the_first_values(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    jobs.weights(other, seed=1)
    words = jobs.options(archive, tmp_path / "store", f"--weights={other}", "--model=v2-nano")
    assert jobs.run_here([*words, "--depths"]) == 0
    square = open_mosaic(str(tmp_path / "store")).region(2.995, 50.845, 3.0, 50.847, jobs.YEAR)[31]
    whole = dequantize(square).transpose("band", ...).values
    assert np.isfinite(whole).any()
    for depth in (16, 32, 64):
        prefix = dequantize(square, depth)
        assert np.array_equal(
            prefix.transpose(f"band_d{depth}", ...).values, whole[:depth], equal_nan=True
        )


def test_depths_of_a_model_that_has_none_are_refused(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--depths" in refused(jobs.options(archive, tmp_path / "store", "--depths"), capsys)
