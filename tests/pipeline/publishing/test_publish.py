"""What is published is brought up to date bit by bit, and comes out the same each time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.layout import PLAIN
from tessera_mosaic.pipeline.mosaic.preview_pyramid import LEVELS
from tessera_mosaic.pipeline.mosaic.store import create_store, read_mosaic
from tessera_mosaic.pipeline.publishing.publish import publish as publish_store
from tessera_mosaic.pipeline.publishing.publish import publish_mosaic as publish
from tessera_mosaic.pipeline.publishing.publish import write_metadata
from tessera_mosaic.pipeline.verification.findings import Problem
from tessera_mosaic.pipeline.verification.verify import verify
from tests.fakes.stores import WatchedStorage
from tests.samples import (
    TILES,
    add_tiles,
    contents,
    fail_tile,
    pixels,
    refresh,
    write_sample,
    write_tile,
)


def problems(storage: Storage) -> list[Problem]:
    return verify(storage.url).problems


def test_publishing_again_changes_nothing(store: Storage) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(store.url).rglob("*")}
    assert publish(store).new == 0
    after = {path: path.stat().st_mtime_ns for path in Path(store.url).rglob("*") if path.is_file()}
    assert {path for path, time in after.items() if before.get(path) != time} == set()


def test_more_tiles_cost_the_work_of_those_tiles(two: Storage) -> None:
    publish(two)
    more = [dataclasses.replace(TILES[0], row=TILES[0].row - n) for n in (1, 2, 3)]
    add_tiles(read_mosaic(two), more, 2018)
    read: set[str] = set()

    def told(method: str, key: str) -> None:
        if method == "read_range":
            read.add(key)

    found = publish(WatchedStorage(two.url, told))
    assert (found.tiles, found.new, found.painted) == (5, 3, 3)
    rows = {tuple(map(int, key.split("/")[-2:])) for key in read if key.startswith("utm")}
    assert rows == {(tile.row, tile.col) for tile in more}


def test_the_picture_does_not_depend_on_when_tiles_came(two: Storage, tmp_path: Path) -> None:
    publish(two)
    write_sample(two, TILES[2:4], [2018])
    publish(two)
    other = Storage(f"memory://{tmp_path.name}-other")
    write_sample(other, TILES[:4], [2018])
    write_metadata(other, read_mosaic(two).colours)
    publish(other)
    assert contents(other, "global_rgb") == contents(two, "global_rgb")


def test_a_new_year_is_painted_over_the_old_in_the_same_colours(two: Storage) -> None:
    mosaic = read_mosaic(two)
    publish(mosaic.storage)
    colours, before = read_mosaic(two).colours, contents(two, "global_rgb/0/rgb/c")
    write_sample(two, TILES[:1], [2019])
    publish(two)
    assert read_mosaic(two).colours == colours
    after = contents(two, "global_rgb/0/rgb/c")
    assert after.keys() == before.keys()
    assert after != before
    assert not problems(two)
    # The new year is taken back: the old one shows again.
    fail_tile(read_mosaic(two), TILES[0], 2019)
    publish(two)
    assert contents(two, "global_rgb/0/rgb/c") == before


def test_years_and_zones_that_a_launcher_adds_meanwhile_stay(two: Storage) -> None:
    mosaic = read_mosaic(two)
    # While the colours are fitted, and then while tiles are drawn.
    moments = [("read_range", "utm", 2024, 30), ("write", "published/painting/", 2025, 32)]

    def meanwhile(method: str, key: str) -> None:
        if moments and method == moments[0][0] and key.startswith(moments[0][1]):
            *_, year, zone = moments.pop(0)
            create_store(two, mosaic.layout, mosaic.identity, [year], [zone])

    publish(WatchedStorage(two.url, meanwhile))
    mosaic = read_mosaic(two)
    assert (mosaic.years[-1], mosaic.zones) == (2025, (30, 31, 32))
    assert mosaic.colours is not None
    assert not problems(two)


class Killed(BaseException):
    """The process is gone."""


def publish_until(storage: Storage, moment: str, count: int) -> None:
    """Publish, and be killed when so many objects of a kind were put and one more is to be."""
    seen = []

    def told(method: str, key: str) -> None:
        if method == "write" and key.startswith(moment):
            seen.append(key)
            if len(seen) > count:
                raise Killed

    with pytest.raises(Killed):
        publish(WatchedStorage(storage.url, told))


def changed(storage: Storage) -> None:
    """One tile is made again, and another one failed."""
    write_tile(read_mosaic(storage), TILES[0], 2018, pixels(TILES[0], 2019))
    fail_tile(read_mosaic(storage), TILES[1], 2018)


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_killed_at_any_moment_it_ends_the_same(two: Storage, again: bool, tmp_path: Path) -> None:
    if again:
        publish(two)
        changed(two)
    before = contents(two)
    publish(two)
    after = contents(two)
    moments = [
        ("global_rgb/0/rgb/c/", 1),
        ("published/picture/", 1),
        ("published/registry/", 0),
        ("published/list.json", 0),
        ("report.html", 0),
    ]
    for moment, count in moments[0 if again else 3 :]:
        other = Storage(f"memory://{tmp_path.name}-{moment.replace('/', '-')}")
        for key, data in before.items():
            other.write(key, data)
        publish_until(other, moment, count)
        assert contents(other) != after
        publish(other)
        found = contents(other)
        assert found.keys() == after.keys(), moment
        # The report and the map tell the name of the store.
        assert [key for key in after if found[key] != after[key]] in ([], TOLD_BY_NAME), moment


TOLD_BY_NAME = ["index.html", "published/list.json", "report.html"]


def test_what_was_damaged_is_mended(two: Storage) -> None:
    publish(two)
    whole = contents(two)
    for key in ("utm31/x/c/0", "utm31/scales/zarr.json", "report.html", "stac/collection.json"):
        two.write(key, b"damaged")
        assert problems(two)
        publish(two)
        assert not problems(two)
    for key in ("published/list.json", "published/registry/utm31.parquet"):
        two.write(key, b"damaged")
        assert problems(two)
        publish(two)
        assert not problems(two)
    for key in ("published/picture/coarse.json", "global_rgb/9/rgb/c/3/7/0"):
        two.write(key, b"damaged")
        assert problems(two)
        two.delete("published/list.json")
        publish(two)
        assert not problems(two)
    assert contents(two) == whole


def test_the_picture_is_painted_afresh_over_damage_at_every_level(two: Storage) -> None:
    publish(two)
    whole = contents(two)
    keys = [
        next(key for key in whole if key.startswith(f"global_rgb/{level}/rgb/c/"))
        for level in range(LEVELS)
    ]
    for key in keys:
        two.write(key, whole[key][: len(whole[key]) // 2])
    assert {problem.name for problem in problems(two)} == set(keys)
    two.delete("published/list.json")
    publish(two)
    assert contents(two) == whole


def other_chunk(data: bytes) -> bytes:
    """A chunk that can be decoded, to other pixels."""
    return bytes(PLAIN.codec.encode(np.full(512 * 512 * 4, 7, np.uint8)))


@pytest.mark.parametrize("damage", [lambda data: data[:-9], other_chunk, lambda data: b""])
def test_a_damaged_piece_of_the_picture_is_not_painted_over(
    two: Storage, damage: Callable[[bytes], bytes]
) -> None:
    publish(two)
    key = next(key for key in contents(two) if key.startswith("global_rgb/0/rgb/c/"))
    two.write(key, damage(two.read(key)))
    write_tile(read_mosaic(two), TILES[0], 2018, pixels(TILES[0], 2019))
    refresh(read_mosaic(two), 2018)
    with pytest.raises(BadInput, match=f"{key}.*remove published/list.json"):
        publish_store(two.url)


def test_a_store_that_does_not_answer_costs_nothing_that_was_published(two: Storage) -> None:
    publish(two)
    before = contents(two)

    def refused(method: str, key: str) -> None:
        if method == "read" and key.startswith("published/"):
            raise StoreError("no answer")

    with pytest.raises(StoreError, match="no answer"):
        publish(WatchedStorage(two.url, refused))
    assert contents(two) == before


def test_a_damaged_tile_is_named(two: Storage) -> None:
    key = read_mosaic(two).keys(TILES[1], 2018)[-1]
    two.delete(key)
    with pytest.raises(BadInput, match=TILES[1].name):
        publish_store(two.url)


def test_a_mosaic_of_one_pixel(tmp_path: Path) -> None:
    storage = Storage(f"memory://{tmp_path.name}-pixel")
    mosaic = write_sample(storage, TILES[:1], [2018]).mosaic
    put = pixels(TILES[0], 2018)
    alone = np.zeros(put.scales.shape, bool)
    alone[-1, 60] = True
    put.scales[~alone], put.codes[~alone] = np.inf, 0
    write_tile(mosaic, TILES[0], 2018, put)
    refresh(read_mosaic(storage), 2018)
    assert publish(mosaic.storage).painted == 1
    assert not problems(storage)


def test_nothing_to_publish_yet(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no mosaic"):
        publish_store(str(tmp_path))
