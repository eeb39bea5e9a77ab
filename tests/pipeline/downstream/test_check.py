"""Chains of artefacts that hold pass, and each fault that is planted blocks at the right step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.contracts.rules import Verdict
from tessera_mosaic.pipeline.contracts.state import STATE, State
from tests.pipeline.downstream.chains import make_chain
from tests.pipeline.downstream.faults import CROPS, FAULTS, TONS, change_document, root_of

BLOCKS = "mosaic.zarr/blocks/zone=31/year=2018/utm31-r05785-c0540.parquet"

SOUND = (
    "mosaic.zarr",
    "labels.csv",
    "crops.head",
    "crops.zarr",
    "tons.zarr tons.csv",
    "crops.csv crops/areas.json",
    "mosaic.zarr labels.csv",
    "mosaic.zarr crops.head",
    "labels.csv crops.head tons.head",
    "mosaic.zarr crops.head crops.zarr",
    "crops.zarr crops.head mosaic.zarr",
    "mosaic.zarr tons.head tons.zarr tons.csv",
    "mosaic.zarr changed.zarr",
    "mosaic.zarr hits.parquet hits.geojson",
    "mosaic.zarr labels.csv vectors.parquet",
    "vectors.csv labels.csv mosaic.zarr",
    f"mosaic.zarr {BLOCKS}",
    CROPS,
    TONS,
    " ".join(reversed(CROPS.split())),
    f"{CROPS} {TONS} changed.zarr hits.parquet vectors.csv",
)
"""Chains that hold."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_chain(folder)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def checked(folder: Path, chain: str) -> tm.ChainCheck:
    names = dict.fromkeys(chain.split())
    return tm.check(tm.CheckRequest(tuple(str(folder / name) for name in names)))


def told(found: tm.ChainCheck) -> str:
    return json.dumps(found.to_json(), indent=1)


@pytest.mark.parametrize("chain", SOUND)
def test_a_chain_that_holds_passes(made: Path, chain: str) -> None:
    found = checked(made, chain)
    assert found.verdict is Verdict.PASS, told(found)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_blocks_at_its_step(copy: Path, name: str) -> None:
    fault = FAULTS[name]
    fault.plant(copy)
    found = checked(copy, fault.chain)
    assert found.first_invalid is not None, told(found)
    step = found.steps[found.first_invalid - 1]
    assert step.name == str(copy / fault.blocked), told(found)
    said = [each.message for each in step.findings if each.verdict is Verdict.BLOCK]
    assert fault.said in said[0], told(found)
    assert "\n" not in said[0]


def test_every_artefact_has_a_state_that_says_what_it_is(made: Path) -> None:
    kinds = {
        "mosaic.zarr": "mosaic",
        "crops.head": "head",
        "crops.zarr": "map",
        "changed.zarr": "change",
        "hits.parquet": "hits",
        "crops.csv": "sample",
        "crops/areas.json": "areas",
        "vectors.csv": "vectors",
        BLOCKS: "blocks",
    }
    for name, kind in kinds.items():
        (step,) = checked(made, name).steps
        assert step.state is not None
        assert step.state.kind == kind
        assert State.from_json(step.state.to_json()).to_json() == step.state.to_json()


def test_a_mosaic_tells_its_years_sensors_and_ground(made: Path) -> None:
    (step,) = checked(made, "mosaic.zarr").steps
    state = step.state
    assert state is not None
    assert state.years == (2018, 2019)
    assert state.sensors == {2018: ("s1", "s2"), 2019: ("s1", "s2")}
    assert state.extent == pytest.approx((2.963, 50.874, 2.982, 50.880), abs=0.001)


def test_what_has_no_state_opens_and_passes_as_ever(copy: Path) -> None:
    """As an earlier version left it."""
    for name in ("mosaic.zarr", "crops.zarr"):
        root = root_of(copy / name)
        del root["attributes"][STATE]
        root["attributes"].pop("tessera_mosaic:sha256", None)
        told = root["attributes"].get("tessera_mosaic:map", {})
        told.pop("mapped_years", None)
        (copy / name / "zarr.json").write_text(json.dumps(root))
    change_document(copy / "crops/areas.json", lambda areas: areas.pop(STATE))
    found = checked(copy, f"{CROPS} vectors.parquet")
    assert [each.verdict for each in found.steps if each.verdict is Verdict.BLOCK] == [], found
    assert tm.open_mosaic(str(copy / "mosaic.zarr"))


def test_the_command_says_which_step_is_the_first_that_fails(
    copy: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., Any]
) -> None:
    chain = [str(copy / name) for name in ("mosaic.zarr", "tons.head", "tons.zarr")]
    assert main(["check", *chain]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "pass"
    FAULTS["another unit"].plant(copy)
    assert main(["check", *chain]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("3. block")
    assert lines[3].strip() == "block  the map is in kg/m2, and the head in t/ha"
    assert lines[-1] == "block: step 3 is the first that does not hold"
    code, result = run("check", *chain)
    assert (code, result["verdict"], result["first_invalid"]) == (2, "block", 3)


def test_what_is_not_there_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(copy / "mosaic.zarr"), str(copy / "nothing.head")]) == 2
    said = capsys.readouterr().err
    assert "nothing.head: there is no such file or store" in said
    assert said.count("\n") == 1
