"""A small archive, a window of it, and what the window's year is."""

from pathlib import Path

import pytest

from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    from_lonlat,
    window_of_bounds,
)
from tests.pipeline.scenes.sources import stack_of


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Simulation((Footprint.around("31UDS", 3.0, 50.8, 32),), s2_days=3, s1_days=2)
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


@pytest.fixture(scope="module")
def window() -> Window:
    x, y = from_lonlat(31).transform(3.0, 50.8)
    return window_of_bounds(31, (x - 60, y - 60, x + 60, y + 60))


@pytest.fixture(scope="module")
def expected(archive: Path, window: Window) -> AnnualStack:
    """What the archive is from the disk."""
    annual = stack_of(open_catalogue(str(archive)), window)
    assert len(annual.used) >= 4
    return annual
