"""Weights files: fetched from the Hugging Face Hub or any address, and kept by their digest."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO

from fsspec.callbacks import Callback, NoOpCallback, TqdmCallback

from tessera_mosaic.model.cards import SHIPPED, Card
from tessera_mosaic.model.checkpoints.files import (
    CheckpointError,
    file_digest,
    refuse_withdrawn,
)
from tessera_mosaic.model.data import WEIGHTS
from tessera_mosaic.pipeline.console import quiet
from tessera_mosaic.pipeline.errors import BadInput, Gone, SceneError, as_bad_input
from tessera_mosaic.pipeline.io.buckets import Buckets
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.file_lock import lock_file
from tessera_mosaic.pipeline.io.http import ORDINARY, Patience
from tessera_mosaic.pipeline.io.throttle import Accounts
from tessera_mosaic.pipeline.io.urls import WEB, is_local, local_path, plain, scheme_of

HUB = "https://huggingface.co"

PIECE = 1 << 22
"""Bytes that are read at once from an object store."""

MOST_BYTES = 16 << 30
"""Longest file that is fetched: more than any published weights have."""


def cache_folder() -> Path:
    """Folder where fetched weights are kept: `tessera-mosaic/weights` of the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if str(home).startswith("~"):
        # A user whom the system does not know, as in many a container.
        return Path(tempfile.gettempdir()) / f"tessera-mosaic-{os.getuid()}" / "weights"
    return Path(home) / "tessera-mosaic" / "weights"


@as_bad_input(CheckpointError)
def local_weights(location: str, sha256: str = "", patience: Patience = ORDINARY) -> Path:
    """A local file of weights that may lie anywhere.

    Parameters
    ----------
    location
        Path of the file, or an address that can be read: `gs://`, `s3://`, `https://`.
    sha256
        Hexadecimal digest of the file; empty where it is not known. A file of a known digest is
        fetched once, and fetching goes on where it was interrupted.
    patience
        How long its server is waited for.

    Returns
    -------
    Path
        Path of the file itself, or of its copy in the cache, whose name is its digest.

    Raises
    ------
    BadInput
        If the address cannot be read, or holds another file than the digest says or one that is
        withdrawn; or if the cache cannot be written to.
    """
    if is_local(location):
        return Path(local_path(location))
    refuse_withdrawn(plain(location).rpartition("/")[2])
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fetch = functools.partial(_copy, location, patience)
        if sha256:
            return _known(location, sha256, folder, fetch)
        return _unknown(folder, fetch)
    except OSError as error:
        raise BadInput(
            f"weights cannot be kept in {folder}: {error.strerror}; XDG_CACHE_HOME names another "
            "place for it"
        ) from None


def pulled_weights(card: Card) -> Path | None:
    """Path of a model's weights, if they came with the package or `models pull` has fetched them.

    Parameters
    ----------
    card
        Card of the model.

    Returns
    -------
    Path or None
        None if the weights are not on this machine.

    Examples
    --------
    >>> pulled_weights(SHIPPED).name
    'flanders_nano.safetensors'
    """
    if card is SHIPPED:
        return WEIGHTS
    kept = cache_folder() / card.sha256
    return kept if card.sha256 and kept.is_file() else None


@as_bad_input(CheckpointError)
def pull_weights(card: Card) -> Path:
    """Fetch the weights of a model from the Hugging Face Hub if they are not here, and check them.

    `HF_ENDPOINT` names a mirror, as it does for the Hub's own client.

    Parameters
    ----------
    card
        Card of the model.

    Returns
    -------
    Path
        Path of the weights file.

    Raises
    ------
    BadInput
        If they are not on the Hub, the Hub cannot be reached, or what came is not what it should.
    """
    if card is SHIPPED:
        if not _is(WEIGHTS, card.sha256):
            raise BadInput(f"{WEIGHTS} is damaged: install tessera-mosaic again")
        return WEIGHTS
    by_hand = f"get {card.file} from {card.page} and name it as the weights"
    if not card.repository:
        raise BadInput(f"{card.name} is not on the Hugging Face Hub: {by_hand}")
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    try:
        return local_weights(
            f"{hub}/{card.repository}/resolve/{card.revision}/{card.file}", card.sha256
        )
    except BadInput as error:
        raise BadInput(
            f"{error}; the same command goes on where this one stopped, or {by_hand}"
        ) from None


