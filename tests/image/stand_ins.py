"""Stand-ins for the base images, of what Debian, Go and this machine have; the image on them.

    python -m tests.image.stand_ins        builds the image and prints its name

Python is a copy of one that was built from source, as that of `python:slim` is; the launcher of
Flex Templates is none. Wheels are downloaded once, into build/image/wheels.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.image.roots import BUILT, ROOT, debian_root
from tests.image.roots import missing as root_missing

VERSION = "3.11"
NAME = "tessera-mosaic-test"
BOOT = ROOT / "build" / "engines" / "container"
WHEELS = BUILT / "wheels"
STORAGE = {
    "STORAGE_DRIVER": os.environ.get("STORAGE_DRIVER", "overlay"),
    "BUILDAH_ISOLATION": "chroot",
}

PIP = """[global]
find-links = /wheels
no-index = true
disable-pip-version-check = true
root-user-action = ignore
"""


def missing() -> str:
    """Why no image can be built here; empty where one can."""
    if why := root_missing():
        return why
    if not shutil.which("buildah"):
        return "buildah is not installed: apt-get install buildah"
    if not BOOT.is_file():
        return "Beam's boot is not built: make build/engines/container"
    return "" if find_python() else f"no Python {VERSION} was found"


def find_python() -> str:
    """A Python of the image's version that was built from source; empty if there is none."""
    found = subprocess.run(
        [ROOT / "tools" / "find_python.sh", VERSION], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def buildah(*words: str | Path) -> str:
    """Run buildah; what it printed."""
    done = subprocess.run(
        ["buildah", *map(str, words)],
        env={**os.environ, **STORAGE},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@contextmanager
def unpacked(image: str) -> Iterator[tuple[Path, str]]:
    """A container of an image: its folder, and its name for buildah."""
    container = buildah("from", "--pull-never", image)
    try:
        yield Path(buildah("mount", container)), container
    finally:
        buildah("rm", container)


def has(image: str) -> bool:
    """Whether an image was built before."""
    words = ["buildah", "inspect", "--type", "image", image]
    done = subprocess.run(words, env={**os.environ, **STORAGE}, capture_output=True, check=False)
    return done.returncode == 0


def python_image() -> str:
    """What `python:3.11-slim` is: the bare system, and a Python below /usr/local with pip."""
    name = "localhost/stand-in-python"
    if has(name):
        return name
    with unpacked("scratch") as (root, container):
        subprocess.run(["cp", "-a", f"{debian_root()}/.", root], check=True)
        copy_python(root / "usr" / "local")
        (root / "etc" / "pip.conf").write_text(PIP)
        for words in (["ldconfig"], ["/usr/local/bin/python", "-m", "ensurepip"]):
            subprocess.run(["chroot", root, *words], check=True, stdout=subprocess.DEVNULL)
        (root / "usr" / "local" / "bin" / "pip").symlink_to("pip3")
        buildah("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        buildah("commit", "--quiet", container, name)
    return name


def copy_python(prefix: Path) -> None:
    """Copy interpreter, library and headers, without packages, tests and bytecode."""
    program = "import sys; print(sys.base_prefix)"
    asked = subprocess.run([find_python(), "-c", program], capture_output=True, text=True)
    base, library = Path(asked.stdout.strip()), f"lib/python{VERSION}"
    left_out = shutil.ignore_patterns("__pycache__", "site-packages", "test", "config-*")
    shutil.copytree(base / library, prefix / library, symlinks=True, ignore=left_out)
    shutil.copytree(base / "include", prefix / "include", symlinks=True, dirs_exist_ok=True)
    for shared in base.glob("lib/libpython*.so*"):
        shutil.copy(shared, prefix / "lib", follow_symlinks=False)
    shutil.copy(base / "bin" / f"python{VERSION}", prefix / "bin")
    for alias in ("python", "python3"):
        (prefix / "bin" / alias).symlink_to(f"python{VERSION}")
    (prefix / library / "site-packages").mkdir()


def image_of(name: str, path: str, program: bytes) -> str:
    """An image with one program in it."""
    with unpacked("scratch") as (root, container):
        file = root / path
        file.parent.mkdir(parents=True)
        file.write_bytes(program)
        file.chmod(0o755)
        buildah("commit", "--quiet", container, name)
    return name


def fetch_wheels() -> None:
    """Download the wheels of all that the image installs, once."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dataflow"]]
    pins = (ROOT / "constraints.txt").read_text()
    key = json.dumps([wanted, pins])
    ready = WHEELS / ".ready"
    if ready.exists() and ready.read_text() == key:
        return
    environment = BUILT / "python"
    subprocess.run([find_python(), "-m", "venv", environment], check=True)
    subprocess.run(
        [
            *(environment / "bin" / "pip", "download", "--quiet", "--dest", WHEELS),
            *("--constraint", ROOT / "constraints.txt", "--find-links", WHEELS),
            *wanted,
            *("pip", "setuptools", "wheel"),
        ],
        check=True,
    )
    ready.write_text(key)


def build(*options: str, **variables: str) -> str:
    """Build the image with the project's own script; its name."""
    fetch_wheels()
    bases = {
        "PYTHON_IMAGE": python_image(),
        "BEAM_IMAGE": image_of(
            "localhost/stand-in-beam", "opt/apache/beam/boot", BOOT.read_bytes()
        ),
        "LAUNCHER_IMAGE": image_of(
            "localhost/stand-in-launcher",
            "opt/google/dataflow/python_template_launcher",
            b"#!/bin/sh\nexit 1\n",
        ),
    }
    subprocess.run(
        [ROOT / "deploy" / "image.sh", NAME],
        env={
            **os.environ,
            **STORAGE,
            **bases,
            **variables,
            "BUILDER": "buildah",
            "BUILD_OPTIONS": " ".join(["--pull-never", f"--volume={WHEELS}:/wheels:ro", *options]),
        },
        stdout=sys.stderr,
        check=True,
    )
    return f"localhost/{NAME}"


def configuration(image: str) -> dict[str, Any]:
    """User, environment, entry point and the like."""
    told = json.loads(buildah("inspect", "--type", "image", image))
    found: dict[str, Any] = told["OCIv1"]["config"]
    return found


if __name__ == "__main__":
    if why := missing():
        sys.exit(why)
    print(build())
