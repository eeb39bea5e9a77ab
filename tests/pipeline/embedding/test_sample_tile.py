"""`sample` draws what the encoder would see, by the seed alone, and says what it could not."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tessera_mosaic.model.pretrain.samples import Samples, concatenate, decode_samples
from tessera_mosaic.pipeline.commands.sample import sample_arguments, sample_command
from tessera_mosaic.pipeline.embedding.sample_tile import read_index
from tessera_mosaic.pipeline.errors import BadInput, BrokenOff, Expired, Throttled
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.scenes import Scene, Source, open_catalogue
from tessera_mosaic.pipeline.scenes.credentials import Signer
from tessera_mosaic.pipeline.stacks.read_stack import Preprocessing, read_stack
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds
from tests import jobs


def sample(catalog: Path, out: Path, *more: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    sample_arguments(parser)
    words = [f"--catalog={catalog}", f"--region={jobs.REGION}", f"--year={jobs.YEAR}"]
    words += [f"--tile={jobs.SIDE}", f"--out={out}", *more]
    args = parser.parse_args(words)
    args.json, args.beam_arguments = True, []
    return sample_command(args)


def drawn(out: Path) -> Samples:
    storage = Storage(str(out))
    return concatenate(
        [decode_samples(storage.read(key), key) for key in read_index(storage)["files"]]
    )


@pytest.fixture(scope="module")
def sampled(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sampled") / "d-pixels"
    told = sample(archive, out, "--fraction=0.05")
    assert told == {"tiles": 12, "files": 12, "pixels": len(drawn(out)), "failed": 0}
    return out


def test_d_pixels_are_what_the_stack_has(sampled: Path, archive: Path) -> None:
    samples = drawn(sampled)
    zone, row, col, year = samples.places[0].tolist()
    window = Window(zone, row - row % 32, col - col % 32, 32, 32)
    source = open_catalogue(str(archive))
    scenes = source.search(lonlat_bounds(window), year)
    stack = read_stack(window, scenes, Preprocessing(source.imagery), SceneReader(source)).stack
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
    sample(archive, tmp_path / "again", "--fraction=0.05", "--workers=2")
    sample(archive, tmp_path / "other", "--fraction=0.05", "--seed=1")
    files = sorted(path.relative_to(sampled) for path in sampled.glob("d-pixels/*"))
    assert len(files) == 12
    for file in files:
        data = (sampled / file).read_bytes()
        assert (tmp_path / "again" / file).read_bytes() == data
        assert (tmp_path / "other" / file).read_bytes() != data


def test_other_options_do_not_mix_with_the_d_pixels_there(sampled: Path, archive: Path) -> None:
    with pytest.raises(BadInput, match="drawn with other options"):
        sample(archive, sampled, "--fraction=0.06")


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
    sample(archive, tmp_path / "out", "--fraction=0.3", f"--labels={cover}", f"--fields={fields}")
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
    told = sample(broken / "catalog.json", tmp_path / "out", "--fraction=0.01")
    failed = json.loads((tmp_path / "out" / "index.json").read_text())["failed"]
    assert told["failed"] == len(failed) > 0
    assert all("B04" in why for why in failed.values())


def test_a_damaged_file_is_drawn_again(sampled: Path, archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(sampled, again)
    first, second, *_ = sorted(again.glob("d-pixels/*.npz"))
    whole = {path: path.read_bytes() for path in (first, second)}
    first.write_bytes(whole[first][:-100])
    second.write_bytes(b"")
    told = sample(archive, again, "--fraction=0.05")
    assert told == {"tiles": 12, "files": 12, "pixels": len(drawn(sampled)), "failed": 0}
    assert {path: path.read_bytes() for path in whole} == whole


class Unsteady:
    """A catalogue whose first searches fail."""

    def __init__(self, source: Source, failures: list[Exception]) -> None:
        self._source, self._failures = source, failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def search(self, bounds: tuple[float, float, float, float], year: int) -> list[Scene]:
        if self._failures:
            raise self._failures.pop(0)
        return self._source.search(bounds, year)


def test_what_passes_is_waited_for(
    sampled: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [Expired("x"), Throttled("x"), ValueError("y")]
    source = Unsteady(open_catalogue(str(archive)), failures)
    monkeypatch.setattr(
        "tessera_mosaic.pipeline.embedding.sample_tile.open_catalogue", lambda *_: source
    )
    monkeypatch.setattr("tessera_mosaic.pipeline.embedding.sample_tile.RETRY_PAUSE", 0.01)
    renewed: list[Signer] = []
    monkeypatch.setattr(Signer, "renew", lambda signer: renewed.append(signer))
    told = sample(archive, tmp_path / "out", "--fraction=0.05")
    assert (told["files"], told["failed"], len(renewed)) == (11, 1, 1)
    (why,) = read_index(Storage(str(tmp_path / "out")))["failed"].values()
    assert why == "internal: ValueError: y"
    assert sample(archive, tmp_path / "out", "--fraction=0.05")["files"] == 12
    for file in sampled.glob("d-pixels/*"):
        assert (tmp_path / "out" / "d-pixels" / file.name).read_bytes() == file.read_bytes()


def test_what_does_not_pass_fails_the_tile(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Unsteady(open_catalogue(str(archive)), [Throttled("patience")] * 3)
    monkeypatch.setattr(
        "tessera_mosaic.pipeline.embedding.sample_tile.open_catalogue", lambda *_: source
    )
    monkeypatch.setattr("tessera_mosaic.pipeline.embedding.sample_tile.RETRY_PAUSE", 0.01)
    told = sample(archive, tmp_path / "out", "--fraction=0.05")
    assert (told["files"], told["failed"]) == (11, 1)
    (why,) = read_index(Storage(str(tmp_path / "out")))["failed"].values()
    assert why == "throttled: patience"


def test_a_runner_that_gives_up_is_one_line(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Source:
        raise OSError("no such machine")

    opened = open_catalogue(str(archive))
    catalogues = [lambda: opened]
    monkeypatch.setattr(
        "tessera_mosaic.pipeline.embedding.sample_tile.open_catalogue",
        lambda *_: (catalogues.pop() if catalogues else gone)(),
    )
    with pytest.raises(BrokenOff, match=r"^the runner gave up: .*no such machine[^\n]*$"):
        sample(archive, tmp_path / "out", "--fraction=0.05")


def test_a_year_without_scenes_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="year 1999"):
        sample(archive, tmp_path / "out", "--year=1999")
    assert not (tmp_path / "out").exists()


def test_a_share_that_is_none_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="share above 0"):
        sample(archive, tmp_path, "--fraction=1.5")
