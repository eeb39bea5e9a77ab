"""That one launcher at a time makes a share, and that the others know it.

A launcher that takes a share puts a note into the store and renews it every few seconds. Who finds
the note of another waits whether it changes: where it does, the other lives; where it has not for a
minute, the other is dead, and this one goes on in its place. So a task of a job array that was
started again meets its dead predecessor. No clocks are compared.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.locks import locked
from tessera_mosaic.pipeline.io.stop_sign import pause
from tessera_mosaic.pipeline.job.heartbeat import clear, here
from tessera_mosaic.pipeline.job.pacing import Pacing
from tessera_mosaic.pipeline.job.shares import Share
from tessera_mosaic.pipeline.ledger.keys import launch_prefix, share_lock, stop_key
from tessera_mosaic.pipeline.ledger.share_lists import ShareNote, Shares, ShareState

log = logging.getLogger(__name__)


class ShareClaim:
    """A share that this launcher makes, and nobody else meanwhile.

    Parameters
    ----------
    shares
        The list as it is divided.
    share
        The share.
    launch
        Id of this launch.
    pacing
        How often notes are renewed, and after how long a launcher counts as dead.
    """

    def __init__(self, shares: Shares, share: Share, launch: str, pacing: Pacing) -> None:
        self._shares, self._share, self._launch, self._pacing = shares, share, launch, pacing
        self._note = ShareNote(launch, here(), ShareState.AT_WORK)
        self._state = ShareState.STOPPED
        self._taken_over = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="share", daemon=True)

    def __enter__(self) -> ShareClaim:
        """Take the share, as soon as whoever had it has been silent for long enough.

        Raises
        ------
        BadInput
            If whoever has it lives.
        """
        dead = self._wait()
        self._thread.start()
        if dead is not None:
            log.warning("share %s: %s is gone: going on in its place", self._share, dead.by)
            try:
                clear(self._shares.storage, launch_prefix(self._shares.year, dead.launch))
            except StoreError as error:
                log.warning("what launch %s left could not be cleared: %s", dead.launch, error)
        return self

    def __exit__(self, *error: Any) -> None:
        self._over.set()
        self._thread.join()
        try:
            self._put(self._state)
        except StoreError as failed:
            # Whoever takes the share next has to wait whether this launcher lives.
            log.warning("that share %s is left could not be noted: %s", self._share, failed)

    def ended(self) -> None:
        """Say that the launch came to its end: each tile of the share is made, or has failed."""
        self._state = ShareState.ENDED

    def _wait(self) -> ShareNote | None:
        """Take the share; gives the note of the dead launcher that had it, if one had."""
        seen, since = None, time.monotonic()
        while True:
            with self._locked():
                asked = time.monotonic()
                found = self._shares.note(self._share.index)
                left = found is None or found.state is not ShareState.AT_WORK
                if time.monotonic() - asked > self._pacing.silent_seconds / 2:
                    # Nobody could show itself while the store did not serve.
                    since = time.monotonic()
                dead = found == seen and time.monotonic() - since > self._pacing.silent_seconds
                if left or dead:
                    self._put(ShareState.AT_WORK)
                    return None if left else found
            if seen is None:
                seen, since = found, time.monotonic()
                log.warning(
                    "share %s: %s is at work on it, or was: if it gives no sign for %.0f s, this "
                    "launcher goes on in its place",
                    self._share,
                    found.by if found else "",
                    self._pacing.silent_seconds,
                )
            elif found is not None and found != seen:
                raise BadInput(
                    f"{found.by} is at work on this share: choose another, or wait for its end",
                    "share",
                    self._share,
                )
            pause(self._pacing.beat_seconds)

    def _renew(self) -> None:
        while not self._over.wait(self._pacing.beat_seconds):
            try:
                self._put(ShareState.AT_WORK)
            except Exception as error:
                # The next sign may be taken, and a share is worth more than it.
                log.warning("share %s: its note could not be renewed: %s", self._share, error)

    def _put(self, state: ShareState) -> None:
        """Put this launcher's note, unless another has taken the share over."""
        shares, index = self._shares, self._share.index
        found = shares.note(index) if self._note.signs else None
        if found is not None and found.launch != self._launch:
            if not self._taken_over:
                self._taken_over = True
                log.warning(
                    "share %s was taken over by %s, for which this launcher was silent for too "
                    "long: no more tiles are begun here",
                    self._share,
                    found.by,
                )
                shares.storage.write(stop_key(shares.year, self._launch), b"")
            return
        self._note = self._note.next(state)
        shares.put_note(index, self._note)

    def _locked(self) -> Any:
        shares = self._shares
        name = share_lock(shares.year, shares.request, shares.count, self._share.index)
        return locked(shares.storage, name)
