"""The offset is decided scene by scene, by what shows whether it is there."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tessera_mosaic.launching import default_offset
from tessera_mosaic.model.cards import card_named
from tessera_mosaic.pipeline.errors import Throttled
from tessera_mosaic.pipeline.imagery.overview import Overview
from tessera_mosaic.pipeline.scenes.scene import Imagery, OffsetClaim, Scene
from tessera_mosaic.pipeline.scenes.stac_items import COMMON_NAMES
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.offset_evidence import (
    OffsetFinding,
    ReadOverview,
    find_offset,
    without_offset,
)
from tessera_mosaic.pipeline.stacks.read_stack import RegionStack, StackRequest, read_stack

GROUND = (32631, 500_000.0, 5_600_000.0, 640.0, 640.0)
KEPT, TAKEN = OffsetClaim(True, "said"), OffsetClaim(False, "said")
OLD = OffsetClaim(False, "baseline 03.01", certain=True)
NEW = Scene("a", "s2", "2024-05-01T10", (3.0, 50.0, 4.0, 51.0))
PAST = dataclasses.replace(NEW, datetime="2018-05-01T10")


def seen(vegetation: Any = None, water: Any = None) -> ReadOverview:
    """A scene's overview: its upper half of vegetation, its lower half of water."""

    def read(scene: Scene, band: str, most: int) -> Overview | None:
        classes = np.full((16, 16), 9, np.uint8)
        classes[:8], classes[8:] = 4 if vegetation else 9, 6 if water else 9
        if band == "SCL":
            return Overview(classes, GROUND)
        values = {"B04": vegetation, "B12": water}[band]
        rows = np.resize(values or [0], 32 * 32).reshape(32, 32)
        return Overview(rows.astype(np.uint16), GROUND)

    return read


@pytest.mark.parametrize(
    ("scene", "imagery", "claim", "overview", "takes_out", "against"),
    [
        # Nothing shows anything: as the reference does.
        (NEW, "mpc", None, seen(), True, False),
        (PAST, "mpc", None, seen(), False, False),
        (NEW, "aws", None, seen(), False, False),
        # The item contradicts it, or agrees.
        (PAST, "mpc", KEPT, seen(), True, True),
        (NEW, "mpc", TAKEN, seen(), False, True),
        (NEW, "mpc", KEPT, seen(), True, False),
        (NEW, "aws", KEPT, seen(), True, True),
        (NEW, "aws", TAKEN, seen(), False, False),
        # The pixels come before the item, both ways.
        (NEW, "mpc", KEPT, seen([300]), False, True),
        (NEW, "aws", TAKEN, seen([1300]), True, True),
        (PAST, "mpc", TAKEN, seen(water=[1050, 1050, 990]), True, True),
        (NEW, "mpc", KEPT, seen(water=[120]), False, True),
        # A baseline below 04.00 comes before the pixels.
        (NEW, "mpc", OLD, seen([1300]), False, True),
        (PAST, "mpc", OLD, seen([1300]), False, False),
        # Bright vegetation of which some is dark, and glint: the pixels do not tell.
        (PAST, "mpc", None, seen([300, 1200, 1300]), False, False),
        (NEW, "mpc", None, seen(water=[950]), True, False),
        (PAST, "mpc", None, seen([0]), False, False),
        # Vegetation that does not tell, and water that does.
        (PAST, "mpc", None, seen([300, 1200, 1300], [1100]), True, True),
    ],
)
def test_what_evidence_decides(
    scene: Scene,
    imagery: str,
    claim: OffsetClaim | None,
    overview: ReadOverview,
    takes_out: bool,
    against: bool,
) -> None:
    found = find_offset(dataclasses.replace(scene, claim=claim), Imagery(imagery), overview)
    assert (found.takes_out, found.is_against_reference) == (takes_out, against)


def test_a_provider_that_asks_for_patience_is_no_evidence() -> None:
    def read(scene: Scene, band: str, most: int) -> Overview | None:
        raise Throttled("later")

    with pytest.raises(Throttled):
        find_offset(NEW, Imagery.MPC, read)


