"""How long a store is waited for that does not answer, or asks to be left alone for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tessera_mosaic.pipeline.bounds import Bounds
from tessera_mosaic.pipeline.errors import StoreUnavailable
from tessera_mosaic.pipeline.io.answers import answer_behind
from tessera_mosaic.pipeline.io.stop_sign import pause
from tessera_mosaic.pipeline.io.store_errors import Asked, is_busy, store_error, told_of

PATIENCE = 300.0
"""Seconds for which a request is sent again to a store that does not serve, unless another number
is asked for."""

SECONDS = Bounds("choose seconds, 0 or more", least=0)

FIRST_PAUSE = 0.5
"""Seconds before the second try of a request; doubled before each later one."""

LONGEST_PAUSE = 15.0
"""Most seconds between two tries, where the store does not ask for more."""

TOLD_EVERY = 30.0
"""Seconds between two lines that say for which store a process waits."""

log = logging.getLogger(__name__)

T = TypeVar("T")


def check_patience(seconds: float) -> None:
    """Refuse a number of seconds that cannot be waited.

    Raises
    ------
    BadInput
        If it is negative, or no number.
    """
    SECONDS.check(seconds, "store_patience")


def persist(asked: Asked, request: Callable[[], T], patience: float) -> T:
    """Send a request, again while its store is busy or does not answer.

    Parameters
    ----------
    asked
        The request in words.
    request
        Sends it, and returns what was answered.
    patience
        Seconds for which it is sent again.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If an object is absent, or is there already that was to be put only if it is not.
    StoreUnavailable
        If the store did not serve for so long.
    Stopped
        If the work is to stop while the store is waited for.
    BadInput, StoreError
        For all else that the store answers, see `store_errors.store_error`.
    """
    began, wait = time.monotonic(), FIRST_PAUSE
    while True:
        try:
            return request()
        except Exception as error:
            if not is_busy(asked, error):
                told = store_error(asked, error)
                raise told from (None if told is error else error)
            left = patience - (time.monotonic() - began)
            said = f"{asked.store}: {asked.what}: {told_of(error)}"
            if left <= 0:
                raise StoreUnavailable(f"{said} (waited {patience:.0f} s)") from error
            answer = answer_behind(error)
            asked_for = (answer and answer.retry_after) or 0.0
        _WAITS.tell(asked.store, said, left)
        pause(min(max(wait, asked_for), left))
        wait = min(2 * wait, LONGEST_PAUSE)


class _Waits:
    """Says now and then for which stores this process waits, however many threads do."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def tell(self, store: str, said: str, left: float) -> None:
        """Say what is waited for, and for how long at the most."""
        now = time.monotonic()
        with self._lock:
            if now - self._told.get(store, -TOLD_EVERY) < TOLD_EVERY:
                return
            self._told[store] = now
        log.warning("%s: waiting for the store, for %.0f s at the most", said, left)


_WAITS = _Waits()
