"""How long a job waits between two tries, two looks and two signs of life."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pacing:
    """The waiting times of a job, which tests make short.

    Parameters
    ----------
    pauses
        Factor on the pauses that the classes of errors ask for before a tile is tried again.
    tally_seconds
        Seconds between two puts of a worker's tally, and between two looks of the launcher, in
        the first minutes.
    first_seconds, log_seconds
        Seconds until the first line of progress, and between two lines, where standard error is no
        terminal.
    compact_seconds
        Seconds between two looks of the launcher for rows that the summaries do not have yet.
    device_hold
        Seconds for which a worker whose device failed keeps what a runner of many machines hands
        it. If it gave that back at once it would be handed the same again, until the runner gives
        up the job.
    beat_seconds
        Seconds between two puts of a launcher's sign.
    silent_seconds
        Seconds after which a launcher that has not put up its sign again counts as dead: more
        than a store that is throttled makes a put wait.
    enough_tiles
        Number of tiles that have to be made before the share of failed ones says anything.
    """

    pauses: float = 1.0
    tally_seconds: float = 2.0
    first_seconds: float = 5.0
    log_seconds: float = 60.0
    compact_seconds: float = 120.0
    device_hold: float = 600.0
    beat_seconds: float = 5.0
    silent_seconds: float = 60.0
    enough_tiles: int = 10
