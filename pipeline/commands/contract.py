"""What a command promises beyond its options: what it takes, makes, needs, costs, and cannot undo.

Each command's module has one `CONTRACT`. Names, types, choices, defaults and units of options are
not told here: they stand in the command's parser, and bounds in the requests that it fills.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tessera_mosaic.pipeline.contracts.state import Kind


class Material(StrEnum):
    """What a command takes or makes that carries no state of its own."""

    ARTEFACT = "artefact"
    """Whatever carries a state, of any kind."""
    CATALOGUE = "catalogue"
    """STAC API, static catalogue or index of scenes."""
    DPIXELS = "d-pixels"
    """A folder of annual stacks or of pixels drawn of them."""
    EMBEDDINGS = "embeddings"
    """Arrays of codes and scales that lie in no mosaic."""
    FOLDER = "folder"
    """Files of several kinds."""
    PICTURE = "picture"
    PRODUCT = "product"
    """Numbers of another source, as a table or a raster."""
    RASTER = "raster"
    REPOSITORY = "repository"
    """Icechunk repositories."""
    TABLE = "table"


@dataclass(frozen=True)
class Contract:
    """What a command promises. Options are named as a file of options names them: `allow_host`.

    Parameters
    ----------
    costs
        What it costs, and what that depends on.
    takes
        Kinds of artefacts that it reads, by the option that names them.
    gives
        Kinds of artefacts that it makes or changes, by the option that names them. Without them it
        changes nothing, unless `changes` says so.
    needs
        What has to hold before it is run; what can be told from options stands in their schema.
    changes
        What it changes that no option names; empty for nothing.
    lasting
        What cannot be undone.
    resumes
        Whether it goes on where it stopped when it is run again, and leaves what is done.
    planned_as
        The job of `plan` that tells its cost beforehand; empty if none does.
    tells
        Fields of its JSON on which programs may rely.
    requests
        Requests that hold its bounds: classes, or names of `tessera_mosaic` where a class is not to
        be loaded before it is needed.
    actions
        Contracts of its actions, by name.
    """

    costs: str
    takes: Mapping[str, Kind | Material] = field(default_factory=dict)
    gives: Mapping[str, Kind | Material] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    changes: str = ""
    lasting: tuple[str, ...] = ()
    resumes: bool = False
    planned_as: str = ""
    tells: tuple[str, ...] = ()
    requests: tuple[type | str, ...] = ()
    actions: Mapping[str, Contract] = field(default_factory=dict)


MADE = "the mosaic holds the year there (`status` tells)"
"""What whoever reads a mosaic needs."""

READS_REGION = "reads the region's codes once"
"""What a pass over a region costs."""
