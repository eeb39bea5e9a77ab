"""No more of rasters is held than there is room for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tessera_mosaic.pipeline.imagery.workspace import Workspace


@pytest.mark.parametrize("size", [10, 1000, 10**9])
def test_no_more_is_held_than_there_is_room_for(size: int) -> None:
    """What alone is more than there is has its turn too."""
    workspace, lock, held, most = Workspace(size), threading.Lock(), 0, 0

    def work(wanted: int) -> None:
        nonlocal held, most
        counted = min(wanted, size)
        with workspace.take(wanted):
            with lock:
                held += counted
                most = max(most, held)
            time.sleep(0.0005)
            with lock:
                held -= counted

    with ThreadPoolExecutor(30) as pool:
        wanted = np.random.default_rng(0).integers(1, 2000, 60)
        for done in [pool.submit(work, int(each)) for each in wanted]:
            done.result(60)
    assert held == 0
    assert 0 < most <= size


def test_who_fails_gives_the_room_back() -> None:
    workspace = Workspace(10)

    def fail() -> None:
        with workspace.take(10):
            raise ValueError("no raster")

    for _ in range(2):
        with pytest.raises(ValueError, match="no raster"):
            fail()
