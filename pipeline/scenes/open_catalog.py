"""Which source a catalogue is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from tessera_mosaic.pipeline.errors import BadInput, Gone
from tessera_mosaic.pipeline.io import buckets
from tessera_mosaic.pipeline.io.fetcher import Access, Remote
from tessera_mosaic.pipeline.io.http import ORDINARY, Patience
from tessera_mosaic.pipeline.io.urls import (
    WEB,
    is_local,
    local_path,
    plain,
    scheme_of,
    without_gdal,
)
from tessera_mosaic.pipeline.scenes import earth_search, planetary_computer
from tessera_mosaic.pipeline.scenes.dpixel_catalog import DPixels
from tessera_mosaic.pipeline.scenes.earth_search import EarthSearch
from tessera_mosaic.pipeline.scenes.links import own_address, resolve
from tessera_mosaic.pipeline.scenes.paging import links_of
from tessera_mosaic.pipeline.scenes.planetary_computer import PlanetaryComputer
from tessera_mosaic.pipeline.scenes.source import Source, opening
from tessera_mosaic.pipeline.scenes.stac_api import CollectionItems, StacApi, is_api
from tessera_mosaic.pipeline.scenes.stac_items import KEEPING_OFFSET
from tessera_mosaic.pipeline.scenes.static_catalog import (
    COLLECTIONS,
    Document,
    StaticCatalogue,
    read_document,
)

NAMED: Mapping[str, Callable[[Remote], Source]] = {
    "planetary-computer": PlanetaryComputer,
    "earth-search": EarthSearch,
    "earth-search-c1": functools.partial(EarthSearch, collection=KEEPING_OFFSET),
}
"""Public catalogues that have a name, and what opens each."""

ROOT_FILES = ("catalog.json", "collection.json")
"""Documents for which a folder is looked through."""

PARQUET = b"PAR1"
"""First bytes of a Parquet file."""

ADDRESSES = {planetary_computer.ROOT: "planetary-computer", earth_search.ROOT: "earth-search"}
"""Names of the public catalogues by their addresses."""


def open_catalogue(
    text: str,
    allow_hosts: Collection[str] = (),
    patience: Patience = ORDINARY,
    named: Mapping[str, Callable[[Remote], Source]] = NAMED,
    found: Collection[str] | None = None,
) -> Source:
    """Open a catalogue.

    Parameters
    ----------
    text
        `planetary-computer`, `earth-search` or `earth-search-c1`; the address of a STAC API, of
        its collections, one of them or a search; the path or address of a static STAC catalogue, of
        a search that was saved, or of a STAC GeoParquet index, a file or a folder with partitions,
        also `gs://` and `s3://`; a d-pixel directory or a folder of them. It is taken for what it
        answers.
    allow_hosts
        Hosts besides the catalogue's own that may be at private addresses.
    patience
        Times for which servers are waited for, and after which they are asked again.
    named
        What opens a catalogue that is called by its name.
    found
        Private addresses at which another process found the catalogue's host; None where none has
        looked it up.

    Raises
    ------
    BadInput
        If it is none of these.
    Unavailable
        If its provider asks for patience or does not answer.
    """
    text = without_gdal(text)
    text = ADDRESSES.get(text.rstrip("/"), text)
    remote = Remote("https://" if text in named else text, allow_hosts, patience, found)
    if text in named:
        return named[text](remote)
    if is_local(text):
        path = Path(local_path(text))
        if not path.exists():
            raise BadInput(f"catalogue {text} is no file here, and none of {', '.join(named)}")
        if path.is_dir():
            inside = next((p for p in (path / n for n in ROOT_FILES) if p.is_file()), None)
            return StaticCatalogue(str(inside), remote) if inside else _of_folder(path, remote)
    elif scheme_of(text) in buckets.SCHEMES and not _is_object(text, remote):
        return _of_bucket(text.rstrip("/"), remote)
    if _is_parquet(text, remote):
        # Its library is loaded when it is used.
        from tessera_mosaic.pipeline.scenes.geoparquet import ParquetIndex

        return ParquetIndex(text, remote)
    if scheme_of(text) in WEB:
        document = read_document(text, text, remote)
        if is_api(document.content):
            return StacApi(text, remote)
        if document.content["type"] == COLLECTIONS:
            return StacApi(_root_of(text, document), remote)
        if items := _items_of_api(text, document, remote):
            return CollectionItems(text, items, document.content, remote)
    return StaticCatalogue(text, remote)


def _of_folder(path: Path, remote: Remote) -> Source:
    """The catalogue in a folder of this machine that has no catalogue's root."""
    # Their library is loaded when it is used.
    from tessera_mosaic.pipeline.scenes.geoparquet import ParquetIndex
    from tessera_mosaic.pipeline.scenes.parquet_files import files_below

    files = files_below(str(path))
    return ParquetIndex(str(path), remote, files) if files else DPixels(str(path))


