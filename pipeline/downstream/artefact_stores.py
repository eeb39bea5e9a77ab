"""What stores say of themselves, and whether it is so: mosaics, maps and maps of change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tessera_mosaic.model.heads.files import decode_head
from tessera_mosaic.model.heads.head import HeadError
from tessera_mosaic.pipeline.contracts.state import STATE, Kind, State, encode_state
from tessera_mosaic.pipeline.downstream.artefact_bytes import (
    YearRecords,
    extent_of,
    same_years,
    wrong_bytes,
    year_records,
)
from tessera_mosaic.pipeline.downstream.head_file import ReadHead
from tessera_mosaic.pipeline.downstream.map_layout import map_digest
from tessera_mosaic.pipeline.downstream.map_pixels import MapPixels
from tessera_mosaic.pipeline.downstream.map_store import ATTRIBUTE, MapStore, read_map
from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import HEAD
from tessera_mosaic.pipeline.ledger.map_recipe import read_map_recipe
from tessera_mosaic.pipeline.mosaic.any_mosaic import (
    AnyMosaic,
    listed_tiles,
    open_any,
    state_of,
)
from tessera_mosaic.pipeline.mosaic.identity import fingerprint
from tessera_mosaic.pipeline.mosaic.metadata import DIGEST, written_nodes
from tessera_mosaic.pipeline.mosaic.store import ROOT, Mosaic
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, Tile, zone_group


@dataclass(frozen=True)
class Artefact:
    """An artefact as it was read.

    Parameters
    ----------
    name
        Its path or URL.
    state
        What it says of itself, as far as what it holds bears it out.
    faults
        What is wrong with it by itself, each in one line.
    readable
        Whether it could be read at all.
    """

    name: str
    state: State
    faults: tuple[str, ...] = ()
    readable: bool = True


def read_store(url: str) -> Artefact:
    """A mosaic, a map or a map of change.

    Raises
    ------
    BadInput
        If there is none.
    """
    storage = Storage(url)
    try:
        root = storage.read_document(ROOT)
    except FileNotFoundError:
        raise BadInput("there is no artefact: it has no zarr.json", "artefacts", url) from None
    try:
        attributes = read_json(root)["attributes"]
    except (ValueError, LookupError, TypeError):
        raise BadInput(f"its {ROOT} is damaged", "artefacts", url) from None
    if not isinstance(attributes, dict):
        raise BadInput(f"its {ROOT} is damaged", "artefacts", url)
    if ATTRIBUTE in attributes:
        return _map(url, read_map(storage), read_json(root))
    try:
        return _mosaic(url, open_any(url), root, attributes)
    except BadInput:
        return _foreign_map(url)


def written_state(holder: Any) -> State | None:
    """The state that a document holds; None where an earlier version wrote it, or somebody else."""
    return State.from_json(holder[STATE]) if isinstance(holder, dict) and STATE in holder else None


def says_otherwise(holder: Any, derived: State) -> list[str]:
    """What is wrong with the state that a document holds, beside what the rest of it tells."""
    written = written_state(holder)
    same = written is None or encode_state(written) == encode_state(derived)
    return [] if same else ["its state says otherwise than the rest of it"]


def _mosaic(url: str, mosaic: AnyMosaic, root: bytes, attributes: dict[str, Any]) -> Artefact:
    state = state_of(mosaic)
    faults = says_otherwise(attributes, state)
    state = replace(state, years=tuple(sorted(mosaic.years_made())))
    if not isinstance(mosaic, Mosaic):
        return Artefact(url, state, tuple(faults))
    if DIGEST in attributes and written_nodes(root) is None:
        faults.append("its metadata is not as it was written")
    told = {year: year_records(mosaic.storage, year) for year in state.years or ()}
    told = {year: of for year, of in told.items() if of.tiles}
    faults += _strange_tiles(mosaic, told)
    faults += wrong_bytes(mosaic.storage, told, of_embeddings=True)
    bare = {year: _shards(mosaic, year) for year in state.years or () if year not in told}
    faults += same_years(mosaic, bare)
    sensors = {year: of.sensors for year, of in told.items() if of.sensors is not None}
    every = [
        tile for tiles in (*bare.values(), *(of.tiles for of in told.values())) for tile in tiles
    ]
    state = replace(state, sensors=sensors or None, extent=extent_of(every))
    return Artefact(url, state, tuple(faults))


def _strange_tiles(mosaic: Mosaic, told: dict[int, YearRecords]) -> Iterator[str]:
    ours = fingerprint(mosaic.identity)
    for year, of in told.items():
        if strange := sorted(of.fingerprints - {ours}):
            yield (
                f"tiles of {year} were made with fingerprint {strange[0][:12]}, and the store has "
                f"{ours[:12]}"
            )


def _shards(mosaic: Mosaic, year: int) -> list[Tile]:
    """Tiles of a year by their shards; none where the store cannot be listed."""
    try:
        return [tile for zone in mosaic.zones for tile in listed_tiles(mosaic, zone, year)]
    except (BadInput, StoreError):
        return []


def _map(url: str, made: MapStore, root: dict[str, Any]) -> Artefact:
    try:
        state = made.state
    except (AttributeError, LookupError, TypeError, ValueError):
        raise BadInput(f"its {ROOT} is damaged", "artefacts", url) from None
    faults = says_otherwise(root["attributes"], state)
    try:
        recipe = read_map_recipe(made.storage)
    except FileNotFoundError:
        years: tuple[int, ...] = made.mapped
    else:
        years = tuple(sorted(recipe.years))
    main = made.layout.pictured[0]
    told = {year: year_records(made.storage, year) for year in years}
    faults += wrong_bytes(made.storage, told, of_embeddings=False)
    head, wrong = _head_beside(made)
    faults += wrong
    limits = made.valid_range
    if head is not None and not made.mapped:
        limits = head.head.valid_range
    state = replace(
        state,
        years=years or None,
        digests=tuple(map_digest(made.identity, main, year) for year in years),
        valid_range=limits,
        extent=extent_of([tile for of in told.values() for tile in of.tiles]),
        **_as_stored(made, root),
    )
    return Artefact(url, state, tuple(faults))


def _head_beside(made: MapStore) -> tuple[ReadHead | None, list[str]]:
    """The head that a map was made with, where it lies beside it as the map knows it."""
    expected = made.identity.get("head")
    if expected is None:
        return None, []
    try:
        data = made.storage.read_document(HEAD)
        head = ReadHead(decode_head(data), data)
    except FileNotFoundError:
        return None, []
    except HeadError as error:
        return None, [f"{HEAD}: {error}"]
    if head.sha256 != expected:
        return None, [f"{HEAD} is not the head that it was made with"]
    return head, []


def _as_stored(made: MapStore, root: dict[str, Any]) -> dict[str, Any]:
    """What the metadata of a map's arrays says of pixels, whatever the root says."""
    main = made.layout.pictured[0]
    try:
        nodes = root["consolidated_metadata"]["metadata"]
        zone = zone_group(made.zones[0])
        side = abs(float(nodes[zone]["attributes"]["spatial:transform"][0]))
        fill = float(nodes[f"{zone}/{main}"]["fill_value"])
        crs = tuple(str(nodes[zone_group(z)]["attributes"]["proj:code"]) for z in made.zones)
    except (LookupError, TypeError, ValueError):
        return {}
    lattice = {} if side == PIXEL else {"lattice": f"pixels of {side:g} m"}
    return {"pixel": side, "nodata": fill, "crs": crs, **lattice}


def _foreign_map(url: str) -> Artefact:
    """A map that somebody wrote with their own programs."""
    pixels = MapPixels(url, parameter="artefacts")
    state = State(
        Kind.MAP,
        (pixels.digest,),
        years=(pixels.year,),
        unit=pixels.unit or None,
        classes={each.code: each.name for each in pixels.classes} or None,
    )
    return Artefact(url, state)
