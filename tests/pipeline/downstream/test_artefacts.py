"""Artefacts of strangers: whatever a file holds, it is read, or refused in one line."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.pipeline.contracts.state import STATE, Kind, State, encode_state
from tessera_mosaic.pipeline.downstream.artefacts import read_artefact
from tessera_mosaic.pipeline.downstream.check import check
from tessera_mosaic.pipeline.downstream.check_request import CheckRequest
from tessera_mosaic.pipeline.errors import BadInput

FIELD = State(Kind.FIELD, ("d0",), fingerprint="f0", extent=(2.0, 50.0, 3.0, 51.0), years=(2024,))

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("inside", [False, True])
def test_a_file_that_only_says_that_it_is_a_field_is_refused(tmp_path: Path, inside: bool) -> None:
    told = {
        "tessera_field": json.dumps(
            {"years": [2024], **({STATE: FIELD.to_json()} if inside else {})}
        )
    }
    if not inside:
        told[STATE] = encode_state(FIELD)
    path = tmp_path / "field.safetensors"
    path.write_bytes(safetensors.numpy.save({"grid": np.zeros(3)}, told))
    with pytest.raises(BadInput, match=r"no field that `pack` wrote"):
        read_artefact(str(path))


@given(document=VALUES, kind=st.sampled_from(["areas", "hits", "other"]))
def test_no_document_breaks_the_reader(
    document: object, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.json"
    held: object = document
    if kind == "areas":
        held = {"area_ha": 1.0, "classes": document, "year": document, "unit": document}
    elif kind == "hits":
        held = {"features": document, STATE: {"version": 1, "kind": "hits"}}
    path.write_text(json.dumps(held))
    with contextlib.suppress(BadInput):
        assert read_artefact(str(path)).state.kind in Kind


@pytest.mark.parametrize("name", ["a.head", "a.parquet", "a.csv", "a.json", "a.zarr"])
@pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"PAR1", b"{", b"[" * 9999, b"\xff" * 64])
def test_rubbish_is_refused_in_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadInput) as refused:
        read_artefact(str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("attributes", [None, [], {"tessera_mosaic:map": 3}, {STATE: 3}])
def test_a_store_of_rubbish_is_refused_in_one_line(tmp_path: Path, attributes: object) -> None:
    root = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (tmp_path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(BadInput) as refused:
        read_artefact(str(tmp_path))
    assert "\n" not in str(refused.value)


COLUMNS = {"e0": [0.5], "lon": [2.5], "lat": [50.5]}


@pytest.mark.parametrize(
    ("state", "columns", "said"),
    [
        ({"pixel": 10**400}, {}, "pixel: it is no number"),
        ({"kind": "mosaic"}, {}, "its state is that of another kind of file: mosaic"),
        ({}, {"lon": ["x"]}, "its column lon holds no numbers"),
        ({}, {"e0": [[1.0]]}, "its column e0 holds no numbers"),
    ],
)
def test_a_table_that_says_what_it_does_not_hold_is_refused(
    tmp_path: Path, state: dict[str, object], columns: dict[str, list[object]], said: str
) -> None:
    path = tmp_path / "a.parquet"
    told = {STATE: json.dumps({"version": 1, "kind": "fused", "numbers": "values"} | state)}
    pq.write_table(pa.table(COLUMNS | columns).replace_schema_metadata(told), path)
    with pytest.raises(BadInput, match=said):
        read_artefact(str(path))


def test_what_cannot_be_opened_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"no raster")
    path = tmp_path / "p.csv"
    path.write_text("lon,lat\n2,50\n")
    names = (f"file://{path}", str(tmp_path / "a.tif"), "/proc/self/mem", "s3://u:SECRET@b/x")
    found = check(CheckRequest(names))
    said = [each.findings[0].message if each.findings else "" for each in found.steps]
    assert said[:3] == ["", "it is no TIFF file", "it cannot be read: Input/output error"]
    assert "its address holds a password" in said[3]
    assert "SECRET" not in json.dumps(found.to_json())
    with pytest.raises(BadInput, match="there is no such file"):
        check(CheckRequest(("a" * 5000,)))
