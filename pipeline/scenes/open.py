"""Which source a catalogue is."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.remote import Remote
from pipeline.scenes.scene import Source
from pipeline.scenes.static import StaticCatalogue


def open_catalogue(text: str, allow_hosts: Collection[str] = ()) -> Source:
    """Open a catalogue.

    Parameters
    ----------
    text
        Path or address of a static STAC catalogue.
    allow_hosts
        Hosts besides the catalogue's own that may be at private addresses.

    Raises
    ------
    BadInput
        If it is none.
    """
    return StaticCatalogue(text, Remote(text, allow_hosts))
