"""An MCP server over the contracts of commands, on standard input and output.

A call runs the command itself, as a process with `--json`, and returns its JSON and exit code:
there is no second way to do anything. Calls take turns, end after a time, and answer so much at the
most.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import anyio
import mcp_types as types
from anyio.abc import ByteReceiveStream, Process
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.commands.schemas import Tool
from tessera_mosaic.pipeline.commands.tool_calls import (
    Limits,
    Offer,
    offers,
    without_credentials,
)
from tessera_mosaic.pipeline.console import one_line, unknown_option
from tessera_mosaic.pipeline.errors import BadInput, ExitCode

MOST_SAID = 1 << 14
"""Bytes at the end of what a command says that are kept."""

PATIENCE = 30.0
"""Seconds that a job has to stop between two blocks, before it is ended."""

INSTRUCTIONS = (
    "TESSERA embeddings of the Earth. `tools` tells what each command needs, costs and cannot "
    "undo; ask `plan` before a run, and `status` and `verify` of what was made."
)
"""What an agent is told first."""

ANSWER = {
    "type": "object",
    "properties": {
        "exit_code": {"type": "integer", "description": "0 done, 3 done but for some tiles"},
        "result": {"type": ["object", "null"], "description": "what the command tells as JSON"},
        "message": {"type": "string", "description": "why it ended, in one line"},
    },
    "required": ["exit_code", "result", "message"],
}
"""What a call answers, as JSON Schema."""


@dataclass(frozen=True)
class Answer:
    """What came of a call.

    Parameters
    ----------
    exit_code
        That of the command's process.
    result
        What it tells as JSON, if anything.
    message
        Why it ended, in one line; empty where the result says it.
    """

    exit_code: int
    result: dict[str, Any] | None = None
    message: str = ""

    @property
    def whole(self) -> types.CallToolResult:
        """The answer as the protocol has it."""
        told = asdict(self)
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=json.dumps(told))],
            structured_content=told,
            is_error=self.exit_code not in (ExitCode.DONE, ExitCode.SOME_TILES_FAILED),
        )


def serve(tools: Iterable[Tool], limits: Limits) -> None:
    """Serve until standard input ends.

    Parameters
    ----------
    tools
        The commands.
    limits
        What programs may do.
    """
    # Whatever has become of the stream by which people are told: the protocol has it now.
    with contextlib.redirect_stdout(sys.__stdout__):
        anyio.run(_serve, Calls({each.words: each for each in tools}, limits))


@dataclass
class Calls:
    """The commands that may be called, one at a time."""

    tools: Mapping[tuple[str, ...], Tool]
    limits: Limits
    offered: dict[str, Offer] = field(init=False)
    turn: anyio.Lock = field(default_factory=anyio.Lock)

    def __post_init__(self) -> None:
        self.offered = offers(self.tools.values(), self.limits)

    async def list(
        self, _: ServerRequestContext[Any], __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """What may be called."""
        return types.ListToolsResult(tools=[listed(each) for each in self.offered.values()])

    async def call(
        self, _: ServerRequestContext[Any], asked: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Run a command, when it is its turn."""
        try:
            words = self._offer(asked.name).words(asked.arguments or {})
        except BadInput as error:
            return Answer(ExitCode.BAD_INPUT, message=str(error)).whole
        async with self.turn:
            return (await answer(words, self.limits)).whole

    def _offer(self, name: str) -> Offer:
        if name in self.offered:
            return self.offered[name]
        if any("_".join(words) == name for words in self.tools):
            raise BadInput(f"{name} writes: start the server with --allow-writes PLACE")
        raise BadInput(unknown_option(name, list(self.offered)).replace("option", "tool", 1))


def listed(offer: Offer) -> types.Tool:
    """A command as the protocol lists it."""
    contract = offer.tool.contract
    changes = bool(contract.changes or set(contract.gives) & set(offer.names))
    return types.Tool(
        name=offer.name,
        description=offer.description,
        input_schema=offer.schema,
        output_schema=ANSWER,
        annotations=types.ToolAnnotations(
            read_only_hint=not changes,
            destructive_hint=bool(changes and contract.lasting),
            idempotent_hint=not changes or contract.resumes,
            open_world_hint="catalog" in contract.takes,
        ),
    )


async def _serve(calls: Calls) -> None:
    server = Server(
        "tessera-mosaic",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=calls.list,
        on_call_tool=calls.call,
    )
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def answer(words: list[str], limits: Limits) -> Answer:
    """Run a command as a process, and take its JSON and exit code.

    Parameters
    ----------
    words
        Of its command line, `--json` among them.
    limits
        How long it may take, and how much it may answer.
    """
    program = [sys.executable, "-m", "tessera_mosaic", *words]
    process = await anyio.open_process(program, stdin=subprocess.DEVNULL)
    try:
        with anyio.move_on_after(limits.timeout) as waited:
            out, said = await _read(process, limits.most_answered)
            code = await process.wait()
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process)
    if waited.cancelled_caught:
        told = (
            f"stopped after {limits.timeout:g} s: ask for less, or start the server with --timeout"
        )
        return Answer(ExitCode.STOPPED, message=told)
    if len(out) > limits.most_answered:
        told = f"it tells more than {limits.most_answered:,} bytes: ask for less"
        return Answer(ExitCode.FAILED, message=told)
    try:
        result = json.loads(out) if out.strip() else None
    except ValueError:
        # Who ended it did so while it told.
        return Answer(code or ExitCode.FAILED, message="it ended before its answer was whole")
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    message = "" if code in (ExitCode.DONE, ExitCode.SOME_TILES_FAILED) else one_line(last)
    return Answer(code, result, without_credentials(message, words))


async def _read(process: Process, most: int) -> tuple[bytes, bytes]:
    """What a process writes to its standard output, a little too much at the most, and error."""
    assert process.stdout is not None
    assert process.stderr is not None
    out, said = bytearray(), bytearray()

    async def read_out(stream: ByteReceiveStream) -> None:
        async for part in stream:
            out.extend(part)
            if len(out) > most:
                process.terminate()
                return

    async def read_said(stream: ByteReceiveStream) -> None:
        async for part in stream:
            said.extend(part)
            del said[:-MOST_SAID]

    async with anyio.create_task_group() as group:
        group.start_soon(read_out, process.stdout)
        group.start_soon(read_said, process.stderr)
    return bytes(out), bytes(said)


async def _stop(process: Process) -> None:
    """End a process that is not done, which may finish the block that it is at."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            with anyio.move_on_after(PATIENCE):
                await process.wait()
            if process.returncode is None:
                process.kill()
    await process.aclose()
