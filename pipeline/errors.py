"""Every error has a class, and each class says its own answer, here and nowhere else.

`BadInput` ends a command with one line and exit code 2. The others are tried again as often as
their class says; what is left ends a command with exit code 1, or fails the tile under its class.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, IntEnum, StrEnum
from typing import ClassVar, TypeVar

from tessera_mosaic.pipeline.console import one_line

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


class ExitCode(IntEnum):
    """What a command's process ends with."""

    DONE = 0
    FAILED = 1
    """Something other than the user's input ended the command."""
    BAD_INPUT = 2
    """The options, or what they name, cannot be used."""
    SOME_TILES_FAILED = 3
    """The job came to its end, and some tiles failed or were not tried."""
    STOPPED = 130
    """A user or a signal stopped it before it was done."""


class Fault(Enum):
    """Who has to change something before the same work succeeds."""

    USER = "user"
    """Whoever wrote the options, the region, or the files that they name."""
    PROVIDER = "provider"
    """Whoever serves the catalogue and the scenes."""
    DEVICE = "device"
    """The processor or GPU that encodes; another worker's might do."""
    ENCODER = "encoder"
    """The weights, or the arithmetic that they are used with."""
    STORE = "store"
    """Whoever keeps the store that is written to."""
    PROGRAM = "program"
    """This software, or the runner of the job."""


class TesseraError(Exception):
    """Base of the project's errors, with the answer of a class that has none of its own.

    Attributes
    ----------
    kind
        Name of the class in records, tables and counters.
    tries
        Number of times that a tile is tried in a row. Requests have been tried again before that,
        each by itself.
    pause
        Seconds before a tile's second try; as many more before each later one.
    request_tries
        Number of times that one request may end in this class before the error is raised.
    backs_off
        Whether the pauses between these requests grow. Where they do not, the next one is sent at
        once, or when the provider's `io.throttle.Account` lets it.
    loses_scene
        Whether a scene may be lost by it, where the user allows lost scenes.
    fault
        Who has to change something.
    exit_code
        What a command ends with that it ends.
    """

    kind: ClassVar[str] = "error"
    tries: ClassVar[int] = 1
    pause: ClassVar[float] = 10.0
    request_tries: ClassVar[int] = 1
    backs_off: ClassVar[bool] = False
    loses_scene: ClassVar[bool] = False
    fault: ClassVar[Fault] = Fault.PROGRAM
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str = "") -> None:
        # Much of what messages say comes from files, servers and libraries.
        super().__init__(one_line(str(message)))


class BadInput(TesseraError, ValueError):
    """What the user gave cannot be used. The message names it and says what to do.

    Parameters
    ----------
    message
        What is wrong with it, and what to do.
    parameter
        Name of the function's or request's parameter that cannot be used, which the message then
        begins with: `block 48: a block is a whole number of 32 px chunks`. Empty where the message
        says by itself what is wrong.
    value
        What the parameter was given; None leaves it out of the message.
    """

    kind = "bad-input"
    fault = Fault.USER
    exit_code = ExitCode.BAD_INPUT

    def __init__(self, message: str, parameter: str = "", value: object = None) -> None:
        super().__init__(message)
        self.parameter, self.value = parameter, value

    def __str__(self) -> str:
        return self.named(self.parameter)

    def named(self, name: str) -> str:
        """The message under another name of its parameter, such as a command's option."""
        told = name if self.value is None else one_line(f"{name} {self.value}")
        return f"{told}: {self.args[0]}" if self.parameter else str(self.args[0])

    @property
    def of_option(self) -> str:
        """The message for who gave options: `--max-failed-share` for `max_failed_share`."""
        return self.named(f"--{self.parameter.replace('_', '-')}")


class NoScenes(BadInput):
    """A catalogue lists nothing of a year where it was asked."""

    kind = "no-scenes"


class StoreMismatch(BadInput):
    """A run meets a store that was made by another model, card or set of rules."""

    kind = "fingerprint"


class SceneError(TesseraError):
    """A scene's asset, or a document of a catalogue, could not be read.

    Parameters
    ----------
    message
        What went wrong, in the words of whoever said it.
    scene, asset
        Names of the scene and of its asset, where they are known.
    """

    kind = "scene"
    loses_scene = True
    fault = Fault.PROVIDER

    def __init__(self, message: str, scene: str = "", asset: str = "") -> None:
        super().__init__(message)
        self.message, self.scene, self.asset = str(self.args[0]), scene, asset

    def __str__(self) -> str:
        where = " ".join(part for part in (self.scene, self.asset) if part)
        return f"{where}: {self.message}" if where else self.message

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.message, self.scene, self.asset)


class Expired(SceneError):
    """The credential is no longer accepted: renew it and ask again. The scene is still there."""

    kind = "expired-credential"
    tries = 2
    request_tries = 3
    loses_scene = False
    fault = Fault.USER


