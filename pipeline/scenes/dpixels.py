"""d-pixel directories: a user's own annual stacks in place of scenes."""

from __future__ import annotations

from pathlib import Path

from pipeline.dpixels import DESCRIPTION, Description, read_description
from pipeline.errors import BadInput
from pipeline.grid import lonlat_bounds
from pipeline.remote import Remote
from pipeline.scenes.scene import Box, Scene
from pipeline.scenes.static import SceneList


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
        id=path.name,
        sensor="dpixels",
        datetime=f"{description.year:04d}",
        bbox=lonlat_bounds(description.window),
        assets={"stack": str(path)},
    )