def _of_bucket(folder: str, remote: Remote) -> Source:
    """The catalogue in a folder of a bucket."""
    for name in ROOT_FILES:
        if _is_object(f"{folder}/{name}", remote):
            return StaticCatalogue(f"{folder}/{name}", remote)
    from tessera_mosaic.pipeline.scenes.geoparquet import ParquetIndex
    from tessera_mosaic.pipeline.scenes.parquet_files import is_part

    with opening(plain(folder)):
        files = remote.persist(lambda: remote.files_below(folder), folder)
    parts = [file for file in files if is_part(file.removeprefix(f"{folder}/"))]
    if not parts:
        raise BadInput(
            f"catalogue {plain(folder)} is a folder with neither {' nor '.join(ROOT_FILES)} nor "
            "Parquet files in it, or is not there"
        )
    return ParquetIndex(folder, remote, parts)


def _is_object(url: str, remote: Remote) -> bool:
    """Whether a bucket has an object at an address, and not a folder or nothing."""
    if url.endswith("/"):
        return False
    with opening(plain(url)):
        try:
            return remote.persist(lambda: remote.size(Access(url)), url) > 0
        except Gone:
            return False


def _root_of(text: str, document: Document) -> str:
    """Address of the landing page of the API that lists some collections."""
    links = {
        link["rel"]: resolve(document.base, link["href"], own_address(document.content))
        for link in links_of(document.content)
        if link.get("rel") in ("root", "parent") and isinstance(link.get("href"), str)
    }
    above = text.partition("?")[0].rstrip("/").rpartition("/")[0] + "/"
    return links.get("root") or links.get("parent") or above


def _is_parquet(text: str, remote: Remote) -> bool:
    """Whether an address leads to a Parquet file, whatever it is called.

    Raises
    ------
    BadInput, Unavailable
        As `open_catalogue` does, if it cannot be read.
    """
    name = text.partition("?")[0]
    if name.endswith((".parquet", ".geoparquet")):
        return True
    if name.endswith((".json", ".geojson", ".json.gz")):
        return False
    with opening(plain(text)):
        first = remote.persist(lambda: remote.first_bytes(Access(text), len(PARQUET)), text)
    return first == PARQUET


def _items_of_api(text: str, document: Document, remote: Remote) -> str:
    """Address of a collection's items where an API searches them; else empty.

    A static catalogue has such a link too, and is read once as a whole.
    """
    links = [
        (link["rel"], resolve(document.base, link["href"], own_address(document.content)))
        for link in links_of(document.content)
        if link.get("rel") in ("items", "root") and isinstance(link.get("href"), str)
    ]
    items = next((url for rel, url in links if rel == "items"), "")
    root = next((url for rel, url in links if rel == "root"), "")
    if document.content["type"] != "Collection" or not items or not root or root == text:
        return ""
    try:
        return items if is_api(read_document(root, text, remote).content) else ""
    except BadInput:
        return ""
