import argparse
import dataclasses
import itertools
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import shapely

from tessera_mosaic.model.observations import Stack
from tessera_mosaic.pipeline.commands.stack import stack_arguments, stack_command
from tessera_mosaic.pipeline.errors import BadInput, Corrupt, Gone, Throttled
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.dpixel_files import read_stack_directory
from tessera_mosaic.pipeline.stacks.losses import Losses
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import Window
from tessera_mosaic.pipeline.tiling.ownership import region_window

FLANDERS = "3.0193,50.8131,3.0284,50.8188"


def run_stack(*options: str) -> dict:
    parser = argparse.ArgumentParser()
    stack_arguments(parser)
    parser.add_argument("--json", action="store_true")
    return stack_command(parser.parse_args([*options, "--json"]))


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
def test_real_square_equals_the_reference(shared: Path, tmp_path: Path, kernel: str) -> None:
    told = run_stack(
        *("--catalog", str(shared / "data/flanders/catalog.json"), "--year", "2018"),
        *("--region", FLANDERS),
        *("--kernel", kernel, "--out", str(tmp_path)),
    )
    golden = np.load(shared / f"golden/stack/stack_31UDS_2018_{kernel}.npz")
    described = json.loads((tmp_path / "stack.json").read_text())
    assert described == told
    assert described["crs"] == "EPSG:32631"
    pixel, _, west, _, _, north = described["transform"]
    assert pixel == 10
    row = round((north - golden["transform"][5]) / 10)
    col = round((golden["transform"][2] - west) / 10)
    stack = read_stack_directory(tmp_path)
    for field in fields(Stack):
        ours, theirs = getattr(stack, field.name), golden[field.name]
        if ours.ndim > 1:
            ours = ours[:, row : row + 64, col : col + 64]
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, field.name)
    assert len(told["scenes"]["used"]) + len(told["scenes"]["unused"]) == 200


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Simulation((Footprint.around("31UDS", 3.0, 50.8, 16),), s2_days=2, s1_days=2)
    return simulate_archive(tmp_path_factory.mktemp("archive") / "archive", spec)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"--region": "5.9,50,6.1,50.1"}, "spans the UTM zones 31, 32: a stack lies in one zone"),
        ({"--region": "60,0,60.01,0.01"}, "has no scenes of 2024 over region 60,0"),
        ({"--year": "2019"}, "has no scenes of 2019"),
        ({"--allow-lost-scenes": "-1"}, "allow_lost_scenes -1: choose 0 or more"),
        ({"--year": "1999"}, "year 1999: Sentinel-2 has whole years from"),
        ({"--catalog": "nowhere"}, "catalogue nowhere is no file here"),
        ({"--region": "2,50,5,52"}, "ask for at most 8 GiB at a time"),
    ],
)
def test_bad_input_is_one_clear_line(
    archive: Path, tmp_path: Path, options: dict[str, str], line: str
) -> None:
    sound = {
        "--catalog": str(archive),
        "--region": "2.9999,50.7999,3.0001,50.8001",
        "--year": "2024",
        "--out": str(tmp_path / "out"),
    }
    with pytest.raises(BadInput, match=line):
        run_stack(*itertools.chain(*{**sound, **options}.items()))
    assert not (tmp_path / "out").exists()


def test_people_are_told_what_was_made(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    stack_arguments(parser)
    options = ["--catalog", str(archive), "--region", "2.9999,50.7999,3.0001,50.8001"]
    args = parser.parse_args([*options, "--year", "2024", "--out", str(tmp_path)])
    args.json = False
    told = stack_command(args)
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path}: ")
    assert f"from {len(told['scenes']['used'])} of " in said


@pytest.mark.parametrize("field", ["imagery", "kernel", "offset", "s1_mosaic"])
def test_unknown_rules_are_refused(field: str) -> None:
    with pytest.raises(BadInput, match=f"^{field} other: choose one of"):
        Preprocessing(**{field: "other"})


def test_the_identity_of_rules_is_json_and_tells_them_apart() -> None:
    rules = [
        Preprocessing(),
        Preprocessing(kernel="nearest"),
        Preprocessing(offset="item"),
        Preprocessing(s1_mosaic="mean"),
        Preprocessing(imagery="aws"),
    ]
    told = [json.dumps(r.identity(), sort_keys=True) for r in rules]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("rules", [Preprocessing(), Preprocessing("aws", "cubic", "item", "mean")])
def test_rules_are_told_by_their_identity(rules: Preprocessing) -> None:
    assert Preprocessing.of_identity(rules.identity(), rules.imagery) == rules


def test_pixels_that_keep_their_offset_need_item_rules(archive: Path) -> None:
    source = open_catalogue(str(archive))
    window = Window(31, 371_000, 34_800, 8, 8)
    scenes = [
        dataclasses.replace(scene, offset="kept")
        for scene in source.search((2.9, 50.7, 3.1, 50.9), 2024)
    ]
    with pytest.raises(BadInput, match=r"^offset reference: .* choose evidence$"):
        read_block(window, scenes, Preprocessing("aws"), SceneReader(source))


@pytest.mark.parametrize("rule", ["first", "mean"])
def test_scenes_of_a_pass_are_joined_by_the_rule(tmp_path: Path, rule: str) -> None:
    granules = tuple(Footprint.around(name, 3.0, 50.8, 16) for name in ("31UDS", "31UES"))
    spec = Simulation(granules, s2_days=1, s1_days=4)
    source = open_catalogue(str(simulate_archive(tmp_path / "archive", spec)))
    reader = SceneReader(source)
    window = region_window(31, shapely.box(2.9997, 50.7998, 3.0003, 50.8002))
    scenes = [s for s in source.search((2.9, 50.7, 3.1, 50.9), 2024) if s.sensor == "s1"]
    joined = read_block(window, scenes, Preprocessing(s1_mosaic=rule), reader)
    for number, date in enumerate(joined.ascending_dates):
        one, other = (
            read_block(window, [scene], Preprocessing(), reader).stack.sar_ascending[0].astype(int)
            for scene in scenes
            if (scene.date, scene.orbit_state) == (date, "ascending")
        )
        both = (one != 0) & (other != 0)
        expected = np.where(one != 0, one, other)
        if rule == "mean":
            expected[both] = (one[both] + other[both]) // 2
        np.testing.assert_array_equal(joined.stack.sar_ascending[number], expected)
        assert (one[both] != other[both]).any()
    assert len(joined.ascending_dates) > 0
    reader.close()


def test_losses_are_counted_a_scene_once() -> None:
    losses = Losses(1)
    losses.add(Corrupt("broken", "a", "B04"))
    losses.add(Corrupt("broken too", "a", "B08"))
    with pytest.raises(Gone):
        losses.add(Gone("away", "b", "B04"))
    assert losses.scenes[0] == ("a", "corrupt", "a B04: broken")
    with pytest.raises(Throttled):
        Losses(100).add(Throttled("later", "c", "B04"))


def test_a_catalogue_of_two_kinds_of_imagery_is_refused(tmp_path: Path) -> None:
    items = [
        {
            "type": "Feature",
            "id": name,
            "collection": "sentinel-2-l2a",
            "bbox": [3, 50, 4, 51],
            "properties": {"datetime": "2024-05-01T10:00:00Z"},
            "assets": {asset: {"href": "./a.tif"}},
        }
        for name, asset in (("a", "red"), ("b", "B04"))
    ]
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    with pytest.raises(BadInput, match="give them as two catalogues"):
        open_catalogue(str(path))
