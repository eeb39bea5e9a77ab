"""Every error has a class, and each class has its own answer.

`BadInput` ends a command with one line and exit code 2. The others are met while a tile is made:
they are retried where that can help, and what is left fails the tile under its class name.
"""

from __future__ import annotations

from typing import ClassVar


class TesseraError(Exception):
    """Base of the project's errors; `kind` is the class that records and tables name."""

    kind: ClassVar[str] = "error"


class BadInput(TesseraError, ValueError):
    """What the user gave cannot be used. The message names it and says what to do."""

    kind = "bad-input"


class NoScenes(BadInput):
    """A catalogue lists nothing of a year where it was asked."""

    kind = "no-scenes"


class StoreMismatch(BadInput):
    """A run meets a store that was made by another model, card or set of rules."""

    kind = "fingerprint"


class SceneError(TesseraError):
    """A scene's asset could not be read.

    Parameters
    ----------
    message
        What went wrong, in the words of whoever said it.
    scene, asset
        Names of the scene and of its asset, where they are known.
    """

    kind = "scene"

    def __init__(self, message: str, scene: str = "", asset: str = "") -> None:
        super().__init__(message)
        self.message, self.scene, self.asset = message, scene, asset

    def __str__(self) -> str:
        where = " ".join(part for part in (self.scene, self.asset) if part)
        return f"{where}: {self.message}" if where else self.message

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.message, self.scene, self.asset)


class Expired(SceneError):
    """The credential is no longer accepted: renew it and ask again."""

    kind = "expired-credential"


class Throttled(SceneError):
    """The provider asks for patience. Never an absence."""

    kind = "throttled"


class TimedOut(SceneError):
    """No answer in time."""

    kind = "timeout"


class Gone(SceneError):
    """The provider says that the object is not there."""

    kind = "gone"


class Corrupt(SceneError):
    """Bytes came, and they are not what they should be."""

    kind = "corrupt"


class Incomplete(SceneError):
    """The catalogue's item lacks something without which the scene cannot be used."""

    kind = "incomplete"


class Refused(SceneError):
    """A catalogue points to where it may not point."""

    kind = "refused"


class NoCatalogue(TesseraError):
    """The catalogue, which the launcher opened, cannot be opened by a worker."""

    kind = "catalogue"


class DeviceError(TesseraError):
    """The device that encodes failed in a way that another device might not."""

    kind = "bad-device"


class OutOfMemory(DeviceError):
    """Even the smallest batch did not fit."""

    kind = "out-of-memory"


class BadEmbedding(TesseraError):
    """The encoder returned numbers that are no embedding (NaN or infinite)."""

    kind = "bad-embedding"


class StoreError(TesseraError):
    """The store could not be written or read."""

    kind = "store"


class Altered(StoreError):
    """What the store holds is not what was written."""


class StoreFull(StoreError):
    """There is no room left: free some, or raise the quota."""

    kind = "store-full"


class StoreDenied(StoreError):
    """The identity that runs the job may not write or read there."""

    kind = "store-denied"


class StoreReadOnly(StoreError):
    """The place takes no writes from anybody."""

    kind = "store-read-only"


class Poisoned(TesseraError):
    """The tile was begun several times, and each time its worker died."""

    kind = "poisoned"


class BrokenOff(TesseraError):
    """The job ended before all its tiles were tried. What is done stays done."""

    kind = "broken-off"
