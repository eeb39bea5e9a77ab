"""Whether no more tiles are to be begun, because too many failed."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter

from tessera_mosaic.pipeline.errors import StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.monitor import made
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.ledger.keys import stop_key
from tessera_mosaic.pipeline.ledger.tally import Tally, pause, read_tallies

log = logging.getLogger(__name__)


SUSPICIOUS_TILES = 3
"""Tiles that a process has to make before it looks whether others fail as it does."""


class FailureLimit:
    """Whether no more tiles are to be begun, because too many of those made so far failed.

    The workers decide that themselves, since a launcher that only hands over the graph is gone
    while they work. One of whose own tiles too many failed adds up those of all; the others ask
    only whether somebody has said so.

    Parameters
    ----------
    storage, year, launch
        The store and the launch.
    share
        Share, 0 to 1, of the tiles made that may fail.
    pacing
        How often the store is asked, and how many tiles have to be made before the share says
        anything.
    """

    def __init__(
        self,
        storage: Storage,
        year: int,
        launch: str,
        share: float = 1.0,
        pacing: Pacing | None = None,
    ) -> None:
        self._storage, self._year, self._launch = storage, year, launch
        self._share, self._pacing = share, pacing or Pacing()
        self._key = stop_key(year, launch)
        self._began = time.monotonic()
        self._asked_at = self._weighed_at = -math.inf
        self._said = False

    def say(self) -> None:
        """Stop the workers."""
        self._said = True
        self._storage.write(self._key, b"")

    def reached(self, tally: Tally) -> bool:
        """Whether no more are to be begun; the store is asked now and then.

        Parameters
        ----------
        tally
            Of the process that asks.
        """
        now = time.monotonic()
        seldom = pause(now - self._began, self._pacing.tally_seconds)
        if not self._said and now - self._asked_at > seldom:
            self._asked_at = now
            self._said = self._is_said()
        if not self._said and now - self._weighed_at > seldom:
            self._weighed_at = now
            self._weigh(tally)
        return self._said

    def _is_said(self) -> bool:
        try:
            return self._storage.exists(self._key)
        except StoreError as error:
            # A store that refuses to say has not said that the work is to stop.
            log.warning("whether the job was stopped cannot be seen: %s", error)
            return False

    def _weigh(self, tally: Tally) -> None:
        if not self._hopeless(tally.counts(), SUSPICIOUS_TILES):
            return
        tally.put()
        total = read_tallies(self._storage, self._year, self._launch)
        if self._hopeless(total, self._pacing.enough_tiles):
            log.error(
                "%d of %d tiles failed, more than max_failed_share %g: no more are begun",
                total["tiles_failed"],
                made(total),
                self._share,
            )
            self.say()

    def _hopeless(self, counts: Counter[str], enough: int) -> bool:
        tried = made(counts)
        return tried >= enough and counts["tiles_failed"] > self._share * tried
