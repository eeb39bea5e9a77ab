"""A folder with one file, for the tests of what fetches."""

from __future__ import annotations

from pathlib import Path

import pytest

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `CONTENT` in `a.bin`."""
    (tmp_path / "a.bin").write_bytes(CONTENT)
    return tmp_path