def test_how_it_is_taken_out() -> None:
    values = np.array([0, 1, 999, 1000, 1001, 5000], np.uint16)
    found = OffsetFinding(True, None, True)
    # ESA's products are treated as the reference treats them, whenever they were taken.
    assert without_offset(values, found, Imagery.MPC).tolist() == [0, 1, 999, 0, 1, 4000]
    assert without_offset(values, found, Imagery.AWS).tolist() == [0, 1, 1, 1, 1, 4000]
    left = OffsetFinding(False, None, True)
    assert without_offset(values, left, Imagery.MPC) is values


def test_overviews_over_other_ground_are_laid_where_they_are() -> None:
    values = np.arange(16, dtype=np.uint16).reshape(4, 4) + 1
    layer = Overview(values, (32631, 500_000.0, 5_600_000.0, 40.0, 40.0))
    grid = Overview(np.zeros((4, 4), np.uint8), (32631, 500_020.0, 5_600_010.0, 40.0, 40.0))
    assert layer.onto(grid).tolist() == [[0] * 4, [3, 4, 0, 0], [7, 8, 0, 0], [11, 12, 0, 0]]
    finer = Overview(np.zeros((8, 8), np.uint8), layer.ground)
    assert layer.onto(finer)[::2, 1::2].tolist() == values.tolist()
    elsewhere = Overview(np.zeros((2, 2), np.uint8), (32632, 500_000.0, 5_600_000.0, 40.0, 40.0))
    assert not layer.onto(elsewhere).any()


def test_what_a_model_was_trained_with_is_the_default() -> None:
    card = card_named("v2-nano")
    assert default_offset(card) == "evidence"
    for rule in ("item", "none", "evidence"):
        assert default_offset(dataclasses.replace(card, offset=rule)) == rule


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A year before 2022 in which all scenes have the offset, as ESA's Collection 1 has."""
    spec = Simulation(
        (Footprint.around("31UDS", 3.0, 50.8, 24),),
        years=(2021,),
        s2_days=2,
        s1_days=1,
        cloudiness=0.0,
        baselines=(("2015-01-01", "05.00"),),
    )
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


def stacked(archive: Path, rule: str) -> RegionStack:
    region = "2.9995,50.7995,3.0005,50.8005"
    return read_stack(StackRequest(str(archive), region, 2021, offset=rule))


def raw_red(archive: Path, stack: RegionStack) -> np.ndarray:
    """Red of all days as the files have it."""
    west, _, _, north = stack.window.bounds
    layers = []
    for path in sorted(archive.parent.glob("sentinel-2*/*/B04.tif")):
        with rasterio.open(path) as file:
            row, col = round((file.bounds.top - north) / 10), round((west - file.bounds.left) / 10)
            height, width = stack.window.shape
            layers.append(file.read(1)[row : row + height, col : col + width].astype(int))
    return np.stack(layers)


def test_collection_1_of_before_2022(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        stack = stacked(archive, "evidence")
    raw = raw_red(archive, stack)
    assert np.array_equal(stack.annual.stack.bands[..., 0], np.maximum(raw - 1000, 0))
    notes = stack.description()["scenes"]["offset_by_evidence"]
    assert [note["id"] for note in notes] == [n for n in stack.annual.used if "MSIL2A" in n]
    assert all(note["taken_out"] and note["by"] for note in notes)
    [said] = [record.getMessage() for record in caplog.records if "offset" in record.getMessage()]
    assert "2 scenes had it" in said
    assert "0 did not have it" in said
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        reference = stacked(archive, "reference")
    assert np.array_equal(reference.annual.stack.bands[..., 0], raw)
    assert reference.annual.offsets == ()
    assert "offset" not in caplog.text


def test_a_damaged_overview_is_no_loss(archive: Path, tmp_path: Path) -> None:
    # It has no overview here, and names that tell nothing: what is left is the baseline.
    items = []
    for path in sorted(archive.parent.glob("sentinel-*/*/*.json")):
        item = json.loads(path.read_text())
        for name, asset in item["assets"].items():
            asset["href"] = str(path.parent / f"{name}.tif")
        if "red" not in item["assets"] and "B04" in item["assets"]:
            item["assets"] = {COMMON_NAMES[name]: a for name, a in item["assets"].items()}
            item["properties"]["s2:processing_baseline"] = "5.0"
        items.append(item)
    saved = tmp_path / "items.json"
    saved.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    stack = stacked(saved, "evidence")
    assert stack.rules.imagery == "aws"
    raw = raw_red(archive, stack)
    assert np.array_equal(stack.annual.stack.bands[..., 0], np.maximum(raw - 1000, 1))
