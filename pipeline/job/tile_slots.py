"""Tiles of one worker process side by side: one is read or written while another is encoded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Generic, ParamSpec, TypeVar

AT_ONCE = 2
"""Tiles that a process works on at once. Each holds two blocks; more than two tiles would hold
more and find the encoder busy."""

LOOK = 0.2
"""Seconds after which who waits for tiles hears of signals at the latest."""

P = ParamSpec("P")
T = TypeVar("T")


class TileSlots:
    """Whose turn it is in a process: a few at once, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = 0
        self._taken = False

    @contextmanager
    def take(self, alone: bool = False) -> Iterator[None]:
        """Wait for a turn and have it; alone, nobody else has one meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken and (alone or self._busy < AT_ONCE))
            # Who waits to be alone lets nobody in before.
            self._taken = alone
            self._changed.wait_for(lambda: not alone or self._busy == 0)
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                if alone:
                    self._taken = False
                self._changed.notify_all()


class SideBySide(Generic[T]):
    """Runs a bundle's tiles on `AT_ONCE` threads, and hands out what came of each."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tile")
        self._running: set[Future[T]] = set()

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        """Start some work as soon as a thread is free; gives what ended meanwhile."""
        yield from self._ended(AT_ONCE - 1)
        self._running.add(self._pool.submit(work, *args, **kwargs))

    def finish(self) -> Iterator[T]:
        """Wait for all that runs; gives what came of it."""
        yield from self._ended(0)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()

    def _ended(self, most: int) -> Iterator[T]:
        while len(self._running) > most:
            # A signal that comes just before a thread waits is heard when it wakes.
            ended, self._running = wait(self._running, LOOK, FIRST_COMPLETED)
            for future in ended:
                yield future.result()
