"""The image's recipe and the scripts, linted; and the recipe's install steps, run."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def tool(name: str) -> str:
    """A linter of the development environment, or any other on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def lint(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile() -> None:
    lint(tool("hadolint"), DEPLOY / "Dockerfile")


def test_shell_scripts() -> None:
    lint(tool("shellcheck"), *DEPLOY.glob("*.sh"))


def test_yaml() -> None:
    workflow = DEPLOY / "terraform" / "workflow.yaml"
    lint(tool("yamllint"), "--strict", "--config-file", DEPLOY / ".yamllint.yaml", workflow)


def test_versions_stand_in_one_place() -> None:
    """Beam's boot comes from the image of the same version, and torch's version is pinned."""
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    assert f"beam_python3.11_sdk:{pins['apache-beam']}" in DOCKERFILE
    assert "torch" in pins
    assert "torch==" not in DOCKERFILE


def test_the_last_user_is_not_root() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["${USER_ID}"]
    assert "ARG USER_ID=10001" in DOCKERFILE


def test_what_is_copied_is_there_and_not_ignored() -> None:
    allowed = {
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    named = " ".join(sources).replace("${WEIGHTS}", "deploy/.no-weights").split()
    named += re.findall(r"type=bind,source=([^,]+)", DOCKERFILE)
    assert named
    for name in named:
        assert (ROOT / name).exists(), name
        assert name in allowed, name


DIGEST = f"@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        (None, "does not name every base image"),
        ("PYTHON_IMAGE python:3.11-slim-bookworm 2999-01-01\n", "PYTHON_IMAGE is python:3.11"),
        (f"PYTHON_IMAGE python:3.11{DIGEST} 2023-06-22\n", "of 2023-06-22"),
        (f"PYTHON_IMAGE python:3.11{DIGEST} {{today}}\n", "does not name every base image"),
    ],
)
def test_base_images_are_those_of_this_year_by_digest(
    tmp_path: Path, lock: str | None, said: str
) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "deploy").mkdir()
    for name in ("build.sh", "Dockerfile"):
        shutil.copy(DEPLOY / name, tmp_path / "deploy")
    if lock is not None:
        today = datetime.date.today().isoformat()
        (tmp_path / "deploy" / "images.lock").write_text(lock.format(today=today))
    who = ["-c", "user.name=x", "-c", "user.email=x@x"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    done = subprocess.run(["deploy/build.sh"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert "deploy/pin.sh" in done.stderr


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_install_steps_in_a_fresh_environment(tmp_path: Path) -> None:
    """The commands of the recipe's RUN lines, but for the index that torch comes from."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    runs = re.findall(r"^RUN ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    steps = [re.sub(r"--mount=\S+\s|\\\n", "", run) for run in runs if "pip" in run]
    assert len(steps) == 3
    script = "; ".join(steps)
    for name, place in {
        "--wheel-dir /wheel": f"--wheel-dir {tmp_path}/wheel",
        "/wheel/*.whl": f"{tmp_path}/wheel/*.whl",
        "/constraints.txt": "constraints.txt",
        '${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} ': "",
    }.items():
        assert name in script
        script = script.replace(name, place)
    script = re.sub(r"\bpip (wheel|install|check)", rf"{python} -m pip -q \1", script)
    subprocess.run(["bash", "-euxc", script], cwd=ROOT, check=True, timeout=1800)
    imports = "import google.cloud.dataflow, rasterio, torch, tessera_mosaic.pipeline.job.launch"
    for command in (
        [python, "-c", imports],
        [python.with_name("tessera-mosaic"), "--version"],
        [python.with_name("tessera-mosaic"), "demo", "--out", tmp_path / "demo", "--json"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, timeout=600)
