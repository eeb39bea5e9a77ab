"""Objects are whole, atomic and exclusive where they should be, on disk and elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from fsspec import AbstractFileSystem

from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.local_files import PARTIAL
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage


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


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("foo://x", "Protocol not known"),
        ("sftp://somebody@somewhere/x", "paramiko"),
        ("sftp://somebody:hunter2@somewhere/x", "holds a password"),
        ("gs://bucket/../other", "no '..'"),
    ],
)
def test_an_address_that_cannot_be_used_is_bad_input(url: str, said: str) -> None:
    if importlib.util.find_spec("paramiko") and said == "paramiko":
        pytest.skip("the package that is missing here is installed")
    with pytest.raises(BadInput, match=said) as caught:
        Storage(url).read("one")
    assert "hunter2" not in str(caught.value)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    storage = Storage(str(tmp_path / "file"))
    for request in (
        lambda: storage.read("one"),
        lambda: storage.write("one", b"1"),
        lambda: storage.create("one", b"1"),
        lambda: locked(storage, "one").__enter__(),
    ):
        with pytest.raises(BadInput, match="a file where a folder should be"):
            request()


class Unkind(Exception):
    """What no client's errors have in common."""


class UnkindFileSystem(AbstractFileSystem):
    """A client that fails in a way of its own."""

    protocol = "unkind"

    def _fail(self, *_: object, **__: object) -> None:
        raise Unkind("no credentials")

    cat_file = pipe_file = put_file = info = find = rm_file = _fail


def test_whatever_a_client_raises_is_the_stores_error(tmp_path: Path) -> None:
    fsspec.register_implementation("unkind", UnkindFileSystem, clobber=True)
    storage = Storage(f"unkind://{tmp_path.name}")
    (tmp_path / "one").write_bytes(b"1")
    requests: list[Callable[[], object]] = [
        lambda: storage.read("one"),
        lambda: storage.read_range("one", 0, 1),
        lambda: storage.exists("one"),
        lambda: storage.size("one"),
        lambda: list(storage.list("")),
        lambda: storage.delete("one"),
        lambda: storage.write("one", b"1"),
        lambda: storage.put_file("one", tmp_path / "one"),
        lambda: storage.create("one", b"1"),
    ]
    for request in requests:
        with pytest.raises(StoreError, match="no credentials"):
            request()


def test_a_remote_write_leaves_no_file_when_it_is_killed(tmp_path: Path) -> None:
    """What is being written has no name: nobody has to clear it away."""
    storage = Storage(f"memory://{tmp_path.name}/nameless")
    with storage.replacing("one") as file:
        file.write(b"1" * 1_000_000)
        file.flush()
        assert os.fstat(file.fileno()).st_nlink == 0
    assert storage.size("one") == 1_000_000
