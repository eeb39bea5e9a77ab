"""A catalogue -> the scenes of a tile-year; one small module a source."""

from __future__ import annotations

from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import S2_ASSETS, Scene
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.tiling.boxes import Box

__all__ = ["S2_ASSETS", "Box", "Scene", "Source", "open_catalogue"]
