"""A store that somebody else filled: links, pipes, and addresses with secrets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.embedding.sample_index import read_index
from tessera_mosaic.pipeline.errors import Altered, BadInput, Gone, StoreError
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.foreign_json import MOST_VALUES
from tessera_mosaic.pipeline.io.local_files import PARTIAL
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import MOST_DOCUMENT, Storage
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.ledger.forecast import read_forecast
from tessera_mosaic.pipeline.ledger.in_progress import read_note
from tessera_mosaic.pipeline.ledger.keys import INDEX, MAP_RECIPE, RECIPE, forecast_key, record_key
from tessera_mosaic.pipeline.ledger.map_recipe import read_map_recipe
from tessera_mosaic.pipeline.ledger.recipe import read_recipe
from tessera_mosaic.pipeline.ledger.records import read_record
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile

TILE = Tile(31, 1449, 136, 256)

ASK: dict[str, Callable[[Storage, str], object]] = {
    "read": lambda storage, key: storage.read(key),
    "read_range": lambda storage, key: storage.read_range(key, 0, 9),
    "exists": lambda storage, key: storage.exists(key),
    "size": lambda storage, key: storage.size(key),
    "write": lambda storage, key: storage.write(key, b"mine"),
    "create": lambda storage, key: storage.create(key, b"mine"),
    "put_file": lambda storage, key: storage.put_file(key, __file__),
    "delete": lambda storage, key: storage.delete(key),
    "list": lambda storage, key: list(storage.list(key)),
}


@pytest.fixture
def place(tmp_path: Path) -> tuple[Storage, Path]:
    """A store with a key `in/one`, and a folder beside it with a file."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("not yours")
    storage = Storage(str(tmp_path / "store"))
    storage.write("in/one", b"1")
    return storage, outside


@pytest.mark.parametrize("request_", ASK)
@pytest.mark.parametrize("way", ["folder", "file", "hop", "above", "nothing"])
def test_no_link_leads_out_of_a_store(place: tuple[Storage, Path], request_: str, way: str) -> None:
    storage, outside = place
    root = Path(storage.url)
    targets = {"folder": outside, "hop": root / "hop", "above": Path("../..")}
    target = targets.get(way, outside / ("file" if way == "file" else "none"))
    (root / "hop").symlink_to("../outside")
    (root / "link").symlink_to(target)
    key = "link" if way in ("file", "nothing") else "link/file"
    with pytest.raises(StoreError, match="link that leads out of the store"):
        ASK[request_](storage, key)
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "not yours"


def test_links_are_no_folders_to_look_into(place: tuple[Storage, Path]) -> None:
    storage, _ = place
    root = Path(storage.url)
    for number in range(30):
        (root / f"round{number}").symlink_to(".")
    assert [key for key in storage.list("") if key.endswith("one")] == ["in/one"]


