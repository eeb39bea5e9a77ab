"""The root of a store before it is a mosaic's: what else lies there, and what is left of it."""

from __future__ import annotations

import json
import re

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage

ROOT = "zarr.json"
"""Key of the root's metadata."""

OURS = re.compile(r"utm\d\d|global_rgb|records|published|stac|\d{4}\.zarr|\.partial")
"""Folders that a mosaic may have before its root's metadata is written."""


def refuse_others(storage: Storage, own: str = ROOT) -> None:
    """Refuse a place that was not begun and holds other things than a job leaves there.

    Parameters
    ----------
    storage
        The place.
    own
        Key of what a job puts there first: another launcher may just have done so.

    Raises
    ------
    BadInput
        Naming one of them.
    """
    found = storage.names()
    if other := next((name for name in found if not (name == own or OURS.fullmatch(name))), None):
        raise BadInput(
            f"{storage.url} holds something else, such as {other}: name an empty place, or the "
            "store of an earlier run"
        )


def root_is_cut_short(storage: Storage) -> bool:
    """Whether there is a root's metadata that is no whole JSON."""
    try:
        json.loads(storage.read_document(ROOT))
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False
