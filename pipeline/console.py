"""What people see on a terminal: log lines, options, the line of progress, numbers in words.

And the signals by which they stop what they see.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import errno
import logging
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

OF_BEAM = ("apitools not found", "KeyboardInterrupt", "Really starting", "Really destroying")
"""What Beam's log lines begin with that tell of parts not installed, of a user who stops it, and of
programs that it starts and ends."""

ERASE = "\r\x1b[2K"
"""Takes a terminal back to the beginning of its line, and empties it."""

OBEYED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of Unicode that are obeyed, or not seen, rather than read: what moves a terminal's
cursor, turns the direction of a text, breaks a line, or is no character at all."""

LONGEST = 4000
"""Most characters of one message."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that stop what is under way."""

STOPPED = "stopped; run it again to go on"
"""What is said of work that was stopped."""

UNHEARD = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ECONNRESET)
"""What the system answers who writes where nobody reads any more."""

OURS = "tessera_mosaic"
"""Logger of all that is ours."""

TOLD = "told"
"""Attribute of a log line that people have read already: it goes to the file of a log alone."""

LOG_LINE = "%(levelname)s %(name)s: %(message)s"

NO_OPTIONS = ("command", "beam_arguments", "words", "whole_parser")
"""Attributes of a command's arguments that are no options of its own."""


def set_up_logging() -> None:
    """Write warnings to standard error, but for what Beam says of itself."""
    handler = _BesideTheLine()
    # Beam sets the levels of some of its loggers itself.
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: not record.getMessage().startswith(OF_BEAM))
    handler.addFilter(lambda record: not hasattr(record, TOLD))
    logging.basicConfig(level=logging.WARNING, format=LOG_LINE, handlers=[handler])


def tell(verbose: bool = False, quiet: bool = False) -> None:
    """Choose what people see of a command's way beside what it prints.

    Parameters
    ----------
    verbose
        Whether they see what it does, step by step.
    quiet
        Whether they see errors alone: no warnings and no progress.
    """
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _BesideTheLine):
            handler.setLevel(level)
    logging.getLogger(OURS).setLevel(min(level, logging.WARNING))


def quiet() -> bool:
    """Whether people asked for errors alone."""
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, _BesideTheLine)]
    return any(each.level > logging.WARNING for each in handlers)


def log_to(path: str) -> logging.Handler:
    """Write what a command does, step by step, to the end of a file too; the handler that does.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(f"%(asctime)s {LOG_LINE}"))
    handler.addFilter(lambda record: not record.getMessage().startswith(OF_BEAM))
    logging.getLogger().addHandler(handler)
    logging.getLogger(OURS).setLevel(logging.INFO)
    return handler


def _readable(record: logging.LogRecord) -> logging.LogRecord:
    """A log line of which nothing is obeyed rather than read."""
    told = copy.copy(record)
    told.msg, told.args = one_line(record.getMessage()), ()
    return told


class _LogFile(logging.FileHandler):
    """Writes to a file."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(_readable(record)).split("\n")))


def tell_at_once(text: str) -> None:
    """Write a line to standard error from a handler of signals, whatever is being written there.

    Parameters
    ----------
    text
        The line.
    """
    with contextlib.suppress(OSError):
        erase = ERASE if os.isatty(2) else ""
        os.write(2, f"{erase}{one_line(text)}\n".encode())


@contextlib.contextmanager
def handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have a function handle the signals that stop, where this is the main thread."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            # None where a program that is no Python has handled it.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


class _BesideTheLine(logging.StreamHandler[TextIO]):
    """Writes to standard error; on a terminal, in place of the line that shows progress there."""

    def format(self, record: logging.LogRecord) -> str:
        # A traceback, which only what nobody foresaw has, keeps its lines.
        lines = map(printable, super().format(_readable(record)).split("\n"))
        return (ERASE if self.stream.isatty() else "") + "\n".join(lines)


class _Kept:
    """A standard stream that outlives whoever read it.

    Parameters
    ----------
    stream
        The stream.
    lossy
        Whether what cannot be written to it is dropped, whatever the reason.
    """

    def __init__(self, stream: TextIO, lossy: bool) -> None:
        self._stream, self._lossy = stream, lossy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, if anybody takes it."""
        with self._kept():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what has gathered."""
        with self._kept():
            self._stream.flush()

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            # Python would complain at the end of what is left.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if self._lossy or isinstance(error, ValueError) or error.errno in UNHEARD:
                return
            raise OSError(error.errno, error.strerror, "standard output") from None


def keep_streams() -> None:
    """Let the work go on where standard output or error is closed, or nobody reads it any more."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free; a file of ours would else be written to.
            os.open(os.devnull, os.O_RDWR)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name) or open(number, "w", closefd=False)  # noqa: SIM115
        setattr(sys, name, _Kept(stream, lossy=name == "stderr"))


def own_options(arguments: object) -> list[str]:
    """Name the options that a command declares.

    Parameters
    ----------
    arguments
        What the options came to, an attribute each.

    Returns
    -------
    Names such as `--allow-host`.
    """
    return [f"--{name.replace('_', '-')}" for name in vars(arguments) if name not in NO_OPTIONS]


def unknown_option(word: str, known: Sequence[str]) -> str:
    """Say that there is no such option, and which was probably meant.

    Parameters
    ----------
    word
        What was given, with or without its value.
    known
        Names of the options that there are.
    """
    name = word.split("=")[0]
    close = difflib.get_close_matches(name, known, n=1)
    return f"unknown option {name}" + (f"; did you mean {close[0]}?" if close else "")


def install_hint(extra: str) -> str:
    """How to install what one of the package's extras brings.

    Parameters
    ----------
    extra
        Name of the extra, as in pyproject.toml.

    Examples
    --------
    >>> install_hint("training")
    "pip install '.[training]' in the checkout of tessera-mosaic"
    """
    return f"pip install '.[{extra}]' in the checkout of tessera-mosaic"


def printable(text: str) -> str:
    """A text with all that is obeyed rather than read in it shown as escapes.

    Whatever comes from outside is made so where it enters, so that no file, catalogue or server
    can write on a terminal, into a log or into a record more than words.

    Parameters
    ----------
    text
        Any text, also one that is no valid Unicode.

    Examples
    --------
    >>> printable("a name\\x1b[31m\\nof two lines")
    'a name\\\\x1b[31m\\\\nof two lines'
    """
    if text.isprintable():
        return text
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) in OBEYED else char for char in text
    )


def one_line(text: str) -> str:
    """A text without line breaks, with single blanks between its words, printable and not endless.

    Examples
    --------
    >>> one_line("what a library\\n  said \\x07")
    'what a library said \\\\x07'
    """
    line = printable(" ".join(text[: 2 * LONGEST].split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def rounded(value: float) -> float:
    """A value to whole numbers where it is 1,000 or more, else to four figures."""
    return round(float(value)) if abs(value) >= 1000 else float(f"{value:.4g}")


def number(value: float) -> str:
    """A value in three figures and with a prefix: `12.3k`."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.5:
            return f"{value:.3g}{prefix}"
        value /= 1000
    return f"{value:.3g}T"


def clock(seconds: float) -> str:
    """A number of seconds as hours, minutes and seconds, `1:02:03`, or as `2:03` below an hour."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, seconds_left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds_left:02d}" if hours else f"{minutes}:{seconds_left:02d}"
