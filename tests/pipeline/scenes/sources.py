"""What tests of catalogues share: a year, and the stack that a source gives of a window."""

import dataclasses
from pathlib import Path

from tessera_mosaic.model.observations import Stack
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.scenes.credentials import (
    Signer,
)
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.scenes.stac_items import COMMON_NAMES
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    lonlat_bounds,
)
from tests.fakes.catalogues import items_of

YEAR = 2024


FLANDERS = (3.0, 50.8, 3.01, 50.81)


def stack_of(source: Source, window: Window, signer: Signer | None = None) -> AnnualStack:
    reader = SceneReader(source, threads=4, signer=signer)
    scenes = source.search(lonlat_bounds(window), YEAR)
    try:
        return read_block(window, scenes, Preprocessing(), reader)
    finally:
        reader.close()


def assert_equal(ours: AnnualStack, theirs: AnnualStack) -> None:
    for field in dataclasses.fields(Stack):
        one, other = getattr(ours.stack, field.name), getattr(theirs.stack, field.name)
        assert one.tobytes() == other.tobytes(), field.name
    assert (ours.used, ours.unused, ours.dates) == (theirs.used, theirs.unused, theirs.dates)


def c1_items(archive: Path) -> list[dict]:
    """Items as Earth Search writes those of ESA's Collection 1."""
    items = []
    for item in items_of(archive, "https://nowhere.example"):
        if item["collection"] == "sentinel-2-l2a":
            item["collection"] = "sentinel-2-c1-l2a"
            item["assets"] = {COMMON_NAMES[band]: asset for band, asset in item["assets"].items()}
        items.append(item)
    return items
