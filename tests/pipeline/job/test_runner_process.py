"""What is heard of the runner's process and of its workers when they die."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.runner_process import LAST_WORDS, run_apart
from tests import jobs


class Deadly:
    """Runs a program in the process that unpickles it."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self._program,)


def test_a_process_that_crashes_says_its_last_words(caplog: pytest.LogCaptureFixture) -> None:
    program = f"""
import os
for number in range({LAST_WORDS}):
    os.write(2, f"line {{number}}\\n".encode())
os.kill(os.getpid(), 11)
"""
    assert run_apart(cast(JobSpec, Deadly(program)), [], {}) is None
    assert f"line {LAST_WORDS - 1}" in caplog.text
    assert "Segmentation fault" in caplog.text
    assert "line 0" not in caplog.text


DYING = """
import os, sys
if "apache_beam.runners.worker.sdk_worker_main" in sys.orig_argv:
    try:
        os.close(os.open({mark!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:
        os.write(2, b"farewell")
        os._exit(7)
"""


@pytest.mark.soak
def test_a_worker_that_dies_says_its_last_words_and_the_job_goes_on(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DYING.format(mark=str(tmp_path / "died")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    ended = jobs.run_process([*jobs.options(archive, tmp_path / "store"), "--workers=2"])
    assert ended.code == 0, ended.error
    assert "farewell" in ended.error
    assert "return code 7" in ended.error