def _known(location: str, sha256: str, folder: Path, fetch: Callable[[IO[bytes]], None]) -> Path:
    """The file of a digest, fetched if it is not there or damaged."""
    kept, partial = folder / sha256, folder / f"{sha256}.partial"
    if _is(kept, sha256):
        return kept
    with _alone_with(partial) as file:
        if _is(kept, sha256):
            # Who had the partial file before has fetched it.
            partial.unlink()
            return kept
        resumed = file.tell() > 0
        fetch(file)
        if resumed and file_digest(partial) != sha256:
            file.seek(0)
            fetch(file)
        found = file_digest(partial)
        if found != sha256:
            partial.unlink()
            raise BadInput(
                f"{plain(location)} is not the file it should be: its sha256 is {found}, and "
                f"should be {sha256}"
            )
        os.replace(partial, kept)
    return kept


def _unknown(folder: Path, fetch: Callable[[IO[bytes]], None]) -> Path:
    """A file whose digest is found out."""
    partial = folder / f"{uuid.uuid4().hex}.partial"
    try:
        with partial.open("ab") as file:
            fetch(file)
        kept = folder / file_digest(partial)
        os.replace(partial, kept)
        return kept
    finally:
        partial.unlink(missing_ok=True)


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and file_digest(path) == sha256


@contextlib.contextmanager
def _alone_with(path: Path) -> Iterator[IO[bytes]]:
    """A file to append to, once no other process or thread does, made if it is not there."""
    while True:
        with path.open("ab") as file:
            lock_file(file.fileno())
            # Who had it before may have moved it away in the meantime.
            if _is_at(path, file):
                yield file
                return


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether an open file is the one that a path names now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class _Source:
    """Bytes on their way.

    Parameters
    ----------
    start
        Number of the byte of the file that they begin with, from 0.
    size
        Length of the whole file in bytes; None where it is not told.
    pieces
        Bytes to the end of the file, some at a time.
    """

    start: int
    size: int | None
    pieces: Iterator[bytes]


def _copy(location: str, patience: Patience, target: IO[bytes]) -> None:
    """Append what is missing of a file, from where the target ends, or all of it."""
    with contextlib.ExitStack() as stack:
        with _explained(location):
            source = stack.enter_context(_opened(location, target.tell(), patience))
        target.seek(source.start)
        target.truncate()
        progress = stack.enter_context(_progress(location, source.size, source.start))
        while piece := _next(location, source):
            if max(target.tell() + len(piece), source.size or 0) > MOST_BYTES:
                raise BadInput(f"{plain(location)} is larger than any weights")
            target.write(piece)
            progress.relative_update(len(piece))
    target.flush()
    if source.size is not None and target.tell() != source.size:
        raise BadInput(f"{plain(location)} breaks off after {target.tell():,} bytes")


def _next(location: str, source: _Source) -> bytes:
    """The next piece, empty at the end. What it raises is about the source."""
    with _explained(location):
        return next(source.pieces, b"")


@contextlib.contextmanager
def _opened(location: str, start: int, patience: Patience) -> Iterator[_Source]:
    """A file from a byte on; one that cannot be read so begins at the beginning."""
    if scheme_of(location) not in WEB:
        yield _of_bucket(location, start)
        return
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with Remote(location, patience=patience).opened(Access(location, headers)) as incoming:
        if incoming.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # All of it may be there already, which its digest tells.
            yield _Source(start, None, iter(()))
            return
        start = start if incoming.status == HTTPStatus.PARTIAL_CONTENT else 0
        length = incoming.headers.get("content-length", "")
        size = start + int(length) if length.isdecimal() and len(length) < 19 else None
        yield _Source(start, size, incoming.pieces(MOST_BYTES + 1 - start))


def _of_bucket(location: str, start: int) -> _Source:
    buckets = Buckets(Accounts())
    size = buckets.size(location)
    start = start if start <= size else 0
    pieces = (
        buckets.read(location, first, min(first + PIECE, size))
        for first in range(start, size, PIECE)
    )
    return _Source(start, size, pieces)


def _progress(location: str, size: int | None, done: int) -> Callback:
    """A bar on a terminal, else nothing."""
    if quiet() or not sys.stderr.isatty():
        return NoOpCallback()
    name = plain(location).rpartition("/")[2]
    return TqdmCallback(
        size=size, value=done, tqdm_kwargs={"desc": name, "unit": "B", "unit_scale": True}
    )


@contextlib.contextmanager
def _explained(location: str) -> Iterator[None]:
    """Say in one line why an address cannot be read, without its query, which may be secret."""
    try:
        yield
    except Gone:
        raise BadInput(f"there are no weights at {plain(location)}") from None
    except SceneError as error:
        raise BadInput(str(error)) from None
