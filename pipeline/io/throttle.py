"""How many requests a provider bears at a time, and when it wants to be left alone."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator

from tessera_mosaic.pipeline.io.stop_sign import stop_sign

IN_FLIGHT = 128
"""Largest number of requests to one provider at a time, until it asks for patience."""

LONGEST_PAUSE = 300.0
"""Most seconds between two tries of a request, where the provider does not say how many."""

LONGEST_ASKED = 3600.0
"""Most seconds for which a provider is left alone because it says so."""

LOOK = 1.0
"""Seconds between two looks of who waits whether the work is to stop."""


class Account:
    """The requests to one provider: so many at a time, and none while it asks for patience.

    The number is halved when the provider throttles, and grows again while it serves.

    Parameters
    ----------
    most
        Number of requests at a time while the provider does not throttle.
    pause
        Seconds to wait after the first throttling without Retry-After; doubled after each next.
    """

    def __init__(self, most: int = IN_FLIGHT, pause: float = 1.0) -> None:
        self._most, self._pause = most, pause
        self._limit, self._running, self._throttled = float(most), 0, 0
        self._not_before = 0.0
        self._turn = threading.Condition()

    @property
    def rest(self) -> float:
        """Seconds for which the provider is still left alone; not above 0 if it is not."""
        return self._not_before - time.monotonic()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until one more request may be sent, and count it as under way in the block.

        Raises
        ------
        Stopped
            If the work is to stop while the provider is left alone.
        """
        with self._turn:
            while (wait := self.rest) > 0 or self._running >= max(1, int(self._limit)):
                self._turn.wait(min(wait, LOOK) if wait > 0 else None)
                if wait > 0:
                    stop_sign().check()
            self._running += 1
        try:
            yield
        finally:
            with self._turn:
                self._running -= 1
                self._turn.notify()

    def served(self) -> None:
        """Take note of an answer that did not ask for patience."""
        with self._turn:
            self._throttled = 0
            self._limit = min(self._limit + 1.0 / self._limit, self._most)

    def throttled(self, retry_after: float | None) -> None:
        """Take note of an answer that asked for patience.

        Parameters
        ----------
        retry_after
            Seconds that the provider asks for; None if it does not say.
        """
        with self._turn:
            now = time.monotonic()
            if now >= self._not_before:
                # Requests that were on their way at the time are of the same throttling.
                self._limit = max(self._limit / 2, 1.0)
                self._throttled += 1
            wait = self._pause * 2 ** min(self._throttled - 1, 10) * random.uniform(0.5, 1.0)
            wait = min(wait, LONGEST_PAUSE)
            if retry_after is not None:
                wait = min(retry_after, LONGEST_ASKED)
            self._not_before = max(self._not_before, now + wait)
            self._turn.notify_all()


class Accounts:
    """The accounts of a process, by name.

    Parameters
    ----------
    pause
        As for each `Account`.
    """

    def __init__(self, pause: float = 1.0) -> None:
        self._pause = pause
        self._known: dict[str, Account] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Account:
        with self._lock:
            return self._known.setdefault(name, Account(pause=self._pause))
