"""A catalogue -> the scenes of a tile-year; one small module a source."""

from __future__ import annotations

from pipeline.scenes.open import catalogue_arguments, open_catalogue
from pipeline.scenes.scene import S2_ASSETS, Box, Scene, Source

__all__ = ["S2_ASSETS", "Box", "Scene", "Source", "catalogue_arguments", "open_catalogue"]
