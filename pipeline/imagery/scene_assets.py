"""The files of scenes: where they are, with which credential, and how often they are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from tessera_mosaic.pipeline.errors import Expired, Gone, SceneError
from tessera_mosaic.pipeline.imagery.tiff_tags import Fetch
from tessera_mosaic.pipeline.imagery.turns import Turn
from tessera_mosaic.pipeline.io.http import Received
from tessera_mosaic.pipeline.io.urls import is_signed, without_signature
from tessera_mosaic.pipeline.scenes.credentials import Signer
from tessera_mosaic.pipeline.scenes.scene import Scene
from tessera_mosaic.pipeline.scenes.source import Source

MOST_KEPT = 4096
"""Scenes of which something is kept, such as headers: those of a year over one tile, several times
over."""

MOST_BEGINNINGS, MOST_BEGINNING = 1024, 2**16
"""Files of which the first bytes are kept, and how many of each: small blocks and overviews often
lie behind a header."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")

Count = Callable[..., None]
"""Takes amounts by their names, such as `bytes_read=100`, and adds them up."""


class RecentlyUsed(Generic[K, V]):
    """Values by key, at most so many of them. Safe to use from many threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value that is kept under a key; None for nothing."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value, and drop the one that was not looked up for longest."""
        with self._lock:
            self._kept[key] = value
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def drop(self, key: K) -> None:
        """Keep nothing under a key."""
        with self._lock:
            self._kept.pop(key, None)


class SceneAssets:
    """Fetches bytes of scenes' assets. Safe to use from many threads.

    Parameters
    ----------
    source
        The catalogue that the scenes are from.
    signer
        Gives addresses their credentials.
    turns
        Of the threads that work with what they have fetched.
    """

    def __init__(self, source: Source, signer: Signer, turns: threading.Semaphore) -> None:
        self._source, self._signer, self._turns = source, signer, turns
        self._moved: RecentlyUsed[Hashable, Scene] = RecentlyUsed()
        self._beginnings: RecentlyUsed[str, bytes] = RecentlyUsed(MOST_BEGINNINGS)
        self._asking = threading.Lock()

    def fetch(self, scene: Scene, band: str, work: Callable[[Fetch], T], count: Count) -> T:
        """Do some work with the bytes of an asset, again as each class of failure deserves.

        Parameters
        ----------
        scene, band
            Scene and name of the asset.
        work
            Takes what fetches the bytes at an offset, and raises a `SceneError` where it fails.
            It has a turn from its first bytes on, except while it waits for more.
        count
            Takes `bytes_read`, `requests_read` and `retries_<class of error>`.

        Raises
        ------
        SceneError
            Of the class of what went wrong, with the names of scene and asset.
        """
        remote, renewals, name = self._source.remote, 0, without_signature(scene.asset(band))

        def attempt() -> T:
            nonlocal renewals
            renewals = self._signer.renewals
            known, began = self._beginnings.get(name), b""

            def fetch(start: int, length: int) -> Received:
                nonlocal began
                if known and start + length <= len(known):
                    turn.take()
                    return known[start : start + length]
                turn.give()
                access = self._signer.access(scene.asset(band))
                data = remote.read(access, start, length)
                turn.take()
                count(bytes_read=len(data), requests_read=1)
                began = bytes(memoryview(data)[:MOST_BEGINNING]) if start == 0 else began
                return data

            with Turn(self._turns) as turn:
                done = work(fetch)
            if began:
                # What made no sense is not kept.
                self._beginnings.put(name, began)
            return done

        def answer(error: SceneError) -> None:
            self._beginnings.drop(name)
            count(**{f"retries_{error.kind}": 1})
            if isinstance(error, Expired):
                self._signer.renew(renewals, scene.asset(band))

        try:
            return remote.persist(attempt, scene.asset(band), answer)
        except SceneError as error:
            raise _named(error, scene, band) from None

    def follow(self, scene: Scene, band: str, work: Callable[[Scene], T]) -> T:
        """Do some work on a scene, and again where its item says that its files are now.

        The item is asked once for all bands: what is gone from there too is gone. Where its
        addresses come signed it is asked again each time that their signature has expired.

        Parameters
        ----------
        scene, band
            Scene and name of the asset.
        work
            Takes the scene, or the same one with other addresses.

        Raises
        ------
        SceneError
            What the work raises, or what goes wrong while the item is asked for.
        """
        version = scene.id, scene.assets.get(scene.anchor)
        moved = self._moved.get(version)
        try:
            return work(moved or scene)
        except Gone as gone:
            if moved is not None:
                raise
            error: SceneError = gone
        except Expired as expired:
            if not is_signed((moved or scene).assets.get(expired.asset or band, "")):
                raise
            error = expired
        again = self._asked_again(version, scene, moved, band)
        if again.assets == (moved or scene).assets:
            raise error
        return work(again)

    def _asked_again(
        self, version: Hashable, scene: Scene, known: Scene | None, band: str
    ) -> Scene:
        """The scene as its item has it now, asked for by one thread for all that wait."""
        with self._asking:
            moved = self._moved.get(version)
            if moved is None or moved is known:
                try:
                    moved = self._source.refresh(scene)
                except SceneError as error:
                    raise _named(error, scene, band) from None
                self._moved.put(version, moved)
            return moved


def _named(error: SceneError, scene: Scene, band: str) -> SceneError:
    """The same error with the names of scene and asset."""
    return type(error)(error.message, scene.id, band)
