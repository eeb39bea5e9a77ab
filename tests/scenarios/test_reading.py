"""Archives over special places, and through a server that fails in every way."""

import dataclasses
import random
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from benchmarks.server import FAULTS, STATUS, ArchiveServer, serving
from tessera_mosaic.model.observations import Stack
from tessera_mosaic.pipeline.errors import Expired, SceneError, Throttled, TimedOut
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.io.http import Patience
from tessera_mosaic.pipeline.scenes.geoparquet import ParquetIndex
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.scenes.stac_api import StacApi
from tessera_mosaic.pipeline.scenes.static_catalog import StaticCatalogue
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    from_lonlat,
    lonlat_bounds,
    window_of_bounds,
)
from tests.fakes.catalogues import items_of, write_index
from tests.fakes.web import FakeStac, Reply, Request, fake_web
from tests.oracle import expected_pixel, read_archive

YEAR = 2024


def observations(annual: AnnualStack, row: int, col: int) -> dict:
    """What one pixel became: clear days with bands, and passes with codes."""
    stack = annual.stack
    seen: dict = {"s2": {}, "ascending": {}, "descending": {}}
    for day, date in enumerate(annual.dates):
        if stack.masks[day, row, col]:
            seen["s2"][date] = stack.bands[day, row, col].tolist()
    for state in ("ascending", "descending"):
        for number, date in enumerate(getattr(annual, f"{state}_dates")):
            codes = getattr(stack, f"sar_{state}")[number, row, col]
            if codes.any():
                seen[state][date] = codes.tolist()
    return seen


def assert_same_stack(ours: Stack, theirs: Stack) -> None:
    for field in fields(Stack):
        np.testing.assert_array_equal(
            getattr(ours, field.name), getattr(theirs, field.name), field.name
        )
        assert getattr(ours, field.name).dtype == getattr(theirs, field.name).dtype


def around(zone: int, lon: float, lat: float, height: int, width: int) -> Window:
    """A window of a zone around a place."""
    x, y = from_lonlat(zone).transform(lon, lat)
    one = window_of_bounds(zone, (x, y, x + 1, y + 1))
    return Window(zone, one.row - height // 2, one.col - width // 2, height, width)


def footprint(name: str, lon: float, lat: float, side: int, zone: int) -> Footprint:
    return Footprint.around(name, lon, lat, side, (32600 if lat >= 0 else 32700) + zone)


PLACES = {
    "one granule": (Simulation((footprint("31UDS", 3.0, 50.8, 48, 31),)), [(31, 3.0, 50.8)]),
    "zone line": (
        Simulation(
            (
                footprint("31UGR", 5.998, 50.0, 64, 31),
                footprint("32ULA", 6.002, 50.0, 64, 32),
            )
        ),
        [(31, 6.0, 50.0), (32, 6.0, 50.0)],
    ),
    "two granules of a zone": (
        Simulation(
            (
                footprint("31UDS", 3.001, 50.8, 48, 31),
                footprint("31UES", 3.004, 50.8, 48, 31),
            )
        ),
        [(31, 3.0025, 50.8)],
    ),
    "equator": (
        Simulation(
            (
                Footprint.around("32NRF", 9.0, 0.001, 64, 32632),
                Footprint.around("32MRE", 9.0, -0.001, 64, 32732),
            )
        ),
        [(32, 9.0, 0.0)],
    ),
    "antimeridian": (
        Simulation(
            (
                footprint("60KXF", 179.999, -17.0, 64, 60),
                footprint("01KAB", -179.999, -17.0, 64, 1),
            )
        ),
        [(60, 180.0, -17.0), (1, -180.0, -17.0)],
    ),
    "two baselines": (
        Simulation((footprint("31UDS", 3.0, 50.8, 48, 31),), years=(2022,), s2_days=30),
        [(31, 3.0, 50.8)],
    ),
    "78 north, 40 scenes a day": (
        Simulation(
            (
                footprint("33XWG", 17.997, 78.0, 32, 33),
                footprint("34XDM", 18.003, 78.0, 32, 34),
            ),
            s2_passes=20,
        ),
        [(33, 18.0, 78.0)],
    ),
}
DAYS = {"two baselines": 30, "78 north, 40 scenes a day": 1}


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """An archive over a special place, and windows to look at."""
    spec, points = PLACES[request.param]
    spec = dataclasses.replace(spec, s2_days=DAYS.get(request.param, 8), s1_days=6)
    catalogue = simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)
    return catalogue, spec.years[0], points


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
def test_every_pixel_equals_the_oracle(place: tuple, kernel: str) -> None:
    catalogue, year, points = place
    source, items = open_catalogue(str(catalogue)), read_archive(catalogue)
    reader, used = SceneReader(source), set()
    for zone, lon, lat in points:
        # Two windows are longer than the granules, and so see where each ends.
        for height, width in ((10, 12), (80, 3), (3, 90)):
            window = around(zone, lon, lat, height, width)
            scenes = source.search(lonlat_bounds(window), year)
            annual = read_block(window, scenes, Preprocessing(kernel=kernel), reader)
            told = {name for name, _ in annual.unused} | set(annual.used)
            assert told == {scene.id for scene in scenes}
            used |= set(annual.used)
            count = 0
            for row in range(height):
                for col in range(width):
                    x, y = window.west + 10 * col + 5, window.north - 10 * row - 5
                    expected = expected_pixel(items, zone, x, y, kernel)
                    assert observations(annual, row, col) == expected, (row, col)
                    count += len(expected["s2"]) + len(expected["ascending"])
            assert count > 0
    reader.close()
    # All granules have a say, whatever their zone.
    granules = {item["bbox"][0] for item in items}
    assert {item["bbox"][0] for item in items if item["id"] in used} == granules


