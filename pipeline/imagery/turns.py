"""Turns of threads: many wait for a network, and few work at a time."""

from __future__ import annotations

import threading
from typing import Any


class Turn:
    """A thread's right to work, which it gives to another while it waits.

    Threads that work beside each other take the interpreter from each other, and each change
    costs about as much as a request. So no more should work at a time than there are cores, and
    as many may wait as the network bears.

    Parameters
    ----------
    turns
        The turns that there are.

    Examples
    --------
    >>> turns = threading.BoundedSemaphore(1)
    >>> with Turn(turns) as turn:
    ...     turn.give()
    ...     # Here the thread waits, and others work.
    ...     turn.take()
    ...     turns.acquire(blocking=False)
    False
    >>> turns.acquire(blocking=False)
    True
    """

    def __init__(self, turns: threading.Semaphore) -> None:
        self._turns, self._is_mine = turns, False

    def take(self) -> None:
        """Wait for a turn, if the thread has none."""
        if not self._is_mine:
            self._turns.acquire()
            self._is_mine = True

    def give(self) -> None:
        """Let another thread have the turn, if this one has it."""
        if self._is_mine:
            self._is_mine = False
            self._turns.release()

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *error: Any) -> None:
        self.give()
