"""What verify finds: every damage to every object, and pixels that cannot be right."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.pipeline.commands.verify import print_findings
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger import keys, records, tile_lists
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import Mosaic, create_store, read_mosaic
from tessera_mosaic.pipeline.publishing.publish import publish_mosaic
from tessera_mosaic.pipeline.verification.code_histograms import (
    BARS,
    ENOUGH_TILES,
    Histograms,
    unusual,
)
from tessera_mosaic.pipeline.verification.findings import Findings, Problem
from tessera_mosaic.pipeline.verification.mosaic_checks import tile_check
from tessera_mosaic.pipeline.verification.verify import check_store, verify
from tests.fakes.stores import WatchedStorage
from tests.samples import SIDE, TILES, pixels, write_sample, write_tile

REPETITIONS = 100


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Two tiles of one year, one on top of the other, as a run and `publish` leave them."""
    storage = Storage(f"memory://{tmp_path_factory.mktemp('store').name}")
    write_sample(storage, TILES[:2], [2018])
    publish_mosaic(storage)
    return storage


@pytest.fixture
def copy(store: Storage, tmp_path: Path) -> Mosaic:
    storage = Storage(f"memory://{tmp_path.name}")
    for key in store.list(""):
        storage.write(key, store.read(key))
    return read_mosaic(storage)


def found(storage: Storage, year: int | None = None) -> list[Problem]:
    return verify(storage.url, year).problems


def test_a_sound_store_has_no_problems(store: Storage, capsys: pytest.CaptureFixture) -> None:
    findings = verify(store.url, 2018)
    assert findings.problems == []
    assert findings.checked == findings.ok > 2
    print_findings(findings)
    assert "0 problems" in capsys.readouterr().out


def test_only_plans_and_summaries_are_listed(store: Storage) -> None:
    asked: list[tuple[str, str]] = []
    findings = Findings()
    findings.take(
        check_store(WatchedStorage(store.url, lambda method, key: asked.append((method, key))))
    )
    assert findings.problems == []
    assert {method for method, _ in asked} == {"read", "read_range", "list"}
    listed = [key for method, key in asked if method == "list"]
    assert all(re.fullmatch(r"records/\d+/(planned|summary)/", key) for key in listed)
    assert len(listed) == len(set(listed))


def delete(storage: Storage, key: str, other: str, chance: random.Random) -> None:
    storage.delete(key)


def truncate(storage: Storage, key: str, other: str, chance: random.Random) -> None:
    data = storage.read(key)
    storage.write(key, data[: chance.randrange(len(data))])


