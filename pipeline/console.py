"""What people see on a terminal: log lines, the line of progress, and numbers in words."""

from __future__ import annotations

import logging
from typing import TextIO

log = logging.getLogger(__name__)


OF_BEAM = ("apitools not found", "KeyboardInterrupt")
"""Begins what it says of parts that are not installed, and of a user who stops it."""


ERASE = "\r\x1b[2K"
"""Takes a terminal back to the beginning of its line, and empties it."""


def set_up_logging() -> None:
    """Warnings go to standard error, but for what Beam says of itself."""
    handler = _BesideTheLine()
    handler.addFilter(lambda record: not record.getMessage().startswith(OF_BEAM))
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[handler]
    )


class _BesideTheLine(logging.StreamHandler[TextIO]):
    """Writes to standard error; on a terminal, in place of the line that shows progress there."""

    def format(self, record: logging.LogRecord) -> str:
        return (ERASE if self.stream.isatty() else "") + super().format(record)


def rounded(value: float) -> float:
    """A value to whole numbers where they are large, else to four figures."""
    return round(float(value)) if abs(value) >= 1000 else float(f"{value:.4g}")


def number(value: float) -> str:
    """Three digits and a prefix: 12.3k."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.5:
            return f"{value:.3g}{prefix}"
        value /= 1000
    return f"{value:.3g}T"


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    minutes, seconds_left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds_left:02d}" if hours else f"{minutes}:{seconds_left:02d}"