class Unavailable(SceneError):
    """The provider does not serve at the moment, which says nothing about what it has."""

    kind = "unavailable"


class Throttled(Unavailable):
    """The provider asks for patience. Never an absence."""

    kind = "throttled"
    tries = 3
    request_tries = 12
    loses_scene = False


class TimedOut(Unavailable):
    """No answer in time."""

    kind = "timeout"
    tries = 2
    request_tries = 6
    backs_off = True


class TooSlow(TimedOut):
    """An answer comes, at less than the least rate. Whoever drips is not waited for six times."""

    request_tries = 2


class Gone(SceneError):
    """The provider says that the object is not there."""

    kind = "gone"
    request_tries = 2


class Corrupt(SceneError):
    """Bytes came, and they are not what they should be."""

    kind = "corrupt"
    request_tries = 5
    backs_off = True


class Untrusted(Unavailable):
    """The certificate of a server is not accepted, and would not be a moment later."""

    kind = "certificate"
    fault = Fault.USER
    loses_scene = False


class Incomplete(SceneError):
    """The catalogue's item lacks something without which the scene cannot be used."""

    kind = "incomplete"


class Refused(SceneError):
    """A catalogue points to where it may not point."""

    kind = "refused"


class SensorLost(TesseraError):
    """The items of all scenes of a sensor are faulty: the tile would rest on the other alone."""

    kind = "lost-sensor"
    fault = Fault.PROVIDER


class NoCatalogue(TesseraError):
    """The catalogue, which the launcher opened, cannot be opened by a worker."""

    kind = "catalogue"
    tries = 3
    fault = Fault.PROVIDER


class DeviceError(TesseraError):
    """The device that encodes failed in a way that another device might not."""

    kind = "bad-device"
    tries = 2
    fault = Fault.DEVICE


class OutOfMemory(DeviceError):
    """Even the smallest batch did not fit."""

    kind = "out-of-memory"


class BadEmbedding(TesseraError):
    """The encoder returned numbers that are no embedding (NaN or infinite)."""

    kind = "bad-embedding"
    fault = Fault.ENCODER


class StoreError(TesseraError):
    """The store could not be written or read."""

    kind = "store"
    tries = 2
    fault = Fault.STORE


class StoreUnavailable(StoreError):
    """The store did not serve for as long as it is waited for."""


class Altered(StoreError):
    """What the store holds is not what was written, or not by this software."""

    exit_code = ExitCode.BAD_INPUT


class StoreFull(StoreError):
    """There is no room left: free some, or raise the quota."""

    kind = "store-full"
    tries = 1


class StoreDenied(StoreError):
    """The identity that runs the job may not write or read there."""

    kind = "store-denied"
    tries = 1


class StoreReadOnly(StoreError):
    """The place takes no writes from anybody."""

    kind = "store-read-only"
    tries = 1


class Poisoned(TesseraError):
    """The tile was begun several times, and each time its worker died."""

    kind = "poisoned"


class BrokenOff(TesseraError):
    """The job ended before all its tiles were tried. What is done stays done."""

    kind = "broken-off"


class Stopped(TesseraError):
    """A user or a signal stopped the work. No tile has failed by it; run again, it goes on."""

    kind = "stopped"
    fault = Fault.USER
    exit_code = ExitCode.STOPPED


class Unforeseen(TesseraError):
    """An exception of none of these classes."""

    kind = "internal"


def classed(error: BaseException) -> TesseraError:
    """What was raised while a tile was made, or an error whose class has the answer to it."""
    if isinstance(error, TesseraError):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemory(str(error) or "MemoryError")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"{error.filename or 'a local disk'}: {error.strerror}")
    return Unforeseen(f"{type(error).__name__}: {error}")


FAULTS: Mapping[str, Fault] = {
    each.kind: each.fault
    for each in tuple(vars().values())
    if isinstance(each, type) and issubclass(each, TesseraError)
}
"""Whose fault a failure is, by the `kind` that its record names."""


@contextmanager
def as_bad_input(*kinds: type[Exception]) -> Iterator[None]:
    """Give errors of some kinds, whose messages say it in one line, the class of a user's input."""
    try:
        yield
    except kinds as error:
        raise BadInput(str(error)) from None


def chosen(kind: type[ChoiceT], value: str, parameter: str) -> ChoiceT:
    """The member of an enumeration that a user chose by its value.

    Raises
    ------
    BadInput
        If it is the value of none, naming the parameter.
    """
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise BadInput(f"choose one of {known}", parameter, value) from None


def choose(request: object, **kinds: type[StrEnum]) -> None:
    """Bring fields of a frozen request, which may be given by value, into their enumerations.

    Parameters
    ----------
    request
        The request, which is being made.
    kinds
        Enumerations by the names of the fields, each of which is `chosen`.
    """
    for name, kind in kinds.items():
        object.__setattr__(request, name, chosen(kind, getattr(request, name), name))
