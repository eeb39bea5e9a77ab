"""Presets fit their machines, and every option of theirs is one that the program has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from deploy.presets import MODEL, PRECISION, PRESETS, TOKENS, VARIABLES, Preset
from tessera_mosaic.pipeline.cli import build_parser
from tessera_mosaic.pipeline.job.beam_options import check_beam_arguments
from tessera_mosaic.pipeline.job.tile_slots import AT_ONCE
from tessera_mosaic.pipeline.planning.plan_request import PlanRequest, plan
from tessera_mosaic.pipeline.planning.priors import read_priors
from tessera_mosaic.pipeline.tiling.area import AreaRequest

ROOT = Path(__file__).resolve().parents[2]

EVERY = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)


def name_of(preset: Preset) -> str:
    return next(name for name, each in PRESETS.items() if each is preset)


@EVERY
def test_the_machine_keeps_the_gpu_in_work(preset: Preset) -> None:
    assert preset.vcpus_needed <= preset.vcpus
    assert preset.stack_gb < preset.memory_gb / 4


@EVERY
def test_options_are_known_to_the_program(preset: Preset) -> None:
    required = ["--catalog=c", "--region=0,0,1,1", "--year=2024", "--store=s"]
    words = ["run", *required, *preset.options(flex_start=True)]
    args, rest = build_parser("run").parse_known_args(words)
    assert args.block == preset.block
    check_beam_arguments(rest)


@EVERY
def test_one_process_a_gpu(preset: Preset) -> None:
    options = preset.options()
    assert "--experiments=no_use_multiple_sdk_containers" in options
    assert preset.service_option().split(";")[1] == "count:1"
    assert 2 <= preset.tiles <= AT_ONCE


@EVERY
def test_presets_docs_and_plan_have_the_same_figures(preset: Preset) -> None:
    assert "--precision=bf16" in preset.options()
    machine, figures = preset.planned, read_priors().figures
    assert (preset.disk_gb, machine.preset) == (machine.disk_gb, name_of(preset))
    assert f"tokens a pixel (v2) | {TOKENS} (" in (ROOT / "docs/planet.md").read_text()
    area = AreaRequest("5.8,50.7,6.1,50.9")
    found = plan(PlanRequest(area, 2025, model=MODEL, precision=PRECISION, machine=machine.name))
    rate = found.pixels * found.tokens[0] / found.bill_on(machine.name).accelerator_hours[0] / 3600
    assert preset.rate * TOKENS == pytest.approx(rate)
    row = next(
        line
        for line in (ROOT / "deploy/README.md").read_text().splitlines()
        if line.startswith(f"| `{name_of(preset)}` | {preset.machine}")
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    told = float(cells[2].removesuffix(" px/s").replace(",", ""))
    assert told == pytest.approx(preset.rate, rel=0.02)
    assert cells[3] == f"{preset.vcpus}, {preset.vcpus_needed:.0f}"
    assert cells[4] == str(preset.tiles)
    page = (ROOT / "docs/operator.md").read_text()
    if name_of(preset) == "l4":
        told = re.search(r"pixels / ([\d,]+) px/s a worker", page)
        assert told
        assert float(told[1].replace(",", "")) == pytest.approx(preset.rate, rel=0.02)
    stored = found.bytes_written[0] / found.pixels
    assert f"some {stored:.0f} bytes a pixel and year" in page
    assert f"{stored:.0f} bytes a pixel in all" in figures["compression"].unit
    assert stored == pytest.approx(figures["map_bytes_read"].value, rel=0.005)


def test_what_a_pixel_reads_is_told_alike() -> None:
    size = (ROOT / "docs/planet.md").read_text()
    read = re.search(r"\| read \| ([\d.]+) PB", size)
    pixels = re.search(r"pixels to embed, with the margin at zone lines \| ([\d,]+)", size)
    told = re.search(r"about ([\d.]+) kB a pixel", (ROOT / "docs/operator.md").read_text())
    assert read
    assert pixels
    assert told
    kilobytes = float(read[1]) * 1e12 / float(pixels[1].replace(",", ""))
    assert float(told[1]) == pytest.approx(kilobytes, abs=0.05)


def test_every_example_of_a_gpu_encodes_in_bf16() -> None:
    for path in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*"), ROOT / "README.md"]:
        if path.suffix not in (".md", ".sh", ".yaml", ".json"):
            continue
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.search(r"--device[ =]cuda", line) and "run" in path.read_text():
                around = " ".join(lines[max(number - 1, 0) : number + 2])
                known = re.search(r"--precision[ =]bf16|benchmarks|With `--device", around)
                assert known or path.name in ("api.md", "cli.md", "metadata.json"), (
                    f"{path}: {line}"
                )


def test_flex_start_is_asked_for_only_where_it_is_wanted() -> None:
    preset = PRESETS["l4"]
    assert "FLEX_START" not in " ".join(preset.options())
    assert "provisioning_model:FLEX_START" in " ".join(preset.options(flex_start=True))


def test_terraform_has_a_preset_as_it_is() -> None:
    options = json.loads(VARIABLES.read_text())["worker_options"]
    assert options in [
        preset.options(flex) for preset in PRESETS.values() for flex in (False, True)
    ], "python -m deploy.presets PRESET --terraform"
