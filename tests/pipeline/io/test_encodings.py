"""Documents that came compressed are what they were before, and no larger than they may be."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.io.encodings import unpacked
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tests.fakes.web import Reply, Request, fake_web

TEXT = b'{"type": "Catalog", "links": []}'


def zipped(data: bytes) -> bytes:
    """The same bytes whenever it is done: they name tests, which every process has to find."""
    return gzip.compress(data, mtime=0)


def bare(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


@pytest.mark.parametrize(
    ("data", "codings"),
    [
        (TEXT, ""),
        (b"", ""),
        (TEXT, "identity"),
        (zipped(TEXT), "gzip"),
        (zipped(TEXT), "X-GZIP"),
        (zipped(TEXT), ""),
        (zipped(TEXT[:9]) + zipped(TEXT[9:]) + bytes(8), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (bare(TEXT), "deflate"),
        (zipped(zlib.compress(TEXT)), "deflate, gzip"),
        (zipped(zipped(TEXT)), "gzip"),
        (TEXT, "gzip"),
        (b"\xef\xbb\xbf\n" + TEXT, "deflate"),
        (TEXT, "br"),
    ],
)
def test_compressed_documents(data: bytes, codings: str) -> None:
    assert unpacked(data, codings, 1000, "it").endswith(TEXT if data else b"")


@pytest.mark.parametrize(
    ("data", "codings", "said"),
    [
        (zipped(bytes(10**6)), "gzip", "it has more than 1,000 bytes"),
        (bare(bytes(10**6)), "deflate", "it has more than 1,000 bytes"),
        (zipped(TEXT)[:-9], "gzip", "it breaks off"),
        (bare(TEXT)[:-3], "deflate", "it breaks off"),
        (b"\x1f\x8b" + bytes(30), "gzip", "it cannot be decompressed"),
        (b"\x0b\x0f\x80", "br", "it is compressed as 'br'"),
    ],
)
def test_what_cannot_be_unpacked_is_named(data: bytes, codings: str, said: str) -> None:
    with pytest.raises(Corrupt, match=said):
        unpacked(data, codings, 1000, "it")


def test_documents_that_are_compressed_in_themselves_without_end() -> None:
    data = TEXT
    for _ in range(9):
        data = zipped(data)
    with pytest.raises(Corrupt, match="more than 4 times"):
        unpacked(data, "gzip", 1000, "it")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_servers_that_compress_unasked(coding: str) -> None:
    packed = {"gzip": zipped, "deflate": zlib.compress}[coding](TEXT)

    def answer(request: Request) -> Reply:
        return 200, {"Content-Encoding": coding}, packed

    with fake_web(answer) as url:
        fetch = Remote(url)
        assert fetch.read_all(Access(url), 99) == TEXT
        assert fetch.get(Access(url), 99).data == TEXT
        assert fetch.post(url, b"{}", {}, 99).data == TEXT
        with pytest.raises(Corrupt, match="more than 20 bytes"):
            fetch.read_all(Access(url), 20)


def test_a_compressed_file_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json.gz"
    path.write_bytes(zipped(TEXT))
    assert Remote().read_all(Access(str(path)), 99) == TEXT
