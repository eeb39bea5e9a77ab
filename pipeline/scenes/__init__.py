"""A catalogue -> the scenes of a tile-year; one small module a source."""

from __future__ import annotations

from pipeline.scenes.scene import S2_ASSETS, Access, Box, Scene, Source
from pipeline.scenes.static import StaticCatalogue

__all__ = ["S2_ASSETS", "Access", "Box", "Scene", "Source", "open_catalogue"]


def open_catalogue(text: str) -> Source:
    """Open a catalogue.

    Parameters
    ----------
    text
        Path or address of a static STAC catalogue.

    Raises
    ------
    BadInput
        If it is none.
    """
    return StaticCatalogue(text)
