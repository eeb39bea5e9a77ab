"""A job that gets a signal: it says so at once, ends at the end of a block, and goes on later.

Real processes are really signalled, when a store or a server is in some state, never at a time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.errors import ExitCode, Stopped
from tessera_mosaic.pipeline.io.stop_sign import StopSign, stop_sign, stopping_gently
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.launch import STOPPING, launch
from tessera_mosaic.pipeline.ledger import in_progress
from tessera_mosaic.pipeline.ledger.standing import standing
from tests import jobs
from tests.fakes.web import Reply, Request, fake_web
from tests.makers import at_block

LATER = 120.0
"""Seconds in which something has to happen."""


@dataclass
class Signalled:
    """A command in a session of its own, of which every line on standard error is heard at once."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _heard: threading.Condition = field(default_factory=threading.Condition)

    def listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.lines.append(line)
                self._heard.notify_all()

    def send(self, number: signal.Signals, to_all: bool = False) -> None:
        """Signal its process group, and what batch systems find besides."""
        os.killpg(self.process.pid, number)
        for other in jobs.descendants(self.process.pid) if to_all else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(other, number)

    def hears(self, words: str) -> None:
        """Wait until it has said something."""
        with self._heard:
            said = self._heard.wait_for(lambda: any(words in line for line in self.lines), LATER)
        assert said, self.lines

    def ends(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait(LATER)


def as_from_a_terminal() -> None:
    """Whoever runs the tests in the background may have had the signal ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def command(words: list[str]) -> Iterator[Signalled]:
    """A command that runs until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "tessera_mosaic", *words],
        cwd=jobs.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=as_from_a_terminal,
    ) as process:
        told = Signalled(process)
        listening = threading.Thread(target=told.listen)
        listening.start()
        try:
            yield told
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            listening.join()


def until(ready: Callable[[], bool]) -> None:
    """Wait for a state."""
    deadline = time.monotonic() + LATER
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def under_way(store: Path) -> Callable[[], bool]:
    """Whether a tile of a store is being made, or was."""
    return lambda: any(store.glob("records/*/begun/*")) or any(store.glob("records/*/tiles/*/*"))


@pytest.mark.parametrize(
    ("number", "more"),
    [(signal.SIGINT, ["annual"]), (signal.SIGTERM, ["run", "--workers=2"])],
)
def test_the_first_signal_ends_a_job_at_the_end_of_a_block(
    archive: Path, finished: Path, tmp_path: Path, number: signal.Signals, more: list[str]
) -> None:
    store = tmp_path / "store"
    words = jobs.options(archive, store)
    with command([more[0], *words[1:], *more[1:]]) as job:
        until(under_way(store))
        job.send(number, to_all=len(more) > 1)
        job.hears(STOPPING)
        assert job.ends() == ExitCode.STOPPED
    assert "tiles are done: stopped; run it again to go on" in job.lines[-1]
    assert not any("Traceback" in line or "ERROR" in line for line in job.lines)
    stands = standing(Storage(str(store)), jobs.YEAR)
    assert stands.failed == 0
    assert stands.done < 12
    assert not in_progress.noted(Storage(str(store)), jobs.YEAR)
    assert jobs.run_here(words) == 0
    assert jobs.contents(store) == jobs.contents(finished)


def test_the_second_signal_stops_now(archive: Path, tmp_path: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def answer(request: Request) -> Reply:
        if request.path.endswith(".tif"):
            asked.set()
            over.wait(LATER)
        return 200, {}, (archive.parent / request.path.lstrip("/")).read_bytes()

    with fake_web(answer) as address:
        words = jobs.options(archive, tmp_path / "store")
        words[1] = f"--catalog={address}/{archive.name}"
        with command(words) as job:
            assert asked.wait(LATER)
            job.send(signal.SIGTERM)
            job.hears(STOPPING)
            # The block does not end: its server says nothing.
            job.send(signal.SIGINT)
            assert job.ends() == ExitCode.STOPPED
            assert not over.is_set()
            job.hears("tessera-mosaic run: stopped; run it again to go on")
        over.set()
    assert not in_progress.noted(Storage(str(tmp_path / "store")), jobs.YEAR)


@pytest.fixture
def interactive() -> Iterator[None]:
    """As in a process that a terminal has started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("interactive")
def test_a_program_is_stopped_as_a_command_is_and_goes_on(
    archive: Path, finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = jobs.options(archive, tmp_path / "store")
    run = jobs.prepared(words)
    with pytest.raises(Stopped, match=r"^\d of 12 tiles are done: stopped"):
        launch(run.job, at_block(4, interrupt)(run.maker))
    assert capfd.readouterr().err.startswith(f"{STOPPING}; ")
    assert not in_progress.noted(run.job.open_store(), jobs.YEAR)
    assert standing(run.job.open_store(), jobs.YEAR).failed == 0
    assert jobs.launched(words)[0] == 0
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


@pytest.mark.usefixtures("interactive")
def test_a_job_that_is_done_before_it_can_be_stopped_says_that_it_is_done(
    archive: Path, finished: Path, tmp_path: Path
) -> None:
    words = jobs.options(archive, tmp_path / "store")
    code, result = jobs.launched(words, at_block(12, interrupt))
    assert (code, result["done"], result["missing"]) == (0, 12, 0)
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


def signalled(one_stop: float, *numbers: signal.Signals) -> bool:
    """Send this process some signals while it stops gently; whether it is asked to at the end."""
    with stopping_gently("stopping", one_stop) as sign:
        assert stop_sign() is sign
        for number in numbers:
            os.kill(os.getpid(), number)
        return sign.asked


@pytest.mark.usefixtures("interactive")
def test_sigterms_at_once_are_one_and_another_signal_interrupts() -> None:
    term = signal.SIGTERM
    assert not signalled(0.0)
    assert signalled(0.0, term)
    assert signalled(float("inf"), term, term)
    for one_stop, second in ((0.0, term), (float("inf"), signal.SIGINT)):
        with pytest.raises(KeyboardInterrupt):
            signalled(one_stop, term, second)
    assert not stop_sign().asked
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping_gently("stopping") as sign:
            interrupt()
            assert not sign.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_workers_hear_it_by_a_pipe() -> None:
    end, other = os.pipe()
    sign = StopSign(end)
    assert not sign.wait(0.01)
    sign.check()
    os.close(other)
    assert sign.wait(LATER)
    with pytest.raises(Stopped):
        sign.check()
    os.close(end)