def test_a_store_that_is_itself_reached_by_a_link_is_one(
    place: tuple[Storage, Path], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").symlink_to(place[0].url)
    assert Storage(str(tmp_path / "elsewhere")).read("in/one") == b"1"


def test_what_is_being_written_and_locks_stay_in_the_store(place: tuple[Storage, Path]) -> None:
    storage, outside = place
    partial = Path(storage.url) / PARTIAL
    (partial / "a.lock").symlink_to("../in/one")
    with pytest.raises(StoreError), locked(storage, "a"):
        raise AssertionError("the lock is a link")
    assert storage.read("in/one") == b"1"
    (partial / "a.lock").unlink()
    partial.rmdir()
    partial.symlink_to(outside)
    (outside / "x.part").touch()
    for request in (
        lambda: storage.write("in/two", b""),
        lambda: storage.create("in/two", b""),
        storage.sweep,
        lambda: locked(storage, "b").__enter__(),
    ):
        with pytest.raises(StoreError, match="link that leads out"):
            request()
    assert sorted(path.name for path in outside.iterdir()) == ["file", "x.part"]


@pytest.mark.parametrize("request_", ["read", "read_range", "size"])
def test_pipes_and_devices_are_no_objects(place: tuple[Storage, Path], request_: str) -> None:
    storage, _ = place
    os.mkfifo(Path(storage.url) / "pipe")
    with pytest.raises(StoreError, match="is no file"):
        ASK[request_](storage, "pipe")
    assert not storage.exists("pipe")
    with pytest.raises(StoreError, match="is no file"):
        ASK[request_](Storage("/dev"), "zero")
    with pytest.raises(StoreError, match="is no file"):
        ASK[request_](storage, "in")


def test_an_object_larger_than_memory_is_not_read_at_once(place: tuple[Storage, Path]) -> None:
    storage, _ = place
    with open(Path(storage.url) / "large", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StoreError, match="too many for what it is"):
        storage.read("large")
    assert storage.read_range("large", 1 << 39, 3) == b"\0\0\0"
    assert storage.size("large") == 1 << 40


def test_an_object_is_read_as_far_as_it_may_be() -> None:
    storage = Storage("memory://bounded")
    storage.write("nine", b"123456789")
    assert storage.read("nine", 10) == b"123456789"
    for most in (9, 3, 1):
        with pytest.raises(Altered, match=f"memory://bounded/nine has {most} bytes or more"):
            storage.read("nine", most)
    storage.write("none", b"")
    assert storage.read("none", 1) == b""


def test_a_recipe_of_a_map_has_no_more_values_than_it_may(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write(MAP_RECIPE, b'{"years": [' + b"1," * MOST_VALUES + b"1]}")
    with pytest.raises(BadInput, match="more than 4,000,000 values"):
        read_map_recipe(storage)


READERS: dict[str, Callable[[Storage], object]] = {
    "zarr.json": read_mosaic,
    record_key(2024, TILE): lambda storage: read_record(storage, 2024, TILE),
    forecast_key(2024): lambda storage: read_forecast(storage, 2024),
    MAP_RECIPE: read_map_recipe,
    RECIPE: read_recipe,
    INDEX: read_index,
    "note": lambda storage: read_note(storage, "note"),
}


@pytest.mark.parametrize("key", READERS)
def test_small_documents_that_are_large_are_not_read(tmp_path: Path, key: str) -> None:
    storage = Storage(str(tmp_path))
    storage.write(key, b"{")
    with open(tmp_path / key, "r+b") as file:
        file.truncate(MOST_DOCUMENT)
    with pytest.raises(Altered, match=f"{key} has 67,108,864 bytes, too many"):
        READERS[key](storage)


@pytest.mark.parametrize(
    "address",
    [
        "memory://x?sig=S3CRET",
        "memory://x#S3CRET",
        "https://S3CRET@127.0.0.1:1/m.zarr",
        "HTTPS://S3CRET@127.0.0.1:1/m.zarr",
        "https://bob:S3CRET@127.0.0.1:1/m.zarr",
        "https://bob:S3/CRET@127.0.0.1:1/m.zarr",
        "gs://S3CRET@bucket/m.zarr",
        "s3://key:S3CRET@bucket/m.zarr",
        "s3://bucket/m.zarr?X-Amz-Signature=S3CRET",
        "sftp://bob:S3CRET@host/x",
        "simplecache::https://bob:S3CRET@127.0.0.1:1/x",
        "simplecache::https://127.0.0.1:1/x?sig=S3CRET",
        "filecache::simplecache::s3://S3CRET@bucket/x",
        "zip://a.zarr::https://S3CRET@127.0.0.1:1/x.zip",
        "zip://a.zarr::https://127.0.0.1:1/x.zip?S3CRET",
        "github://org:S3CRET@sha/x",
    ],
)
def test_secrets_of_a_stores_address_are_not_told(address: str) -> None:
    with pytest.raises(BadInput, match=r"^store \w+://\.\.\.: ") as caught:
        Storage(address)
    for part in ("S3CRET", "CRET", "S3", "bob"):
        assert part not in str(caught.value)


def test_addresses_without_secrets_are_taken(tmp_path: Path) -> None:
    for address in ("gs://bucket/a@b/m.zarr", "s3://bucket", "sftp://bob@host/x", "memory://x"):
        assert Storage(address).url == address
    odd = tmp_path / "what?#@::.zarr"
    Storage(str(odd)).write("one", b"1")
    assert (odd / "one").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("simplecache::https://bob:S3CRET@host/x?sig=S3CRET", "simplecache::https://host/x"),
        ("https://a@b@host/x#S3CRET", "https://host/x"),
        ("/vsicurl?url=S3CRET", "/vsicurl"),
        ("/vsicurl/https://u:S3CRET@host/x", "/vsicurl/https://host/x"),
    ],
)
def test_secrets_of_any_address_are_not_shown(address: str, shown: str) -> None:
    assert plain(address) == shown


def test_a_catalogue_that_is_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for ask in (Remote.size, lambda remote, access: remote.get(access, 9)):
        with pytest.raises(Exception, match="is no file"):
            ask(Remote(), Access(str(tmp_path / "pipe")))
    with pytest.raises(Gone):
        Remote().size(Access(str(tmp_path / "none")))
