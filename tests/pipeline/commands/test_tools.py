"""What `tools` tells of the commands is what their parsers and requests hold."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import tessera_mosaic as tm
from tessera_mosaic.pipeline.bounds import bounds_of
from tessera_mosaic.pipeline.cli import COMMANDS, TAKING_BEAM_OPTIONS, build_parser, main
from tessera_mosaic.pipeline.commands.plan import COSTS, JOBS
from tessera_mosaic.pipeline.commands.schemas import Tool, tools_of
from tessera_mosaic.pipeline.commands.tool_calls import Limits, always_writes, is_below, offers
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.job.job_request import JobOptions
from tests.small_demo import SmallDemo

PARSER = build_parser(all_commands=True)
TOOLS = {" ".join(tool.words): tool for tool in tools_of(PARSER)}

PLACE = "2.9,50.8,3.1,50.9"
SCENES = {"catalog": "catalog.json", "region": PLACE, "year": 2024}
REGION_OF_STORE = {"store": "m.zarr", "region": PLACE}

SOUND: dict[str, dict[str, Any]] = {
    "demo": {"out": "demo"},
    "plan": {"region": PLACE, "year": 2024, "tile": 512, "job": "map", "buffer": 20.5},
    "run": {
        **SCENES,
        "store": "m.zarr",
        "year": "2019-2024",
        "workers": 2,
        "overwrite": ["a", "b"],
    },
    "status": {"store": "m.zarr", "store_patience": 0},
    "verify": {"store": "gs://bucket/m.zarr", "year": 2024},
    "publish": {"store": "m.zarr", "blocks": True},
    "annual": {"catalog": "catalog.json", "region": "global", "store": "m.zarr", "rounds": 1},
    "stack": {**SCENES, "out": "stack", "kernel": "cubic"},
    "encode": {"stack": "stack", "out": "codes", "float": True, "dim": 16},
    "adopt": {"from": "codes", "store": "m.zarr", "year": 2024, "model": "tessera-v1.1"},
    "picture": {**REGION_OF_STORE, "out": "a.png", "allow_host": ["10.0.0.1"]},
    "export": {**REGION_OF_STORE, "out": "a.tif", "dims": "0:16", "values": "int8"},
    "point": {"store": "m.zarr", "lon": -122.5, "lat": 38},
    "extract": {"store": "m.zarr", "at": "fields.gpkg", "out": "a.parquet", "years": "2019-2024"},
    "compare": {"one": "a.zarr", "other": "b.zarr", "region": PLACE, "year": 2024},
    "models": {},
    "models pull": {"model": "v2-nano"},
    "models inspect": {"file": "-a.pt"},
    "models convert": {"file": "a.pt", "out": "a.safetensors"},
    "sample": {**SCENES, "out": "d-pixels", "fraction": 0.5},
    "pretrain": {"data": ["a", "b"], "out": "training", "steps": 10, "lr": 1e-3},
    "evaluate": {"store": "m.zarr", "labels": "a.tif", "year": 2024, "seeds": 1},
    "train": {"store": "m.zarr", "labels": "a.csv", "year": 2024, "out": "a.head", "folds": 100},
    "fuse": {"points": "a.csv", "product": ["mosaic:m.zarr", "geoclip"], "year": 2024, "folds": 5},
    "map": {**REGION_OF_STORE, "head": "a.head", "year": 2024, "out": "map.zarr", "unknown": 99},
    "search": {"store": "m.zarr", "year": 2024, "like": "2.9,50.8;3,50.8", "out": "a.parquet"},
    "pack": {**REGION_OF_STORE, "years": ["2019-2024"], "out": "f.safetensors", "ratio": 50},
    "changed": {**REGION_OF_STORE, "from": 2023, "to": 2024, "out": "c.zarr"},
    "points": {"map": "map.zarr", "n": 100, "out": "a.csv", "design": "random"},
    "areas": {"map": "map.zarr", "labelled": "a.csv"},
    "check": {"artefacts": ["m.zarr", "a.head"]},
    "suggest": {"map": "map.zarr", "n": 10, "out": "a.geojson", "spacing": 20},
    "tools": {"commands": ["plan"]},
    "completion": {"shell": "zsh"},
}
"""A call of each command."""


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All parsers by the words that lead to them, found without the code that is tested."""
    below = {action.dest: action for action in PARSER._actions}["command"]
    assert isinstance(below.choices, dict)
    for name, parser in below.choices.items():
        yield name, parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for deeper, last in action.choices.items():
                    yield f"{name} {deeper}", last


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What `tools --json` prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["tools", "--json"]) == 0
    return json.loads(out.getvalue())


