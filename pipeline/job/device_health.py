"""Whether a worker's device still serves."""

from __future__ import annotations

import os
import socket
import threading

from tessera_mosaic.pipeline.errors import DeviceError
from tessera_mosaic.pipeline.io.stop_sign import StopSign
from tessera_mosaic.pipeline.job.job_spec import failed_by_device
from tessera_mosaic.pipeline.ledger.records import Record

STRIKES = 3
"""Tiles in a row that may fail by a worker's device before it takes no more work."""


class DeviceHealth:
    """Whether a worker's device still serves: it is given up after `STRIKES` tiles in a row.

    Parameters
    ----------
    hold
        Seconds for which work is kept that comes after that.
    """

    def __init__(self, hold: float = 0.0) -> None:
        self._hold = hold
        self._strikes = 0
        self._said = ""
        self._lock = threading.Lock()

    def check(self, stop: StopSign) -> None:
        """Refuse work once the device is given up.

        Raises
        ------
        DeviceError
            After the hold.
        Stopped
            If the job is to stop meanwhile.
        """
        if self._strikes >= STRIKES:
            stop.wait(self._hold)
            stop.check()
            raise self.given_up()

    def serves(self, record: Record) -> bool:
        """Count a tile that was made, or that failed by the device; whether that may go on."""
        with self._lock:
            if record.error is not None and failed_by_device(record.error.kind):
                self._strikes += 1
                self._said = record.error.message
            elif self._strikes < STRIKES:
                self._strikes = 0
            return self._strikes < STRIKES

    def given_up(self) -> DeviceError:
        """What to raise instead of taking more work."""
        return DeviceError(
            f"{socket.gethostname()} process {os.getpid()} takes no more work: {STRIKES} tiles in "
            f"a row failed by its device, the last one with {self._said}"
        )
