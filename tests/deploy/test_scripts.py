"""The scripts say in one line what they miss, before they do anything."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PLAIN = ("bash", "cat", "cut", "date", "dirname", "env", "git", "grep", "mktemp", "sed", "rm")
"""What any system has."""

SETTINGS = (
    '{"project": "p", "gcp_region": "r", "repository": "x", "store": "gs://s", "scratch": "gs://t",'
    ' "template": "gs://a", "worker_account": "w", "subnetwork": "n", "max_workers": "2"}'
)

TOOLS = {
    "python3": f'exec {sys.executable} "$@"',
    "terraform": f"echo '{SETTINGS}'",
    "curl": "cat >/dev/null; echo posted",
    "gcloud": "echo token",
    "docker": "exit 0",
}


def path_with(folder: Path, tools: Mapping[str, str]) -> str:
    """A search path of these tools and of what any system has."""
    folder.mkdir()
    for name in PLAIN:
        if (found := shutil.which(name)) is not None:
            (folder / name).symlink_to(found)
    for name, body in tools.items():
        tool = folder / name
        tool.write_text(f"#!/bin/bash\n{body}\n")
        tool.chmod(0o755)
    return str(folder)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a script ends that cannot begin."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def launch(path: str, *words: str) -> subprocess.CompletedProcess[str]:
    words = words or ("l4", "area=5.8,50.7,6.1,50.9", "year=2024", "catalog=planetary-computer")
    return subprocess.run(
        [DEPLOY / "launch.sh", *words],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ({"terraform": None}, "launch.sh: terraform is not installed"),
        ({"gcloud": None}, "launch.sh: gcloud is not installed"),
        ({"curl": None}, "launch.sh: curl is not installed"),
        ({"python3": None}, "launch.sh: python3 is not installed"),
        ({"python3": "exit 1"}, "pip install -e"),
        ({"terraform": "echo no state >&2; exit 1"}, "Terraform has no state here"),
        ({"terraform": "echo"}, "Terraform has no state here"),
        ({"gcloud": "echo sign in >&2; exit 1"}, "gcloud auth login"),
    ],
)
def test_launch_names_what_it_misses(
    missing: dict[str, str | None], says: str, tmp_path: Path
) -> None:
    tools = {name: body for name, body in {**TOOLS, **missing}.items() if body is not None}
    assert says in said(launch(path_with(tmp_path / "bin", tools)))


def test_launch_names_the_presets_that_there_are(tmp_path: Path) -> None:
    line = said(launch(path_with(tmp_path / "bin", TOOLS), "v100", "year=2024"))
    assert "there is no preset 'v100': take one of l4, a100, h100" in line


def test_launch_posts_where_nothing_is_missing(tmp_path: Path) -> None:
    done = launch(path_with(tmp_path / "bin", TOOLS))
    assert (done.returncode, done.stdout) == (0, "posted\n"), done.stderr


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ({"docker": None}, "build.sh: docker is not installed"),
        ({"docker": "exit 1"}, "docker has no buildx"),
        ({"gcloud": None}, "build.sh: gcloud is not installed"),
        ({"terraform": None}, "build.sh: terraform is not installed"),
        ({"terraform": "exit 1"}, "Terraform has no state here"),
        ({"python3": None}, "build.sh: python3 is not installed"),
    ],
)
def test_build_names_what_it_misses(
    missing: dict[str, str | None], says: str, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "deploy").mkdir(parents=True)
    for name in ("build.sh", "Dockerfile"):
        shutil.copy(DEPLOY / name, checkout / "deploy")
    names = re.findall(r"^ARG ([A-Z]*_IMAGE)=", (DEPLOY / "Dockerfile").read_text(), re.M)
    day, digest = datetime.date.today().isoformat(), f"@sha256:{'0' * 64}"
    lock = "".join(f"{name} image{digest} {day}\n" for name in names)
    (checkout / "deploy" / "images.lock").write_text(lock)
    who = ["-c", "user.name=x", "-c", "user.email=x@x"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=checkout, check=True)
    tools = {name: body for name, body in {**TOOLS, **missing}.items() if body is not None}
    path = path_with(tmp_path / "bin", tools)
    done = subprocess.run(
        ["deploy/build.sh"],
        cwd=checkout,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert says in said(done)


def test_build_wants_a_commit(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    shutil.copy(DEPLOY / "build.sh", tmp_path / "deploy")
    path = path_with(tmp_path / "bin", TOOLS)
    done = subprocess.run(
        ["deploy/build.sh"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)},
        capture_output=True,
        text=True,
    )
    assert "no checkout of git" in said(done)


@pytest.mark.parametrize(
    ("script", "missing", "says"),
    [
        ("again.sh", {"terraform": "exit 1"}, "again.sh: Terraform has no state here"),
        ("again.sh", {"gcloud": None}, "again.sh: gcloud is not installed"),
        ("share.sh", {"terraform": "echo"}, "share.sh: Terraform has no state here"),
        ("share.sh", {"terraform": None}, "share.sh: terraform is not installed"),
        ("pin.sh", {"docker": "exit 1"}, "pin.sh: docker has no buildx"),
        ("pin.sh", {"docker": None}, "pin.sh: docker is not installed"),
    ],
)
def test_other_scripts_name_what_they_miss(
    script: str, missing: dict[str, str | None], says: str, tmp_path: Path
) -> None:
    tools = {name: body for name, body in {**TOOLS, **missing}.items() if body is not None}
    path = path_with(tmp_path / "bin", tools)
    done = subprocess.run(
        [DEPLOY / script, "annual"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert says in said(done)