def test_every_command_and_every_option_is_told_and_no_other(told: dict[str, Any]) -> None:
    contracts = {each["name"]: each for each in told["commands"]}
    expected = dict(parsers())
    assert contracts.keys() == expected.keys()
    assert [name for name in contracts if " " not in name] == list(COMMANDS)
    common = set(told["common"]["properties"])
    assert common == {"json", "config", "verbose", "quiet", "log_file"}
    for name, parser in expected.items():
        declared = {
            (action.option_strings or [action.dest])[-1].lstrip("-").replace("-", "_")
            for action in parser._actions
            if action.dest not in ("help", "action")
        }
        assert set(contracts[name]["input"]["properties"]) == declared - common, name
    taking = {each["name"] for each in told["commands"] if each["beam_options"]}
    assert taking == set(TAKING_BEAM_OPTIONS)


@pytest.mark.parametrize("name", TOOLS)
def test_a_contract_names_what_there_is(name: str) -> None:
    tool = TOOLS[name]
    assert tool.contract.takes.keys() | tool.contract.gives.keys() <= tool.options.keys()
    assert tool.contract.planned_as in ("", *JOBS)
    actions = {words[1] for words in (each.words for each in TOOLS.values()) if len(words) > 1}
    assert tool.contract.actions.keys() == (actions if name == "models" else set())
    attributes = {action.dest for action in tool.options.values()}
    for each in tool.contract.requests:
        request = getattr(tm, each) if isinstance(each, str) else each
        if request is not JobOptions:
            assert bounds_of(request).keys() <= attributes, request


def test_bounds_choices_units_and_defaults_are_those_of_the_code() -> None:
    run = TOOLS["run"].schema()["properties"]
    assert run["tile"]["enum"] == [32, 64, 128, 256, 512, 1024, 2048, 4096]
    assert run["tile"]["unit"] == "px"
    assert (run["block"]["default"], run["block"]["multipleOf"]) == (256, 32)
    assert run["precision"]["enum"] == ["fp32", "bf16"]
    assert run["max_cost"] == {
        "description": "refuse a run whose plan comes to more money (see `plan`)",
        "unit": "USD",
        "type": "number",
        "exclusiveMinimum": 0,
    }
    assert TOOLS["point"].schema()["properties"]["lat"]["unit"] == "degrees"
    assert run["year"]["minimum"] == 2016


def test_all_schemas_are_sound(told: dict[str, Any]) -> None:
    assert SOUND.keys() == TOOLS.keys()
    for schema in (told["common"], *(each["input"] for each in told["commands"])):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_call_is_valid_and_comes_to_the_words_of_the_command(name: str) -> None:
    tool, given = TOOLS[name], SOUND[name]
    jsonschema.validate(given, tool.schema())
    hosts = ("10.0.0.1",) if "allow_host" in given else ()
    offer = offers([tool], Limits("/", hosts))["_".join(tool.words)]
    asked = {key: value for key, value in given.items() if key != "allow_host"}
    args = PARSER.parse_args(offer.words(asked))
    for key, value in given.items():
        assert getattr(args, tool.options[key].dest) in (value, tuple(range(2019, 2025))), key
    assert args.json


