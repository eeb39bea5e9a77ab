"""Objects are fetched from where a catalogue may point, and again as their failures deserve."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import (
    Corrupt,
    Expired,
    Gone,
    Refused,
    SceneError,
    Throttled,
    TimedOut,
)
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.http import Patience
from tests.fakes.web import Reply, Request, fake_web
from tests.pipeline.io.conftest import CONTENT

HURRIED = Patience(pause=0.0001)


@pytest.mark.parametrize("kind", ["path", "file", "http"])
def test_parts_of_an_object(folder: Path, kind: str) -> None:
    with serving(folder) as server:
        url = {
            "path": str(folder / "a.bin"),
            "file": f"file://{folder}/a.bin",
            "http": f"{server.url}/a.bin",
        }[kind]
        fetch = Remote(url if kind == "http" else "")
        access = Access(url)
        assert fetch.read(access, 10, 20) == CONTENT[10:30]
        assert fetch.read(access, 1000, 99) == CONTENT[1000:]
        assert fetch.read_all(access, 1024) == CONTENT
        assert fetch.size(access) == 1024
        with pytest.raises(Corrupt, match="more than 1,023 bytes"):
            fetch.read_all(access, 1023)
        with pytest.raises(Gone):
            fetch.read(Access(url + "x"), 0, 10)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("expired", Expired),
        ("throttled", Throttled),
        ("busy", Throttled),
        ("missing", Gone),
        ("failing", TimedOut),
        ("silent", TimedOut),
        ("truncated", Corrupt),
        ("short", Corrupt),
        ("wrong part", Corrupt),
    ],
)
def test_every_failure_has_its_class(folder: Path, fault: str, error: type[SceneError]) -> None:
    with serving(folder, lambda path, start: fault) as server:
        with pytest.raises(error) as caught:
            Remote(server.url).read(Access(f"{server.url}/a.bin?sig=secret"), 5, 50)
        assert type(caught.value) is error
        assert "a.bin" in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_without_a_credential_is_an_absence(folder: Path, status: int) -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/moved":
            return 302, {"Location": "/a.bin"}, {}
        return status, {}, {"code": "AccessDenied"}

    token = {"Authorization": "Bearer secret"}
    with fake_web(answer) as url:
        fetch = Remote(url)
        for asked, headers, error in (
            ("a.bin", {}, Gone),
            ("moved", {}, Gone),
            ("a.bin?version=2", {}, Gone),
            ("a.bin", token, Expired),
            ("moved", token, Expired),
            ("a.bin", {"X-Api-Key": "secret"}, Expired),
            ("a.bin?sv=2022-11-02&se=2024-05-01&sig=a%3D", {}, Expired),
            ("a.bin?X-Amz-Algorithm=b&X-Amz-Signature=c", {}, Expired),
            ("a.bin?access_token=secret", {}, Expired),
        ):
            with pytest.raises(error, match=f"HTTP {status}") as caught:
                fetch.read(Access(f"{url}/{asked}", headers), 0, 9)
            assert caught.value.loses_scene is (error is Gone)
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize("fault", ["throttled", "failing", "short", "missing", "expired"])
def test_each_class_is_tried_as_often_as_it_deserves(folder: Path, fault: str) -> None:
    with serving(folder, lambda path, start: fault) as server:
        fetch, url = Remote(server.url, patience=HURRIED), f"{server.url}/a.bin"
        with pytest.raises(SceneError) as caught:
            fetch.persist(lambda: fetch.read(Access(url), 0, 9), url)
        assert server.counts["requests"] == caught.value.request_tries


def test_what_a_disk_answers_is_final(tmp_path: Path) -> None:
    fetch, path, asked = Remote(), str(tmp_path / "none"), []

    def work() -> bytes:
        asked.append(1)
        return fetch.read(Access(path), 0, 9)

    with pytest.raises(Gone):
        fetch.persist(work, path)
    assert len(asked) == 1


REMOTE_ROOT = "https://catalogue.example/catalog.json"


@pytest.mark.parametrize(
    ("root", "url"),
    [
        (REMOTE_ROOT, "/etc/passwd"),
        (REMOTE_ROOT, "file:///etc/passwd"),
        (REMOTE_ROOT, "../../etc/passwd"),
        (REMOTE_ROOT, "/vsicurl/http://a.example/b.tif"),
        (REMOTE_ROOT, "ftp://a.example/b.tif"),
        (REMOTE_ROOT, "gopher://a.example/"),
        (REMOTE_ROOT, "data://text/plain,x"),
        (REMOTE_ROOT, "http://127.0.0.1/b.tif"),
        (REMOTE_ROOT, "http://localhost:80/b.tif"),
        (REMOTE_ROOT, "http://[::1]/b.tif"),
        (REMOTE_ROOT, "http://[::ffff:10.0.0.1]/b.tif"),
        (REMOTE_ROOT, "http://[64:ff9b::169.254.169.254]/b.tif"),
        (REMOTE_ROOT, "http://[::ffff:0:10.0.0.1]/b.tif"),
        (REMOTE_ROOT, "http://[2002:a00:1::1]/b.tif"),
        (REMOTE_ROOT, "http://169.254.169.254/latest/meta-data"),
        (REMOTE_ROOT, "http://10.1.2.3/b.tif"),
        (REMOTE_ROOT, "http://0.0.0.0/b.tif"),
        (REMOTE_ROOT, "http://user:word@a.example/b.tif"),
        (REMOTE_ROOT, "http:///b.tif"),
        (REMOTE_ROOT, "http://[::1/b.tif"),
        (REMOTE_ROOT, "http://a.example:99999/b.tif"),
        (REMOTE_ROOT, "http://a.example/b.tif\r\nHost: 10.0.0.1"),
        (REMOTE_ROOT, "http://a.example/\0b.tif"),
        (REMOTE_ROOT, "HTTP://a.example/b.tif"),
        (REMOTE_ROOT, "FILE:///etc/passwd"),
        (REMOTE_ROOT, " http://a.example/b.tif"),
        (REMOTE_ROOT, "http :// a.example/b.tif"),
        (REMOTE_ROOT, "http:x://a.example/b.tif"),
        ("catalog.json", "http://192.168.0.1/b.tif"),
        ("catalog.json", "s3fs://bucket/key"),
        ("catalog.json", "/vsizip/a.zip/b.tif"),
    ],
)
def test_where_a_catalogue_may_not_point(root: str, url: str) -> None:
    fetch = Remote(root)
    with pytest.raises(Refused):
        fetch.check(url)
    with pytest.raises(Refused):
        fetch.read(Access(url), 0, 10)


@pytest.mark.parametrize(
    ("root", "url"),
    [
        (REMOTE_ROOT, "https://elsewhere.example/b.tif"),
        (REMOTE_ROOT, "http://[64:ff9b::8.8.8.8]/b.tif"),
        (REMOTE_ROOT, "gs://bucket/key"),
        ("http://10.0.0.7:8000/catalog.json", "http://10.0.0.7:9000/b.tif"),
        ("catalog.json", "/data/b.tif"),
        ("catalog.json", "file:///data/b.tif"),
        ("catalog.json", "https://elsewhere.example/b.tif"),
    ],
)
def test_where_a_catalogue_may_point(root: str, url: str) -> None:
    Remote(root).check(url)


def test_a_name_that_leads_to_a_private_address_is_refused(folder: Path) -> None:
    with serving(folder) as server:
        # The system's resolver leads to 127.0.0.1 from what is no address by the standards.
        url = f"http://127.1:{server.server_port}/a.bin"
        shouted = url.replace("http", "HTTP")
        with pytest.raises(Refused, match=r"127\.1 is at the private address 127\.0"):
            Remote(REMOTE_ROOT).read(Access(url), 0, 10)
        for ask in (Remote.size, lambda fetch, access: fetch.read_all(access, 99)):
            for there in (url, shouted):
                with pytest.raises(Refused):
                    ask(Remote(REMOTE_ROOT), Access(there))
        assert server.counts["requests"] == 0
        allowed = Remote(REMOTE_ROOT, ["127.1"])
        assert allowed.read(Access(url), 0, 10) == CONTENT[:10]


def test_a_move_is_followed_without_the_credential_and_remembered(folder: Path) -> None:
    with serving(folder) as first, serving(folder) as second:
        first.moved["old.bin"] = f"{second.url}/a.bin?sig=1"
        fetch = Remote(first.url)
        access = Access(f"{first.url}/old.bin", {"Authorization": "Bearer secret"})
        for start in (0, 100):
            assert fetch.read(access, start, 10) == CONTENT[start : start + 10]
        assert first.credentials == ["Bearer secret"]
        assert second.credentials == [None, None]
        # What it led to has moved on: ask again from the start.
        first.moved["old.bin"] = f"{second.url}/b.bin"
        (folder / "b.bin").write_bytes(CONTENT[::-1])
        second.fault = lambda path, start: "expired" if path == "a.bin" else ""
        assert fetch.read(access, 0, 10) == CONTENT[::-1][:10]


@pytest.mark.parametrize("fault", ["throttled", "failing", "silent", "short", "wrong part"])
def test_a_remembered_move_is_forgotten_by_whatever_fails_there(folder: Path, fault: str) -> None:
    with serving(folder) as first, serving(folder) as second:
        first.moved["old.bin"] = f"{second.url}/a.bin"
        fetch, access = Remote(first.url, patience=HURRIED), Access(f"{first.url}/old.bin")
        assert fetch.read(access, 0, 10) == CONTENT[:10]
        (folder / "b.bin").write_bytes(CONTENT[::-1])
        first.moved["old.bin"] = f"{second.url}/b.bin"
        second.fault = lambda path, start: fault if path == "a.bin" else ""
        found = fetch.persist(lambda: fetch.read(access, 0, 10), access.url)
        assert found == CONTENT[::-1][:10]


def test_a_move_that_moves_again_is_followed(folder: Path) -> None:
    with serving(folder) as server:
        server.moved["old.bin"] = f"{server.url}/new.bin"
        server.moved["new.bin"] = f"{server.url}/a.bin"
        fetch, access = Remote(server.url), Access(f"{server.url}/old.bin")
        assert fetch.read(access, 0, 10) == CONTENT[:10]
        server.moved["a.bin"] = f"{server.url}/b.bin"
        (folder / "b.bin").write_bytes(CONTENT[::-1])
        assert fetch.read(access, 0, 10) == CONTENT[::-1][:10]


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "http://10.0.0.1/a.bin", "ftp://a/b", "http://[::1", "HTTP://[x"],
)
def test_a_move_leads_only_where_the_catalogue_may_point(folder: Path, target: str) -> None:
    with serving(folder) as server:
        server.moved["a.bin"] = target
        with pytest.raises(Refused):
            Remote(server.url).read(Access(f"{server.url}/a.bin"), 0, 10)


def test_moves_in_a_circle_end(folder: Path) -> None:
    with serving(folder) as server:
        server.moved["a.bin"] = f"{server.url}/a.bin"
        with pytest.raises(Corrupt, match="without end"):
            Remote(server.url).read(Access(f"{server.url}/a.bin"), 0, 10)


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Corrupt, match="is no file"):
        Remote().read(Access(str(tmp_path / "pipe")), 0, 10)
    with pytest.raises(Corrupt, match="cannot be read"):
        Remote().read(Access(__file__), 2**64, 10)
