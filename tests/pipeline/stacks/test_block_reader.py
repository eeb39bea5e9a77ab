"""Blocks that are read together: the same stacks, and each block of a raster fetched once."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from benchmarks.server import serving
from tessera_mosaic.model.observations import S2_BANDS, Stack
from tessera_mosaic.pipeline.errors import BadInput, StoreFull
from tessera_mosaic.pipeline.imagery.cog import Header
from tessera_mosaic.pipeline.imagery.gathered import EVERYTHING, Place, blocks_needed
from tessera_mosaic.pipeline.imagery.kernels import NumpyKernels
from tessera_mosaic.pipeline.imagery.read_budget import (
    DENSE_PIXEL,
    DISK_GB,
    GB,
    MEMORY_GB,
    ReadBudget,
    ReadLimits,
)
from tessera_mosaic.pipeline.imagery.resample import Geometry, Kernel
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import OrbitState, Scene, Sensor
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.block_reader import read_block, read_blocks, units_of
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.unit_parts import BlockYear
from tessera_mosaic.pipeline.tiling.lattice import (
    Tile,
    Window,
    from_lonlat,
    lonlat_bounds,
    window_of_bounds,
)
from tests.fakes.disk import small_disk

YEAR = 2024

# Real sizes, with an index of blocks in place of files.


def year_of(tile: Tile, days: int, passes: int) -> list[Scene]:
    """Scenes that all cover a tile, on days of their own."""
    west, south, east, north = lonlat_bounds(tile.window)
    box = (west - 1, south - 1, east + 1, north + 1)
    first = dt.date(YEAR, 1, 1)

    def scene(number: int, of: int, sensor: Sensor, state: OrbitState | None) -> Scene:
        date = first + dt.timedelta(number * 366 // of)
        return Scene(f"{sensor}-{number}", sensor, f"{date}T10:00:00Z", box, orbit_state=state)

    states = list(OrbitState)
    return [
        *(scene(number, days, Sensor.S2, None) for number in range(days)),
        *(scene(number, passes, Sensor.S1, states[number % 2]) for number in range(passes)),
    ]


def header_of(geometry: Geometry, block: int) -> Header:
    """Header of a raster in square blocks, which lie nowhere."""
    count = -(-geometry.height // block) * -(-geometry.width // block)
    places = np.ones(count, np.int64)
    return Header(0, geometry, np.dtype("u2"), 0, (block, block), places, places, 8, 2, ())


def rasters_over(tile: Tile, block: int) -> list[tuple[Header, Kernel, int]]:
    """A raster of each kind, how it is resampled, and how many of it a scene or pass has."""
    west, _, _, north = tile.window.bounds
    rasters = []
    # Granules begin at multiples of 100 km, radar scenes anywhere.
    for size, pixel, kernel, count in (
        (10_980, 10, Kernel.BILINEAR, 4),
        (5_490, 20, Kernel.BILINEAR, 6),
        (5_490, 20, Kernel.NEAREST, 1),
    ):
        corner = (west - 33_640) // 60 * 60, (north + 41_860) // 60 * 60
        rasters.append(
            (header_of(Geometry(32631, *corner, pixel, size, size), block), kernel, count)
        )
    radar = Geometry(32631, west - 101_230, north + 77_770, 10, 25_000, 28_000)
    rasters.append((header_of(radar, block), Kernel.NEAREST, 2))
    return rasters


@pytest.mark.parametrize("block", [512, 1024])
@pytest.mark.parametrize(("days", "passes"), [(73, 100), (146, 200)])
def test_real_tiles_fetch_each_block_once_two_at_a_time(block: int, days: int, passes: int) -> None:
    budget = ReadBudget(int(MEMORY_GB * GB), int(DISK_GB * GB))
    fetched = distinct = 0
    units: dict[str, list[list[BlockYear]]] = {}
    for tile in (Tile(31, 260, 20, 2048), Tile(31, 260, 21, 2048)):
        scenes = year_of(tile, days, passes)
        years = [BlockYear(window, scenes) for window in tile.window.blocks(256)]
        assert sum(y.most_bytes for y in years) <= 2048**2 * DENSE_PIXEL * days / 146
        units[tile.name] = units_of(years, budget.largest)
        for header, kernel, count in rasters_over(tile, block):
            needed = [
                blocks_needed(
                    header,
                    [Place.of((y.window, EVERYTHING), header.geometry, kernel) for y in unit],
                )
                for unit in units[tile.name]
            ]
            fetched += count * sum(map(len, needed))
            distinct += count * len(set().union(*needed))
    assert distinct > 100
    assert fetched <= 1.1 * distinct
    assert_both_tiles_find_room(budget, list(units.values()))


def assert_both_tiles_find_room(
    budget: ReadBudget, tiles: Sequence[Sequence[Sequence[BlockYear]]]
) -> None:
    """Two tiles that are read and encoded at once never wait for one another for ever."""
    most = []

    def make(units: Sequence[Sequence[BlockYear]]) -> None:
        for unit in units:
            room = budget.take(sum(year.most_bytes for year in unit))
            most.append(budget.memory + budget.disk - budget.free)
            for year in unit:
                room.give_back(year.most_bytes)

    threads = [threading.Thread(target=make, args=(units,)) for units in tiles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert max(most) <= budget.memory + budget.disk
    assert budget.free == budget.memory + budget.disk


def test_less_room_makes_smaller_units_and_a_block_is_the_smallest() -> None:
    tile = Tile(31, 260, 20, 2048)
    years = [BlockYear(window, year_of(tile, 10, 8)) for window in tile.window.blocks(256)]
    size = years[0].most_bytes
    assert size == 256**2 * (10 * 21 + 8 * 4)
    for most, count in ((64 * size, 1), (63 * size, 2), (16 * size, 4), (size, 64), (1, 64)):
        units = units_of(years, most)
        assert len(units) == count
        found = [year.window for unit in units for year in unit]
        assert sorted(found, key=lambda w: (w.row, w.col)) == [year.window for year in years]
    assert units_of([], 1) == []


# Small archives, really read.


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rasters of several internal tiles."""
    spec = Simulation((Footprint.around("31UDS", 3.0, 50.8, 640),), s2_days=3, s1_days=2)
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


