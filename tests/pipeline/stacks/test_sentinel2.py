import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_mosaic.pipeline.errors import Incomplete
from tessera_mosaic.pipeline.imagery.overview import Overview
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.offset_evidence import remove_offset, remove_offset_by_date
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.stacks.sentinel2 import (
    DayMosaic,
    has_offset,
    is_clear,
)
from tessera_mosaic.pipeline.tiling.lattice import from_lonlat, lonlat_bounds, window_of_bounds

CLOUDY = {0, 1, 2, 3, 8, 9}


def test_which_classes_are_clear() -> None:
    classes = np.arange(256, dtype=np.uint8)
    assert set(classes[~is_clear(classes)].tolist()) == CLOUDY


def test_the_reference_mosaic_of_a_day() -> None:
    mosaic = DayMosaic((2, 3))
    mosaic.add(np.array([[9, 4, 8], [4, 0, 3]], np.uint8))
    mosaic.add(np.array([[5, 6, 10], [0, 11, 1]], np.uint8))
    assert mosaic.chosen.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert mosaic.clear.tolist() == [[True, True, True], [True, True, False]]
    assert not mosaic.is_full


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), min_size=6, max_size=6), min_size=1, max_size=6))
def test_the_first_clear_scene_counts_else_the_first_with_data(scenes: list[list[int]]) -> None:
    mosaic = DayMosaic((2, 3))
    for scene in scenes:
        mosaic.add(np.array(scene, np.uint8).reshape(2, 3))
    for at in range(6):
        column = [scene[at] for scene in scenes]
        clear = [n for n, value in enumerate(column) if value not in CLOUDY]
        data = [n for n, value in enumerate(column) if value != 0]
        assert mosaic.chosen.flat[at] == (clear or data or [0])[0]
        assert mosaic.clear.flat[at] == bool(clear)
    assert mosaic.is_full == mosaic.clear.all()


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2022-01-24", [0, 1, 500, 999, 1000, 1001, 5000]),
        ("2022-01-25", [0, 1, 500, 999, 1000, 1001, 5000]),
        ("2022-01-26", [0, 1, 500, 999, 0, 1, 4000]),
    ],
)
def test_the_reference_offset(date: str, expected: list[int]) -> None:
    values = np.array([0, 1, 500, 999, 1000, 1001, 5000], np.uint16)
    lowered = remove_offset_by_date(values, date)
    assert lowered.tolist() == expected
    assert lowered.dtype == np.uint16


def test_the_offset_of_every_pixel_with_data() -> None:
    values = np.array([0, 1, 999, 1000, 1001, 5000, 65535], np.uint16)
    assert remove_offset(values).tolist() == [0, 1, 1, 1, 1, 4000, 64535]


SCENE = Scene("a", "s2", "2024-05-01T10", (3.0, 50.0, 4.0, 51.0), baseline="05.10")


def overview(dark: int, classes: int | None) -> Any:
    """A scene's overview, all of one class and one darkness."""

    def read(scene: Scene, band: str, most: int) -> Overview | None:
        if classes is None:
            return None
        ground = (32631, 500_000.0, 5_600_000.0, 640.0, 640.0)
        if band == "SCL":
            return Overview(np.full((16, 16), classes, np.uint8), ground)
        return Overview(np.full((32, 32), dark, np.uint16), ground)

    return read


@pytest.mark.parametrize(
    ("changes", "dark", "classes", "expected"),
    [
        ({"baseline": "02.12"}, 1500, 4, False),
        ({"baseline": "05.10"}, 1300, 4, True),
        ({"baseline": "05.10"}, 1100, 6, True),
        # A catalogue that says one thing while the pixels say another.
        ({"baseline": "05.10", "offset": "applied"}, 1300, 4, True),
        ({"baseline": "05.10"}, 300, 4, False),
        # Nothing dark to tell by: the item's word counts.
        ({"baseline": "05.10", "offset": "applied"}, 5000, 9, False),
        ({"baseline": "05.10", "offset": "applied"}, 0, 4, False),
        ({"baseline": "05.10", "offset": "kept"}, 5000, 9, True),
        ({"baseline": "05.10"}, 5000, None, True),
        ({"baseline": ""}, 1300, 4, True),
        ({"baseline": ""}, 300, 6, False),
    ],
)
def test_the_offset_by_item_and_pixels(
    changes: dict, dark: int, classes: int | None, expected: bool
) -> None:
    scene = dataclasses.replace(SCENE, **changes)
    assert has_offset(scene, overview(dark, classes)) is expected


def test_when_nothing_tells_of_the_offset() -> None:
    with pytest.raises(Incomplete, match="whether the offset is in them"):
        has_offset(dataclasses.replace(SCENE, baseline=""), overview(5000, 9))


def test_item_rules_on_a_year_with_two_baselines(tmp_path: Path) -> None:
    # From 04.00 on, all pixels are 1000 more, and by item they become as if they were not.
    x, y = from_lonlat(31).transform(3.0, 50.8)
    window = window_of_bounds(31, (x - 100, y - 100, x + 100, y + 100))
    one = (("2015-01-01", "03.01"),)
    stacks = []
    for baselines in (one, (*one, ("2022-01-25", "04.00"))):
        spec = Simulation(
            (Footprint.around("31UDS", 3.0, 50.8, 64),),
            years=(2022,),
            s2_days=24,
            s1_days=1,
            baselines=baselines,
        )
        source = open_catalogue(str(simulate_archive(tmp_path / str(len(baselines)), spec)))
        reader = SceneReader(source)
        scenes = source.search(lonlat_bounds(window), 2022)
        stacks.append(read_block(window, scenes, Preprocessing(offset="item"), reader))
        reader.close()
        found = {scene.baseline for scene in scenes if scene.sensor == "s2"}
        assert found == {baseline for _, baseline in baselines}
    plain, two = stacks
    clear = plain.stack.masks != 0
    assert plain.dates == two.dates
    assert plain.dates[0] < "2022-01-25" < plain.dates[-1]
    np.testing.assert_array_equal(two.stack.bands[clear], plain.stack.bands[clear])
