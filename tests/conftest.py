"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference vectors and real imagery beside the checkout; skips where they are not."""
    if not (SHARED / "golden").is_dir():
        pytest.skip("reference vectors and real imagery are not beside this checkout (../shared)")
    return SHARED