@pytest.fixture(scope="module")
def whole() -> Window:
    x, y = from_lonlat(31).transform(3.0, 50.8)
    return window_of_bounds(31, (x - 1280, y - 1280, x + 1280, y + 1280))


def assert_equal(ours: AnnualStack, theirs: AnnualStack) -> None:
    for field in fields(Stack):
        one, other = getattr(ours.stack, field.name), getattr(theirs.stack, field.name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert (ours.used, ours.unused, ours.dates) == (theirs.used, theirs.unused, theirs.dates)


BUDGETS = {
    "in memory": ReadBudget(GB, 0),
    "on disk": ReadBudget(0, GB),
    "four units": ReadBudget(256**2 * 3 * 30, 0),
    "no room at all": ReadBudget(1, 0),
}


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_blocks_are_the_same_in_any_company(
    archive: Path, whole: Window, budget: ReadBudget
) -> None:
    source = open_catalogue(str(archive))
    scenes = source.search(lonlat_bounds(whole), YEAR)
    rules = Preprocessing()
    alone = SceneReader(source, kernels=NumpyKernels())
    together = SceneReader(source, budget=budget)
    blocks = list(whole.blocks(96))
    found = dict(read_blocks(blocks, scenes, rules, together))
    assert set(found) == set(blocks)
    for block in blocks[:: 1 if budget is BUDGETS["in memory"] else 4]:
        assert_equal(found[block], read_block(block, scenes, rules, alone))
    assert budget.free == budget.memory + budget.disk
    alone.close()
    together.close()


def test_nothing_is_fetched_twice_nor_without_need(archive: Path, whole: Window) -> None:
    spans: list[tuple[str, int]] = []

    def watch(path: str, start: int) -> str:
        spans.append((path, start))
        return ""

    with serving(archive.parent, watch) as server:
        source = open_catalogue(f"{server.url}/catalog.json")
        scenes = source.search(lonlat_bounds(whole), YEAR)
        reader = SceneReader(source)
        needed = 0
        for scene in scenes:
            for band in scene.assets:
                kernel = Kernel.BILINEAR if band in S2_BANDS else Kernel.NEAREST
                header = reader.header(scene, band)
                at = Place.of((whole, EVERYTHING), header.geometry, kernel)
                needed += int(header.sizes[list(blocks_needed(header, [at]))].sum())
        server.counts.clear()
        spans.clear()
        used = {
            name
            for _, annual in read_blocks(list(whole.blocks(64)), scenes, Preprocessing(), reader)
            for name in annual.used
        }
        reader.close()
        assert used == {scene.id for scene in scenes}
        assert len(spans) == len(set(spans))
        assert server.counts["bytes"] <= 1.1 * needed


def test_whoever_stops_early_gives_all_room_back(archive: Path, whole: Window) -> None:
    source = open_catalogue(str(archive))
    scenes = source.search(lonlat_bounds(whole), YEAR)
    for budget in (ReadBudget(GB, 0), ReadBudget(256**2 * 3 * 30, 0)):
        reader = SceneReader(source, budget=budget)
        reading = read_blocks(list(whole.blocks(96)), scenes, Preprocessing(), reader)
        next(reading)
        reading.close()
        assert budget.free == budget.memory
        reader.close()


def test_a_full_disk_is_told() -> None:
    room = ReadBudget(0, GB).take(GB)
    assert room.array((0, 5), np.uint8).size == 0
    with small_disk(10), pytest.raises(StoreFull, match="no room for 1,000,000 bytes of a stack"):
        room.array((1000, 1000), np.uint8)


@pytest.mark.parametrize(
    ("memory", "disk", "said"),
    [
        (-1, None, "read_memory -1: choose 0 or more GB"),
        (None, float("nan"), "read_disk nan: choose 0 or more GB"),
        (0, 0, "read_disk 0: stacks need memory or disk"),
        (1e6, None, "read_memory .*GB of memory here: choose less"),
        (None, 1e9, "read_disk .*GB are free in"),
        (0.001, 0.001, "a block of 256 px may take 0.25 GB: choose more, or smaller blocks"),
    ],
)
def test_what_a_machine_has_not_is_refused(
    memory: float | None, disk: float | None, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        ReadLimits(memory, disk).check_here(256)
