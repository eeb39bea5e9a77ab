"""Exit codes are the same where Python drops assertions and docstrings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import jobs
from tests.jobs import ROOT

FLAGS = ("", "-O", "-OO")


def ended(flag: str, *words: str) -> int:
    """The exit code of the command under a flag of the interpreter."""
    command = [sys.executable, *filter(None, [flag]), "-m", "tessera_mosaic", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue of an archive in which the rasters of one scene are cut short."""
    catalog = jobs.archive(tmp_path_factory.mktemp("broken") / "archive")
    scenes = catalog.parent / "sentinel-1-rtc"
    first = min(path for path in scenes.iterdir() if path.is_dir())
    for raster in first.glob("*.tif"):
        raster.write_bytes(raster.read_bytes()[:200])
    return catalog


@pytest.mark.parametrize("flag", FLAGS)
def test_exit_codes_do_not_depend_on_assertions(
    finished: Path, broken: Path, tmp_path: Path, flag: str
) -> None:
    small = "--region=2.9911,50.8490,2.9930,50.8500"
    failing = jobs.options(broken, tmp_path / "failed", small)
    assert ended(flag, "verify", "--help") == 0
    assert ended(flag, "status", f"--store={finished}") == 0
    assert ended(flag, "status", f"--store={tmp_path / 'none'}") == 2
    assert ended(flag, *failing) == 3
