"""Which launchers are at work on a year of a store, so that each knows of the others.

While it runs, a launch has a folder in the store, with the launcher's sign, the workers' tallies
and the launcher's word to them (`ledger.tally`, `job.failure_limit`):

    records/<year>/progress/<launch>/
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.ledger.keys import launch_prefix, launcher_key, launches_prefix
from tessera_mosaic.pipeline.ledger.records import READ_THREADS

log = logging.getLogger(__name__)


class Heartbeat:
    """Shows the other launchers of a year that this one is at work, and looks out for them.

    Whoever starts takes away the signs of all others. The living put theirs up again within a
    beat; those that do not are dead, and what they left is cleared away. No clock is compared, and
    nothing else is done in the thread that beats. A living one that was taken for dead loses
    nothing that it does not put again.

    Parameters
    ----------
    storage, year, launch
        The store, the calendar year and the id of this launch.
    pacing
        How often signs are put, and after how long a launcher counts as dead.
    siblings
        What the ids of launches begin with that make other shares of the same list, which are
        left alone and not warned of; empty for none.
    """

    def __init__(
        self,
        storage: Storage,
        year: int,
        launch: str,
        pacing: Pacing | None = None,
        siblings: str = "",
    ) -> None:
        self._storage, self._year, self._launch = storage, year, launch
        self._siblings = siblings
        self._pacing = pacing or Pacing()
        self._arrived = time.monotonic()
        self._silent: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="presence", daemon=True)

    def __enter__(self) -> Heartbeat:
        self.arrive()
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._over.set()
        self._thread.join()
        try:
            self.leave()
        except Exception as failed:
            log.warning("progress could not be cleared from the store: %s", failed)

    def arrive(self) -> None:
        """Put up this launcher's sign and take away the others'."""
        self._silent = {launch for launch in self._launches() if launch != self._launch}
        for launch in self._silent:
            self._storage.delete(self._sign(launch))
        self._arrived = time.monotonic()
        self.beat()

    def beat(self) -> None:
        """Put up this launcher's sign, and judge those that should have come back by now."""
        self._storage.write(self._sign(self._launch), here().encode())
        for launch in sorted(self._silent):
            with contextlib.suppress(FileNotFoundError):
                who = self._storage.read_document(self._sign(launch)).decode(errors="replace")
                log.warning("another launcher is at work on %s: %s", self._storage.url, who)
                log.warning("this one joins it: neither makes a tile that the other has made")
                self._silent.discard(launch)
        if time.monotonic() - self._arrived > self._pacing.silent_seconds:
            self._bury()

    def leave(self) -> None:
        """Take away all that this launch put up."""
        clear(self._storage, launch_prefix(self._year, self._launch))

    def _beat_on(self) -> None:
        while not self._over.wait(self._pacing.beat_seconds):
            try:
                self.beat()
            except Exception as error:
                # The next beat may succeed, and a job is worth more than its sign.
                log.warning("this launcher's sign could not be put into the store: %s", error)

    def _bury(self) -> None:
        for launch in self._silent:
            log.warning("launch %s ended without a word: what it left is cleared away", launch)
            clear(self._storage, launch_prefix(self._year, launch))
        self._silent = set()

    def _launches(self) -> set[str]:
        prefix = launches_prefix(self._year)
        found = {key.removeprefix(prefix).split("/")[0] for key in self._storage.list(prefix)}
        return {each for each in found if not (self._siblings and each.startswith(self._siblings))}

    def _sign(self, launch: str) -> str:
        return launcher_key(self._year, launch)


def here() -> str:
    """This process, in words for people: containers may share a name and count alike."""
    return f"{socket.gethostname()} process {os.getpid()}"


def clear(storage: Storage, prefix: str) -> None:
    """Delete all objects below a prefix, side by side."""
    with ThreadPoolExecutor(READ_THREADS) as pool:
        list(pool.map(storage.delete, list(storage.list(prefix))))
