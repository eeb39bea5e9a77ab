"""A plan says what people want to know, of machines that can be had, this one among them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from pathlib import Path

import pytest

from deploy.presets import PRESETS
from tessera_mosaic import calibration
from tessera_mosaic.calibration import Speed, known_speed, priors_here, reading_speed
from tessera_mosaic.model.cards import card_named
from tessera_mosaic.pipeline.commands.plan import plan_arguments, plan_command
from tessera_mosaic.pipeline.commands.plan_table import amount, duration, inside_hint, money, size
from tessera_mosaic.pipeline.planning.plan_request import PlanRequest, plan
from tessera_mosaic.pipeline.planning.priors import read_priors
from tessera_mosaic.pipeline.tiling.area import AreaRequest

VALLEY = "7.30,46.70,7.45,46.80"
AREA = AreaRequest(VALLEY)


def table(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    parser = argparse.ArgumentParser()
    plan_arguments(parser)
    args = parser.parse_args(["--region", VALLEY, "--year", "2024", *options])
    plan_command(argparse.Namespace(**vars(args), json=False))
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (0.0, "under 1 minute"),
        (8 / 60, "8 minutes"),
        (1 / 60, "1 minute"),
        (59.6 / 60, "1 hour"),
        (2.5, "2 hours 30 minutes"),
        (12.4, "12 hours"),
        (72, "3 days"),
        (89_700, "3,740 days"),
    ],
)
def test_time_is_told_as_people_do(hours: float, said: str) -> None:
    assert duration(hours) == said


@pytest.mark.parametrize(
    ("usd", "said"),
    [
        (0, "nothing"),
        (0.0099, "under 1 cent"),
        (0.01, "1 cent"),
        (0.996, "1.00 USD"),
        (12.345, "12.35 USD"),
        (76_312.0, "76,300 USD"),
        (58_900_000.0, "58.9 million USD"),
    ],
)
def test_money_is_told_as_people_do(usd: float, said: str) -> None:
    assert money(usd) == said


def test_amounts_have_three_figures_and_a_word() -> None:
    assert amount(0) == "0"
    assert amount(999_500) == "1,000,000"
    assert amount(25_165_824) == "25.2 million"
    assert size(213e12) == "213 TB"


def test_a_plan_is_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = table(capsys, "--model", "v2-large", "--precision", "bf16")
    names = [line[:18].strip() for line in lines]
    for name in ("tiles", "pixels", "scenes", "tokens a pixel", "read", "written", "cost"):
        assert name in names
    for name in ("machines", "Dataflow", "Cloud NAT", "requests", "storage, a year"):
        assert name in names[names.index("cost") :]
    assert any(re.search(r"hours? \d+ minutes", line) for line in lines)
    assert any("under 1 cent" in line for line in lines)
    # Values stand below one another.
    assert {line[17] for line in lines} == {" "}


def test_a_plan_says_what_pixels_inside_would_leave(capsys: pytest.CaptureFixture[str]) -> None:
    whole = next(line for line in table(capsys) if line.startswith("pixels"))
    found = re.search(r"--pixels inside leaves about ([\d,]+), ([\d.]+) times fewer", whole)
    assert found
    inside = next(line for line in table(capsys, "--pixels=inside") if line.startswith("pixels"))
    assert "those inside the region" in inside
    pixels = [int(re.findall(r"[\d,]{5,}", line)[0].replace(",", "")) for line in (whole, inside)]
    assert float(found[1].replace(",", "")) == pytest.approx(pixels[1], rel=0.02)
    assert float(found[2]) == pytest.approx(pixels[0] / pixels[1], rel=0.02)
    assert inside_hint(AreaRequest("global"), 10**12) == ""


def test_the_default_machine_is_one_that_deploy_launches() -> None:
    for precision in ("bf16", "fp32"):
        for model in ("v2-nano", "v2-large", "v1.1-mpc"):
            found = plan(PlanRequest(AREA, 2024, model=model, precision=precision))
            assert found.bill_on(None).machine.preset in PRESETS


@pytest.mark.parametrize("name", ["a2-highgpu-1g", "a3-highgpu-1g", "p5en.48xlarge/8"])
def test_large_accelerators_are_priced_and_say_how(name: str) -> None:
    found = plan(PlanRequest(AREA, 2024, model="v2-large", precision="bf16", machine=name))
    bill = found.bill_on(name)
    assert "by memory bandwidth" in bill.source
    l4 = found.bill_on("g2-standard-8")
    assert 0 < bill.accelerator_hours[0] < l4.accelerator_hours[0]
    assert bill.total[0] > 0


def test_dataflow_and_nat_are_lines_where_the_deployment_has_them() -> None:
    figures = {name: of.value for name, of in read_priors().figures.items()}
    found = plan(PlanRequest(AREA, 2024, model="v2-large", precision="bf16"))
    for bill in found.bills:
        assert ("dataflow" in bill.cost_usd) == ("cloud_nat" in bill.cost_usd)
        assert ("dataflow" in bill.cost_usd) == bool(bill.machine.preset)
    bill = found.bill_on("g2-standard-8")
    hour = 8 * figures["dataflow_vcpu"] + 32 * figures["dataflow_memory"] + 0.672
    hour += 60 * figures["dataflow_disk"]
    both = bill.cost_usd["machines"][0] + bill.cost_usd["dataflow"][0]
    assert both == pytest.approx(hour * bill.machine_hours[0])
    carried = found.bytes_read[0] / 2**30 * 0.045 + bill.days[0] * 24 * 0.0014
    assert bill.cost_usd["cloud_nat"][0] == pytest.approx(carried)


def test_this_machine_is_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    card, speed = card_named("v2-nano"), Speed("CPU", 4, 50_000.0, 0.2)
    path = calibration._cache(card, "fp32")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(dataclasses.asdict(speed)))
    assert known_speed(card, "fp32") == speed
    found = calibration.plan(PlanRequest(AREA, 2024, model="v2-nano", machine="here"))
    bill = found.bill_on("here")
    assert bill.machine.device == "CPU"
    encoding = found.pixels * found.tokens[0] / 50_000 / 3600
    assert bill.accelerator_hours[0] == pytest.approx(encoding)
    # Reading takes the same cores.
    assert bill.machine_hours[0] > encoding
    assert bill.cost_usd["machines"][0] == 0


def test_reading_here_takes_core_seconds() -> None:
    assert 0.005 < reading_speed(0.0) < 100


def test_encoding_here_takes_tokens() -> None:
    device, rate = calibration.encoding_speed(card_named("v2-nano"), "fp32", 0.0)
    assert rate > 100
    priors = priors_here(Speed(device, 2, rate, 0.1), card_named("v2-nano"), "fp32")
    assert [machine.name for machine in priors.machines] == ["here"]
