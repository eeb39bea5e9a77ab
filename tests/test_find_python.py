"""`make` builds on a Python that is there and runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.layers import ROOT

SEARCH = ROOT / "tools" / "find_python.sh"

SHIM = "#!/bin/sh\necho not here >&2\nexit 127\n"
RUNS = "#!/bin/sh\nexit 0\n"


def stand_in(path: Path, program: str) -> str:
    """A program in the place of a Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(program)
    path.chmod(0o755)
    return str(path)


def search(home: Path, words: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Search where there is nothing but what lies in `bin` and in pyenv's folder of a home."""
    return subprocess.run(
        words or ["/bin/sh", str(SEARCH)],
        env={"HOME": str(home), "PATH": str(home / "bin")},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["3.11", "3.12", "3.13"], "3.12"),
        (["3.11", "3.13"], "3.13"),
        (["3.13"], "3.13"),
    ],
)
def test_the_first_choice_that_is_there(there: list[str], chosen: str, tmp_path: Path) -> None:
    for version in there:
        stand_in(tmp_path / "bin" / f"python{version}", RUNS)
    assert search(tmp_path).stdout.strip() == str(tmp_path / "bin" / f"python{chosen}")


def test_a_shim_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin" / "python3.12", SHIM)
    found = stand_in(tmp_path / "bin" / "python3.13", RUNS)
    assert search(tmp_path).stdout.strip() == found
    found = stand_in(tmp_path / ".pyenv" / "versions" / "3.12.4" / "bin" / "python", RUNS)
    assert search(tmp_path).stdout.strip() == found


def test_without_any_it_says_so_in_one_line(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin" / "python3.12", SHIM)
    ended = search(tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1
    assert "3.12 3.13 3.11" in ended.stderr


def test_make_builds_on_what_is_found_or_named(tmp_path: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    (tmp_path / "bin").mkdir()
    words = [make, f"VENV={tmp_path / 'venv'}", "setup"]
    ended = search(tmp_path, words)
    assert ended.returncode != 0
    assert "no Python 3.12 3.13 3.11 was found" in ended.stderr
    told = 'echo "$0 $@" > "$HOME/told"; exit 3'
    stand_in(tmp_path / "bin" / "python3.11", f'#!/bin/sh\n[ "$1" = -c ] && exit 0\n{told}\n')
    named = stand_in(tmp_path / "mine", f"#!/bin/sh\n{told}\n")
    for more, python in (([], str(tmp_path / "bin" / "python3.11")), ([f"PYTHON={named}"], named)):
        assert search(tmp_path, [*words, *more]).returncode != 0
        assert (tmp_path / "told").read_text().split()[:3] == [python, "-m", "venv"]
