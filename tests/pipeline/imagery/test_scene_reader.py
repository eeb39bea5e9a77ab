import dataclasses
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from benchmarks.server import serving
from tessera_mosaic.model.observations import S2_BANDS, Stack
from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.imagery.block_cache import BlockCache
from tessera_mosaic.pipeline.imagery.resample import Kernel, place
from tessera_mosaic.pipeline.imagery.scene_reader import PixelKind, SceneReader
from tessera_mosaic.pipeline.io.fetcher import Access
from tessera_mosaic.pipeline.scenes.credentials import Signer
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    from_lonlat,
    lonlat_bounds,
    window_of_bounds,
)
from tests.fakes.disk import small_disk

YEAR = 2024


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rasters of several internal tiles."""
    spec = Simulation((Footprint.around("31UDS", 3.0, 50.8, 768),), s2_days=2, s1_days=2)
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


@pytest.fixture(scope="module")
def whole() -> Window:
    x, y = from_lonlat(31).transform(3.0, 50.8)
    return window_of_bounds(31, (x - 1280, y - 1280, x + 1280, y + 1280))


def touched(reader: SceneReader, scenes: list, window: Window, used: set[str]) -> int:
    """Bytes of the blocks without which there is no stack."""
    total = 0
    for scene in scenes:
        for band in scene.assets:
            if band in S2_BANDS and scene.id not in used:
                continue
            header = reader.header(scene, band)
            source = place(window, header.geometry).source(
                "bilinear" if band in S2_BANDS else "nearest"
            )
            if source is not None:
                total += int(header.sizes[header.blocks(*source)].sum())
    return total


def test_blocks_are_fetched_once_though_windows_share_them(archive: Path, whole: Window) -> None:
    with serving(archive.parent) as server:
        source = open_catalogue(f"{server.url}/catalog.json")
        scenes = source.search(lonlat_bounds(whole), YEAR)
        reader = SceneReader(source)
        at_once = read_block(whole, scenes, Preprocessing(), reader)
        needed = touched(reader, scenes, whole, set(at_once.used))
        reader.close()
        reader = SceneReader(source)
        server.counts.clear()
        for window in whole.blocks(64):
            part = read_block(window, scenes, Preprocessing(), reader)
            rows, cols = window.within(whole)
            for date, mask in zip(part.dates, part.stack.masks, strict=True):
                clear = mask != 0
                day = at_once.dates.index(date)
                bands = part.stack.bands[part.dates.index(date)]
                expected = at_once.stack.bands[day, rows, cols]
                np.testing.assert_array_equal(bands[clear], expected[clear])
        reader.close()
        assert server.counts["bytes"] < 1.25 * needed


def test_threads_that_read_side_by_side_read_the_same(archive: Path, whole: Window) -> None:
    source = open_catalogue(str(archive))
    scenes = source.search(lonlat_bounds(whole), YEAR)
    windows = list(whole.blocks(96))
    alone = SceneReader(source, threads=1)
    expected = [read_block(window, scenes, Preprocessing(), alone) for window in windows]
    alone.close()
    shared = SceneReader(source, threads=5)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda w: read_block(w, scenes, Preprocessing(), shared), windows))
    shared.close()
    for ours, theirs in zip(found, expected, strict=True):
        for field in fields(Stack):
            one, other = getattr(ours.stack, field.name), getattr(theirs.stack, field.name)
            assert one.tobytes() == other.tobytes()
        assert (ours.used, ours.unused) == (theirs.used, theirs.unused)


def test_a_day_without_a_clear_pixel_is_not_read_further(
    tmp_path: Path,
) -> None:
    spec = Simulation(
        (Footprint.around("31UDS", 3.0, 50.8, 32),), s2_days=12, s1_days=1, cloudiness=0.97
    )
    catalogue = simulate_archive(tmp_path / "archive", spec)
    x, y = from_lonlat(31).transform(3.0, 50.8)
    window = window_of_bounds(31, (x - 60, y - 60, x + 60, y + 60))
    asked = set()

    def watch(path: str, start: int) -> str:
        asked.add(path)
        return ""

    with serving(catalogue.parent, watch) as server:
        source = open_catalogue(f"{server.url}/catalog.json")
        scenes = source.search(lonlat_bounds(window), YEAR)
        reader = SceneReader(source)
        annual = read_block(window, scenes, Preprocessing(), reader)
        reader.close()
    cloudy = [name for name, why in annual.unused if why == "no clear pixel in the block"]
    assert cloudy
    read = {Path(path).parent.name for path in asked if path.endswith("B04.tif")}
    assert read == {name for name in annual.used if "_MSIL2A_" in name}


def test_a_raster_of_other_pixels_is_corrupt(archive: Path, whole: Window) -> None:
    source = open_catalogue(str(archive))
    scene = next(s for s in source.search(lonlat_bounds(whole), YEAR) if s.sensor == "s2")
    reader = SceneReader(source)
    with pytest.raises(Corrupt, match="its pixels are uint16, not f"):
        reader.read(scene, "B04", whole, Kernel.NEAREST, PixelKind.FLOAT)
    reader.close()


def test_an_unknown_projection_is_corrupt(archive: Path, whole: Window, tmp_path: Path) -> None:
    source = open_catalogue(str(archive))
    scene = next(s for s in source.search(lonlat_bounds(whole), YEAR) if s.sensor == "s2")
    known, unknown = (struct.pack("<4H", 3072, 0, 1, code) for code in (32631, 9999))
    data = Path(scene.assets["B04"]).read_bytes()
    assert known in data
    path = tmp_path / "B04.tif"
    path.write_bytes(data.replace(known, unknown))
    scene = dataclasses.replace(scene, assets={"B04": str(path)}, epsg=0)
    reader = SceneReader(source)
    with pytest.raises(Corrupt, match="EPSG:9999 is no projection"):
        reader.read(scene, "B04", whole, Kernel.NEAREST, PixelKind.UINT16)
    reader.close()


class Proven(Signer):
    """Sends a credential to every host."""

    def access(self, href: str) -> Access:
        return Access(href, {"Authorization": "Bearer secret"})


def test_a_refused_credential_is_renewed_once_for_all_that_wait(
    archive: Path, whole: Window
) -> None:
    with serving(archive.parent) as server:
        source = open_catalogue(f"{server.url}/catalog.json")
        scenes = source.search(lonlat_bounds(whole), YEAR)
        reader = SceneReader(source, threads=8, signer=Proven(source.remote))
        server.fault = lambda path, start: "" if reader.signer.renewals else "expired"
        annual = read_block(whole, scenes, Preprocessing(), reader)
        reader.close()
    assert len(annual.used) == len(scenes)
    assert reader.signer.renewals == 1


def test_a_spool_forgets_the_oldest_and_never_mixes() -> None:
    cache = BlockCache(most=10_000)
    chance = np.random.default_rng(0)
    kept = {}
    for number in range(500):
        kept[number] = chance.bytes(int(chance.integers(1, 2400)))
        cache.put(number, kept[number])
        for key in range(max(0, number - 30), number + 1):
            assert cache.get(key) in (None, kept[key])
        assert cache.get(number) is not None
    assert cache.get(0) is None
    cache.put("huge", bytes(20_000))
    assert cache.get("huge") is None
    cache.close()


@pytest.mark.parametrize("room", [0, 4], ids=["none", "some"])
def test_a_full_disk_only_costs_the_cache(room: int) -> None:
    cache = BlockCache(most=10_000)
    cache.put(1, bytes(10))
    with small_disk(10 + room):
        cache.put(2, bytes(10))
    assert cache.get(1) is None
    assert cache.get(2) is None
    cache.close()
