import os
import threading
import time
from pathlib import Path

import pytest
import urllib3
from botocore.exceptions import NoCredentialsError
from google.auth.exceptions import RefreshError

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
from tessera_mosaic.pipeline.io import buckets, http
from tessera_mosaic.pipeline.io.buckets import Buckets
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.http import Patience
from tessera_mosaic.pipeline.io.throttle import LONGEST_PAUSE, Account, Accounts
from tessera_mosaic.pipeline.io.urls import plain
from tests.fakes.web import Reply, Request, fake_web

CONTENT = bytes(range(256)) * 4

HURRIED = Patience(pause=0.0001)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    return tmp_path


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


def test_a_provider_that_names_a_long_pause_gets_it() -> None:
    account = Account()
    account.throttled(2 * LONGEST_PAUSE)
    assert account._not_before - time.monotonic() > 1.9 * LONGEST_PAUSE
    other = Account(pause=1e9)
    other.throttled(None)
    assert other._not_before - time.monotonic() <= LONGEST_PAUSE


def test_retry_after_is_waited_for_by_all() -> None:
    account = Account(pause=60.0)
    account.throttled(0.2)
    began = time.monotonic()
    threads = [threading.Thread(target=lambda: account.turn().__enter__()) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("\u00b2", None),
        ("Sat, 01 Jan 99999 00:00:00 GMT", None),
        ("nonsense", None),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
    ],
)
def test_reading_retry_after(header: str | None, seconds: float | None) -> None:
    assert http.retry_after(header) == seconds


def test_an_account_runs_fewer_requests_after_a_throttling_and_recovers() -> None:
    account, running, most = Account(most=8, pause=0.0), [0], [0]
    lock = threading.Lock()

    def request() -> None:
        with account.turn():
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.02)
            with lock:
                running[0] -= 1
        account.served()

    def run(count: int) -> int:
        most[0] = 0
        threads = [threading.Thread(target=request) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return most[0]

    assert run(40) == 8
    for _ in range(3):
        account.throttled(0.0)
    assert run(2) == 1
    for _ in range(100):
        account.served()
    assert run(40) == 8


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


def test_a_name_that_leads_to_a_private_address_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(folder) as server:
        url = f"http://innocent.example:{server.server_port}/a.bin"
        shouted = url.replace("http", "HTTP")

        def resolve(host: str, port: int, *args: object, **kwargs: object) -> list:
            return [(2, 1, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr("socket.getaddrinfo", resolve)
        with pytest.raises(Refused, match=r"innocent\.example is at the private address 127"):
            Remote(REMOTE_ROOT).read(Access(url), 0, 10)
        for ask in (Remote.size, lambda fetch, access: fetch.read_all(access, 99)):
            for there in (url, shouted):
                with pytest.raises(Refused):
                    ask(Remote(REMOTE_ROOT), Access(there))
        assert server.counts["requests"] == 0
        allowed = Remote(REMOTE_ROOT, ["innocent.example"])
        assert allowed.read(Access(url), 0, 10) == CONTENT[:10]


def test_requests_go_through_the_proxy_of_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(request: Request) -> Reply:
        asked.append((request.headers["host"], request.headers.get("proxy-authorization")))
        return 200, {}, CONTENT

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with fake_web(answer) as proxy, serving(folder) as server:
        monkeypatch.setenv("http_proxy", proxy.replace("//", "//me:word@"))
        monkeypatch.setenv("no_proxy", "near.example")
        fetch = Remote(server.url)
        assert fetch.read_all(Access("http://far.example/a.bin"), 2000) == CONTENT
        assert asked == [("far.example", "Basic bWU6d29yZA==")]
        # What is on this machine, or needs no proxy, is asked itself.
        assert fetch.read(Access(f"{server.url}/a.bin"), 0, 5) == CONTENT[:5]
        assert fetch._web._pool_to("http://near.example/a.bin") is fetch._web._direct
        with pytest.raises(Refused, match="private address"):
            fetch.read(Access("http://10.0.0.1/a.bin"), 0, 5)
        assert len(asked) == 1
        monkeypatch.setenv("http_proxy", "socks9://me:word@nowhere")
        with pytest.raises(Refused, match="not at an http address"):
            Remote(server.url).read(Access("http://far.example/a.bin"), 0, 5)


def test_addresses_in_messages_have_no_credential() -> None:
    assert plain("https://u:p@host/a/b.tif?sig=secret#x") == "https://host/a/b.tif"
    assert plain("https://[::1/a?sig=secret") == "https://[::1/a"
    assert plain("/data/what?.tif") == "/data/what?.tif"


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


@pytest.mark.parametrize("place", ["", "bytes", "bytes \u00b2-9/10", f"bytes 0-9/{'9' * 5000}"])
def test_parts_that_are_not_told_in_numbers(place: str) -> None:
    answer = http.Answer(206, {"Content-Range": place}, CONTENT[:10])
    with pytest.raises(Corrupt):
        http.ranged(answer, "it", 0, 10)
    with pytest.raises(Corrupt):
        http.whole_size(answer, "it")


def test_a_public_bucket_is_read_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    buckets._amazon_options.cache_clear()
    assert buckets._file_system("s3").anon
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    buckets._amazon_options.cache_clear()
    assert not buckets._file_system("s3").anon
    buckets._amazon_options.cache_clear()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoCredentialsError(), Expired),
        (RefreshError("gone"), Expired),
        (PermissionError("no"), Expired),
        (FileNotFoundError("no"), Gone),
        (OSError("SlowDown"), Throttled),
        (TimeoutError(), TimedOut),
        (ImportError(name="s3fs"), Refused),
        (ValueError("odd"), Corrupt),
    ],
)
def test_what_an_object_store_says_has_a_class(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[SceneError]
) -> None:
    def fail(store: object) -> bytes:
        raise error

    monkeypatch.setattr(buckets, "_file_system", lambda scheme: None)
    with pytest.raises(kind) as caught:
        Buckets(Accounts(pause=0.001)).ask("gs://bucket/key", fail)
    assert type(caught.value) is kind


def test_a_server_without_ranges_is_named_and_does_not_confuse_the_next_answer() -> None:
    def answer(request: Request) -> Reply:
        return 200, {}, bytes(1_000_000) if request.path == "/large" else CONTENT

    with fake_web(answer) as url:
        fetch = Remote(url)
        for _ in range(3):
            with pytest.raises(Corrupt, match="does not read parts of files"):
                fetch.read(Access(f"{url}/large"), 0, 100)
            # A file that is smaller than the part is whole.
            assert fetch.read(Access(f"{url}/small"), 0, 2000) == CONTENT


def test_an_answer_that_comes_drop_by_drop_is_not_waited_for() -> None:
    class Dripping:
        length_remaining = 10**9

        def read(self, size: int) -> bytes:
            time.sleep(0.01)
            return b"x"

    with pytest.raises(urllib3.exceptions.TimeoutError):
        http.drain(Dripping(), 10**9, 0.05)  # type: ignore[arg-type]
