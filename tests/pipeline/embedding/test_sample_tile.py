"""`sample` draws what the encoder would see, by the seed alone, and says what it could not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tessera_mosaic.launching import SampleOutcome, prepare_sample, sample
from tessera_mosaic.model.pretrain.samples import Samples, concatenate, decode_samples
from tessera_mosaic.pipeline.embedding.sample_index import index_of, read_index
from tessera_mosaic.pipeline.embedding.sample_tile import SampleMaker
from tessera_mosaic.pipeline.errors import BadInput, BrokenOff, Expired, Throttled
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.maker import Maker
from tessera_mosaic.pipeline.ledger.recipe import recipe_fingerprint
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.boxes import Box
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds, parse_tile
from tessera_mosaic.requests import SampleRequest
from tests import jobs
from tests.makers import Renewing, Unopened, named, searching


def request(catalog: Path, out: Path, **more: Any) -> SampleRequest:
    asked = {"region": jobs.REGION, "year": jobs.YEAR, "tile": jobs.SIDE} | more
    return SampleRequest(catalog=str(catalog), out=str(out), pacing=jobs.QUICK, **asked)


def drawn_by(catalog: Path, out: Path, **more: Any) -> SampleOutcome:
    return sample(request(catalog, out, **more))


def numbers(told: SampleOutcome) -> tuple[int, int, int, int]:
    """Tiles, files, pixels in the folder, and tiles that failed."""
    fields = told.to_json()
    return fields["tiles"], fields["files"], fields["pixels"], fields["failed"]


def drawn(out: Path) -> Samples:
    storage = Storage(str(out))
    return concatenate(
        [decode_samples(storage.read(key), key) for key in read_index(storage).files]
    )


@pytest.fixture(scope="module")
def sampled(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sampled") / "d-pixels"
    told = drawn_by(archive, out, fraction=0.05)
    assert numbers(told) == (12, 12, len(drawn(out)), 0)
    return out


def test_d_pixels_are_what_the_stack_has(sampled: Path, archive: Path) -> None:
    samples = drawn(sampled)
    zone, row, col, year = samples.places[0].tolist()
    window = Window(zone, row - row % 32, col - col % 32, 32, 32)
    source = open_catalogue(str(archive))
    scenes = source.search(lonlat_bounds(window), year)
    stack = read_block(window, scenes, Preprocessing(source.imagery), SceneReader(source)).stack
    here = row % 32, col % 32
    clear = stack.masks[:, *here] != 0
    count = samples.s2.counts[0]
    assert count == clear.sum()
    assert np.array_equal(samples.s2.values[:count], stack.bands[clear][:, *here])
    assert np.array_equal(samples.s2.days[:count], stack.doys[clear])
    up = (stack.sar_ascending[:, *here] != 0).any(axis=-1)
    assert np.array_equal(samples.s1.values[: up.sum()], stack.sar_ascending[up][:, *here])


def test_pixels_are_drawn_evenly_once_and_from_the_region(sampled: Path) -> None:
    samples = drawn(sampled)
    assert len(np.unique(samples.places, axis=0)) == len(samples)
    tiles = {tuple(place) for place in (samples.places[:, 1:3] // 32).tolist()}
    assert len(tiles) == 12
    assert 0.03 * 12 * 32**2 < len(samples) <= 0.05 * 12 * 32**2


def test_another_run_draws_the_same_bytes_and_another_seed_others(
    sampled: Path, archive: Path, tmp_path: Path
) -> None:
    drawn_by(archive, tmp_path / "again", fraction=0.05, workers=2)
    drawn_by(archive, tmp_path / "other", fraction=0.05, seed=1)
    files = sorted(path.relative_to(sampled) for path in sampled.glob("d-pixels/*"))
    assert len(files) == 12
    for file in files:
        data = (sampled / file).read_bytes()
        assert (tmp_path / "again" / file).read_bytes() == data
        assert (tmp_path / "other" / file).read_bytes() != data


def test_other_options_do_not_mix_with_the_d_pixels_there(sampled: Path, archive: Path) -> None:
    with pytest.raises(BadInput, match="drawn with other options"):
        drawn_by(archive, sampled, fraction=0.06)


def test_a_recipe_goes_by_content_and_not_by_spelling(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    region, labels = tmp_path / "region.geojson", tmp_path / "labels.tif"
    west, south, east, north = map(float, jobs.REGION.split(","))

    def ground(east: float) -> str:
        corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return json.dumps({"type": "Polygon", "coordinates": [corners]})

    def settled(**more: Any) -> str:
        asked = {"region": str(region), "labels": str(labels)} | more
        return prepare_sample(request(archive, tmp_path / "out", **asked))[1].fingerprint

    region.write_text(ground(east))
    name = f"{jobs.GRANULE.name}_{jobs.YEAR}.tif"
    shutil.copy(archive.parent / f"ground_truth/land_cover_{name}", labels)
    first = settled()
    monkeypatch.chdir(tmp_path)
    shutil.copy(labels, "other.tif")
    for more in (
        {"region": "region.geojson", "labels": "./labels.tif"},
        {"region": jobs.REGION, "labels": "other.tif"},
    ):
        assert settled(**more) == first
    region.write_text(ground(east - 1e-6))
    with pytest.raises(BadInput, match=r"other options or files: another region \(see"):
        settled()
    region.write_text(ground(east))
    labels.write_bytes(labels.read_bytes() + bytes(1))
    with pytest.raises(BadInput, match=r"other options or files: another labels \(see"):
        settled()


def test_a_folder_goes_on_whose_recipe_tells_how_its_options_were_spelt(
    archive: Path, tmp_path: Path
) -> None:
    spelled = {"catalog": str(archive), "region": jobs.REGION, "year": jobs.YEAR}
    numbers = {"fraction": 0.05, "seed": 0, "labels": None, "fields": None, "tile": jobs.SIDE}
    asked = request(archive, tmp_path / "new", fraction=0.05)
    now = json.loads(Path(prepare_sample(asked)[0].store, "recipe.json").read_text())
    rules = {each: now[each] for each in list(now) if each not in {*spelled, *numbers}}
    data = (json.dumps(spelled | numbers | rules, indent=1) + "\n").encode()
    (tmp_path / "old").mkdir()
    (tmp_path / "old/recipe.json").write_bytes(data)
    maker = prepare_sample(request(archive, tmp_path / "old", fraction=0.05))[1]
    assert maker.fingerprint == recipe_fingerprint(data)
    with pytest.raises(BadInput, match="drawn with other options"):
        prepare_sample(request(archive, tmp_path / "old", fraction=0.06))


def test_labels_choose_pixels_and_go_with_them(archive: Path, tmp_path: Path) -> None:
    truth = archive.parent / "ground_truth"
    name = f"{jobs.GRANULE.name}_{jobs.YEAR}.tif"
    cover = tmp_path / "cover.tif"
    with rasterio.open(truth / f"land_cover_{name}") as file:
        classes = file.read(1)
        transform, profile = file.transform, file.profile
    classes[40:] = 0
    profile.update(driver="GTiff", nodata=0)
    with rasterio.open(cover, "w", **profile) as file:
        file.write(classes, 1)
    fields = truth / f"parcels_{name}"
    drawn_by(archive, tmp_path / "out", fraction=0.3, labels=str(cover), fields=str(fields))
    samples = drawn(tmp_path / "out")
    with rasterio.open(fields) as file:
        numbers = file.read(1)
    corner = Window(31, 0, 0, 1, 1)
    row = samples.places[:, 1] - round((corner.north - transform.f) / 10)
    col = samples.places[:, 2] - round((transform.c - corner.west) / 10)
    assert row.max() < 40
    assert np.array_equal(samples.labels, classes[row, col])
    assert np.array_equal(samples.groups, numbers[row, col])


def test_a_tile_that_cannot_be_read_is_named(archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "archive"
    shutil.copytree(archive.parent, broken)
    for band in broken.glob("sentinel-2-l2a/*/B04.tif"):
        band.write_bytes(b"II*\x00 and nothing more")
    told = drawn_by(broken / "catalog.json", tmp_path / "out", fraction=0.01, max_failed_share=1)
    failed = json.loads((tmp_path / "out" / "index.json").read_text())["failed"]
    assert told.outcome.failed == len(failed) > 0
    assert all("B04" in why for why in failed.values())


def test_a_damaged_file_is_named_and_drawn_again(
    sampled: Path, archive: Path, tmp_path: Path, run: jobs.Run
) -> None:
    again = tmp_path / "again"
    shutil.copytree(sampled, again)
    first, second, *_ = sorted(again.glob("d-pixels/*.npz"))
    whole = {path: path.read_bytes() for path in (first, second)}
    first.write_bytes(whole[first][:-100])
    second.write_bytes(b"")
    code, found = run("verify", f"--store={again}")
    names = {path.name.removesuffix(f"-{jobs.YEAR}.npz") for path in whole}
    assert (code, {problem["tile"] for problem in found["problems"]}) == (3, names)
    told = drawn_by(archive, again, fraction=0.05, overwrite=tuple(names))
    assert numbers(told) == (12, 12, len(drawn(sampled)), 0)
    assert {path: path.read_bytes() for path in whole} == whole
    assert run("verify", f"--store={again}")[0] == 0


def test_a_damaged_file_of_a_folder_without_records_is_drawn_again(
    sampled: Path, archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    again = tmp_path / "again"
    shutil.copytree(sampled, again)
    shutil.rmtree(again / "records")
    first, second, third, *_ = sorted(again.glob("d-pixels/*.npz"))
    whole = {path: path.read_bytes() for path in (first, second, third)}
    first.write_bytes(whole[first][:-100])
    second.write_bytes(b"")
    third.unlink()
    told = drawn_by(archive, again, fraction=0.05)
    assert numbers(told) == (12, 12, len(drawn(sampled)), 0)
    assert {path: path.read_bytes() for path in whole} == whole
    assert caplog.text.count("it is drawn again") == 2


def test_a_second_run_draws_nothing_that_is_there(
    sampled: Path, archive: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(sampled, again)
    gone = sorted(again.glob("records/*/tiles/*/*.json"))[3]
    gone.unlink()
    for path in again.glob("records/*/summary/*.json"):
        path.unlink()
    others = {path: path.stat().st_mtime_ns for path in again.glob("d-pixels/*")}
    told = drawn_by(archive, again, fraction=0.05)
    assert told.outcome.measures["tiles_kept"] == 11
    changed = [path for path, then in others.items() if path.stat().st_mtime_ns != then]
    assert [path.name for path in changed] == [f"{gone.stem}-{jobs.YEAR}.npz"]


def test_what_passes_is_waited_for(sampled: Path, archive: Path, tmp_path: Path) -> None:
    failures: list[Exception] = [Expired("x"), Throttled("x"), ValueError("y")]
    renewed: list[int] = []

    def search(real: Callable[..., list[Scene]], box: Box, year: int) -> list[Scene]:
        if failures:
            raise failures.pop(0)
        return real(box, year)

    def change(maker: SampleMaker) -> Maker:
        return Renewing(searching(search)(maker), named(renewed.append))

    out = tmp_path / "out"
    job, maker = prepare_sample(request(archive, out, fraction=0.05))
    outcome = launch(job, change(maker))
    assert (outcome.done, outcome.failed, len(renewed)) == (11, 1, 1)
    (why,) = index_of(Storage(str(out)), jobs.YEAR).failed.values()
    assert why == "internal: ValueError: y"
    assert len(drawn_by(archive, out, fraction=0.05, retry_failed=True).index.files) == 12
    for file in sampled.glob("d-pixels/*"):
        assert (out / "d-pixels" / file.name).read_bytes() == file.read_bytes()


def test_what_does_not_pass_fails_the_tile(archive: Path, tmp_path: Path) -> None:
    failures: list[Exception] = [Throttled("patience")] * 3

    def search(real: Callable[..., list[Scene]], box: Box, year: int) -> list[Scene]:
        if failures and box == lonlat_bounds(parse_tile(jobs.FIRST, jobs.SIDE).window):
            raise failures.pop()
        return real(box, year)

    job, maker = prepare_sample(request(archive, tmp_path / "out", fraction=0.05))
    outcome = launch(job, searching(search)(maker))
    assert (outcome.done, outcome.failures) == (11, {"throttled": 1})
    (why,) = index_of(Storage(str(tmp_path / "out")), jobs.YEAR).failed.values()
    assert why == "throttled: patience"


def test_a_runner_that_gives_up_is_one_line(archive: Path, tmp_path: Path) -> None:
    job, _ = prepare_sample(request(archive, tmp_path / "out", fraction=0.05))
    with pytest.raises(BrokenOff, match=r"^the runner gave up: .*no such machine[^\n]*$"):
        launch(job, Unopened())


def test_a_year_without_scenes_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="year 1999"):
        drawn_by(archive, tmp_path / "out", year=1999)
    assert not (tmp_path / "out").exists()


def test_a_share_that_is_none_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="share above 0"):
        drawn_by(archive, tmp_path, fraction=1.5)
