"""Objects are whole, atomic and exclusive where they should be, on disk and elsewhere."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import time
from pathlib import Path

import pytest

from pipeline.storage import PARTIAL, Storage


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(str(tmp_path / "store"))
    return Storage(f"memory://{tmp_path.name}/store")


def test_objects_come_back(storage: Storage, tmp_path: Path) -> None:
    storage.write("a/one", b"0123456789")
    (tmp_path / "two").write_bytes(b"two")
    storage.put_file("a/b/two", tmp_path / "two")
    with storage.replacing("three") as file:
        file.write(b"3")
    assert storage.read("a/one") == b"0123456789"
    assert storage.read_range("a/one", 2, 3) == b"234"
    assert storage.read_range("a/one", 8, 5) == b"89"
    assert storage.read_range("a/one", 10, 5) == storage.read_range("a/one", 50, 5) == b""
    assert storage.size("a/one") == 10
    assert list(storage.list("a")) == ["a/b/two", "a/one"]
    assert list(storage.list("")) == ["a/b/two", "a/one", "three"]
    assert list(storage.list("none")) == []
    storage.write("a/one", b"new")
    assert storage.read("a/one") == b"new"


def test_absent_objects(storage: Storage) -> None:
    for request in (storage.read, storage.size):
        with pytest.raises(FileNotFoundError):
            request("nothing")
    storage.write("folder/one", b"1")
    assert not storage.exists("folder")
    storage.delete("nothing")
    storage.delete("folder/one")
    assert not storage.exists("folder/one")


def test_create_is_exclusive(storage: Storage) -> None:
    assert storage.create("claims/one", b"first")
    assert not storage.create("claims/one", b"second")
    assert storage.read("claims/one") == b"first"


def test_an_error_while_writing_leaves_the_old_object(storage: Storage) -> None:
    storage.write("one", b"old")
    with contextlib.suppress(KeyError), storage.replacing("one") as file:
        file.write(b"half of the n")
        raise KeyError
    assert storage.read("one") == b"old"
    assert list(storage.list("")) == ["one"]


def test_storage_travels(storage: Storage) -> None:
    storage.write("one", b"1")
    assert pickle.loads(pickle.dumps(storage)).read("one") == b"1"  # noqa: S301


def test_local_paths_do_not_depend_on_where_a_worker_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Storage("out") == Storage(str(tmp_path / "out")) == Storage(f"file://{tmp_path}/out")


def _write_for_ever(url: str) -> None:
    storage = Storage(url)
    for number in range(10**9):
        with storage.replacing("one") as file:
            file.write(f"{number % 10}".encode() * 300_000)
            file.flush()


def test_a_killed_writer_leaves_a_whole_object_and_nothing_else(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    spawn = multiprocessing.get_context("spawn")
    for _ in range(3):
        writer = spawn.Process(target=_write_for_ever, args=(storage.url,))
        writer.start()
        while not (tmp_path / "one").exists() or not any((tmp_path / PARTIAL).iterdir()):
            time.sleep(0.01)
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join()
        data = storage.read("one")
        assert len(data) == 300_000
        assert len(set(data)) == 1
        storage.sweep()
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["one"]


def test_sweep_spares_the_living(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with storage.replacing("one") as file:
        file.write(b"1")
        assert storage.sweep() == 0
    assert storage.read("one") == b"1"


def _add_under_lock(url: str, times: int) -> None:
    storage = Storage(url)
    for _ in range(times):
        with storage.locked("number"):
            number = int(storage.read("number"))
            time.sleep(0.001)
            storage.write("number", str(number + 1).encode())


def test_a_lock_serves_one_process_at_a_time(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("number", b"0")
    spawn = multiprocessing.get_context("spawn")
    adders = [spawn.Process(target=_add_under_lock, args=(storage.url, 50)) for _ in range(2)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    assert storage.read("number") == b"100"


def test_a_lock_left_by_the_dead_is_taken_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipeline.storage.LOCK_EXPIRY", 0.05)
    monkeypatch.setattr("pipeline.storage.LOCK_POLL", 0.02)
    storage = Storage(f"memory://{tmp_path.name}")
    storage.write(f"{PARTIAL}/number.lock", b"somebody who is gone")
    with storage.locked("number"):
        assert storage.exists(f"{PARTIAL}/number.lock")
    assert not storage.exists(f"{PARTIAL}/number.lock")
