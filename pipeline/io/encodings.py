"""Documents that were compressed on their way, or where they lie."""

from __future__ import annotations

import zlib

from tessera_mosaic.pipeline.errors import Corrupt

GZIP = b"\x1f\x8b"
"""First bytes of what is compressed with gzip. No JSON begins so."""

OF_GZIP, OF_ZLIB, BARE = 31, 15, -15
"""What zlib calls the three forms of deflate: within gzip, within its own format, and alone."""

MOST_CODINGS = 4
"""Number of times that a document may have been compressed, one time upon the other."""


def unpacked(data: bytes, codings: str, limit: int, where: str) -> bytes:
    """A document as it was before it was compressed.

    Some servers compress what nobody asked to be compressed, or keep files that are; some send
    it plain and say that it is compressed. What begins as gzip is therefore taken as gzip, and a
    document that is plain JSON as what it is.

    Parameters
    ----------
    data
        Bytes that came.
    codings
        The header `Content-Encoding`, empty for none.
    limit
        Most bytes that are made of them.
    where
        Address of the document, for the message.

    Raises
    ------
    Corrupt
        If it is damaged, larger than the limit, or compressed in another way.
    """
    names = [name.strip().lower() for name in codings.split(",") if name.strip()]
    for _ in range(MOST_CODINGS):
        coding = names.pop() if names else ""
        if data.startswith(GZIP):
            data = _inflated(data, OF_GZIP, limit, where)
        elif coding == "deflate" and not _is_plain(data):
            # By RFC 9110 it is in zlib's format; many servers send it bare.
            wrapped = len(data) > 1 and data[0] & 15 == 8 and not (data[0] << 8 | data[1]) % 31
            data = _inflated(data, OF_ZLIB if wrapped else BARE, limit, where)
        elif coding in ("", "identity") or _is_plain(data):
            if not names:
                return data
        else:
            raise Corrupt(f"{where} is compressed as {coding[:20]!r}: gzip and deflate are read")
    raise Corrupt(f"{where} is compressed more than {MOST_CODINGS} times")


def _is_plain(data: bytes) -> bool:
    """Whether bytes begin as a JSON object or array does."""
    return data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[", b"")


def _inflated(data: bytes, form: int, limit: int, where: str) -> bytes:
    """What was compressed, in one piece or in several that follow one another."""
    parts, size = [], 0
    try:
        while data:
            decoder = zlib.decompressobj(form)
            part = decoder.decompress(data, limit + 1 - size)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise Corrupt(f"{where} has more than {limit:,} bytes")
            if not decoder.eof:
                raise Corrupt(f"{where} breaks off: it is compressed, and its end is not there")
            # Behind the last piece some writers leave zeros.
            data = decoder.unused_data.lstrip(b"\0") if form == OF_GZIP else b""
    except zlib.error as error:
        raise Corrupt(f"{where} cannot be decompressed: {error}") from None
    return b"".join(parts)
