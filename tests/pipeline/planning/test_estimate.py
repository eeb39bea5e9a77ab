"""A plan counts what is there, knows where its figures are from, and how sure it is of them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.commands.plan import plan_arguments, plan_command
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.ledger.journal import JOURNAL_SECONDS
from tessera_mosaic.pipeline.ledger.tally import MOST_TALLY_SECONDS
from tessera_mosaic.pipeline.planning import revisits
from tessera_mosaic.pipeline.planning.estimate import likely, make_plan
from tessera_mosaic.pipeline.planning.priors import (
    THROUGHPUT,
    Figure,
    Throughput,
    read_priors,
    record_throughput,
)
from tessera_mosaic.pipeline.planning.revisits import ground_of, s2_passes
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.tiling.area import AreaRequest, read_area
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tessera_mosaic.pipeline.tiling.ownership import owned
from tessera_mosaic.pipeline.tiling.region import wanted_pixels
from tests import jobs
from tools import planet_page

VALLEY = "6.9,45.8,7.3,46.1"


def plan(*options: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    plan_arguments(parser)
    parser.add_argument("--json", action="store_true")
    return plan_command(parser.parse_args(["--year", "2024", "--json", *options]))


def ground(region: str) -> revisits.Ground:
    return ground_of(read_area(AreaRequest(region)))


@dataclasses.dataclass
class Catalogue:
    """Over every tile, so many passes of each sensor, one scene each, and an unusable scene."""

    s2: int = 50
    s1: int = 20
    name: str = "a catalogue"
    imagery: str = "mpc"
    asked: int = 0

    def search(self, bounds: tuple[float, float, float, float], year: int) -> list[Scene]:
        self.asked += 1
        scenes = []
        for sensor, count in (("s2", self.s2), ("s1", self.s1)):
            for day in range(count):
                date = f"{year}-{1 + day // 28:02d}-{1 + day % 28:02d}T10:00:00Z"
                scenes.append(Scene(f"{sensor}-{day}", sensor, date, bounds))
        return [
            *scenes,
            *(dataclasses.replace(scene, id="twin", unusable="a twin") for scene in scenes[:1]),
        ]


def test_pixels_of_a_plan_are_those_that_a_run_would_embed() -> None:
    area = read_area(AreaRequest("5.97,49.98,6.03,50.03", tile=256))
    found = ground_of(area)
    assert len(found.tiles) == len(list(area.tiles())) > 8
    for (zone, row, col), pixels in zip(found.tiles.tolist(), found.pixels, strict=True):
        assert pixels == area.wanted(Tile(zone, row, col, 256).window).sum()
    assert (found.owned <= found.pixels).all()
    assert (found.owned < found.pixels).any()


@pytest.mark.parametrize(
    ("region", "side"),
    [("5.9,49.96,6.1,50.04", 256), ("179.96,-16.84,-179.96,-16.76", 256), ("Luxembourg", 1024)],
)
def test_tiles_within_a_region_are_counted_as_if_pixel_by_pixel(region: str, side: int) -> None:
    area = read_area(AreaRequest(region, tile=side, pixels="inside"))
    found = ground_of(area)
    for tile, pixels, bare in zip(found.tiles.tolist(), found.pixels, found.owned, strict=True):
        window = Tile(*tile, side).window
        assert pixels == area.wanted(window).sum()
        assert bare == wanted_pixels(window, 0, area.region).sum()
    assert (found.pixels == side**2).any()
    assert (found.pixels < side**2).any()


def test_a_global_plan_takes_little_memory() -> None:
    program = (
        "from tessera_mosaic.pipeline.cli import main; "
        "main(['plan', '--region=global', '--year=2024', '--model=v2-large', '--json']); "
        "print(open('/proc/self/status').read())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    found, _, status = done.stdout.decode().partition("\n")
    assert json.loads(found)["tiles"] > 400_000
    # `getrusage` would count what the process that started this one had in memory.
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) < 2**20


def test_a_plan_loads_neither_torch_nor_beam(archive: Path) -> None:
    program = (
        "import sys, pkgutil, importlib; "
        "from tessera_mosaic.pipeline import cli, planning, scenes, tiling; "
        "assert cli.main(sys.argv[1:]) == 0; "
        "[importlib.import_module(f'{package.__name__}.{module.name}') "
        "for package in (planning, scenes, tiling) "
        "for module in pkgutil.iter_modules(package.__path__)]; "
        "print('loaded', *{'torch', 'apache_beam'} & set(sys.modules))"
    )
    words = ["plan", f"--catalog={archive}", f"--region={jobs.REGION}", "--year=2024"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"


def test_private_hosts_can_be_allowed() -> None:
    parser = argparse.ArgumentParser()
    plan_arguments(parser)
    words = ["--region", VALLEY, "--year", "2024", "--allow-host", "a.lan", "--allow-host", "b.lan"]
    assert parser.parse_args(words).allow_host == ["a.lan", "b.lan"]


def test_pixels_inside_a_region_are_fewer_and_as_many_as_its_ground() -> None:
    box = "7.0,46.0,7.05,46.03"
    whole, inside = plan("--region", box), plan("--region", box, "--pixels", "inside")
    assert inside["tiles"] == whole["tiles"]
    area = read_area(AreaRequest(box, pixels="inside"))
    counted = sum(int(area.wanted(tile.window).sum()) for tile in area.tiles())
    assert inside["pixels"] == counted < whole["pixels"]
    metres = 0.05 * 111_320 * np.cos(np.radians(46.015)) * 0.03 * 111_150
    assert counted == pytest.approx(metres / 100, rel=0.01)


def test_everything_grows_with_the_area() -> None:
    small, large = plan("--region", VALLEY), plan("--region", "6.0,45.0,8.0,47.0")
    named = ("tiles", "pixels", "scenes", "accelerator_hours", "bytes_read", "bytes_written")
    for field in (*named, "requests", "cost_usd"):
        assert 0 < small[field] < large[field], field
    assert small["tokens_per_pixel"] == pytest.approx(large["tokens_per_pixel"], rel=0.05)


def test_parts_add_up_and_lie_in_their_ranges() -> None:
    found = plan("--region", VALLEY, "--model", "v2-large", "--precision", "bf16")
    assert sum(found["cost_usd_by_part"].values()) == pytest.approx(found["cost_usd"], rel=1e-3)
    assert sum(found["requests_by_kind"].values()) == pytest.approx(found["requests"], rel=1e-3)
    for name, (low, high) in found["uncertainty"].items():
        assert low <= found[name] <= high, name
        assert low < high, name
    assert json.loads(json.dumps(found)) == found


def test_more_workers_take_less_time_and_the_same_money() -> None:
    one, two = plan("--region", VALLEY), plan("--region", VALLEY, "--workers", "2")
    assert one["tiles"] % 2 == 0
    assert two["days"] == pytest.approx(one["days"] / 2, rel=1e-3)
    assert two["cost_usd"] == one["cost_usd"]


def test_no_worker_takes_less_time_than_a_tile() -> None:
    one = plan("--region", VALLEY)
    odd = plan("--region", VALLEY, "--workers", str(one["tiles"] - 1))
    enough = plan("--region", VALLEY, "--workers", str(one["tiles"]))
    more = plan("--region", VALLEY, "--workers", "1000")
    assert enough["days"] == more["days"] == pytest.approx(one["days"] / one["tiles"], rel=1e-3)
    # One of them has two tiles.
    assert odd["days"] == pytest.approx(2 * more["days"], rel=1e-3)


def test_requests_of_a_store_are_notes_parts_and_progress() -> None:
    found = plan("--region", VALLEY)
    kinds, tiles = found["requests_by_kind"], found["tiles"]
    # A note that it is begun, a record, and codes of 500 MB and scales in parts of 50 MiB.
    arrays = [128 * 2048**2 / read_priors().figures["compression"].value, 4 * 2048**2]
    parts = sum(-(-size // (50 * 2**20)) for size in (*arrays, *[2 * 2048**2] * 3))
    assert kinds["write"] == pytest.approx(tiles * (2 + parts), rel=0.1)
    assert kinds["delete"] == tiles
    seconds = found["machine_hours"] * 3600
    assert kinds["progress"] == pytest.approx(
        seconds / MOST_TALLY_SECONDS + min(tiles, seconds / JOURNAL_SECONDS), rel=1e-2
    )


def test_bytes_written_are_those_of_the_arrays() -> None:
    found = plan("--region", VALLEY)
    codes = found["pixels"] * 128 / read_priors().figures["compression"].value
    assert found["bytes_written"] == pytest.approx(codes + found["pixels"] * (4 + 3 * 2), rel=1e-3)


def test_a_catalogue_is_asked_and_believed() -> None:
    source = Catalogue()
    found = make_plan(ground(VALLEY), 2024, card_named("v2-nano"), source=source)
    assert source.asked == found.tiles
    assert found.passes.s2[0] == pytest.approx(50)
    assert found.passes.s2_scenes[0] == pytest.approx(50 * found.tiles)
    assert found.passes.s1_scenes[0] == pytest.approx(20 * found.tiles)
    assert found.tokens[0] == pytest.approx(50 * read_priors().figures["s2_clear"].value + 20)
    assert found.passes.origin == "a catalogue"


def test_a_large_area_is_sampled() -> None:
    source = Catalogue()
    found = make_plan(ground("0,44,6,50"), 2024, card_named("v2-nano"), source=source)
    assert source.asked == revisits.SAMPLE < found.tiles
    assert found.passes.s2_scenes[0] == pytest.approx(50 * found.tiles)


def test_a_catalogue_without_scenes_is_refused() -> None:
    with pytest.raises(BadInput, match="no scenes of 2024"):
        make_plan(ground(VALLEY), 2024, card_named("v2-nano"), source=Catalogue(0, 0))


def test_a_scene_across_the_antimeridian_is_over_the_tile() -> None:
    class Across(Catalogue):
        def search(self, bounds: tuple[float, float, float, float], year: int) -> list[Scene]:
            return [Scene("s2", "s2", f"{year}-01-01T00:00:00Z", (179.0, -18.0, -179.0, -16.0))]

    fiji = read_area(AreaRequest("Fiji"))
    east = max(fiji.tiles([60]), key=lambda tile: tile.col)
    west = min(fiji.tiles([1]), key=lambda tile: tile.col)
    for tile in (east, west):
        area = dataclasses.replace(fiji, listed=(tile,))
        found = make_plan(ground_of(area), 2024, card_named("v2-nano"), source=Across())
        assert found.passes.s2[0] == 1.0


def test_a_scene_counts_by_the_share_of_the_tile_that_it_covers() -> None:
    class Corner(Catalogue):
        def search(self, bounds: tuple[float, float, float, float], year: int) -> list[Scene]:
            west, south, east, north = bounds
            middle = (west + east) / 2, (south + north) / 2
            halves = (west, south, middle[0], north), (west, south, east, middle[1])
            return [Scene(str(half), "s2", f"{year}-01-01T00:00:00Z", half) for half in halves]

    found = make_plan(ground(VALLEY), 2024, card_named("v2-nano"), source=Corner())
    assert found.passes.s2[0] == pytest.approx(0.75)


@dataclasses.dataclass
class Field(Catalogue):
    """An archive of a field: every scene is clipped to it."""

    box: tuple[float, float, float, float] = (7.1, 45.95, 7.103, 45.952)

    def search(self, bounds: tuple[float, float, float, float], year: int) -> list[Scene]:
        return [dataclasses.replace(scene, bbox=self.box) for scene in super().search(bounds, year)]


def test_scenes_of_the_size_of_a_field_count_by_the_ground_that_is_made() -> None:
    card, source = card_named("v2-nano"), Field()
    whole = make_plan(ground(VALLEY), 2024, card, source=Catalogue())
    field = AreaRequest(",".join(map(str, source.box)), pixels="inside")
    found = make_plan(ground_of(read_area(field)), 2024, card, source=source)
    assert found.pixels < 2000
    assert found.passes.s2[0] == pytest.approx(50)
    assert found.tokens[0] == pytest.approx(whole.tokens[0])
    hours, all_hours = (of.bills[0].accelerator_hours[0] for of in (found, whole))
    assert hours / found.pixels == pytest.approx(all_hours / whole.pixels)
    # Of whole tiles only the field is seen, which takes as much.
    tiles = AreaRequest(",".join(map(str, source.box)))
    around = make_plan(ground_of(read_area(tiles)), 2024, card, source=source)
    assert around.pixels > 1000 * found.pixels
    assert around.tokens[0] == pytest.approx(whole.tokens[0])
    assert around.bills[0].accelerator_hours[0] == pytest.approx(hours, rel=0.1)
    assert around.bytes_written[0] == pytest.approx(found.bytes_written[0], rel=0.1)


def test_a_scene_all_around_the_globe_is_over_the_tile() -> None:
    class Around(Catalogue):
        def search(self, bounds: tuple[float, float, float, float], year: int) -> list[Scene]:
            return [Scene("s2", "s2", f"{year}-01-01T00:00:00Z", (-180.0, -90.0, 180.0, 90.0))]

    found = make_plan(ground(VALLEY), 2024, card_named("v2-nano"), source=Around())
    assert found.passes.s2[0] == pytest.approx(1.0)


def test_orbits_give_the_revisit_that_is_published() -> None:
    # ESA: with two satellites 5 days at the equator, 2 to 3 days at mid-latitudes.
    equator, middle = 365 / (2 * s2_passes(np.array([0.0, 50.0])))
    assert equator == pytest.approx(5.0, rel=0.06)
    assert 2.5 < middle < 3.5
    # Polar night: fewer days than the orbits alone would give.
    assert revisits.daylight(np.array([75.0]))[0] < 250


def test_a_model_of_fixed_depth_has_its_own_tokens() -> None:
    assert plan("--region", VALLEY, "--model", "v1.0")["tokens_per_pixel"] == 80


def test_every_figure_says_where_it_is_from() -> None:
    priors = read_priors()
    for entry in (*priors.figures.values(), *priors.machines, *priors.throughputs):
        assert entry.source
        assert entry.date >= "2024"
    for figure in priors.figures.values():
        assert figure.low <= figure.value <= figure.high
        assert figure.unit
    for row in priors.throughputs:
        card_named(row.model)


def test_draws_stay_within_their_range() -> None:
    drawn = Figure("x", 2.0, 1.0, 4.0, "", "", "").draw(np.random.default_rng(0))
    assert drawn[0] == 2.0
    assert drawn.min() >= 1.0
    assert drawn.max() <= 4.0
    assert likely(drawn)[0] < 2.0 < likely(drawn)[1]


def test_a_benchmark_replaces_its_own_row_only(tmp_path: Path) -> None:
    path = tmp_path / "throughput.json"
    path.write_bytes(THROUGHPUT.read_bytes())
    row = Throughput("L40S", "v2-large", "bf16", 100.0, 30_000.0, "benchmarks encode", "2026-11")
    record_throughput(row, path)
    record_throughput(row, path)
    rows = read_priors(throughput=path).throughputs
    assert len(rows) == len(read_priors().throughputs)
    assert [known for known in rows if known == row] == [row]


def test_what_was_measured_is_believed_before_what_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "throughput.json"
    path.write_bytes(THROUGHPUT.read_bytes())
    here, card = ground(VALLEY), card_named("v2-nano")
    scaled = make_plan(here, 2024, card, "bf16")
    record_throughput(Throughput("L40S", "v2-nano", "bf16", 100.0, 1e6, "ours", "2026-11"), path)
    measured = make_plan(here, 2024, card, "bf16", priors=read_priors(throughput=path))
    by_name = {bill.machine.device: bill for bill in measured.bills}
    hours = measured.pixels * measured.tokens[0] / 1e8 / 3600
    assert by_name["L40S"].accelerator_hours[0] == pytest.approx(hours)
    assert "scaled" not in by_name["L40S"].source
    assert all("scaled" in bill.source for bill in scaled.bills)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--workers", "0"), "at least one machine"),
        (("--machine", "abacus"), "prices are known of"),
        (("--machine", "p5e.48xlarge/8"), "`here` is this machine"),
        (("--margin", "5000"), "^margin 5000: "),
        (("--year", "1990"), "whole years from 2016"),
        (("--year", "2100"), "the future has none"),
        (("--tile", "100"), "does not fit the lattice"),
    ],
)
def test_options_that_cannot_be_are_refused(options: tuple[str, ...], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        plan("--region", VALLEY, *options)


@pytest.mark.parametrize("words", [["--region", "-71.2,42.3,-71.0,42.4"], ["--region=-.1,5,0,6"]])
def test_a_box_may_begin_in_the_west(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words, "--year", "2024", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tiles"] > 0


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    plan_arguments(parser)
    args = parser.parse_args(["--region", VALLEY, "--year", "2024"])
    plan_command(argparse.Namespace(**vars(args), json=False))
    table = capsys.readouterr().out
    for word in ("tiles", "scenes", "tokens a pixel", "written", "cost", "speed from"):
        assert f"\n{word}" in f"\n{table}"


def test_owned_pixels_of_the_plan_leave_the_margin_out() -> None:
    found = ground_of(read_area(AreaRequest("5.99,50.0,6.01,50.02", tile=256)))
    for (zone, row, col), count in zip(found.tiles.tolist(), found.owned, strict=True):
        assert count == owned(Tile(zone, row, col, 256).window, margin=0).sum()


def test_the_planet_page_is_what_plan_says() -> None:
    page = planet_page.PAGE.read_text()
    for name, table in planet_page.tables().items():
        marker = f"<!-- {name} -->"
        assert f"{marker}\n{table}\n{marker}" in page, "run python tools/planet_page.py"
