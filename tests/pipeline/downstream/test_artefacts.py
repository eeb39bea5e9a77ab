"""Artefacts of strangers: whatever a file holds, it is read, or refused in one line."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tessera_mosaic.pipeline.contracts.state import STATE, Kind, State, encode_state
from tessera_mosaic.pipeline.downstream.artefacts import read_artefact
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
