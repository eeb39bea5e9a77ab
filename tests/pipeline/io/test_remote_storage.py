"""Objects on a fake Google Cloud Storage and a fake S3 are what they are on disk."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.io.locks import Pace, locked
from tessera_mosaic.pipeline.io.storage import Storage


def test_storage_keeps_its_promises(remote: Storage, tmp_path: Path) -> None:
    storage = Storage(f"{remote.url}/promises")
    storage.write("a/one", b"0123456789")
    assert storage.read_range("a/one", 2, 3) == b"234"
    assert storage.read_range("a/one", 8, 5) == b"89"
    assert storage.read_range("a/one", 10, 5) == storage.read_range("a/one", 50, 5) == b""
    assert storage.size("a/one") == 10
    (tmp_path / "large").write_bytes(bytes(range(256)) * 50_000)
    storage.put_file("a/large", tmp_path / "large")
    assert storage.read("a/large") == (tmp_path / "large").read_bytes()
    storage.write("a/empty", b"")
    assert storage.read("a/empty") == b""
    storage.delete("a/empty")
    assert storage.read("a/one", 11) == b"0123456789"
    for most in (10, 1):
        with pytest.raises(Altered, match=f"a/one has {most} bytes or more"):
            storage.read("a/one", most)
    assert list(storage.list("a")) == ["a/large", "a/one"]
    assert storage.exists("a/one")
    assert not storage.exists("a")
    for request in (storage.read, storage.size):
        with pytest.raises(FileNotFoundError):
            request("nothing")
    storage.delete("a/one")
    storage.delete("a/one")
    assert not storage.exists("a/one")


def test_one_of_many_creates(remote: Storage) -> None:
    storage = Storage(f"{remote.url}/claims")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.create("one", str(n).encode()), range(8)))
    assert sum(won) == 1
    assert storage.read("one") == str(won.index(True)).encode()


def test_a_lock_serves_one_at_a_time(remote: Storage) -> None:
    storage = Storage(f"{remote.url}/locked")
    storage.write("number", b"0")

    def add() -> None:
        for _ in range(5):
            with locked(storage, "number", Pace(poll=0.02)):
                storage.write("number", str(int(storage.read("number")) + 1).encode())

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.read("number") == b"15"
