"""A process that is held to instructions that every processor has, before it computes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from tessera_mosaic.model.engine.instructions import PINNED, PINNED_LEVEL, instructions

PROGRAM = """
import os, sys
import torch
{before}
from tessera_mosaic.model.engine.instructions import instructions, pin_instructions
from tessera_mosaic.model.engine.kernels import UnusableDevice
try:
    pin_instructions()
except UnusableDevice as error:
    print(error)
else:
    print(instructions(torch.device("cpu")))
"""


def said(before: str = "", **environment: str) -> str:
    """What a fresh process says of being held."""
    program = PROGRAM.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_process_is_held_to_what_every_processor_has() -> None:
    assert said() == PINNED_LEVEL


def test_a_process_that_has_computed_otherwise_says_so() -> None:
    told = said("torch.ones(3).exp()", ATEN_CPU_CAPABILITY="default")
    assert told.startswith("this process computes with DEFAULT")
    assert "start it anew" in told


def test_what_a_processor_computes_with(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PINNED:
        monkeypatch.delenv(name, raising=False)
    told = instructions(torch.device("cpu"))
    assert told.startswith(torch.backends.cpu.get_cpu_capability() + " (")
