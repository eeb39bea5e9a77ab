"""Where Python looks for modules while ours are loaded: not beside the user's script."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def without_folder_of_script() -> Iterator[None]:
    """Load nothing from where the user's script or notebook lies.

    Python looks there first, so that a `random.py` or `json.py` in that folder would stand in for
    the module of the standard library which numpy or Beam mean.
    """
    first = sys.path[0]
    script = getattr(sys.modules["__main__"], "__file__", None)
    users = ["", os.getcwd()] + ([str(Path(script).resolve().parent)] if script else [])
    # What is installed into the script's own folder is found there.
    if first not in users or Path(first).resolve() in Path(__file__).resolve().parents:
        yield
        return
    del sys.path[0]
    try:
        yield
    finally:
        sys.path.insert(0, first)
