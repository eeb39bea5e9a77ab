"""What is known of a weights file before anything reads it: its digest, and whether it stands.

Nothing here loads PyTorch, so that fetching a file and checking it do not either.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

WITHDRAWN = {
    "best_model_fsdp_20260425_202039.pt": "the v1.1 AWS encoder was retrained on 2026-05-03, after "
    "its imagery had the reflectance offset taken off twice: get tessera_v1_1_aws_encoder.pt",
}
"""Published files that the authors replaced (TESSERA reference, README, 2026-05-03), and why."""


class CheckpointError(ValueError):
    """A file is no checkpoint of a published family. The message says why, in one line."""


def refuse_withdrawn(name: str) -> None:
    """Check that no file of a name was published and replaced.

    Parameters
    ----------
    name
        Name of the file, without its folder.

    Raises
    ------
    CheckpointError
        If one was.
    """
    if name in WITHDRAWN:
        raise CheckpointError(f"{name} is withdrawn: {WITHDRAWN[name]}")


def file_digest(path: Path) -> str:
    """Hexadecimal sha256 of a file.

    Parameters
    ----------
    path
        Path of a local file.

    Raises
    ------
    CheckpointError
        If there is no file, or it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is no file")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
