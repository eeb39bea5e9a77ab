"""The image's recipe and the scripts, linted; of the recipe what can be told without a build."""

from __future__ import annotations

import ast
import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import check_imports

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
    assert not re.search(r"torch==\d", DOCKERFILE)


def test_the_last_user_is_not_root() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["${USER_ID}"]
    assert "ARG USER_ID=10001" in DOCKERFILE


def test_what_is_copied_is_there_and_not_ignored() -> None:
    allowed = {
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    sources = re.findall(r"^COPY (?!--from)(?:--chmod=755 )?(.+) \S+$", DOCKERFILE, re.MULTILINE)
    named = " ".join(sources).replace("${WEIGHTS}", "deploy/.no-weights").split()
    named += re.findall(r"type=bind,source=([^,]+)", DOCKERFILE)
    assert named
    for name in named:
        assert (ROOT / name).exists(), name
        assert name in allowed, name


def stages() -> dict[str, str]:
    """Instructions of each stage of the recipe; the image itself is `image`."""
    parts = re.split(r"^FROM \S+(?: AS (\S+))?\n", DOCKERFILE, flags=re.MULTILINE)[1:]
    return {name or "image": body for name, body in zip(parts[::2], parts[1::2], strict=True)}


def test_what_changes_often_comes_last() -> None:
    """A layer is made anew, and pushed, with all after it: those of gigabytes come first."""
    image = stages()["image"]
    order = ["torch.txt", "packages.txt", "COPY --from=launcher", "${WEIGHTS}", "boot.py"]
    order += ["from=wheel", "check_imports.py\n\nARG", "ARG VERSION", "ARG REVISION"]
    places = [image.replace("torch${TORCH_INDEX:+-cpu}", "torch").find(each) for each in order]
    assert -1 not in places, dict(zip(order, places, strict=True))
    assert places == sorted(places)
    assert "SOURCE_DATE_EPOCH" not in image
    assert not re.search("VERSION|REVISION|EPOCH", stages()["base"] + stages()["pins"])


def test_a_checkout_that_only_its_owner_may_read_makes_the_same_image() -> None:
    image = stages()["image"]
    assert all("--chmod=755" in line for line in re.findall(r"^COPY (?!--from).*", image, re.M))
    assert "chmod -R u=rwX,go=rX ." in stages()["wheel"]


def test_the_driver_is_found_where_the_host_mounts_it() -> None:
    image = stages()["image"]
    assert re.search(r"^ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64 ", image, re.M)
    assert "PATH=/usr/local/nvidia/bin:${PATH} " in image


def test_the_same_source_makes_the_same_wheel(tmp_path: Path) -> None:
    """By the recipe's own commands, at another time and checked out under another umask."""
    wheel = stages()["wheel"]
    assert "ARG SOURCE_DATE_EPOCH" in wheel
    [sources] = re.findall(r"^COPY (pyproject.*) \./$", wheel, re.M)
    [script] = re.findall(r"^RUN ((?:.*\\\n)*.*)$", wheel, re.M)
    digests = set()
    for name, umask in (("one", 0o022), ("two", 0o077)):
        source, made = tmp_path / name, tmp_path / f"{name}-wheel"
        before = os.umask(umask)
        try:
            for each in [*sources.split(), "model", "pipeline"]:
                copy_source(ROOT / each, source / each)
        finally:
            os.umask(before)
        command = script.replace("\\\n", " ").replace("/wheel", str(made))
        command = command.replace("pip wheel", f"{sys.executable} -m pip --quiet wheel")
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run(["bash", "-euc", command], cwd=source, env=environment, check=True)
        [file] = made.iterdir()
        digests.add(hashlib.sha256(file.read_bytes()).hexdigest())
    assert len(digests) == 1


def copy_source(path: Path, to: Path) -> None:
    """Copy as a checkout would: with the modes of the umask, and times of now."""
    if path.is_dir():
        for each in path.iterdir():
            if each.name != "__pycache__" and each.suffix != ".so":
                copy_source(each, to / each.name)
    else:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())


def installed() -> set[str]:
    """Names of the image's packages: what the project wants and what those want, by metadata."""
    wanted = [("tessera-mosaic", frozenset({"dataflow"}))]
    seen = set(wanted)
    for name, extras in wanted:
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            marker = needed.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                continue
            entry = (canonicalize_name(needed.name), frozenset(needed.extras))
            if entry not in seen:
                seen.add(entry)
                wanted.append(entry)
    return {name for name, _ in seen}


def test_what_is_imported_is_in_the_image_or_known_not_to_be() -> None:
    """Of packages of extras the check in the image knows, so that it can tell them from a fault."""
    packages, names = metadata.packages_distributions(), installed()
    of_extras = set()
    for path in [*ROOT.glob("model/**/*.py"), *ROOT.glob("pipeline/**/*.py")]:
        for node in ast.parse(path.read_text()).body:
            modules = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            for module in {each.partition(".")[0] for each in modules} & packages.keys():
                if not names & {canonicalize_name(each) for each in packages[module]}:
                    of_extras.add(module)
    assert of_extras
    assert of_extras <= set(check_imports.OPTIONAL)


def test_nothing_is_installed_that_is_not_pinned() -> None:
    """What the image's packages want, as of their own metadata, stands in constraints.txt."""
    pins = {
        canonicalize_name(line.partition("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert len(installed()) > 50
    assert installed() - pins == {"tessera-mosaic"}
    # What comes before all others, and what `wheel` wants.
    assert {"packaging", "pip", "setuptools", "wheel"} <= pins


def test_what_no_worker_uses_is_taken_out(tmp_path: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "lib" / version / "site-packages"
    kept = ["torch/lib/libtorch.so", "triton/backends/nvidia/include/cuda.h", "triton/driver.py"]
    gone = ["numpy/_core/lib/libnpymath.a", "pandas/tests/test_all.py", "torch/include/a/b.h"]
    for name in [*kept, *gone]:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("")
    (packages / "broken.py").write_text("def (")
    done = subprocess.run(
        [sys.executable, DEPLOY / "trim.py", tmp_path], capture_output=True, text=True, check=True
    )
    assert "1 of 2 sources compiled" in done.stdout
    assert all((packages / name).exists() for name in kept)
    assert not any((packages / name).exists() for name in gone)
    [bytecode] = packages.glob("triton/__pycache__/driver.*.pyc")
    # Bit 0: a hash in place of a time. Bit 1: compared with the source.
    assert bytecode.read_bytes()[4:8] == b"\x01\x00\x00\x00"


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
