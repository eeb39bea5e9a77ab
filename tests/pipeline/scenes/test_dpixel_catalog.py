"""d-pixel directories stand in for scenes."""

import dataclasses
from pathlib import Path

from tessera_mosaic.model.observations import Stack
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.stacks.annual_stack import AnnualStack
from tessera_mosaic.pipeline.stacks.dpixel_files import write_stack_directory
from tessera_mosaic.pipeline.tiling.lattice import (
    Window,
    lonlat_bounds,
)
from tests.pipeline.scenes.sources import YEAR, stack_of


def test_dpixel_directories_stand_in_for_scenes(
    window: Window, expected: AnnualStack, tmp_path: Path
) -> None:
    def describe(part: Window) -> dict:
        return {
            "crs": part.crs,
            "transform": list(part.transform),
            "shape": list(part.shape),
            "year": YEAR,
            "rules": {"imagery": "aws"},
        }

    left = dataclasses.replace(window, width=8)
    right = dataclasses.replace(window, col=window.col + 5, width=window.width - 5)
    for name, part in (("left", left), ("right", right)):
        rows, cols = part.within(window)
        arrays = {
            field.name: getattr(expected.stack, field.name) for field in dataclasses.fields(Stack)
        }
        arrays = {n: a[:, rows, cols] if a.ndim > 1 else a for n, a in arrays.items()}
        write_stack_directory(tmp_path / name, Stack(**arrays), describe(part))
    source = open_catalogue(str(tmp_path))
    assert source.imagery == "aws"
    annual = stack_of(source, window)
    assert annual.used == ("left", "right")
    assert annual.dates == expected.dates
    clear = expected.stack.masks != 0
    assert (annual.stack.masks == expected.stack.masks).all()
    assert (annual.stack.bands[clear] == expected.stack.bands[clear]).all()
    for name in ("sar_ascending", "sar_descending", "sar_ascending_doy", "sar_descending_doy"):
        assert (getattr(annual.stack, name) == getattr(expected.stack, name)).all()
    assert source.search(lonlat_bounds(window), YEAR + 1) == []
