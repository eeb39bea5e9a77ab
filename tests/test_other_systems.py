"""What only reads imports where the system lacks modules that Linux has, as Windows does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.io.storage import Storage
from tests.samples import TILES, write_sample

WITHOUT = """
import os, sys
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
"""
"""Takes away what Windows does not have."""

READS = """
import tessera_mosaic as tm
from tessera_mosaic.pipeline.commands import plan, status, verify
from tessera_mosaic.pipeline.embedding import weights
store = sys.argv[1]
zones = tm.open_mosaic(store)
part = zones.region(5.9995, 0.001, 5.9999, 0.002, year=2018)[31]
print(list(zones), tm.dequantize(part).shape[0], tm.status(store).planned, tm.plan.__name__)
"""

WRITES = """
from tessera_mosaic.pipeline.io.storage import Storage
Storage(sys.argv[1]).write("one", b"1")
"""

READS_A_FILE = """
from tessera_mosaic.pipeline.tiling.gdal_sandbox import main
main("any.gpkg", 1)
"""


def on_another_system(program: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a process without the modules."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + program, str(place)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_reading_needs_none_of_them(tmp_path: Path) -> None:
    write_sample(Storage(str(tmp_path / "store")), TILES[:2], [2018])
    ended = on_another_system(READS, tmp_path / "store")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["[31]", "128", "2", "plan"]


@pytest.mark.parametrize(
    ("program", "said"),
    [(WRITES, "use Linux or macOS, or WSL on Windows"), (READS_A_FILE, "GeoJSON or KML")],
)
def test_what_does_not_run_there_says_so(program: str, said: str, tmp_path: Path) -> None:
    ended = on_another_system(program, tmp_path)
    assert said in (ended.stderr + ended.stdout).splitlines()[-1]
