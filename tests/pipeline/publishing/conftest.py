"""Mosaics to publish."""

from __future__ import annotations

from pathlib import Path

import pytest

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.publishing.publish import publish_mosaic
from tests.samples import TILES, write_sample


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A published mosaic of two years, on disk."""
    storage = Storage(str(tmp_path_factory.mktemp("store")))
    write_sample(storage)
    publish_mosaic(storage)
    return storage


@pytest.fixture
def two(tmp_path: Path) -> Storage:
    """A mosaic of two tiles of one year, unpublished."""
    storage = Storage(f"memory://{tmp_path.name}")
    write_sample(storage, TILES[:2], [2018])
    return storage
