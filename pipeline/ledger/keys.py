"""All keys of the objects beside the Zarr arrays."""

from __future__ import annotations

import logging

from tessera_mosaic.pipeline.tiling.lattice import Tile, zone_group

log = logging.getLogger(__name__)


def problems_key(year: int) -> str:
    """Key of what verify found when a year was last brought up to date."""
    return f"records/{year}/problems.json"


def forecast_key(year: int) -> str:
    """Key of a year's forecast."""
    return f"records/{year}/forecast.json"


REGION = "records/region.wkb"
"""Key of the region, as WKB, where only its own pixels are written."""


def notes_prefix(year: int) -> str:
    """Where the notes of a year lie."""
    return f"records/{year}/begun/"


def note_key(year: int, tile: Tile) -> str:
    """Key of a tile's note."""
    return f"{notes_prefix(year)}{zone_group(tile.zone)}/{tile.name}.json"


def launches_prefix(year: int) -> str:
    """Where all launches of a year have a folder while they run."""
    return f"records/{year}/progress/"


def launch_prefix(year: int, launch: str) -> str:
    """Where one launch and its workers say how far they are."""
    return f"{launches_prefix(year)}{launch}/"


def record_key(year: int, tile: Tile) -> str:
    """Key of a tile's record in the store."""
    return f"records/{year}/tiles/{zone_group(tile.zone)}/{tile.name}.json"


def planned_key(year: int, zone: int) -> str:
    """Key of the list of tiles of a zone that any run was asked for."""
    return f"records/{year}/planned/{zone_group(zone)}.json"


def request_key(year: int, request: str, zone: int) -> str:
    """Key of the list of tiles of a zone that one run was asked for."""
    return f"records/{year}/requests/{request}/{zone_group(zone)}.json"


def summary_key(year: int, zone: int) -> str:
    """Key of the short records of a zone."""
    return f"records/{year}/summary/{zone_group(zone)}.json"


def journal_prefix(year: int, zone: int) -> str:
    """Where the rows of a zone wait for the summary."""
    return f"records/{year}/journal/{zone_group(zone)}/"
