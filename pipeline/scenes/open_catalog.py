"""Which source a catalogue is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.fetcher import Remote
from tessera_mosaic.pipeline.io.http import ORDINARY, Patience
from tessera_mosaic.pipeline.io.urls import WEB, is_local, local_path, scheme_of, without_gdal
from tessera_mosaic.pipeline.scenes import earth_search, planetary_computer
from tessera_mosaic.pipeline.scenes.dpixel_catalog import DPixels
from tessera_mosaic.pipeline.scenes.earth_search import EarthSearch
from tessera_mosaic.pipeline.scenes.planetary_computer import PlanetaryComputer
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.scenes.stac_api import StacApi, is_api
from tessera_mosaic.pipeline.scenes.stac_items import KEEPING_OFFSET
from tessera_mosaic.pipeline.scenes.static_catalog import StaticCatalogue, read_document

NAMED: Mapping[str, Callable[[Remote], Source]] = {
    "planetary-computer": PlanetaryComputer,
    "earth-search": EarthSearch,
    "earth-search-c1": functools.partial(EarthSearch, collection=KEEPING_OFFSET),
}
"""Public catalogues that have a name, and what opens each."""

ADDRESSES = {planetary_computer.ROOT: "planetary-computer", earth_search.ROOT: "earth-search"}
"""Names of the public catalogues by their addresses."""


def open_catalogue(
    text: str,
    allow_hosts: Collection[str] = (),
    patience: Patience = ORDINARY,
    named: Mapping[str, Callable[[Remote], Source]] = NAMED,
) -> Source:
    """Open a catalogue.

    Parameters
    ----------
    text
        `planetary-computer`, `earth-search` or `earth-search-c1`; the address of a STAC API; the
        path or address of a static STAC catalogue or of a STAC GeoParquet index, also `gs://` and
        `s3://`; a d-pixel directory or a folder of them.
    allow_hosts
        Hosts besides the catalogue's own that may be at private addresses.
    patience
        Times for which servers are waited for, and after which they are asked again.
    named
        What opens a catalogue that is called by its name.

    Raises
    ------
    BadInput
        If it is none of these.
    Unavailable
        If its provider asks for patience or does not answer.
    """
    text = without_gdal(text)
    text = ADDRESSES.get(text.rstrip("/"), text)
    remote = Remote("https://" if text in named else text, allow_hosts, patience)
    if text in named:
        return named[text](remote)
    if is_local(text):
        path = Path(local_path(text))
        if not path.exists():
            raise BadInput(f"catalogue {text} is no file here, and none of {', '.join(named)}")
        if path.is_dir():
            inside = path / "catalog.json"
            return StaticCatalogue(str(inside), remote) if inside.is_file() else DPixels(text)
    if text.partition("?")[0].endswith((".parquet", ".geoparquet")):
        # Its library is loaded when it is used.
        from tessera_mosaic.pipeline.scenes.geoparquet import ParquetIndex

        return ParquetIndex(text, remote)
    if scheme_of(text) in WEB and is_api(read_document(text, text, remote).content):
        return StacApi(text, remote)
    return StaticCatalogue(text, remote)
