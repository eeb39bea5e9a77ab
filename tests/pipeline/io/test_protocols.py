"""Which addresses may be stores is decided in one place, and said in one line."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.errors import BadInput, ExitCode
from tessera_mosaic.pipeline.io.exclusion import check_job_store
from tessera_mosaic.pipeline.io.storage import Storage
from tests.fakes.web import Reply, Request, fake_web


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("s3a://bucket/m.zarr", "s3://bucket/m.zarr"),
        ("S3://bucket/m.zarr/", "s3://bucket/m.zarr"),
        ("gcs://bucket/m.zarr", "gs://bucket/m.zarr"),
        ("local:///tmp/m.zarr", "/tmp/m.zarr"),
        ("sftp://host/m.zarr", "sftp://host/m.zarr"),
        ("/tmp/a::b", "/tmp/a::b"),
    ],
)
def test_other_names_of_a_store(url: str, same: str) -> None:
    assert Storage(url).url == same
    check_job_store(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("zip://a.zip", "archive"),
        ("tar://a.tar", "archive"),
        ("zip://m.zarr::s3://bucket/a.zip", "without .::"),
        ("simplecache::s3://bucket/m.zarr", "without .::"),
        ("filecache::gs://bucket/m.zarr", "without .::"),
        ("reference://", "no place of its own"),
        ("data:,text", "no place of its own"),
    ],
)
def test_what_is_no_store(url: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Storage(url)


@pytest.mark.parametrize("url", ["memory://m.zarr", "http://host/m.zarr", "https://host/m.zarr"])
def test_where_no_job_can_write(url: str) -> None:
    with pytest.raises(BadInput, match=f"store {url}: .*name a .*bucket"):
        check_job_store(url)


@pytest.mark.parametrize("command", ["status", "verify", "publish"])
def test_what_has_to_be_listed_is_refused_unasked(command: str) -> None:
    ended = main([command, "--store=http://127.0.0.1:9/m.zarr"])
    assert ended == ExitCode.BAD_INPUT


def test_pixels_are_read_from_a_web_server() -> None:
    objects = {"/m/a/key": b"0123456789"}

    def answer(request: Request) -> Reply:
        data = objects.get(request.path)
        if data is None:
            return 404, {}, b""
        if place := re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", "")):
            return 206, {}, data[int(place[1]) : int(place[2]) + 1]
        return 200, {}, data

    with fake_web(answer) as address:
        storage = Storage(f"{address}/m")
        assert storage.read("a/key") == b"0123456789"
        assert storage.read_range("a/key", 2, 3) == b"234"
        with pytest.raises(FileNotFoundError):
            storage.read("a/none")


REQUESTS: dict[str, Callable[[Storage], object]] = {
    "PUT": lambda storage: storage.write("key", b"1"),
    "CREATE": lambda storage: storage.create("key", b"1"),
    "DELETE": lambda storage: storage.delete("key"),
    "LIST": lambda storage: list(storage.list("")),
}


@pytest.mark.parametrize("verb", REQUESTS)
def test_a_web_server_is_read_alone(verb: str) -> None:
    with pytest.raises(BadInput, match="a web server is read"):
        REQUESTS[verb](Storage("https://host.invalid/m.zarr"))
