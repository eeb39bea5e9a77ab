"""Weights files: fetched from the Hugging Face Hub or any address, and kept by their digest."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
from fsspec.callbacks import Callback, NoOpCallback, TqdmCallback

from model.cards import Card
from model.checkpoint import file_digest, refuse_withdrawn
from pipeline.errors import BadInput
from pipeline.remote import is_local, local_path, plain


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
        Digest of the file, where it is known: then it is fetched at most once.

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
    kept = cache_folder() / sha256
    if sha256 and kept.is_file():
        return kept
    return _fetch(location, sha256)


def pulled_weights(card: Card) -> Path | None:
    """The published weights of a model, if `models pull` has fetched them."""
    from huggingface_hub import try_to_load_from_cache

    if not card.repository:
        return None
    found = try_to_load_from_cache(card.repository, card.file, revision=card.revision)
    return Path(found) if isinstance(found, str) else None


def pull_weights(card: Card) -> Path:
    """Fetch the published weights of a model from the Hugging Face Hub, and check them.

    What was fetched before an interruption is not fetched again.

    Raises
    ------
    BadInput
        If they are not on the Hub, the Hub cannot be reached, or what came is not what it should.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if not card.repository:
        raise BadInput(
            f"{card.name} is not on the Hugging Face Hub: get {card.file} from {card.page} and "
            "name it with --weights"
        )
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        path = Path(hf_hub_download(card.repository, card.file, revision=card.revision))
    except LocalEntryNotFoundError:
        raise BadInput(
            f"the Hugging Face Hub cannot be reached: get {card.file} from {card.page} with "
            "another machine and name it with --weights"
        ) from None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(f"{card.name} cannot be fetched from {card.page}: {reason}") from None
    digest = file_digest(path)
    if digest != card.sha256:
        path.resolve().unlink()
        raise BadInput(
            f"what {card.page} has as {card.file} is not the published file: its sha256 is "
            f"{digest}, and should be {card.sha256}"
        )
    return path


def _fetch(location: str, sha256: str) -> Path:
    """Copy a file into the cache under its digest."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=folder, suffix=".partial")
    os.close(descriptor)
    try:
        with _explained(location):
            files, path = fsspec.core.url_to_fs(location)
            files.get_file(path, partial, callback=_progress(location))
        found = file_digest(Path(partial))
        if sha256 and found != sha256:
            raise BadInput(
                f"{plain(location)} is not the file it should be: its sha256 is {found}, and "
                f"should be {sha256}"
            )
        os.replace(partial, folder / found)
    finally:
        Path(partial).unlink(missing_ok=True)
    return folder / found


def _progress(location: str) -> Callback:
    """A bar on a terminal, else nothing."""
    if not sys.stderr.isatty():
        return NoOpCallback()
    name = plain(location).rpartition("/")[2]
    return TqdmCallback(tqdm_kwargs={"desc": name, "unit": "B", "unit_scale": True})


@contextlib.contextmanager
def _explained(location: str) -> Iterator[None]:
    """Say in one line why an address cannot be read, without its query, which may be secret."""
    try:
        yield
    except FileNotFoundError:
        raise BadInput(f"there are no weights at {plain(location)}") from None
    except ImportError as error:
        raise BadInput(f"{plain(location)} cannot be read: {error}") from None
    except Exception as error:
        # Each file system that fsspec knows has its own errors.
        raise BadInput(f"{plain(location)} cannot be read: {type(error).__name__}") from None
