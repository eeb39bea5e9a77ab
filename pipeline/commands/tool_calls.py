"""What programs may ask of a command, and the words that it comes to: limits that are kept.

A program is offered the commands that change nothing. With a place to write to it is offered the
others too, and what they write has to lie there. What reaches further, such as hosts of private
addresses or code that a runner's name imports, only the person gives who starts the server.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.commands.option_words import option_words
from tessera_mosaic.pipeline.commands.schemas import Tool, is_required
from tessera_mosaic.pipeline.console import unknown_option
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.urls import is_local, local_path, plain

RESERVED = ("allow_host", "allow_writes", "runner", "serve", "timeout")
"""Options that no program is offered."""

TIMEOUT = 600.0
"""Seconds that a call may take, unless another number is asked for."""

SECONDS = Bounds("choose seconds above 0, up to a week", above=0, most=7 * 86_400)

MOST_ANSWERED = 1 << 20
"""Most bytes of JSON that a call answers: more is of no use to who asks by calls."""

MOST_GIVEN = 100_000
"""Most bytes of what a call gives: systems take no word of 128 KiB or more."""


@dataclass(frozen=True)
class Limits:
    """What programs may do.

    Parameters
    ----------
    allow_writes
        Folder or address below which commands may write; None if they may not.
    allow_hosts
        Hosts of private addresses that catalogues may point to.
    timeout
        Seconds that a call may take.
    most_answered
        Bytes of JSON that it may answer.

    Raises
    ------
    BadInput
        If the seconds cannot be meant.
    """

    allow_writes: str | None = None
    allow_hosts: tuple[str, ...] = ()
    timeout: float = field(default=TIMEOUT, metadata=SECONDS.metadata)
    most_answered: int = MOST_ANSWERED

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True)
class Offer:
    """A command as programs are offered it.

    Parameters
    ----------
    tool
        The command.
    names
        Names of the options that may be given.
    limits
        What programs may do.
    """

    tool: Tool
    names: tuple[str, ...]
    limits: Limits

    @property
    def name(self) -> str:
        """What programs call it."""
        return "_".join(self.tool.words)

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as JSON Schema."""
        return self.tool.schema(self.names)

    @property
    def description(self) -> str:
        """What it is for, and what it promises, in a few lines."""
        contract = self.tool.contract
        return "\n".join(
            [
                self.tool.purpose,
                f"Costs: {contract.costs}.",
                *(f"Needs: {each}." for each in contract.needs),
                *(f"Lasting: {each}." for each in contract.lasting),
            ]
        )

    def words(self, given: Mapping[str, Any]) -> list[str]:
        """The words of a command line that a call comes to.

        Parameters
        ----------
        given
            What the program gave, by name.

        Raises
        ------
        BadInput
            If it names what is not offered, is of the wrong kind, too long, or lies where it may
            not be written. What else is wrong the command itself says.
        """
        options = {name: self.tool.options[name] for name in self.names}
        if unknown := sorted(given.keys() - options.keys()):
            raise BadInput(self._why_not(unknown[0]))
        if sum(len(str(value).encode(errors="replace")) for value in given.values()) > MOST_GIVEN:
            raise BadInput(f"give {MOST_GIVEN:,} bytes at the most, or name a file")
        for name, action in options.items():
            if name not in given and is_required(action):
                raise BadInput("it is needed", name)
        chosen = [f"--allow-host={host}" for host in self._hosts]
        places: list[str] = []
        for name, action in options.items():
            if name in given:
                told = option_words(name, action, given[name])
                (chosen if action.option_strings else places).extend(told)
        self._check_places(given)
        return [*self.tool.words, *chosen, "--json", *(["--", *places] if places else [])]

    @property
    def _hosts(self) -> tuple[str, ...]:
        return self.limits.allow_hosts if "allow_host" in self.tool.options else ()

    def _why_not(self, name: str) -> str:
        """Why an option cannot be given."""
        if name in self.tool.contract.gives:
            return f"{name}: it writes, which is not allowed here"
        if name in self.tool.options:
            return f"{name}: only who starts the server may give it"
        return unknown_option(name, self.names).replace("option", "name", 1)

    def _check_places(self, given: Mapping[str, Any]) -> None:
        """Refuse to write anywhere but below the place that is allowed."""
        for name in self.tool.contract.gives:
            place = given.get(name, self.tool.options[name].default)
            allowed = self.limits.allow_writes
            if place is not None and not (allowed and is_below(str(place), allowed)):
                raise BadInput(f"it does not lie below {plain(allowed or '')}", name, place)


def offers(tools: Iterable[Tool], limits: Limits) -> dict[str, Offer]:
    """What programs are offered, by name."""
    found = (_offer(tool, limits) for tool in tools)
    return {each.name: each for each in found if each is not None}


def _offer(tool: Tool, limits: Limits) -> Offer | None:
    """A command as it may be called; None if it may not."""
    names = [name for name in tool.options if name not in RESERVED]
    if limits.allow_writes is None:
        if always_writes(tool):
            return None
        names = [name for name in names if name not in tool.contract.gives]
    return Offer(tool, tuple(names), limits)


def always_writes(tool: Tool) -> bool:
    """Whether a command changes something whatever it is given."""
    made = [tool.options[name] for name in tool.contract.gives]
    return bool(tool.contract.changes) or any(is_required(each) or each.default for each in made)


def is_below(place: str, allowed: str) -> bool:
    """Whether a path or address lies below another one, and leads nowhere else.

    Examples
    --------
    >>> is_below("/data/maps/a.zarr", "/data"), is_below("/data/../etc/a", "/data")
    (True, False)
    >>> is_below("s3://bucket/maps/a.zarr", "s3://bucket/maps"), is_below("s3://b/a", "s3://bucket")
    (True, False)
    """
    if is_local(place) and is_local(allowed):
        if local_path(place).startswith("~"):
            # Some libraries take it for the user's home, and others for a name.
            return False
        inner, outer = (os.path.realpath(local_path(each)) for each in (place, allowed))
        return inner != outer and os.path.commonpath((inner, outer)) == outer
    if is_local(place) or is_local(allowed):
        return False
    steps = place.split("/")
    return place.startswith(allowed.rstrip("/") + "/") and not {".", ".."} & set(steps)


def without_credentials(text: str, words: Iterable[str]) -> str:
    """A text in which the words of a command stand without what may be a credential in them."""
    for word in words:
        value = word.partition("=")[2] if word.startswith("--") else word
        if value and plain(value) != value:
            text = text.replace(value, plain(value))
    return text
