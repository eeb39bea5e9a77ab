"""What real machines have: full disks, no home, streams that nobody reads, odd file systems.

The real condition is made where that can be had, else the call of the operating system is made to
fail, in this process or by what a process of its own loads first.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.errors import ExitCode, StoreMismatch
from tessera_mosaic.pipeline.io.local_files import PARTIAL
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.store import ROOT
from tests import jobs


def run(words: list[str], prefix: tuple[str, ...] = (), **more: Any) -> subprocess.CompletedProcess:
    """Run the command as a process of its own, in some condition."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "tessera_mosaic", *words],
        **{"cwd": jobs.ROOT, "stderr": subprocess.PIPE, "text": True, "timeout": 300} | more,
    )


def shell(how: str) -> tuple[str, ...]:
    """What runs a command with its streams as a shell can leave them."""
    return ("sh", "-c", f'exec "$@" {how}', "sh")


@pytest.mark.parametrize("words", [["models"], ["models", "--json"]])
def test_what_cannot_be_told_is_a_failure_of_one_line(words: list[str]) -> None:
    ended = run(words, shell("> /dev/full"))
    assert ended.returncode == ExitCode.FAILED
    said = "tessera-mosaic models: standard output: No space left on device\n"
    assert ended.stderr == said


@pytest.mark.parametrize("how", [">&-", "<&- >&-", "2>&-", "2> /dev/full", "<&- >&- 2>&-"])
def test_streams_that_are_closed_or_full_change_no_exit_code(how: str) -> None:
    ended = run(["models"], shell(how))
    assert (ended.returncode, ended.stderr) == (ExitCode.DONE, "")
    refused = run(["plan", "--nonsense"], shell(how))
    assert refused.returncode == ExitCode.BAD_INPUT


def test_work_whose_reader_went_away_ends_as_it_would() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tessera_mosaic", "models"],
        cwd=jobs.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(300) == ExitCode.DONE


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("~nouser-of-this-name/x", "nobody knows the home ~nouser-of-this-name"),
        ("s3://[b/x", "it is no address"),
        ("file:/x/y", "two slashes are missing: write file:///x/y"),
        ("s3:/bucket/x", "a slash is missing: write s3://bucket/x"),
        ("s3://b//x", "two slashes in a row: write s3://b/x"),
        ("gs://b/x//y", "two slashes in a row: write gs://b/x/y"),
        (os.fsdecode(b"/tmp/\xff\xfe"), "not UTF-8"),
    ],
)
@pytest.mark.parametrize("option", ["status --store", "run --catalog", "stack --out"])
def test_odd_paths_are_refused_in_one_line(
    option: str, value: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, name = option.split()
    for words in ([command, name, value], [command, f"{name}={value}"]):
        assert main(words) == ExitCode.BAD_INPUT
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"tessera-mosaic {command}: {name} ")
        assert says in line


@pytest.fixture
def unlike(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have calls of the operating system fail as they do on some file systems."""

    def fail(module: Any, name: str, number: int) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(module, name, refuse)

    return fail


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_worked_on_with_a_warning(
    unlike: Callable[..., None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    unlike(fcntl, "flock", number)
    storage = Storage(str(tmp_path / "store"))
    for _ in range(2):
        with locked(storage, "metadata"):
            storage.write("a", b"1")
    assert storage.read("a") == b"1"
    [told] = caplog.messages
    assert "its file system has no file locks: see that no other launcher" in told
    assert not list((tmp_path / "store" / PARTIAL).iterdir())


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_a_file_system_without_hard_links_creates_once(
    unlike: Callable[..., None], tmp_path: Path, number: int
) -> None:
    unlike(os, "link", number)
    storage = Storage(str(tmp_path))
    assert storage.create("a/b", b"first")
    assert not storage.create("a/b", b"second")
    assert storage.read("a/b") == b"first"


def test_a_file_system_that_flushes_no_folders_is_written_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flush = os.fsync

    def only_files(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        flush(handle)

    monkeypatch.setattr(os, "fsync", only_files)
    storage = Storage(str(tmp_path))
    storage.write("a/b", b"1")
    assert storage.create("a/c", b"2")
    assert list(storage.list("")) == ["a/b", "a/c"]


def test_what_macos_leaves_in_folders_is_not_there(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    folders = [path for path in store.rglob("*") if path.is_dir()]
    for folder in (store, *folders):
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    for path in [path for path in store.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    for words in (["verify"], ["status"]):
        told = []
        for place in (store, finished):
            capsys.readouterr()
            code = main([*words, f"--store={place}", "--json"])
            told.append((code, json.loads(capsys.readouterr().out)))
        assert told[0] == told[1]
    assert not Storage(str(tmp_path / "none")).holds("")
    (tmp_path / "none").mkdir()
    (tmp_path / "none/.DS_Store").touch()
    assert not Storage(str(tmp_path / "none")).holds("")


def test_a_root_that_is_cut_short_is_written_anew_by_the_run_that_made_it(
    archive: Path, finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    root = store / ROOT
    whole = root.read_bytes()
    for data in (b"", whole[: len(whole) // 2]):
        root.write_bytes(data)
        with pytest.raises(StoreMismatch, match="tiles of another run"):
            jobs.prepared([*jobs.options(archive, store), "--margin=0"])
        assert root.read_bytes() == data
        jobs.prepared(jobs.options(archive, store))
        assert jobs.contents(store) == jobs.contents(finished)
    assert "was damaged and is written again" in caplog.text


@pytest.mark.parametrize("name", ["thesis.docx", "recipe.json", "photos"])
def test_a_place_that_holds_something_else_is_no_store(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).mkdir() if name == "photos" else (tmp_path / name).touch()
    assert main(jobs.options(archive, tmp_path)) == ExitCode.BAD_INPUT
    [line] = capsys.readouterr().err.splitlines()
    assert f"{tmp_path} holds something else, such as {name}: name an empty place" in line
    assert [path.name for path in tmp_path.iterdir() if path.name != PARTIAL] == [name]
