"""What real machines have: full disks, no home, streams that nobody reads, odd file systems.

The real condition is made where that can be had, else the call of the operating system is made to
fail, in this process or by what a process of its own loads first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tessera_mosaic.launching import prepare_sample
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream.map_layout import MapLayout
from tessera_mosaic.pipeline.downstream.map_store import create_map
from tessera_mosaic.pipeline.errors import BadInput, ExitCode, StoreMismatch, Untrusted
from tessera_mosaic.pipeline.imagery.read_budget import ReadLimits
from tessera_mosaic.pipeline.io.certificates import BUNDLES, trust
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.http import Patience
from tessera_mosaic.pipeline.io.local_files import PARTIAL
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.store import ROOT
from tessera_mosaic.pipeline.publishing.publish import publish
from tessera_mosaic.requests import SampleRequest
from tests import jobs
from tests.fakes.certificates import self_signed


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


def test_neither_is_it_a_folder_of_d_pixels_or_a_map(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    told = "holds something else, such as thesis.docx"
    asked = SampleRequest(str(archive), jobs.REGION, jobs.YEAR, str(tmp_path), tile=jobs.SIDE)
    with pytest.raises(BadInput, match=told):
        prepare_sample(asked)
    layout = MapLayout(jobs.SIDE, unit="t/ha")
    with pytest.raises(BadInput, match=told):
        create_map(Storage(str(tmp_path)), layout, {}, [jobs.YEAR], [31])
    assert [path.name for path in tmp_path.iterdir() if path.name != PARTIAL] == ["thesis.docx"]


def test_what_killed_publishers_and_samplers_left_is_swept(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "d-pixels"
    shutil.copytree(finished, store)
    for place in (store, out):
        (place / PARTIAL).mkdir(parents=True, exist_ok=True)
        (place / PARTIAL / "0123.part").write_bytes(b"half")
    publish(str(store))
    prepare_sample(SampleRequest(str(archive), jobs.REGION, jobs.YEAR, str(out), tile=jobs.SIDE))
    for place in (store, out):
        assert not list((place / PARTIAL).glob("*.part"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kB; skips where nobody may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_tiny_place_for_temporary_files_fails_tiles_in_their_class(
    archive: Path, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    (small_disk / "full").write_bytes(bytes(120 << 10))
    words = [*jobs.options(archive, tmp_path / "store"), "--max-failed-share=1"]
    code, result = jobs.launched(words)
    assert (code, result["failures"]) == (ExitCode.SOME_TILES_FAILED, {"store-full": 12})


def test_a_machine_without_any_place_for_temporary_files_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(BadInput, match=r"no temporary file can be made .*: .* set TMPDIR"):
        ReadLimits().budget()


STRANGER = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
"""What runs a command as a user whom the system does not know."""


def test_a_user_without_home_and_name_is_served() -> None:
    if subprocess.run([*STRANGER, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of users can be made here")
    env = {name: value for name, value in os.environ.items() if name not in HOMES}
    ended = run(["models"], STRANGER, env=env, stdout=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (ExitCode.DONE, "")
    assert "v2-nano" in ended.stdout
    refused = run(["status", "--store=~/store"], STRANGER, env=env)
    assert refused.returncode == ExitCode.BAD_INPUT
    assert "nobody knows the home ~: write the whole path" in refused.stderr


HOMES = ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME")
"""Variables that tell who somebody is and where he keeps things."""


@dataclass(frozen=True)
class Vouched:
    """An https server of this machine, with the file of who vouches for it.

    Parameters
    ----------
    url
        Its address.
    bundle
        Path of the certificate.
    seen
        Connections that were tried.
    """

    url: str
    bundle: Path
    seen: list[object]


@pytest.fixture
def vouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vouched]:
    """A server whose certificate nobody knows."""
    bundle, context = self_signed(tmp_path)
    seen: list[object] = []
    for name in BUNDLES:
        # Set before, so that what the test leaves there is taken away.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = listening.accept()[0]
                    seen.append(client)
                    with contextlib.suppress(OSError), context.wrap_socket(client, True) as talk:
                        talk.recv(1 << 16)
                        talk.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        threading.Thread(target=serve, daemon=True).start()
        yield Vouched(f"https://localhost:{listening.getsockname()[1]}/a", bundle, seen)
        listening.shutdown(socket.SHUT_RDWR)
    trust.cache_clear()


def fetched(url: str) -> bytes:
    """What the one client of this package gets."""
    trust.cache_clear()
    return Remote(url, patience=Patience(pause=0.001)).read_all(Access(url), 100)


def test_a_certificate_is_called_so_and_asked_for_once(vouched: Vouched) -> None:
    with pytest.raises(Untrusted, match=r"certificate is not accepted: set SSL_CERT_FILE"):
        fetched(vouched.url)
    assert Untrusted.request_tries == Untrusted.tries == 1
    assert len(vouched.seen) == 1


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_either_variable_vouches_for_every_request(
    vouched: Vouched, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(vouched.bundle))
    assert fetched(vouched.url) == b"ok"
    # The libraries of the object stores go by these.
    assert {os.environ[other] for other in BUNDLES} == {str(vouched.bundle)}
    for other in BUNDLES:
        monkeypatch.setenv(other, "/no/such/file")
    with pytest.raises(BadInput, match="/no/such/file: it is no file of certificates"):
        fetched(vouched.url)
