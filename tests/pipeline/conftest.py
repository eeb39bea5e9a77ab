"""What the tests of the whole job share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import jobs


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
