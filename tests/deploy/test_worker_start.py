"""Beam's own boot, started as Dataflow starts it, makes a worker of what is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.presets import PRESETS
from tests import jobs
from tests.deploy.services import STAGED, Runner, services

BOOT = jobs.ROOT / "build" / "engines" / "container"

pytestmark = pytest.mark.skipif(
    not BOOT.is_file(), reason="Beam's boot is not built: make build/engines/container"
)

OPTIONS = {
    "machine_type": PRESETS["l4"].machine,
    "experiments": ["no_use_multiple_sdk_containers"],
    "sdk_location": "container",
    "save_main_session": False,
}

PYTHON = """#!/bin/sh
echo "$*" >>{log}
exec {python} "$@"
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Runner, subprocess.Popen[str], Path]]:
    """A worker that boot starts; its process, and the commands that it gave Python."""
    log, programs = tmp_path / "python.log", tmp_path / "bin"
    programs.mkdir()
    python = programs / "python"
    python.write_text(PYTHON.format(log=log, python=sys.executable))
    python.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
    }
    staged = f"--semi_persist_dir={tmp_path / 'staged'}"
    with services(OPTIONS) as runner:
        words = [word for word in runner.command_line if "semi_persist" not in word]
        with subprocess.Popen(
            [BOOT, *words, staged], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as process:
            yield runner, process, log
            process.terminate()


def test_a_worker_starts_without_installing(
    started: tuple[Runner, subprocess.Popen[str], Path], tmp_path: Path
) -> None:
    runner, process, log = started
    assert runner.ready.wait(120), (runner.logs, process.poll())
    assert runner.workers == ["sdk-0-0"]
    commands = log.read_text().splitlines()
    assert commands[-1] == "-m apache_beam.runners.worker.sdk_worker_main"
    assert not [line for line in commands if "install" in line.split() or "venv" in line]
    for name, content in STAGED.items():
        assert (tmp_path / "staged" / "staged" / name).read_bytes() == content
    [told] = [line for line in runner.logs if line.startswith("Pipeline_options: ")]
    for value in ("g2-standard-8", "no_use_multiple_sdk_containers", "'sdk_location': 'container'"):
        assert value in told
