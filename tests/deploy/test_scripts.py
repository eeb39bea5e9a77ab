"""The scripts say in one line what they miss, before they do anything."""

from __future__ import annotations

import datetime
import json
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


def checkout(folder: Path) -> Path:
    """A checkout with a commit and base images of today."""
    (folder / "deploy").mkdir(parents=True)
    for name in ("build.sh", "Dockerfile"):
        shutil.copy(DEPLOY / name, folder / "deploy")
    for name in (".gitignore", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    names = re.findall(r"^ARG ([A-Z]*_IMAGE)=", (DEPLOY / "Dockerfile").read_text(), re.M)
    day, digest = datetime.date.today().isoformat(), f"@sha256:{'0' * 64}"
    lock = "".join(f"{name} image{digest} {day}\n" for name in names)
    (folder / "deploy" / "images.lock").write_text(lock)
    who = ["-c", "user.name=x", "-c", "user.email=x@x"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def build(folder: Path, path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["deploy/build.sh"],
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
    )


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
    tools = {name: body for name, body in {**TOOLS, **missing}.items() if body is not None}
    done = build(checkout(tmp_path / "checkout"), path_with(tmp_path / "bin", tools))
    assert says in said(done)


def docker(log: Path, has_builder: bool) -> str:
    """A docker that writes down what it is asked for."""
    return f"""
echo "$*" >>{log}
[ "$2" = inspect ] && exit {0 if has_builder else 1}
while [ $# -gt 0 ]; do
  [ "$1" = --metadata-file ] && echo '{{"containerimage.digest": "sha256:1"}}' >"$2"
  shift
done
exit 0
"""


def python(template: str) -> str:
    """A Python that makes the template so."""
    return f'if [ "$2" = deploy.template ]; then {template}; exit; fi; {TOOLS["python3"]}'


WHOLE = """echo "{\\"image\\": \\"$4\\"}\""""

PUSHING = {**TOOLS, "gcloud": "exit 0", "python3": python(WHOLE)}

PUTS = """
echo "$*" >>{log}
cat "$3" >{put}
"""


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ('echo "{}"; exit 1', "the template could not be made"),
        ("exit 0", "the template could not be made"),
        ("""echo '{"image": "another"}'""", "the template could not be made"),
        (WHOLE, ""),
    ],
)
def test_only_a_whole_template_replaces_the_old_one(
    template: str, says: str, tmp_path: Path
) -> None:
    log, put = tmp_path / "gcloud.log", tmp_path / "put"
    tools = {
        **TOOLS,
        "docker": docker(tmp_path / "docker.log", has_builder=True),
        "gcloud": PUTS.format(log=log, put=put),
        "python3": python(template),
    }
    done = build(checkout(tmp_path / "checkout"), path_with(tmp_path / "bin", tools))
    if says:
        assert done.returncode == 2
        assert says in done.stderr.splitlines()[-1]
        assert not log.exists()
    else:
        assert (done.returncode, done.stdout) == (0, "x/mosaic@sha256:1\n"), done.stderr
        assert json.loads(put.read_text()) == {"image": "x/mosaic@sha256:1"}
        assert log.read_text().endswith(" gs://a\n")


@pytest.mark.parametrize("has_builder", [True, False])
def test_build_has_a_builder_of_its_own(has_builder: bool, tmp_path: Path) -> None:
    """Docker's own builder refuses to make provenance and a list of contents."""
    log = tmp_path / "docker.log"
    tools = {**PUSHING, "docker": docker(log, has_builder)}
    done = build(checkout(tmp_path / "checkout"), path_with(tmp_path / "bin", tools))
    assert done.returncode == 0, done.stderr
    asked = log.read_text().splitlines()
    made = [line for line in asked if line.startswith("buildx create")]
    assert (
        made == []
        if has_builder
        else ["buildx create --name tessera-mosaic --driver docker-container"]
    )
    [built] = [line for line in asked if line.startswith("buildx build")]
    assert "--builder tessera-mosaic" in built
    assert "--provenance=true --sbom=true" in built


def test_weights_can_be_baked_in(tmp_path: Path) -> None:
    """They lie below the checkout, and git takes no notice of them."""
    folder, log = checkout(tmp_path / "checkout"), tmp_path / "docker.log"
    tools = {**PUSHING, "docker": docker(log, has_builder=True)}
    path = path_with(tmp_path / "bin", tools)
    assert "is not there" in said(build(folder, path, WEIGHTS="weights/student.pt"))
    (folder / "weights").mkdir()
    (folder / "weights" / "student.pt").write_bytes(b"weights")
    done = build(folder, path, WEIGHTS="weights/student.pt")
    assert done.returncode == 0, done.stderr
    assert "--build-arg WEIGHTS=weights/student.pt " in log.read_text()
    for elsewhere in ("/tmp", "model/data", "weights/../model"):
        assert "weights/" in said(build(folder, path, WEIGHTS=elsewhere))
    assert "!weights" in (DEPLOY / "Dockerfile.dockerignore").read_text().split()


def image(path: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEPLOY / "image.sh", "named"],
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
    )


def test_image_is_built_by_what_there_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    note = f'echo "$(basename "$0") $*" >>{log}'
    more = {"basename": f'exec {shutil.which("basename")} "$@"', "mkdir": "exit 0"}
    every = {
        "docker": note,
        "buildctl": note,
        "buildah": note,
    }
    none = path_with(tmp_path / "none", more)
    assert "neither Docker with buildx, BuildKit nor buildah" in said(image(none))
    assert "there is no builder 'podman'" in said(image(none, BUILDER="podman"))
    assert "buildah does not answer here" in said(image(none, BUILDER="buildah"))
    for left_out, chosen in (
        (0, "docker buildx build"),
        (1, "buildctl build"),
        (2, "buildah build"),
    ):
        log.unlink(missing_ok=True)
        tools = {**more, **dict(list(every.items())[left_out:])}
        done = image(
            path_with(tmp_path / str(left_out), tools), PYTHON_IMAGE="base", BUILD_OPTIONS="--x --y"
        )
        assert done.returncode == 0, done.stderr
        built = log.read_text().splitlines()[-1]
        assert built.startswith(chosen)
        assert "PYTHON_IMAGE=base" in built
        assert "VERSION=0." in built
        assert "--x --y" in built
        assert "named" in built


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
