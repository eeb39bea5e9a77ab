"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests import jobs

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


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Catalogue of the small simulated archive."""
    return jobs.archive(tmp_path_factory.mktemp("simulated") / "archive")


@pytest.fixture(scope="session")
def finished(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small job's store, made by one process that nobody disturbed."""
    store = tmp_path_factory.mktemp("finished") / "store"
    ended = jobs.run_process(jobs.options(archive, store, "--json"))
    assert ended.code == 0, ended.error
    assert ended.result["done"] == ended.result["tiles"] == 12
    return store
