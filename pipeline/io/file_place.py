"""The folder of a file that a user named, and its key there."""

from __future__ import annotations

from pathlib import Path

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.urls import folder_and_key


def file_place(url: str, parameter: str) -> tuple[Storage, str]:
    """The folder of a file at a path or URL, and its key there.

    Raises
    ------
    BadInput
        If it is no file's, naming the parameter that it was given for.
    """
    folder, key = folder_and_key(url)
    if not key:
        raise BadInput("it names a folder, not a file", parameter, url)
    storage = Storage(folder)
    if storage.folder is not None:
        path = Path(storage.locate(key))
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a device or a pipe"
            raise BadInput(f"it is {what}, not a file", parameter, url)
    return storage, key
