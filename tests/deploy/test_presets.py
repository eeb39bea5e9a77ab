"""Presets fit their machines, and every option of theirs is one that the program has."""

from __future__ import annotations

import json

import pytest

from deploy.presets import PRESETS, VARIABLES, Preset
from tessera_mosaic.pipeline.cli import build_parser
from tessera_mosaic.pipeline.job.beam_options import check_beam_arguments
from tessera_mosaic.pipeline.job.tile_slots import AT_ONCE

EVERY = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)


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


def test_flex_start_is_asked_for_only_where_it_is_wanted() -> None:
    preset = PRESETS["l4"]
    assert "FLEX_START" not in " ".join(preset.options())
    assert "provisioning_model:FLEX_START" in " ".join(preset.options(flex_start=True))


def test_terraform_has_a_preset_as_it_is() -> None:
    options = json.loads(VARIABLES.read_text())["worker_options"]
    assert options in [
        preset.options(flex) for preset in PRESETS.values() for flex in (False, True)
    ], "python -m deploy.presets PRESET --terraform"
