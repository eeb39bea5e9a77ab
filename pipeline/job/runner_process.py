"""The local runner in a process of its own, with worker processes that end when it does.

Neither that process nor its workers take code from the working directory or from the folder of a
script: what lies there may have the name of a module that they need. Their standard error is kept
from the terminal; what stands at its end is shown when one of them has died. That process listens
to its workers on loopback alone, and is ended if it should listen anywhere else.

They ignore the signals that stop a job, which batch systems send to all processes of one. What
tells them to stop is their standard input, where they all have the end of one pipe.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import grpc

from tessera_mosaic.pipeline.console import SIGNALS, set_up_logging
from tessera_mosaic.pipeline.errors import BrokenOff
from tessera_mosaic.pipeline.io.stop_sign import PIPE, stop_sign
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.loopback import beyond_loopback, on_loopback

log = logging.getLogger(__name__)

PROGRAM = f"from {__name__} import main; main()"
"""What Python runs as that process."""

OWN_ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",
    "PYTHONFAULTHANDLER": "1",
    "no_grpc_proxy": "localhost,127.0.0.1,::1",
    PIPE: "0",
}
"""No code from the working directory, a few words from a process that crashes, no proxy between the
runner and its workers, and what tells them to stop."""

LAST_WORDS = 20
"""Lines that are shown of what workers said before one of them died."""

LISTENING = 5.0
"""Seconds at the most until what processes wrote before they ended has been read."""

POLL = 0.2
"""Seconds between two looks whether the launcher still lives and where the process listens. A
worker takes longer to start."""

SERVICE = "apache_beam.runners.portability.local_job_service"
"""Logger through which the runner repeats what its workers log."""


def run_apart(job: JobSpec, zones: list[int], flags: dict[str, Any]) -> Counter[str] | None:
    """Run the graph in a process of its own; None if that died, or one of its workers."""
    ours, theirs = Pipe()
    heard, said = os.pipe()
    runner = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, (theirs.fileno(), said, os.getpid()))],
        stdin=subprocess.PIPE,
        pass_fds=[theirs.fileno(), said],
        env=os.environ | OWN_ENVIRONMENT,
        start_new_session=True,
    )
    theirs.close()
    os.close(said)
    words = LastWords(heard)
    words.start()
    try:
        ours.send((job, zones, flags))
        while not ours.poll(POLL):
            if runner.stdin is not None and stop_sign().asked:
                runner.stdin.close()
        ended = ours.recv()
    except (EOFError, ConnectionError):
        ended = None
    finally:
        _end_group(runner)
    if ended is None and (last := words.told()):
        log.warning("what worker processes said last:\n%s", last)
    if isinstance(ended, BrokenOff):
        raise ended
    return ended


class LastWords(threading.Thread):
    """Keeps the end of what the processes of a runner write to their standard error.

    What workers warn of is no part of it: the runner repeats that by itself.

    Parameters
    ----------
    heard
        Descriptor of the pipe that they write to.
    """

    def __init__(self, heard: int) -> None:
        super().__init__(daemon=True)
        self._heard, self._lines = heard, deque[str](maxlen=LAST_WORDS)

    def run(self) -> None:
        """Listen until all of them have ended."""
        with os.fdopen(self._heard, errors="replace") as lines:
            self._lines.extend(lines)

    def told(self) -> str:
        """The last lines of processes that have ended."""
        self.join(LISTENING)
        return "".join(self._lines).strip()


def main() -> None:
    """The runner's process, which leads a group of its own with the workers in it."""
    connection, said, launcher = map(int, sys.argv[1:])
    for number in SIGNALS:
        # Workers inherit it.
        signal.signal(number, signal.SIG_IGN)
    _hush_workers(said)
    to_launcher = Connection(connection)
    grpc.server = on_loopback(grpc.server)
    threading.Thread(target=_watch, args=(launcher, to_launcher), daemon=True).start()
    # What Beam says of itself while it is imported is no news.
    from apache_beam.options.pipeline_options import PipelineOptions

    from tessera_mosaic.pipeline.job.graph import run_graph

    threading.excepthook = _end_with_worker
    job, zones, flags = to_launcher.recv()
    ended: Counter[str] | BrokenOff
    try:
        ended = run_graph(job, zones, PipelineOptions.from_dictionary(flags))
    except BrokenOff as error:
        ended = error
    to_launcher.send(ended)


def _end_group(runner: subprocess.Popen[bytes]) -> None:
    """End the runner's process and its workers, whatever they are at."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(runner.pid, signal.SIGKILL)
    runner.kill()
    runner.wait()
    if runner.stdin is not None:
        runner.stdin.close()


def _end_with_worker(ended: threading.ExceptHookArgs) -> None:
    """The runner's thread that waits for a worker raises when that worker dies."""
    if "Worker subprocess exited" in str(ended.exc_value):
        os.write(2, f"{ended.exc_value}\n".encode())
        os.killpg(0, signal.SIGKILL)
    threading.__excepthook__(ended)


def _watch(launcher: int, to_launcher: Connection) -> None:
    """End the process and its workers with the launcher, or when it can be reached from outside."""
    while os.getppid() == launcher:
        if said := _reached_from_outside():
            to_launcher.send(BrokenOff(f"the local runner was ended: {said}"))
            break
        time.sleep(POLL)
    os.killpg(0, signal.SIGKILL)


def _reached_from_outside() -> str:
    """Why others than this machine may reach the process; empty where they cannot."""
    try:
        found = beyond_loopback()
    except OSError as error:
        return f"where it listens cannot be told ({error})"
    return f"it listens beyond loopback ({', '.join(found)})" if found else ""


def _hush_workers(said: int) -> None:
    """Keep the terminal to the runner, and let all else that is written to it go to a pipe."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(said, 2)
    os.close(said)
    set_up_logging()
    for handler in logging.getLogger().handlers:
        handler.addFilter(_in_plain_words)


def _in_plain_words(record: logging.LogRecord) -> bool:
    """Strip what the runner puts around a worker's message; drop what is no matter of ours."""
    if record.name == SERVICE:
        said = re.search(r'message: "((?:[^"\\]|\\.)*)"', record.getMessage())
        record.msg, record.args = (said[1] if said else record.getMessage()), ()
    return "semi_persistent_directory" not in record.getMessage()
