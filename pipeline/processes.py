"""Beam's local runner with worker processes, in a process of its own.

When a worker dies, that runner waits for ever. Here it is ended instead and the graph is run
again: tiles that are done are skipped, and the one that killed its worker is known by its note.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipeline.cli import set_up_logging
from pipeline.embed import run_graph
from pipeline.errors import BrokenOff
from pipeline.worker import DEATHS, Job

log = logging.getLogger(__name__)

PARENT_POLL = 0.2
"""Seconds between two looks whether the launcher still lives."""

SERVICE = "apache_beam.runners.portability.local_job_service"
"""Logger through which the runner repeats what its workers log."""


def run_apart(
    job: Job, zones: list[int], options: PipelineOptions, progress: Callable[[], float]
) -> Counter[str]:
    """Run the graph with worker processes, again when one of them dies.

    Parameters
    ----------
    job, zones, options
        As for `run_graph`.
    progress
        Gives the number of tiles made so far: as long as it grows, there is hope.

    Returns
    -------
    What `run_graph` returns.

    Raises
    ------
    BrokenOff
        If the runner fails otherwise, or workers die without making tiles.
    """
    flags = options.get_all_options(drop_default=True)
    context = multiprocessing.get_context("spawn")
    in_vain, made = 0, progress()
    while in_vain <= DEATHS:
        receiver, sender = context.Pipe(duplex=False)
        runner = context.Process(target=_run, args=(sender, job, zones, flags), name="runner")
        runner.start()
        sender.close()
        try:
            ended = receiver.recv()
        except EOFError:
            ended = None
        finally:
            _end_group(runner)
        if isinstance(ended, BrokenOff):
            raise ended
        if ended is not None:
            return ended
        log.warning("a worker process died: the others are started again")
        before, made = made, progress()
        in_vain = 0 if made > before else in_vain + 1
    raise BrokenOff(f"{in_vain} times in a row a worker process died before it made a tile")


def _run(sender: Connection, job: Job, zones: list[int], flags: dict[str, Any]) -> None:
    """The runner's process, which leads a group of its own with the workers in it."""
    os.setsid()
    threading.excepthook = _end_with_worker
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    _hush_workers()
    ended: Counter[str] | BrokenOff
    try:
        ended = run_graph(job, zones, PipelineOptions.from_dictionary(flags))
    except BrokenOff as error:
        ended = error
    sender.send(ended)


def _end_group(runner: SpawnProcess) -> None:
    """End the runner's process and its workers, whatever they are at."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(runner.pid or 0, signal.SIGKILL)
    runner.kill()
    runner.join()


def _end_with_worker(ended: threading.ExceptHookArgs) -> None:
    """The runner's thread that waits for a worker raises when that worker dies."""
    if "Worker subprocess exited" in str(ended.exc_value):
        os.killpg(0, signal.SIGKILL)
    threading.__excepthook__(ended)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL)
    os.killpg(0, signal.SIGKILL)


def _hush_workers() -> None:
    """Keep the workers' own standard error away: the runner repeats what they warn of."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    set_up_logging()
    for handler in logging.getLogger().handlers:
        handler.addFilter(_in_plain_words)


def _in_plain_words(record: logging.LogRecord) -> bool:
    """Strip what the runner puts around a worker's message; drop what is no matter of ours."""
    if record.name == SERVICE:
        said = re.search(r'message: "((?:[^"\\]|\\.)*)"', record.getMessage())
        record.msg, record.args = (said[1] if said else record.getMessage()), ()
    return "semi_persistent_directory" not in record.getMessage()


def apart(options: PipelineOptions) -> bool:
    """Whether the options ask for the local runner with worker processes."""
    asked = options.get_all_options()
    local = options.view_as(StandardOptions).runner == "FnApiRunner"
    return local and asked.get("direct_running_mode") == "multi_processing"
