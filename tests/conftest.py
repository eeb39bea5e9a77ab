"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).resolve().parents[2] / "shared"

# Tests run on busy machines, where the time of an example says nothing about it.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference vectors and real imagery beside the checkout; skips where they are not."""
    if not (SHARED / "golden").is_dir():
        pytest.skip("reference vectors and real imagery are not beside this checkout (../shared)")
    return SHARED