def wrong(tool: Tool, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Calls each of which has one fault."""
    schema = tool.schema()
    yield {**given, "surprise": 1}
    for name in schema["required"]:
        yield {key: value for key, value in given.items() if key != name}
    for name, option in schema["properties"].items():
        yield {**given, name: {"a": 1}}
        if option["type"] in ("integer", "number"):
            yield {**given, name: "many"}
        if option["type"] != "boolean":
            yield {**given, name: True}
        for keyword in ("minimum", "exclusiveMinimum"):
            if keyword in option:
                yield {**given, name: option[keyword] - 1}
        if "enum" in option:
            yield {**given, name: "none of them"}


@pytest.mark.parametrize("name", SOUND)
def test_a_wrong_call_is_not_valid(name: str) -> None:
    tool, given = TOOLS[name], SOUND[name]
    validator = jsonschema.Draft202012Validator(tool.schema())
    faulty = list(wrong(tool, given))
    assert [each for each in faulty if validator.is_valid(each)] == []
    assert len(faulty) >= len(tool.options) + 1


def test_fields_that_programs_may_rely_on_are_there(
    small_demo: SmallDemo, said: Callable[..., Any]
) -> None:
    store = f"--store={small_demo.result['store']}"
    assert set(TOOLS["plan"].contract.tells) == set(COSTS)
    for job in JOBS:
        assert said("plan", "--region", PLACE, "--year", 2024, "--job", job).keys() >= set(COSTS)
    for words in (["status", store], ["verify", store], ["point", store, 3.0, 50.8]):
        assert said(*words).keys() >= set(TOOLS[words[0]].contract.tells), words
    for words in (["models"], ["completion", "bash"], ["tools", "plan"]):
        assert said(*words).keys() == set(TOOLS[words[0]].contract.tells), words


def held(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder, with its size and when it was written."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_what_is_said_to_write_nothing_writes_nothing(
    small_demo: SmallDemo, said: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_demo.folder
    monkeypatch.chdir(tmp_path)
    store, stores = folder / "mosaic.zarr", list(folder.glob("*.zarr"))
    calls: list[tuple[object, ...]] = [
        *((name, "--store", each) for name in ("status", "verify") for each in stores),
        ("point", "--store", store, 3.0, 50.8),
        ("plan", "--region", PLACE, "--year", 2024),
        ("compare", store, store, "--region", PLACE, "--year", 2024),
        ("check", store),
        (
            "fuse",
            "--points",
            folder / "labels.csv",
            "--product",
            f"mosaic:{store}",
            "--product",
            f"again=mosaic:{store}",
            "--year",
            2024,
            "--folds",
            3,
            "--cells",
            0.0005,
        ),
        ("models",),
        ("tools",),
        ("completion", "zsh"),
    ]
    never = {name.split()[0] for name, tool in TOOLS.items() if not always_writes(tool)}
    assert {str(words[0]) for words in calls} >= never
    before = held(folder)
    for words in calls:
        said(*words)
    assert held(folder) == before
    assert not list(tmp_path.iterdir())


def test_people_get_a_table_and_what_they_ask_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(TOOLS)
    assert main(["tools", "points"]) == 0
    assert "required, integer, from 2" in capsys.readouterr().out
    assert main(["tools", "maps"]) == 2
    assert "unknown command maps; did you mean map?" in capsys.readouterr().err
    assert main(["tools", "--timeout", "5"]) == 2
    assert "give --serve" in capsys.readouterr().err


def test_only_what_changes_nothing_is_offered_unless_writes_are_allowed() -> None:
    names = offers(TOOLS.values(), Limits()).keys()
    assert names == {
        "plan",
        "status",
        "verify",
        "point",
        "compare",
        "models",
        "fuse",
        "models_inspect",
        "check",
        "tools",
        "completion",
    }
    assert offers(TOOLS.values(), Limits("/data")).keys() == {
        "_".join(tool.words) for tool in TOOLS.values()
    }


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("compare", {**SOUND["compare"], "out": "a"}, "out: it writes, which is not allowed here"),
        ("plan", {**SOUND["plan"], "allow_host": ["10.0.0.1"]}, "only who starts the server"),
        ("plan", {**SOUND["plan"], "config": "a.toml"}, "unknown name config"),
        ("plan", {**SOUND["plan"], "yaer": 1}, "unknown name yaer; did you mean year?"),
        ("plan", {"region": PLACE}, "year: it is needed"),
        ("plan", {**SOUND["plan"], "depths": "yes"}, "depths is true or false"),
        ("plan", {**SOUND["plan"], "year": [2024]}, "year takes one value"),
        ("plan", {**SOUND["plan"], "year": None}, "year takes a text or a number"),
        ("plan", {**SOUND["plan"], "region": "x" * 200_000}, "or name a file"),
        ("plan", {**SOUND["plan"], "region": "\u00e9" * 60_000}, "or name a file"),
        ("plan", {**SOUND["plan"], "region": "a\0b"}, "region has a character of code 0 in it"),
    ],
)
def test_what_is_not_offered_is_refused(name: str, given: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        offers(TOOLS.values(), Limits())[name].words(given)


def test_commands_write_where_they_may_alone() -> None:
    writing = offers(TOOLS.values(), Limits("/data/maps"))
    for place in ("/data/other", "/data/maps/../other", "relative", "s3://bucket/maps"):
        with pytest.raises(BadInput, match="does not lie below /data/maps"):
            writing["map"].words({**SOUND["map"], "out": place})
    assert "--out=/data/maps/a" in writing["map"].words({**SOUND["map"], "out": "/data/maps/a"})
    # Neither does a value of several words become another option.
    for name, option in (("pack", "years"), ("run", "overwrite"), ("pretrain", "data")):
        given = {**SOUND[name], option: ["2024", "--log-file=/etc/a"]}
        with pytest.raises(BadInput, match=f"{option} takes no value that begins with a hyphen"):
            writing[name].words(given)
    # A place that nobody names is one, too.
    with pytest.raises(BadInput, match="out demo: it does not lie below"):
        writing["demo"].words({})
    assert is_below("s3://bucket/maps/a", "s3://bucket/maps/")
    assert not is_below("s3://bucket/maps/../a", "s3://bucket/maps")
    for home in ("~/a", "file://~/a", "~root/a"):
        assert not is_below(home, ".")
