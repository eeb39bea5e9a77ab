"""Whether the work of this process is to stop: asked for by a signal, seen between its blocks.

The first Ctrl-C, or a SIGTERM, asks for it; whoever works looks at the sign between two blocks and
between two tries, and raises `Stopped`. A second one interrupts. In worker processes, which ignore
both signals, the sign is their standard input: a pipe whose other end their launcher closes, or
loses with its life.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tessera_mosaic.pipeline.console import STOPPED, handled_by, tell_at_once
from tessera_mosaic.pipeline.errors import Stopped

PIPE = "TESSERA_MOSAIC_STOP"
"""Variable of a worker process that names the descriptor of its pipe."""

ONE_STOP = 1.0
"""Seconds within which SIGTERMs are one: `timeout` and batch systems send it to a process and to
its group."""


class StopSign:
    """Whether somebody asked some work to stop. Safe to use from many threads.

    Parameters
    ----------
    pipe
        Descriptor whose other end is closed to ask; None where `ask` is called instead.

    Examples
    --------
    >>> sign = StopSign()
    >>> sign.wait(0.0)
    False
    >>> sign.ask()
    >>> sign.check()
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.Stopped: stopped; run it again to go on
    """

    def __init__(self, pipe: int | None = None) -> None:
        self._pipe = pipe
        self._asked = threading.Event()

    @property
    def asked(self) -> bool:
        """Whether the work is to stop."""
        return self.wait(0.0)

    def ask(self) -> None:
        """Ask the work to stop."""
        self._asked.set()

    def wait(self, seconds: float) -> bool:
        """Wait for so long, or until the work is to stop; whether it is."""
        if self._pipe is None:
            return self._asked.wait(seconds) if seconds > 0 else self._asked.is_set()
        looked_at = select.poll()
        looked_at.register(self._pipe, select.POLLIN)
        return bool(looked_at.poll(1000 * seconds))

    def check(self) -> None:
        """Let the work go on.

        Raises
        ------
        Stopped
            If it is to stop.
        """
        if self.asked:
            raise Stopped(STOPPED)


_here = StopSign(int(os.environ[PIPE]) if PIPE in os.environ else None)


def stop_sign() -> StopSign:
    """The sign of this process, as it is now: each job that is launched has one of its own."""
    return _here


def pause(seconds: float) -> None:
    """Sleep before something is tried again.

    Raises
    ------
    Stopped
        As soon as the work of this process is to stop.
    """
    if _here.wait(seconds):
        _here.check()


@contextmanager
def stopping_gently(what: str, one_stop: float = ONE_STOP) -> Iterator[StopSign]:
    """Have the first signal ask the work in the block to stop, and the next one interrupt it.

    A signal that is ignored stays ignored, as for what a shell runs in the background. Outside the
    main thread, which alone is told of signals, the block has a sign that nobody asks.

    Parameters
    ----------
    what
        What is said at once to whoever sends the first signal.
    one_stop
        Seconds within which SIGTERMs are one.

    Raises
    ------
    KeyboardInterrupt
        At the next signal, out of whatever the main thread is at.
    """
    global _here
    outer, sign, asked_at = _here, StopSign(), 0.0

    def heed(number: int, _: FrameType | None) -> None:
        nonlocal asked_at
        if not sign.asked:
            asked_at = time.monotonic()
            sign.ask()
            tell_at_once(f"{what}; Ctrl-C once more stops it now")
        elif number == signal.SIGINT or time.monotonic() - asked_at > one_stop:
            raise KeyboardInterrupt

    with handled_by(heed):
        _here = sign
        try:
            yield sign
        except KeyboardInterrupt:
            # Threads that are still at work stop by themselves.
            sign.ask()
            raise
        finally:
            _here = outer
