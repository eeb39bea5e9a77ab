"""What every catalogue of scenes can be asked, and what it means that one cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tessera_mosaic.pipeline.errors import BadInput, SceneError, Unavailable
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.scenes.scene import Imagery, Scene
from tessera_mosaic.pipeline.tiling.boxes import Box


class Source(Protocol):
    """A catalogue of scenes, opened once a process and safe to use from many threads.

    Credentials for the pixels of scenes are not its business, but that of `credentials`.

    Attributes
    ----------
    name
        Address or name by which messages call it.
    remote
        Fetches what the catalogue points to.
    imagery
        Source of the products that it lists.
    keeps_offset
        Whether its Sentinel-2 scenes have the radiometric offset in their pixels though its
        imagery is that of AWS.
    """

    name: str
    remote: Remote
    imagery: Imagery
    keeps_offset: bool

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All scenes of a year that touch a box, by time and id, twins marked unusable."""
        ...

    def refresh(self, scene: Scene) -> Scene:
        """Ask for the scene's item again, as its assets may have moved."""
        ...


@contextmanager
def opening(catalogue: str, no_such: str = "") -> Iterator[None]:
    """Say of which catalogue something could not be read while it was opened.

    Parameters
    ----------
    catalogue
        Its address, without a credential.
    no_such
        What it then turns out not to be, for the message; empty to say only what went wrong.

    Raises
    ------
    Unavailable
        Of the class of what went wrong, if the provider asks for patience or does not answer.
    BadInput
        If what is there, or may be read of it, cannot be used.
    """
    try:
        yield
    except Unavailable as error:
        raise type(error)(f"catalogue {catalogue}: {error.message}") from None
    except SceneError as error:
        what = f"catalogue {catalogue} is no {no_such}" if no_such else f"catalogue {catalogue}"
        raise BadInput(f"{what}: {error.message}") from None