def flip(storage: Storage, key: str, other: str, chance: random.Random) -> None:
    data = bytearray(storage.read(key))
    place = chance.randrange(len(data) * 8)
    data[place // 8] ^= 1 << place % 8
    storage.write(key, bytes(data))


def swap(storage: Storage, key: str, other: str, chance: random.Random) -> None:
    one, two = storage.read(key), storage.read(other)
    storage.write(key, two)
    storage.write(other, one)


@pytest.mark.parametrize("damage", [delete, truncate, flip, swap])
def test_every_damage_is_found(store: Storage, damage: Callable[..., None]) -> None:
    chance = random.Random(damage.__name__)
    whole = {key: store.read(key) for key in store.list("")}
    keys = sorted(whole)
    for _ in range(REPETITIONS):
        key = chance.choice(keys)
        other = chance.choice([name for name in keys if whole[name] != whole[key]])
        damage(store, key, other, chance)
        try:
            assert found(store), f"{damage.__name__} of {key} ({other}) was not found"
        finally:
            store.write(key, whole[key])
            store.write(other, whole[other])
    assert not found(store)


@pytest.mark.parametrize(
    ("damage", "name", "problem"),
    [
        (delete, "embeddings", "missing"),
        (truncate, "scales", "size"),
        (flip, "embeddings_d16", "checksum"),
        (flip, "observations_s2", "checksum"),
    ],
)
def test_problems_are_named_by_tile_and_class(
    copy: Mosaic, damage: Callable[..., None], name: str, problem: str
) -> None:
    key = next(key for key in copy.keys(TILES[1], 2018) if f"/{name}/" in key)
    damage(copy.storage, key, "", random.Random(0))
    (told,) = found(copy.storage)
    assert (told.name, told.year) == (TILES[1].name, 2018)
    assert told.kind in (problem, "unreadable")
    assert key in told.detail


def changed(copy: Mosaic, change: Callable[[Pixels], None]) -> set[str]:
    """Kinds of what is found after a tile was written with changed pixels."""
    put = pixels(TILES[0], 2018)
    change(put)
    write_tile(copy, TILES[0], 2018, put)
    return {told.kind.value for told in found(copy.storage)} - {"summary"}


def test_pixels_that_nothing_saw(copy: Mosaic) -> None:
    def change(put: Pixels) -> None:
        for count in put.counts.values():
            count[3, 70] = 0

    assert changed(copy, change) == {"counts"}


def test_a_dimension_that_never_changes(copy: Mosaic) -> None:
    def change(put: Pixels) -> None:
        put.codes[..., 5] = np.where(np.isfinite(put.scales), 127, 0)

    assert changed(copy, change) == {"constant"}


def test_codes_that_do_not_fill_their_scale(copy: Mosaic) -> None:
    def change(put: Pixels) -> None:
        np.clip(put.codes, -90, 90, out=put.codes)

    assert changed(copy, change) == {"codes"}


def test_pixels_beyond_the_margin(copy: Mosaic) -> None:
    check = tile_check(copy, 2018, lambda window: np.zeros(window.shape, bool))
    problems = [problem for tile in TILES[:2] for problem in check(tile).problems]
    assert {told.kind for told in problems} == {"ownership", "counts"}


def rounded(seed: int) -> Pixels:
    """Pixels that compress, with the last bits that some processor gives them."""
    rng = np.random.default_rng(seed)
    put = pixels(TILES[0], 2018)
    kept = np.isfinite(put.scales)
    put.codes[:] = np.linspace(-60, 60, 128).round()
    put.codes[rng.random(kept.shape) < 0.01, 9] += 1
    put.codes[..., 0] = 127
    put.codes[..., 1:] += np.arange(SIDE, dtype=np.int8)[:, None, None] // 64
    put.codes[..., 0] -= np.arange(SIDE, dtype=np.int8)[:, None] // 64 * 127 * 2
    put.codes[~kept] = 0
    put.scales[kept] = np.float32(0.01) + rng.integers(0, 2, kept.sum()) * np.float32(1e-9)
    return put


def test_a_tile_that_another_processor_made_again_is_told_from_damage(copy: Mosaic) -> None:
    storage = copy.storage
    record = dataclasses.replace(
        write_tile(copy, TILES[0], 2018, rounded(0)), arithmetic="AVX2 (GenuineIntel)"
    )
    write_tile(copy, TILES[0], 2018, rounded(1))
    records.write_record(storage, TILES[0], record)
    (told,) = (problem for problem in found(storage) if problem.kind != "summary")
    assert (told.kind, told.name) == ("arithmetic", TILES[0].name)
    assert "AVX2 (GenuineIntel)" in told.detail
    assert f"run --overwrite {TILES[0].name}" in told.detail
    for key in copy.keys(TILES[0], 2018):
        whole = storage.read(key)
        for damage in (delete, truncate):
            damage(storage, key, "", random.Random(key))
            kinds = {problem.kind.value for problem in found(storage)} - {"summary"}
            assert kinds <= {"missing", "size", "unreadable", "checksum"}, (damage, key)
            storage.write(key, whole)


def test_what_computed_the_tiles_is_counted(copy: Mosaic, capsys: pytest.CaptureFixture) -> None:
    for tile, level in zip(TILES[:2], ("AVX2 (GenuineIntel)", "NVIDIA L4"), strict=True):
        record = records.read_record(copy.storage, 2018, tile)
        assert record is not None
        records.write_record(copy.storage, tile, dataclasses.replace(record, arithmetic=level))
    findings = verify(copy.storage.url, 2018)
    assert findings.to_json()["arithmetic"] == {"AVX2 (GenuineIntel)": 1, "NVIDIA L4": 1}
    print_findings(findings)
    assert "NVIDIA L4: 1" in capsys.readouterr().out


def test_a_seam(copy: Mosaic) -> None:
    """Smooth ground that steps up at the border of two tiles."""
    down = np.linspace(-60, 60, 2 * SIDE).round().astype(np.int8)

    def ground(half: int, step: int) -> Pixels:
        put = pixels(TILES[half], 2018)
        kept = np.isfinite(put.scales)
        put.scales[kept] = 0.01
        put.codes[:] = (down[half * SIDE :][:SIDE] + step)[:, None, None]
        put.codes[..., 0] = np.arange(SIDE)[None] % 2 * 254 - 127
        put.codes[~kept] = 0
        return put

    for step, expected in ((0, set()), (40, {"border"})):
        write_tile(copy, TILES[0], 2018, ground(0, 0))
        write_tile(copy, TILES[1], 2018, ground(1, step))
        assert {p.kind for p in found(copy.storage)} - {"summary"} == expected


def test_what_was_planned_and_not_made(copy: Mosaic) -> None:
    storage = copy.storage
    record = records.read_record(storage, 2018, TILES[0])
    assert record is not None
    failed = dataclasses.replace(
        record, state=records.State.FAILED, objects=(), error=records.Failure("gone", "404")
    )
    records.write_record(storage, TILES[0], failed)
    storage.delete(keys.record_key(2018, TILES[1]))
    told = {(p.name, p.kind) for p in found(storage)}
    assert (TILES[0].name, "failed") in told
    assert (TILES[1].name, "untried") in told


def test_a_zone_of_which_nothing_was_made(copy: Mosaic) -> None:
    tile = dataclasses.replace(TILES[2], zone=30)
    create_store(copy.storage, copy.layout, copy.identity, [2018], [tile.zone])
    tile_lists.add_planned(copy.storage, 2018, [tile], "more")
    copy.storage.write(keys.request_key(2018, "more", 30), tile_lists.encode_tiles([tile]))
    publish_mosaic(copy.storage)
    assert [(p.name, p.kind) for p in found(copy.storage)] == [(tile.name, "untried")]


@pytest.mark.parametrize("objects", range(1, 8))
def test_a_tile_of_two_runs_that_saw_different_scenes(copy: Mosaic, objects: int) -> None:
    """Two workers on one tile: the objects of one lie among those of the other."""
    one = records.read_record(copy.storage, 2018, TILES[0])
    shard = copy.keys(TILES[0], 2018)
    ours = {key: copy.storage.read(key) for key in shard}
    write_tile(copy, TILES[0], 2018, pixels(TILES[0], 2019))
    copy.storage.write(keys.record_key(2018, TILES[0]), one.to_json())
    for key in shard[:objects]:
        copy.storage.write(key, ours[key])
    assert {p.kind for p in found(copy.storage)} & {"checksum", "size", "unreadable"}


def test_a_tile_whose_codes_are_not_distributed_like_the_others() -> None:
    histograms = Histograms()
    usual = np.arange(BARS) + 1
    for n in range(ENOUGH_TILES):
        histograms.add(f"tile {n}", usual * (n + 1))
    assert not list(unusual(2018, histograms))
    histograms.add("odd", 100 * (np.arange(BARS) == 0))
    (told,) = unusual(2018, histograms)
    assert (told.name, told.problems[0].kind, told.again) == ("odd", "histogram", True)


def test_bad_input(store: Storage, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no mosaic"):
        found(Storage(str(tmp_path)))
    # 2017 has a step of the time axis, and nothing in it.
    for year in (1999, 2017):
        with pytest.raises(BadInput, match=f"no year {year}: the years that were made are 2018"):
            found(store, year)