def test_neighbours_agree_where_they_overlap(place: tuple) -> None:
    catalogue, year, points = place
    source = open_catalogue(str(catalogue))
    zone, lon, lat = points[0]
    whole = around(zone, lon, lat, 9, 90)
    parts = [
        dataclasses.replace(whole, width=55),
        dataclasses.replace(whole, col=whole.col + 41, width=49),
        dataclasses.replace(whole, row=whole.row + 4, height=5),
    ]
    stacks = []
    for window in (whole, *parts):
        # Each by itself, as workers do that never meet.
        reader = SceneReader(source)
        scenes = source.search(lonlat_bounds(window), year)
        stacks.append(read_block(window, scenes, Preprocessing(kernel="cubic"), reader))
        reader.close()
    for window, annual in zip(parts, stacks[1:], strict=True):
        rows, cols = window.within(whole)
        for row in range(window.height):
            for col in range(window.width):
                ours = observations(annual, row, col)
                assert ours == observations(stacks[0], rows.start + row, cols.start + col)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Window]:
    """A small archive and a window that all of it touches."""
    spec = Simulation((footprint("31UDS", 3.0, 50.8, 32, 31),), s2_days=3, s1_days=2)
    catalogue = simulate_archive(tmp_path_factory.mktemp("small") / "archive", spec)
    return catalogue, around(31, 3.0, 50.8, 16, 16)


def read_small(source: Source, window: Window, losses: Losses | None = None) -> AnnualStack:
    reader = SceneReader(source, threads=4)
    try:
        scenes = source.search(lonlat_bounds(window), YEAR)
        return read_block(window, scenes, Preprocessing(), reader, losses)
    finally:
        reader.close()


@pytest.fixture(scope="module")
def healthy(small: tuple[Path, Window]) -> AnnualStack:
    """What the small archive is from the disk."""
    return read_small(open_catalogue(str(small[0])), small[1])


HURRIED = Patience(pause=0.0005)
"""Of a reader that does not wait long before it tries again."""


def over_http(server: ArchiveServer, patience: Patience = HURRIED) -> StaticCatalogue:
    """The archive of a server."""
    url = f"{server.url}/catalog.json"
    return StaticCatalogue(url, Remote(url, patience=patience))


@pytest.mark.parametrize("first_seed", range(0, 200, 25))
def test_faults_at_random_change_nothing(
    small: tuple[Path, Window], healthy: AnnualStack, first_seed: int
) -> None:
    met: set[tuple[str, int, str]] = set()

    def fault(path: str, start: int) -> str:
        # Each fault at most once a request, as what lasts is a loss.
        if not path.endswith(".tif") or chance.random() > 0.25:
            return ""
        kind = chance.choice(FAULTS)
        if (path, start, kind) in met:
            return ""
        met.add((path, start, kind))
        return kind

    with serving(small[0].parent, fault) as server:
        source = over_http(server)
        for seed in range(first_seed, first_seed + 25):
            chance = random.Random(seed)
            met.clear()
            annual = read_small(source, small[1])
            assert_same_stack(annual.stack, healthy.stack)
            assert annual.used == healthy.used
            assert met
        assert all(server.counts[kind] for kind in FAULTS)


RETRY_AFTER = ("0", "", "nonsense", "\u00b2", "Wed, 21 Oct 2015 07:28:00 GMT")


