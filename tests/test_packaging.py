"""What is installed: one name at the top, all files below it, and it works beside anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests import jobs
from tests.layers import INSTALLED, ROOT, files
from tools.build_release import build, build_release

SETTINGS = ("pyproject.toml", "README.md", "LICENSE")

USERS = {
    name: f"raise SystemExit('{name} of the user was imported')"
    for name in (
        "json.py",
        "model.py",
        "model/__init__.py",
        "pipeline.py",
        "pipeline/__init__.py",
        "random.py",
    )
}
"""Files beside a script that have names of modules."""

SMALL = "2.9980,50.8480,3.0010,50.8481"
"""A box that touches two tiles."""

JOB = """
import tessera_mosaic as tm

request = tm.RunRequest({catalog!r}, {region!r}, {year}, "mosaic.zarr", tile={tile}, workers=2)
print(tm.run(request).done, tm.__file__)
"""


def installed(name: str) -> str:
    """Where a file of the repository lies once it is installed."""
    folder = next(folder for folder in INSTALLED if name.startswith(f"{folder}/"))
    return INSTALLED[folder].replace(".", "/") + name.removeprefix(folder)


EPOCH = 1_700_000_000
"""The time of what is built here, in seconds since 1970."""


def install(wheel: Path, folder: Path) -> Path:
    """The Python of a new environment with a wheel, which sees what this one has beside ours."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    words = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, *words, str(wheel)], check=True)
    # A file of paths in a folder that a file of paths names is not read: so the other
    # environment's editable installation is not found.
    others = sysconfig.get_path("purelib")
    (site_packages(folder) / "others.pth").write_text(f"{others}\n")
    return python


def site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def at_the_top(environment: Path) -> set[str]:
    """What an installation put into site-packages."""
    found = {path.name for path in site_packages(environment).iterdir()}
    asides = ("others.pth", "__pycache__")
    return {name for name in found if name not in asides and not name.endswith(".dist-info")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built: building leaves files in the tree."""
    folder = tmp_path_factory.mktemp("source")
    for name in (*SETTINGS, *files("pipeline", "model")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def release(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive and the wheel of a release of the tree."""
    return build_release(source, tmp_path_factory.mktemp("release"), EPOCH)


@pytest.fixture(scope="module")
def wheel(release: tuple[Path, Path]) -> Path:
    """The wheel of that release."""
    return release[1]


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel."""
    return install(wheel, tmp_path_factory.mktemp("environments") / "wheel")


def test_the_wheel_holds_every_file_below_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {name for name in names if not name.startswith("tessera_mosaic-")}
    # What a compiler made, where there is one.
    compiled = ("pipeline/imagery/_kernels.", "model/heads/_products.")
    made = {name for name in ours if name.removeprefix("tessera_mosaic/").startswith(compiled)}
    assert len(made) in (0, len(compiled))
    assert ours - made == {installed(name) for name in files("pipeline", "model")}
    assert {"tessera_mosaic/py.typed", "tessera_mosaic/pipeline/tiling/data/land.npz"} <= ours


def test_an_editable_installation_has_one_name(source: Path, tmp_path: Path) -> None:
    wheel = build("editable", source, tmp_path / "built", EPOCH)
    python = install(wheel, tmp_path / "environment")
    assert all("__editable__" in name for name in at_the_top(tmp_path / "environment"))
    program = "import tessera_mosaic.pipeline.cli as cli; print(cli.__file__)"
    assert run(python, ["-c", program], tmp_path).strip() == f"{source}/pipeline/cli.py"
    top = run(
        python, ["-c", "import importlib.util as u; print(u.find_spec('pipeline'))"], tmp_path
    )
    assert top.strip() == "None"


def test_a_release_built_again_elsewhere_is_the_same_bytes(
    source: Path, release: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(source, tmp_path / "copy", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    for path in (tmp_path / "copy").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    again = build_release(tmp_path / "copy", tmp_path / "release", EPOCH)
    for first, second in zip(release, again, strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes(), first.name


def test_the_wheel_adds_one_name(python: Path) -> None:
    assert at_the_top(python.parents[1]) == {"tessera_mosaic"}


def run(python: Path, words: list[str], folder: Path, given: str = "") -> str:
    """What a program prints, run from a folder, with nothing of this checkout on its way."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *words], cwd=folder, env=own, input=given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A folder with modules of the user that have names of others."""
    for name, text in USERS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("how", ["script", "notebook"])
def test_a_job_runs_beside_modules_of_the_same_names(
    archive: Path, python: Path, users_folder: Path, how: str
) -> None:
    text = JOB.format(catalog=str(archive), region=SMALL, year=jobs.YEAR, tile=jobs.SIDE)
    (users_folder / "job.py").write_text(text)
    # What a notebook's kernel runs is in no file, as what Python reads from its input.
    words, given = (["job.py"], "") if how == "script" else (["-"], text)
    done, place = run(python, words, users_folder, given).split()
    assert int(done) == 2
    assert Path(place).is_relative_to(python.parents[1])


def test_commands_run_beside_modules_of_the_same_names(python: Path, users_folder: Path) -> None:
    for words in (["-m", "tessera_mosaic"], [str(python.with_name("tessera-mosaic"))]):
        assert json.loads(run(python, [*words, "models", "--json"], users_folder))["models"]
