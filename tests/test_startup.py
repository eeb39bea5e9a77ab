"""What is quick to answer is quick to start: it loads neither torch nor Beam."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tessera_mosaic.pipeline.cli import COMMANDS
from tests import jobs
from tests.layers import OURS

PROGRAM = """
import contextlib, importlib, io, json, runpy, sys

HEAVY = {"torch", "apache_beam"}
loaded_by = {}

def look(what):
    loaded_by.update({name: what for name in HEAVY & sys.modules.keys() if name not in loaded_by})

modules, commands = json.loads(sys.argv[1])
for module in modules:
    importlib.import_module(module)
    look("import " + module)
for words in commands:
    sys.argv[1:] = words
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_module("tessera_mosaic", run_name="__main__")
    except SystemExit as ended:
        # On tiles of a few pixels `verify` suspects a border.
        assert ended.code in (None, 0, 3), words
    look(" ".join(words))
print(json.dumps(loaded_by))
"""


def loaded(modules: list[str], commands: list[list[str]]) -> dict[str, str]:
    """By what torch or Beam were loaded first in a new process that imports and then commands."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([modules, commands])],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_public_name_and_what_stands_below_jobs_are_light() -> None:
    light = ("ledger", "mosaic", "planning", "publishing", "scenes", "verification")
    modules = [module.full for module in OURS if module.name.partition(".")[0] in light]
    assert loaded(["tessera_mosaic", *modules], []) == {}


def test_importing_the_package_takes_next_to_no_time() -> None:
    program = "import sys, tessera_mosaic; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def test_help_and_cards_are_light() -> None:
    assert loaded([], [["--help"], *([name, "--help"] for name in COMMANDS), ["models"]]) == {}


def test_contracts_need_none_of_the_extras() -> None:
    extras = ("icechunk", "h5netcdf", "matplotlib", "mcp", "s3fs", "scipy", "sklearn")
    program = f"""
import sys
sys.modules.update(dict.fromkeys({extras}))
from tessera_mosaic.pipeline.cli import main
sys.exit(main(["tools", "--json"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["commands"]


def test_what_looks_at_a_mosaic_is_light(archive: Path, finished: Path, tmp_path: Path) -> None:
    store = shutil.copytree(finished, tmp_path / "store")
    places = [f"--catalog={archive}", f"--region={jobs.REGION}", f"--year={jobs.YEAR}"]
    commands = [
        ["plan", *places],
        *([name, f"--store={store}"] for name in ("status", "publish", "verify")),
    ]
    assert loaded([], commands) == {}
