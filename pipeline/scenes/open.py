"""Which source a catalogue is."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from pipeline.errors import BadInput
from pipeline.remote import WEB, Remote, is_local, local_path, scheme_of
from pipeline.scenes import earth_search, planetary_computer
from pipeline.scenes.api import StacApi, is_api
from pipeline.scenes.dpixels import DPixels
from pipeline.scenes.earth_search import EarthSearch
from pipeline.scenes.items import KEEPING_OFFSET
from pipeline.scenes.planetary_computer import PlanetaryComputer
from pipeline.scenes.scene import Source
from pipeline.scenes.static import StaticCatalogue, read_document

NAMES = ("planetary-computer", "earth-search", "earth-search-c1")

ADDRESSES = {planetary_computer.ROOT: "planetary-computer", earth_search.ROOT: "earth-search"}
"""Addresses of what has a name."""


def catalogue_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Declare the options that say where scenes come from."""
    parser.add_argument(
        "--catalog",
        required=required,
        help="STAC API, static catalogue or index"
        + ("" if required else "; without it scenes are reckoned by the satellites' orbits"),
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="host of a private address that the catalogue may point to (repeatable)",
    )


def open_catalogue(text: str, allow_hosts: Collection[str] = ()) -> Source:
    """Open a catalogue.

    Parameters
    ----------
    text
        `planetary-computer`, `earth-search` or `earth-search-c1`; the address of a STAC API; the
        path or address of a static STAC catalogue or of a STAC GeoParquet index, also `gs://` and
        `s3://`; a d-pixel directory or a folder of them.
    allow_hosts
        Hosts besides the catalogue's own that may be at private addresses.

    Raises
    ------
    BadInput
        If it is none of these.
    """
    text = ADDRESSES.get(text.rstrip("/"), text)
    remote = Remote(text if text not in NAMES else "https://", allow_hosts)
    if text == "planetary-computer":
        return PlanetaryComputer(remote)
    if text in ("earth-search", "earth-search-c1"):
        return EarthSearch(remote, KEEPING_OFFSET if text.endswith("-c1") else "sentinel-2-l2a")
    if is_local(text):
        path = Path(local_path(text))
        if not path.exists():
            raise BadInput(f"catalogue {text} is no file here, and none of {', '.join(NAMES)}")
        if path.is_dir():
            inside = path / "catalog.json"
            return StaticCatalogue(str(inside), remote) if inside.is_file() else DPixels(text)
    if text.partition("?")[0].endswith((".parquet", ".geoparquet")):
        # Its library is loaded when it is used.
        from pipeline.scenes.index import ParquetIndex

        return ParquetIndex(text, remote)
    if scheme_of(text) in WEB and is_api(read_document(text, text, remote)):
        return StacApi(text, remote)
    return StaticCatalogue(text, remote)
