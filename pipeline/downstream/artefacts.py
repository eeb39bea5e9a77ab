"""Artefacts of any kind, from where they lie: what each says of itself, and whether it is so."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from tessera_mosaic.pipeline.console import printable
from tessera_mosaic.pipeline.contracts.state import (
    LON_LAT,
    STATE,
    Extent,
    Kind,
    Numbers,
    State,
    beside,
    decode_state,
)
from tessera_mosaic.pipeline.contracts.state import MOST_BYTES as MOST_STATE
from tessera_mosaic.pipeline.contracts.values import text, years
from tessera_mosaic.pipeline.downstream.artefact_stores import (
    Artefact,
    read_store,
    says_otherwise,
    written_state,
)
from tessera_mosaic.pipeline.downstream.field_file import field_state, read_field
from tessera_mosaic.pipeline.downstream.head_file import head_state, read_head
from tessera_mosaic.pipeline.downstream.place_files import FORMATS, read_places
from tessera_mosaic.pipeline.downstream.point_file import SEAL, read_points
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.foreign_json import read_json
from tessera_mosaic.pipeline.io.urls import is_local, local_path

MOST_BYTES = 64 << 20
"""Largest document that is read."""

TABLES = frozenset({Kind.HITS, Kind.VECTORS, Kind.FUSED, Kind.BLOCKS})
"""What tables with a state may be."""

ROWS = 4096
"""Rows of a table whose vectors are looked at."""

LARGEST_CODE = 128
"""Largest value of a code, without its sign."""


def read_artefact(url: str) -> Artefact:
    """What an artefact says of itself.

    Parameters
    ----------
    url
        Path or URL of a store, or path of a file.

    Raises
    ------
    BadInput
        If there is none, or nothing that commands write or read.
    """
    path = Path(local_path(url))
    if not is_local(url) or path.is_dir():
        return read_store(url)
    if not path.is_file():
        raise BadInput("there is no such file or store", "artefacts", url)
    reader = READERS.get(path.suffix.lower(), _tensors)
    try:
        return reader(path)
    except BadInput as error:
        if error.parameter:
            raise
        raise BadInput(str(error), "artefacts", url) from None


def _tensors(path: Path) -> Artefact:
    """A safetensors file: a head or a field."""
    state = _state_in_entries(path)
    if state is not None and state.kind is Kind.FIELD:
        field = field_state(read_field(str(path)))
        said = tuple(says_otherwise({STATE: state.to_json()}, field))
        return Artefact(str(path), replace(field, digests=(_sha256(path),)), said)
    read = read_head(str(path))
    derived = head_state(read.head)
    faults = () if state is None else says_otherwise({STATE: state.to_json()}, derived)
    return Artefact(str(path), replace(derived, digests=(read.sha256,)), tuple(faults))


def _state_in_entries(path: Path) -> State | None:
    """The state in the metadata of a safetensors file; None where there is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if 0 < length <= MOST_BYTES else b""
    try:
        entries = read_json(header)["__metadata__"].items()
        held = [{name: read_json(text.encode())} for name, text in entries]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    found = (written_state(each) for told in held for each in (told, *told.values()))
    return next((state for state in found if state is not None), None)


def _table(path: Path) -> Artefact:
    """A Parquet file: hits, vectors, blocks, a fused table, or places."""
    try:
        with pq.ParquetFile(path) as file:
            told = file.schema_arrow.metadata or {}
            names = set(file.schema_arrow.names)
            state = decode_state(told[STATE.encode()]) if STATE.encode() in told else None
            if state is None:
                return _places(path)
            _check_kind(state, TABLES)
            if len(names) < len(file.schema_arrow.names):
                raise BadInput("two of its columns have one name")
            vectors = sorted(name for name in names if name[:1] == "e" and name[1:].isdigit())
            columns = [*vectors, *(names & {"lon", "lat"})]
            rows = next(file.iter_batches(ROWS, columns=columns), None) if columns else None
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"it is no Parquet file: {error}") from None
    if rows is not None:
        state = _as_held(state, {name: rows[name] for name in columns}, vectors)
    return Artefact(str(path), replace(state, digests=(*state.digests, _sha256(path))))


def _check_kind(state: State, kinds: frozenset[Kind]) -> None:
    """Refuse a file that says it is what such files are not."""
    if state.kind not in kinds:
        raise BadInput(f"its state is that of another kind of file: {state.kind.value}")


