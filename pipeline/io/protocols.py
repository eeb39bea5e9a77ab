"""Which addresses may be stores: for writing, for reading, or for neither. Decided here alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

import fsspec
from fsspec.core import split_protocol

from tessera_mosaic.pipeline.errors import BadInput


class Use(Enum):
    """What a kind of place is good for as a store."""

    WRITING = "writing"
    """Jobs write there, and all commands read there."""
    PROCESS = "process"
    """It ends with the process that wrote there, so that no job could be seen by its workers."""
    READING = "reading"
    """What lies there can be read object by object. It is neither written nor listed."""
    NOTHING = "nothing"
    """It is no store."""


@dataclass(frozen=True)
class Protocol:
    """What can be done with the addresses of a protocol.

    Parameters
    ----------
    use
        What it is good for.
    why
        Why it is good for no more, and what to do, in the words of a message.
    """

    use: Use
    why: str = ""


ARCHIVE = Protocol(Use.NOTHING, "an archive is no store: unpack it, and name the folder")
CACHE = Protocol(Use.NOTHING, "a cache is no store: name the place that lies behind it")
VIEW = Protocol(Use.NOTHING, "that is no place of its own: name a folder or a bucket")
WEB = Protocol(Use.READING, "a web server is read, and neither written nor listed: name a bucket")

PROTOCOLS: Mapping[str, Protocol] = {
    "file": Protocol(Use.WRITING),
    "s3": Protocol(Use.WRITING),
    "gs": Protocol(Use.WRITING),
    "memory": Protocol(
        Use.PROCESS, "what lies in the memory of a process ends with it: name a folder or a bucket"
    ),
    "http": WEB,
    "https": WEB,
    "zip": ARCHIVE,
    "tar": ARCHIVE,
    "libarchive": ARCHIVE,
    "simplecache": CACHE,
    "filecache": CACHE,
    "blockcache": CACHE,
    "cached": CACHE,
    "data": VIEW,
    "dir": VIEW,
    "generic": VIEW,
    "reference": VIEW,
    "async_wrapper": VIEW,
    "asynclocal": VIEW,
}
"""What is decided of each protocol. Any other one that fsspec opens may be written to: whether it
puts an object only where there is none is tried before, see `io.exclusion`."""

ALIASES: Mapping[str, str] = {"local": "file", "s3a": "s3", "gcs": "gs"}
"""Other names of protocols."""


def store_address(url: str) -> tuple[str, str]:
    """Protocol of a store's address, and what stands behind it.

    Parameters
    ----------
    url
        A path or a URL. Other names of a protocol are understood, and so is one in capitals.

    Returns
    -------
    The name of the protocol, `file` for a path, and the path or the rest of the URL.

    Raises
    ------
    BadInput
        If such an address can be no store.

    Examples
    --------
    >>> store_address("s3a://bucket/mosaic.zarr")
    ('s3', 'bucket/mosaic.zarr')
    >>> store_address("zip://a.zip")
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: store zip://a.zip: an archive is no store: unpack it, \
and name the folder
    """
    if _is_chained(url):
        raise BadInput(f"store {url}: {CACHE.why} (a chain of addresses is no store)")
    protocol, path = split_protocol(url)
    protocol = (protocol or "file").lower()
    protocol = ALIASES.get(protocol, protocol)
    if "://" in url and urlsplit(url).password:
        raise BadInput(
            f"store {protocol}://...: its address holds a password: credentials come from the "
            "environment"
        )
    known = PROTOCOLS.get(protocol)
    if known is not None and known.use is Use.NOTHING:
        raise BadInput(f"store {url}: {known.why}")
    return protocol, path


def check_use(url: str, protocol: str, *allowed: Use) -> None:
    """Refuse what a store is not good for.

    Parameters
    ----------
    url, protocol
        Address of the store, and its protocol as `store_address` gives it.
    allowed
        What it has to be good for, any of them.

    Raises
    ------
    BadInput
        If it is not.
    """
    known = PROTOCOLS.get(protocol, Protocol(Use.WRITING))
    if known.use not in allowed:
        raise BadInput(f"store {url}: {known.why}")


def _is_chained(url: str) -> bool:
    """Whether an address leads through another one, as fsspec chains them with `::`."""
    first, chained, _ = url.partition("::")
    first = first.partition("://")[0]
    return bool(chained) and (first in PROTOCOLS or first in fsspec.available_protocols())