@pytest.mark.parametrize("kind", ["static", "index", "api"])
def test_faults_of_the_catalogue_itself_change_nothing(
    small: tuple[Path, Window], healthy: AnnualStack, tmp_path: Path, kind: str
) -> None:
    met: set[tuple[str, int, str]] = set()
    total: Counter[str] = Counter()
    chance = random.Random(0)

    def fault(path: str, start: int) -> str:
        fault = chance.choice(FAULTS)
        if fault == "garbled" and kind == "index":
            # Whether a page of zeros is none, the index alone cannot tell.
            return ""
        if path.endswith(".tif") or (path, start, fault) in met or chance.random() > 0.4:
            return ""
        met.add((path, start, fault))
        total[fault] += 1
        return fault

    def odd(request: Request) -> Reply:
        """The API, some of whose answers are none."""
        name = fault(request.path, len(request.body))
        if name in STATUS:
            return STATUS[name], {"Retry-After": server.retry_after}, b"no"
        if name in ("garbled", "short"):
            return 200, {}, b"\0" * 10 if name == "garbled" else b'{"links": [{"rel"'
        return FakeStac(items, page=2)(request)

    with (
        serving(small[0].parent, fault) as server,
        serving(tmp_path, fault) as listing,
        fake_web(odd) as api,
    ):
        items = items_of(small[0], server.url)
        write_index(tmp_path / "items.parquet", items, group=2)
        for seed in range(10):
            server.retry_after = listing.retry_after = RETRY_AFTER[seed % len(RETRY_AFTER)]
            chance.seed(seed)
            met.clear()
            if kind == "static":
                source: Source = over_http(server)
            elif kind == "index":
                url = f"{listing.url}/items.parquet"
                source = ParquetIndex(url, Remote(url, patience=HURRIED))
            else:
                source = StacApi(api + "/", Remote(api, patience=HURRIED))
            annual = read_small(source, small[1])
            assert_same_stack(annual.stack, healthy.stack)
            assert annual.used == healthy.used
    assert set(total) == set(FAULTS) - ({"garbled"} if kind == "index" else set())


PERMANENT = {
    "missing": "gone",
    "failing": "timeout",
    "silent": "timeout",
    "garbled": "corrupt",
    "truncated": "corrupt",
    "short": "corrupt",
    "wrong part": "corrupt",
}


@pytest.mark.parametrize("seed", range(8))
def test_permanent_faults_are_recorded_and_nothing_else(
    small: tuple[Path, Window], healthy: AnnualStack, seed: int
) -> None:
    chance = random.Random(seed)
    broken = dict(
        zip(
            chance.sample(healthy.used, 2),
            chance.sample(sorted(PERMANENT), 2),
            strict=True,
        )
    )
    assets = {
        name: chance.choice(["vv", "vh"] if "_S1" in name else ["SCL", "B04", "B12"])
        for name in broken
    }

    def fault(path: str, start: int) -> str:
        scene, asset = Path(path).parent.name, Path(path).stem
        return broken[scene] if assets.get(scene) == asset else ""

    without = open_catalogue(str(small[0]))
    scenes = [
        scene for scene in without.search(lonlat_bounds(small[1]), YEAR) if scene.id not in broken
    ]
    rest = read_block(small[1], scenes, Preprocessing(), SceneReader(without))
    with serving(small[0].parent, fault) as server:
        source, losses = over_http(server), Losses(2)
        annual = read_small(source, small[1], losses)
        assert_same_stack(annual.stack, rest.stack)
        assert {scene: kind for scene, kind, _ in losses.scenes} == {
            scene: PERMANENT[kind] for scene, kind in broken.items()
        }
        reasons = dict(annual.unused)
        for scene, kind in broken.items():
            assert reasons[scene].startswith(f"lost: {PERMANENT[kind]}: {scene} {assets[scene]}: ")
        with pytest.raises(SceneError) as caught:
            read_small(source, small[1], Losses(1))
        assert caught.value.scene in broken


@pytest.mark.parametrize(("kind", "error"), [("throttled", Throttled), ("expired", Expired)])
def test_who_asks_for_patience_or_a_credential_still_has_the_scene(
    small: tuple[Path, Window], kind: str, error: type[SceneError]
) -> None:
    with serving(small[0].parent, lambda path, _: kind if "B04" in path else "") as server:
        items = items_of(small[0], server.url)
        for item in items:
            for asset in item["assets"].values():
                asset["href"] += "?sv=2022-11-02&sig=secret"
        with fake_web(FakeStac(items)) as api:
            source = StacApi(api + "/", Remote(api, patience=HURRIED))
            with pytest.raises(error):
                read_small(source, small[1], Losses(1000))


def test_who_refuses_where_no_credential_was_sent_has_no_such_scene(
    small: tuple[Path, Window], healthy: AnnualStack
) -> None:
    absent = next(name for name in healthy.used if "_MSIL2A_" in name)

    def fault(path: str, start: int) -> str:
        return "expired" if absent in path and path.endswith("B03.tif") else ""

    with serving(small[0].parent, fault) as server:
        losses = Losses(1)
        annual = read_small(over_http(server), small[1], losses)
        [(scene, kind, line)] = losses.scenes
        assert (scene, kind) == (absent, "gone")
        assert "HTTP 403 (no credential was sent)" in line
        assert set(healthy.used) - {absent} <= set(annual.used)


def test_a_server_that_says_nothing_is_not_waited_for(small: tuple[Path, Window]) -> None:
    def fault(path: str, start: int) -> str:
        if path.endswith("B04.tif"):
            time.sleep(0.2)
        return ""

    with serving(small[0].parent, fault) as server, pytest.raises(TimedOut):
        read_small(over_http(server, Patience(read=0.05, pause=0.0005)), small[1])
