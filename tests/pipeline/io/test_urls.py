"""Addresses in messages and names."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.io.urls import local_path, plain, without_gdal


def test_addresses_in_messages_have_no_credential() -> None:
    assert plain("https://u:p@host/a/b.tif?sig=secret#x") == "https://host/a/b.tif"
    assert plain("https://[::1/a?sig=secret") == "https://[::1/a"
    assert plain("/data/what?.tif") == "/data/what?.tif"


@pytest.mark.parametrize("mark", "/?#@")
@pytest.mark.parametrize("scheme", ["http", "https", "s3", "simplecache::https"])
def test_no_password_is_shown_that_should_have_been_quoted(scheme: str, mark: str) -> None:
    for password in (f"sec{mark}ret", f"{mark}secret", f"sec{mark}{mark}re@t", f"sec:re{mark}t"):
        shown = plain(f"{scheme}://me:{password}@a.example/b.tif?who=a@b&sig=secret")
        assert shown in (f"{scheme}://a.example/b.tif", f"{scheme}://...")


@pytest.mark.parametrize(
    "url", ["http://a.example:80/b@c:d", "http://[::1]:80/b@c", "s3://a/b:c@d", "http://a:80"]
)
def test_addresses_without_a_password_are_shown_as_they_are(url: str) -> None:
    assert plain(url) == url
    assert plain(f"{url}?who=a@b&sig=secret") == url


@pytest.mark.parametrize(
    "url", ["https://a:/b?who=a@b&sig=secret", "https://a:9x/b?c@d&sig=secret"]
)
def test_no_signature_is_shown_behind_what_is_no_port(url: str) -> None:
    assert plain(url) == "https://..."


@pytest.mark.parametrize("part", [":", "://", "/:", "@", "://a:b"])
def test_no_address_takes_long_to_be_made_plain(part: str) -> None:
    """A server may lead to any address, and all threads wait for a regular expression."""
    began = time.process_time()
    plain("https://" + part * 100_000)
    assert time.process_time() - began < 20


def test_local_addresses_are_percent_encoded_unless_the_file_is_called_so(tmp_path: Path) -> None:
    spaced, literal = tmp_path / "a b.tif", tmp_path / "c%20d.tif"
    literal.touch()
    assert local_path(f"file://{tmp_path}/a%20b.tif") == str(spaced)
    assert local_path(f"file://{tmp_path}/c%20d.tif") == str(literal)
    assert local_path("/data/a%20b.tif") == "/data/a%20b.tif"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/vsicurl/https://h/a.tif?sig=x", "https://h/a.tif?sig=x"),
        ("/vsicurl_streaming/http://h/a.tif", "http://h/a.tif"),
        ("/vsis3/bucket/a/b.tif", "s3://bucket/a/b.tif"),
        ("/vsigs/bucket/a.tif", "gs://bucket/a.tif"),
        ("/vsizip//data/a.zip/a.tif", "/vsizip//data/a.zip/a.tif"),
        ("/vsicurl?url=https%3A%2F%2Fh", "/vsicurl?url=https%3A%2F%2Fh"),
        ("https://h/vsicurl/a.tif", "https://h/vsicurl/a.tif"),
    ],
)
def test_addresses_of_gdal(url: str, expected: str) -> None:
    assert without_gdal(url) == expected
