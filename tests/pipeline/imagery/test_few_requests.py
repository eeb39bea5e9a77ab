"""What was fetched is not fetched again, unless it made no sense."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.imagery.gathered import EVERYTHING
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.imagery.scene_reader import PixelKind, SceneReader
from tessera_mosaic.pipeline.imagery.tiff_tags import PAGE, paged
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import CLASSES, Sensor
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.tiling.lattice import Window, from_lonlat, window_of_bounds

YEAR = 2024
DATA = np.random.default_rng(0).bytes(5 * PAGE + 100)


@given(st.lists(st.tuples(st.integers(0, len(DATA) + 9), st.integers(1, 3 * PAGE)), max_size=6))
def test_pages_are_what_stands_there(parts: list[tuple[int, int]]) -> None:
    fetched = Counter[int]()

    def read(start: int, length: int) -> bytes:
        fetched.update(range(start // PAGE, -(-(start + length) // PAGE)))
        return DATA[start : start + length]

    get = paged(read)
    for start, length in parts:
        if start + length > len(DATA):
            with pytest.raises(Corrupt, match="ends within its header"):
                get(start, length)
        else:
            assert get(start, length) == DATA[start : start + length]


def test_a_header_of_several_pages_takes_two_requests() -> None:
    asked = []

    def read(start: int, length: int) -> bytes:
        asked.append((start, length))
        return DATA[start : start + length]

    get = paged(read)
    for start, length in ((0, 8), (8, 300), (PAGE - 4, 2 * PAGE), (3 * PAGE, 40), (16, 2)):
        assert get(start, length) == DATA[start : start + length]
    assert asked == [(0, PAGE), (PAGE, 3 * PAGE)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Simulation((Footprint.around("31UDS", 3.0, 50.8, 256),), s2_days=3, s1_days=0)
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


def classes(url: str) -> list[np.ndarray]:
    """Scene classes of all days, read on their own."""
    x, y = from_lonlat(31).transform(3.0, 50.8)
    window: Window = window_of_bounds(31, (x - 320, y - 320, x + 320, y + 320))
    source = open_catalogue(f"{url}/catalog.json")
    reader, found = SceneReader(source, threads=2), []
    for scene in source.search((2.9, 50.7, 3.1, 50.9), YEAR):
        if scene.sensor == Sensor.S2:
            part = reader.read(scene, CLASSES, window, Kernel.NEAREST, PixelKind.UINT8, EVERYTHING)
            assert part is not None
            found.append(part)
    reader.close()
    return found


def test_a_small_file_is_fetched_once(archive: Path) -> None:
    asked = Counter[str]()

    def note(path: str, start: int) -> str:
        asked[path] += 1
        return ""

    with serving(archive.parent, note) as server:
        right = classes(server.url)
    counts = [number for path, number in asked.items() if path.endswith("SCL.tif")]
    assert len(right) == len(counts) > 0
    assert set(counts) == {1}

    def garble(path: str, start: int) -> str:
        asked[path] -= 1
        return "garbled" if path.endswith("SCL.tif") and asked[path] == 0 else ""

    with serving(archive.parent, garble) as server:
        again = classes(server.url)
    np.testing.assert_array_equal(right, again)
    # What was garbled at first was asked for again.
    counts = [number for path, number in asked.items() if path.endswith("SCL.tif")]
    assert set(counts) == {-1}
