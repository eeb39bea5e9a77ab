"""Many threads wait at a time, and few work."""

from __future__ import annotations

import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.server import serving
from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.model.observations import S2_BANDS
from tessera_mosaic.pipeline.errors import SceneError
from tessera_mosaic.pipeline.imagery.gathered import EVERYTHING, Part
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.imagery.scene_reader import PixelKind, SceneReader
from tessera_mosaic.pipeline.imagery.turns import Turn
from tessera_mosaic.pipeline.io.http import Patience
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import Scene, Sensor
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.tiling.lattice import from_lonlat, lonlat_bounds, window_of_bounds

X, Y = from_lonlat(31).transform(3.0, 50.8)
WINDOW = window_of_bounds(31, (X - 2560, Y - 2560, X + 2560, Y + 2560))
PARTS: list[Part] = [(WINDOW, EVERYTHING)]
HURRIED = Patience(pause=0.001)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Simulation((Footprint.around("31UDS", 3.0, 50.8, 768),), s2_days=2, s1_days=0)
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


def days_of(source: Source) -> list[Scene]:
    return [
        scene for scene in source.search(lonlat_bounds(WINDOW), 2024) if scene.sensor == Sensor.S2
    ]


def test_few_work_while_many_wait() -> None:
    turns, everybody_waits = threading.BoundedSemaphore(2), threading.Barrier(20)
    lock, working, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal working, most
        with Turn(turns) as turn:
            for _ in range(3):
                turn.give()
                everybody_waits.wait(20)
                turn.take()
                turn.take()
                with lock:
                    working += 1
                    most = max(most, working)
                time.sleep(0.001)
                with lock:
                    working -= 1

    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(work) for _ in range(20)]:
            done.result(60)
    assert 1 <= most <= 2
    assert turns.acquire(blocking=False)
    assert turns.acquire(blocking=False)


def test_who_fails_gives_the_turn_to_others() -> None:
    turns = threading.BoundedSemaphore(1)

    def fail() -> None:
        with Turn(turns) as turn:
            turn.take()
            raise ValueError("no pixels")

    for _ in range(3):
        with pytest.raises(ValueError, match="no pixels"):
            fail()
        assert turns.acquire(timeout=20)
        turns.release()


@pytest.mark.parametrize("fault", ["garbled", "short", "missing", "failing"])
def test_reads_that_fail_keep_no_turn(archive: Path, fault: str) -> None:
    """Some fail before there are bytes to work with, and some while they are worked with."""
    broken = S2_BANDS[0]
    with serving(archive.parent, lambda path, _: fault if broken in path else "") as server:
        source = open_catalogue(f"{server.url}/catalog.json", patience=HURRIED)
        [day, *_] = days_of(source)
        reader = SceneReader(source)
        for _ in range(usable_cores() + 1):
            with pytest.raises(SceneError):
                reader.gather(day, broken, PARTS, Kernel.BILINEAR, PixelKind.UINT16)
        whole = reader.gather(day, S2_BANDS[1], PARTS, Kernel.BILINEAR, PixelKind.UINT16)
        reader.close()
        assert whole is not None
        assert whole.window.pixels.any()


def test_a_raster_that_waits_takes_up_no_memory(archive: Path) -> None:
    asked, answer = threading.Semaphore(0), threading.Event()

    def hold(path: str, start: int) -> str:
        if start and path.endswith(".tif"):
            asked.release()
            answer.wait(60)
        return ""

    with serving(archive.parent, hold) as server:
        source = open_catalogue(f"{server.url}/catalog.json")
        rasters = [(day, band) for day in days_of(source) for band in S2_BANDS]
        reader = SceneReader(source)
        for day, band in rasters:
            reader.found(day, band)
        with ThreadPoolExecutor(len(rasters)) as pool:
            tracemalloc.start()
            reads = [
                pool.submit(reader.gather, *raster, PARTS, Kernel.BILINEAR, PixelKind.UINT16)
                for raster in rasters
            ]
            for _ in reads:
                assert asked.acquire(timeout=60)
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            answer.set()
            found = [read.result(60) for read in reads]
        reader.close()
    assert held < sum(each.window.pixels.nbytes for each in found if each) / 3
