"""All modules of the job import in what the image's base has and its recipe adds, and no more.

The environment that runs this is mounted into a bare system and used there by an ordinary user, on
a read-only root, without a network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.image.roots import COMPILER, ROOT, Container, debian_root, installed_by_recipe, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

CHECK = ROOT / "deploy" / "check_imports.py"


@pytest.fixture(scope="module")
def bare() -> Container:
    """The bare system, with Python, its packages and the checkout where they lie here."""
    try:
        root = debian_root(*sorted(set(installed_by_recipe()) - COMPILER))
    except subprocess.SubprocessError as error:
        pytest.skip(f"debootstrap makes no system here: {error}")
    places = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT}
    places |= {path.resolve() for entry in sys.path if (path := Path(entry)).is_dir()}
    mounts = {str(place): place for place in sorted(places)}
    names = ("PYTHONPATH", "LD_LIBRARY_PATH")
    passed_on = {name: os.environ[name] for name in names if name in os.environ}
    return Container(root, mounts, {"PATH": "/usr/bin:/bin", "HOME": "/tmp", **passed_on})


def test_all_modules_import(bare: Container) -> None:
    done = bare.run(sys.executable, CHECK, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "modules import on Python" in done.stdout


def test_a_library_that_is_missing_is_found(bare: Container) -> None:
    """As it was: rasterio's GDAL links to libexpat, which the base image does not have."""
    [library] = bare.root.glob("usr/lib/*/libexpat.so.1")
    place = f"/{library.resolve().relative_to(bare.root.resolve())}"
    without = replace(bare, mounts={**bare.mounts, place: Path("/dev/null")})
    done = without.run(sys.executable, "-c", "import rasterio")
    assert done.returncode == 1
    assert re.search(r"ImportError: .*libexpat.so.1", done.stderr), done.stderr


def test_nobody_else_can_be_reached_or_written(bare: Container) -> None:
    program = "import os, socket; print(os.getuid(), os.access('/usr', os.W_OK)); "
    program += "socket.create_connection(('192.0.2.1', 80))"
    done = bare.run(sys.executable, "-c", program)
    assert done.stdout == "10001 False\n"
    assert "Network is unreachable" in done.stderr