def _as_held(state: State, columns: Mapping[str, Any], vectors: list[str]) -> State:
    """The state of a table, as its first rows bear it out."""
    for name, column in columns.items():
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
            raise BadInput(f"its column {printable(name)} holds no numbers")
    columns = {name: column.cast(pa.float64(), safe=False) for name, column in columns.items()}
    if vectors and state.numbers is Numbers.VALUES:
        values = np.stack([columns[name].to_numpy(zero_copy_only=False) for name in vectors])
        values = values[np.isfinite(values)]
        codes = len(values) and (values == np.rint(values)).all()
        if codes and 1 < np.abs(values).max(initial=0) <= LARGEST_CODE:
            state = replace(state, numbers=Numbers.CODES)
        if state.dims is not None and state.kind is Kind.VECTORS:
            state = replace(state, dims=len(vectors))
    if {"lon", "lat"} <= columns.keys():
        lon, lat = (columns[n].to_numpy(zero_copy_only=False) for n in ("lon", "lat"))
        state = replace(state, extent=_bounds(lon, lat) or state.extent)
    return state


def _bounds(lon: Any, lat: Any) -> Extent | None:
    known = np.isfinite(lon) & np.isfinite(lat)
    if not known.any():
        return None
    lon, lat = lon[known], lat[known]
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def _document(path: Path) -> Artefact:
    """A JSON document: hits as GeoJSON, areas, or places."""
    if path.stat().st_size > MOST_BYTES:
        return _places(path)
    try:
        told = read_json(path.read_bytes())
    except ValueError as error:
        raise BadInput(f"it is no JSON: {error}") from None
    state = written_state(told)
    if isinstance(told, dict) and "area_ha" in told:
        return Artefact(str(path), replace(_areas(told, state), digests=(_sha256(path),)))
    if state is None:
        return _places(path)
    _check_kind(state, TABLES)
    try:
        held = [feature["properties"] for feature in told["features"]]
        lon, lat = (np.array([row[name] for row in held], float) for name in ("lon", "lat"))
    except (LookupError, TypeError, ValueError, OverflowError):
        raise BadInput("its features have no lon and lat") from None
    state = replace(state, extent=_bounds(lon, lat) or state.extent)
    return Artefact(str(path), replace(state, digests=(_sha256(path),)))


def _areas(told: Mapping[str, Any], state: State | None) -> State:
    """The state of estimates, as the estimates bear it out."""
    named = told.get("classes")
    estimates = [told.get("mean")]
    if named and isinstance(named, list):
        estimates = [each.get("area_ha") if isinstance(each, dict) else None for each in named]
    sure = all(
        isinstance(each, dict)
        and all(isinstance(each.get(name), int | float) for name in ("low", "high"))
        for each in estimates
    )
    state = state or State(Kind.AREAS)
    _check_kind(state, frozenset({Kind.AREAS}))
    try:
        year, unit, design = (told.get(name) or None for name in ("year", "unit", "design"))
        state = replace(
            state,
            years=state.years if year is None else years([year]),
            unit=state.unit if unit is None else text(unit),
            design=None if design is None else text(design),
        )
    except ValueError as error:
        raise BadInput(f"its year, unit or design is damaged: {error}") from None
    return replace(
        state,
        uncertainty=(state.uncertainty or "intervals") if sure and estimates else None,
    )


def _csv(path: Path) -> Artefact:
    """A CSV table: a sample, vectors with their state beside them, or places."""
    with path.open("rb") as file:
        header = file.read(1 << 16).split(b"\n")[0]
    if SEAL.encode() in header.replace(b"\t", b",").replace(b";", b",").split(b",")[-1]:
        points = read_points(path, labelled=False)
        state = points.state
        return Artefact(str(path), replace(state, digests=(*state.digests, _sha256(path))))
    told = Path(beside(str(path)))
    if not told.is_file():
        return _places(path)
    with told.open("rb") as file:
        # One byte more than a state may have, so that a longer one is not read whole.
        state = decode_state(file.read(MOST_STATE + 1))
    _check_kind(state, TABLES)
    places = read_places(path).shapes
    extent = _shapes_extent(places)
    return Artefact(
        str(path), replace(state, extent=extent, digests=(*state.digests, _sha256(path)))
    )


def _places(path: Path) -> Artefact:
    """Points or polygons that somebody gave, of which only the place is known."""
    extent = _shapes_extent(read_places(path).shapes)
    state = State(Kind.PLACES, (_sha256(path),), crs=(LON_LAT,), extent=extent)
    return Artefact(str(path), state)


def _shapes_extent(shapes: Any) -> Extent | None:
    bounds = shapely.total_bounds([shape for shape in shapes if shape is not None]).tolist()
    west, south, east, north = bounds
    return None if math.isnan(west) else (west, south, east, north)


def _raster(path: Path) -> Artefact:
    """A raster of labels, of which only the digest is known."""
    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise BadInput("it is no TIFF file")
    return Artefact(str(path), State(Kind.PLACES, (_sha256(path),)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


READERS: Mapping[str, Callable[[Path], Artefact]] = {
    **dict.fromkeys(FORMATS, _places),
    ".csv": _csv,
    ".parquet": _table,
    ".geoparquet": _table,
    ".json": _document,
    ".geojson": _document,
    ".tif": _raster,
    ".tiff": _raster,
}
"""What reads a file by its ending; all others are heads and fields."""
