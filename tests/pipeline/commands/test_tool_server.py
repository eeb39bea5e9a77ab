"""A client of the protocol's own library calls commands by a server over standard streams."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import jsonschema
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tessera_mosaic.pipeline.commands.tool_calls import Limits, without_credentials
from tessera_mosaic.pipeline.commands.tool_server import answer
from tests.layers import ROOT
from tests.small_demo import SmallDemo

Session = Callable[[Client], Awaitable[None]]


def with_server(session: Session, *options: str) -> None:
    """Let a client talk to a server of its own."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "tessera_mosaic", "tools", "--serve", *options],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        cwd=ROOT,
    )

    async def talk() -> None:
        async with Client(server, read_timeout_seconds=240) as client:
            await session(client)

    anyio.run(talk)


async def called(client: Client, name: str, **given: Any) -> dict[str, Any]:
    """What a call answers."""
    found = await client.call_tool(name, given)
    answer: dict[str, Any] = found.structured_content
    assert found.is_error == (answer["exit_code"] not in (0, 3))
    return answer


def test_a_program_looks_at_a_mosaic_and_changes_nothing(
    small_demo: SmallDemo, tmp_path: Path
) -> None:
    store = small_demo.result["store"]
    lon, lat = 3.0, 50.8

    async def session(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"plan", "status", "verify", "point", "tools"} <= tools.keys()
        assert not {"run", "map", "publish", "models_pull"} & tools.keys()
        for tool in tools.values():
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint

        status = await called(client, "status", store=store)
        assert status["exit_code"] == 0
        assert status["result"]["done"] == status["result"]["planned"] > 0
        planned = await called(client, "plan", region="2.9,50.8,3.1,50.9", year=2024)
        assert planned["result"]["tiles"] > 0
        assert planned["result"]["cost_usd"] > 0
        found = await called(client, "point", store=store, lon=lon, lat=lat)
        assert found["result"]["lon"] == lon

        told = await called(client, "run", store=str(tmp_path / "m.zarr"))
        assert told == {
            "exit_code": 2,
            "result": None,
            "message": "run writes: start the server with --allow-writes PLACE",
        }
        for given, line in (
            (
                {"lon": 200, "lat": 0},
                "tessera-mosaic point: --lon 200.0: a longitude",
            ),
            ({"lon": 0, "latt": 0}, "unknown name latt; did you mean lat?"),
        ):
            refused = await called(client, "point", store=store, **given)
            assert refused["exit_code"] == 2
            assert refused["message"].startswith(line)
            assert "\n" not in refused["message"]

    with_server(session)
    assert not list(tmp_path.iterdir())


def test_writes_lie_where_they_may(small_demo: SmallDemo, tmp_path: Path) -> None:
    store, out = small_demo.result["store"], tmp_path / "a.png"

    async def session(client: Client) -> None:
        refused = await called(client, "picture", store=store, out="/tmp/elsewhere.png")
        assert refused["message"] == f"out /tmp/elsewhere.png: it does not lie below {tmp_path}"
        drawn = await called(client, "picture", store=store, out=str(out))
        assert drawn["exit_code"] == 0, drawn
        assert out.is_file()

    with_server(session, "--allow-writes", str(tmp_path), "--quiet")


def test_a_call_ends_in_time() -> None:
    stopped = anyio.run(answer, ["models", "--json"], Limits(timeout=0.05))
    assert stopped.exit_code == 130
    assert stopped.message.startswith("stopped after 0.05 s")


def test_an_answer_has_an_end() -> None:
    whole = anyio.run(answer, ["models", "--json"], Limits())
    assert (whole.exit_code, whole.message) == (0, "")
    less = Limits(most_answered=len(json.dumps(whole.result)) // 2)
    cut = anyio.run(answer, ["models", "--json"], less)
    assert (cut.exit_code, cut.result) == (1, None)
    assert cut.message.endswith("bytes: ask for less")


def test_a_call_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    """Its process is gone when the caller is."""
    pipe = tmp_path / "catalog.json"
    os.mkfifo(pipe)
    words = ["plan", f"--catalog={pipe}", "--region=3,50,3.1,50.1", "--year=2024", "--json"]

    async def give_up() -> None:
        with anyio.move_on_after(2):
            await answer(words, Limits())

    anyio.run(give_up)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert str(pipe).encode() not in path.read_bytes()


def test_what_may_be_a_credential_is_not_answered() -> None:
    words = ["status", "--store=https://me:secret@a.example/m.zarr?sig=hidden", "--json"]
    said = "--store https://me:secret@a.example/m.zarr?sig=hidden: it is not there"
    assert without_credentials(said, words) == "--store https://a.example/m.zarr: it is not there"
