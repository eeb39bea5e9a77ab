"""A lock serves one at a time, survives its holder's long work, and not its holder's death."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.exclusion import settled
from tessera_mosaic.pipeline.io.local_files import PARTIAL
from tessera_mosaic.pipeline.io.locks import Pace, locked
from tessera_mosaic.pipeline.io.storage import MOST_READ, Storage

KEY = f"{PARTIAL}/number.lock"


HURRIED = Pace(expiry=0.5, renewal=0.05, poll=0.02, told=0.1)
"""Of processes that do not wait long for one another."""


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(str(tmp_path / "store"))
    return Storage(f"memory://{tmp_path.name}/store")


def _add_under_lock(url: str, times: int) -> None:
    storage = Storage(url)
    for _ in range(times):
        with locked(storage, "number"):
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


def test_a_lock_held_for_long_is_waited_for_by_name(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    held, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(storage, "number", HURRIED):
            held.set()
            time.sleep(3 * HURRIED.expiry)
            ended.set()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    with locked(storage, "number", HURRIED):
        assert ended.is_set()
    holder.join()
    assert caplog.text.count(f"waiting for {socket.gethostname()}-{os.getpid()}") == 1
    assert not storage.exists(KEY)


def test_a_lock_left_by_the_dead_is_taken_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(f"memory://{tmp_path.name}")
    storage.write(KEY, b"somebody-17 token 3")
    with locked(storage, "number", HURRIED):
        assert storage.exists(KEY)
    assert not storage.exists(KEY)
    assert "by somebody-17, which is gone" in caplog.text


def test_of_those_who_wait_for_the_dead_one_at_a_time_is_served(
    tmp_path: Path,
) -> None:
    """Also where a deletion takes so long that all others have judged the lock meanwhile."""

    class DeletingLate(Storage):
        def delete(self, key: str) -> None:
            time.sleep(random.uniform(0, 0.2))
            super().delete(key)

    storage = DeletingLate(f"memory://{tmp_path.name}")
    storage.write(KEY, b"somebody-17 token 3")
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with locked(storage, "number", HURRIED):
            inside.append(number)
            time.sleep(0.1)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == [1] * 8
    assert not list(storage.list(f"{PARTIAL}/"))


def test_a_claim_to_a_lock_of_the_dead_may_be_of_the_dead_too(
    tmp_path: Path,
) -> None:
    storage = Storage(f"memory://{tmp_path.name}")
    storage.write(KEY, b"somebody-17 token 3")
    digest = hashlib.sha256(b"somebody-17 token 3").hexdigest()
    storage.write(f"{KEY}.{digest[:16]}", b"somebody-18 token ")
    began = time.monotonic()
    with locked(storage, "number", HURRIED):
        assert time.monotonic() - began > 2 * HURRIED.expiry
    assert not list(storage.list(f"{PARTIAL}/"))


def test_a_lock_that_was_taken_over_is_left_to_who_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(f"memory://{tmp_path.name}")
    with locked(storage, "number", HURRIED):
        storage.write(KEY, b"somebody-17 token 3")
        time.sleep(5 * HURRIED.renewal)
    assert storage.read(KEY) == b"somebody-17 token 3"
    assert "was taken over" in caplog.text


class Plain(MemoryFileSystem):
    """A file system that takes the condition and puts an object all the same."""

    protocol = "plain"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        super().pipe_file(path, value, **more)


def test_a_store_that_does_not_exclude_takes_one_launcher_that_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fsspec.register_implementation("plain", Plain, clobber=True)
    storage = Storage(f"plain://{tmp_path.name}")
    with pytest.raises(BadInput, match=r"single_launcher: store plain://.* two launchers"):
        locked(storage, "number").__enter__()
    alone = settled(storage, single_launcher=True)
    assert "this launch alone" in caplog.text
    alone.write("number", b"0")

    def add(_: int) -> None:
        with locked(alone, "number"):
            number = int(alone.read("number"))
            time.sleep(0.01)
            alone.write("number", str(number + 1).encode())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(8)))
    assert alone.read("number") == b"8"
    assert alone._list("", lambda files: files.keys("")) == ["number"]


def test_a_lock_is_not_taken_from_who_could_not_renew_it(
    tmp_path: Path,
) -> None:
    """While the store did not serve, its holder could not renew it either."""

    class Silent(Storage):
        def read(self, key: str, most: int = MOST_READ) -> bytes:
            if key == KEY and not silence:
                silence.append(key)
                time.sleep(3 * HURRIED.expiry)
            return super().read(key, most)

    silence: list[str] = []
    storage = Silent(f"memory://{tmp_path.name}")
    storage.write(KEY, b"somebody-17 token 3")
    began = time.monotonic()
    with locked(storage, "number", HURRIED):
        assert time.monotonic() - began > 4 * HURRIED.expiry


def test_a_store_where_no_folder_can_be_made_is_named() -> None:
    with (
        pytest.raises(StoreError, match=r"^/proc/nowhere: No such file"),
        locked(Storage("/proc/nowhere"), "number"),
    ):
        pass
