"""A run that is held to the instructions that every processor has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import jobs
from tests.jobs import FIRST, Run, record_of


def test_a_held_run_says_so_in_records_and_is_a_mosaic_of_its_own(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    words = jobs.options(archive, tmp_path / "store", "--json", f"--region={SMALL}")
    held = jobs.run_process([*words, "--reproducible", "--workers=2"])
    assert held.code == 0, held.error
    assert record_of(tmp_path / "store", FIRST).arithmetic == "AVX2, pinned"
    free = record_of(finished, FIRST)
    assert free.arithmetic != "AVX2, pinned"
    assert free.scenes_used == record_of(tmp_path / "store", FIRST).scenes_used
    other = jobs.run_process(words)
    assert other.code == 2
    assert "instructions" in other.error
    assert len(other.error.strip().splitlines()) == 1


SMALL = "2.9911,50.8490,2.9930,50.8500"
"""A box in the first tile."""


@pytest.mark.parametrize("other", ["--precision=bf16", "--device=cuda"])
def test_only_float32_on_the_cpu_can_be_held(
    archive: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture, other: str
) -> None:
    words = jobs.options(archive, tmp_path / "store", "--reproducible", other)
    assert jobs.run_here(words) == 2
    assert "--reproducible" in capsys.readouterr().err
