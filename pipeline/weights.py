"""Weights files: fetched from the Hugging Face Hub or any address, and kept by their digest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import fsspec
from fsspec.callbacks import Callback, NoOpCallback, TqdmCallback

from model.cards import Card
from model.checkpoint import file_digest, refuse_withdrawn
from pipeline.errors import BadInput
from pipeline.remote import is_local, local_path, plain

HUB = "https://huggingface.co"

PIECE = 1 << 22
"""Bytes that are read at once."""

MOST_BYTES = 16 << 30
"""More than any published weights have."""


def cache_folder() -> Path:
    """Where fetched weights are kept: `tessera-mosaic/weights` of the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tessera-mosaic" / "weights"


def local_weights(location: str, sha256: str = "") -> Path:
    """A local file of weights that may lie anywhere.

    Parameters
    ----------
    location
        A path, or an address that fsspec opens: `gs://`, `s3://`, `https://`.
    sha256
        Digest of the file, where it is known: then it is fetched once, and fetching goes on where
        it was interrupted.

    Returns
    -------
    Path
        Of the file itself, or of its copy in the cache, whose name is its digest.

    Raises
    ------
    BadInput
        If the address cannot be read, or holds another file than the digest says.
    CheckpointError
        If the file is known as withdrawn.
    """
    if is_local(location):
        return Path(local_path(location))
    refuse_withdrawn(plain(location).rpartition("/")[2])
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / sha256
    with _one_at_a_time(folder):
        return kept if sha256 and kept.is_file() else _fetch(location, sha256, folder)


def pulled_weights(card: Card) -> Path | None:
    """The published weights of a model, if `models pull` has fetched them."""
    kept = cache_folder() / card.sha256
    return kept if card.sha256 and kept.is_file() else None


def pull_weights(card: Card) -> Path:
    """Fetch the published weights of a model from the Hugging Face Hub, and check them.

    `HF_ENDPOINT` names a mirror, as it does for the Hub's own client.

    Raises
    ------
    BadInput
        If they are not on the Hub, the Hub cannot be reached, or what came is not what it should.
    """
    by_hand = f"get {card.file} from {card.page} and name it with --weights"
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


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread fetches into a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fetch(location: str, sha256: str, folder: Path) -> Path:
    """Copy a file into a folder under its digest."""
    partial = folder / f"{sha256 or uuid.uuid4().hex}.partial"
    try:
        with _explained(location), partial.open("ab") as file:
            _copy(location, file)
        found = file_digest(partial)
        if sha256 and found != sha256:
            partial.unlink()
            raise BadInput(
                f"{plain(location)} is not the file it should be: its sha256 is {found}, and "
                f"should be {sha256}"
            )
        os.replace(partial, folder / found)
        return folder / found
    finally:
        if not sha256:
            partial.unlink(missing_ok=True)


def _copy(location: str, target: IO[bytes]) -> None:
    """Append what is missing of a file, from where the target ends."""
    files, path = fsspec.core.url_to_fs(location)
    with files.open(path, "rb") as source:
        size = getattr(source, "size", None)
        if size is not None and size > MOST_BYTES:
            raise BadInput(f"{plain(location)} is larger than any weights")
        if target.tell() > (size or 0) or not source.seekable():
            target.truncate(0)
        else:
            source.seek(target.tell())
        progress = _progress(location, size, target.tell())
        while piece := source.read(PIECE):
            target.write(piece)
            progress.relative_update(len(piece))
            if target.tell() > MOST_BYTES:
                raise BadInput(f"{plain(location)} is larger than any weights")
        progress.close()
        if size is not None and target.tell() != size:
            raise EOFError


def _progress(location: str, size: int | None, done: int) -> Callback:
    """A bar on a terminal, else nothing."""
    if not sys.stderr.isatty():
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
    except BadInput:
        raise
    except ImportError as error:
        raise BadInput(f"{plain(location)} cannot be read: {error}") from None
    except Exception as error:
        # Each file system that fsspec knows has its own errors, and over HTTP a server that
        # cannot be reached comes out as a file that is not there.
        cause = error.__cause__ or error
        if isinstance(cause, FileNotFoundError):
            raise BadInput(f"there are no weights at {plain(location)}") from None
        raise BadInput(f"{plain(location)} cannot be read: {type(cause).__name__}") from None
