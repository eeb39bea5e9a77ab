"""d-pixel directories: a user's own annual stacks in place of scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tessera_mosaic.pipeline.console import printable
from tessera_mosaic.pipeline.errors import BadInput, SceneError
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.regular_files import read_part
from tessera_mosaic.pipeline.scenes.scene import Imagery, Scene, Sensor
from tessera_mosaic.pipeline.scenes.static_catalog import SceneList
from tessera_mosaic.pipeline.tiling.boxes import Box
from tessera_mosaic.pipeline.tiling.lattice import (
    HEIGHT,
    NORTH_EDGE,
    PIXEL,
    WEST_EDGE,
    WIDTH,
    Window,
    lonlat_bounds,
)

DESCRIPTION = "stack.json"
"""Name of the file that makes a folder a d-pixel directory."""


MOST_BYTES = 16 * 2**20
"""Most bytes of it."""


@dataclass(frozen=True)
class Description:
    """What `stack.json` has to say of a d-pixel directory.

    Parameters
    ----------
    window
        Pixels of the lattice that the arrays cover.
    year
        Calendar year of the observations.
    imagery
        Source of the products that they are from.
    """

    window: Window
    year: int
    imagery: Imagery


class DPixels:
    """d-pixel directories, each with its `stack.json`.

    Parameters
    ----------
    root
        One such directory, or a folder of them.

    Raises
    ------
    BadInput
        If there is none, or they are of different imagery.
    """

    keeps_offset = False

    def __init__(self, root: str) -> None:
        self.name, self.remote = root, Remote(root)
        folder = Path(root)
        paths = [folder] if (folder / DESCRIPTION).is_file() else sorted(folder.iterdir())
        described = [(p, read_description(p)) for p in paths if (p / DESCRIPTION).is_file()]
        imagery = {description.imagery for _, description in described}
        if len(imagery) != 1:
            raise BadInput(
                f"catalogue {root} has stacks of the imagery {' and '.join(sorted(imagery))}"
                if imagery
                else f"catalogue {root} has no {DESCRIPTION} in it or in its folders"
            )
        self.imagery = imagery.pop()
        self._scenes = SceneList([_scene(path, description) for path, description in described])

    def search(self, bounds: Box, year: int) -> list[Scene]:
        """All stacks of a year that touch a box, by name."""
        return sorted(self._scenes.find(bounds, year), key=lambda scene: scene.order)

    def refresh(self, scene: Scene) -> Scene:
        """The stack as it is."""
        return scene


def _scene(path: Path, description: Description) -> Scene:
    return Scene(
        id=printable(path.name),
        sensor=Sensor.DPIXELS,
        datetime=f"{description.year:04d}",
        bbox=lonlat_bounds(description.window),
        assets={"stack": str(path)},
    )


def read_description(directory: str | Path) -> Description:
    """Read `stack.json`.

    Raises
    ------
    BadInput
        If it does not tell the zone, the pixels, the year and the imagery of the stack.
    """
    path = Path(directory) / DESCRIPTION
    try:
        told = read_json(read_part(str(path), 0, MOST_BYTES))
        zone = int(str(told["crs"]).removeprefix("EPSG:326"))
        a, b, west, d, e, north = (float(value) for value in told["transform"])
        height, width = (int(value) for value in told["shape"])
        year, imagery = int(told["year"]), str(told["rules"]["imagery"])
    except (SceneError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise BadInput(
            f"{path} does not say crs, transform, shape, year and rules.imagery: {error!r:.200}"
        ) from None
    col, row = (west - WEST_EDGE) / PIXEL, (NORTH_EDGE - north) / PIXEL
    on_lattice = (a, b, d, e) == (PIXEL, 0, 0, -PIXEL) and col.is_integer() and row.is_integer()
    inside = (
        1 <= height <= HEIGHT and 1 <= width <= WIDTH and abs(col) < WIDTH and abs(row) < HEIGHT
    )
    known = 1 <= zone <= 60 and 1 <= year <= 9999 and imagery in tuple(Imagery)
    if not on_lattice or not inside or not known:
        raise BadInput(
            f"{path}: a stack lies in a northern UTM zone, EPSG:32601 to 32660, on pixels of "
            f"{PIXEL} m whose edges are whole tens of metres and which are some of the zone's, "
            "and is of one year's mpc or aws imagery"
        )
    return Description(Window(zone, int(row), int(col), height, width), year, Imagery(imagery))
