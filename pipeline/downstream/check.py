"""Whether a chain of artefacts holds: what each says of itself, beside what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera_mosaic.pipeline.contracts.chain import in_order
from tessera_mosaic.pipeline.contracts.rules import Finding, Verdict, judged
from tessera_mosaic.pipeline.contracts.state import Kind, State
from tessera_mosaic.pipeline.downstream.artefacts import Artefact, read_artefact
from tessera_mosaic.pipeline.downstream.check_request import CheckRequest
from tessera_mosaic.pipeline.errors import Altered, BadInput
from tessera_mosaic.pipeline.io.urls import is_local, local_path, plain

AS_IT_IS = "whole"
"""Name of the rule that an artefact is what it says, by its own bytes."""


@dataclass(frozen=True)
class CheckStep:
    """An artefact of a chain, and what was found.

    Parameters
    ----------
    name
        Its path or URL, without what may be a credential.
    state
        What it says of itself; None where it cannot be read.
    findings
        What is wrong, what blocks first.
    """

    name: str
    state: State | None
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst that was found."""
        return worst(each.verdict for each in self.findings)

    @property
    def told(self) -> str:
        """What it is, in a few words."""
        if self.state is None:
            return "unreadable"
        state = self.state
        return f"{state.kind.noun} of {state.years_told}" if state.years else state.kind.noun

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        return {
            "artefact": self.name,
            "verdict": self.verdict.value,
            "findings": [
                {"rule": each.rule, "verdict": each.verdict.value, "message": each.message}
                for each in self.findings
            ],
            "state": None if self.state is None else self.state.to_json(),
        }


@dataclass(frozen=True)
class ChainCheck:
    """What a check came to.

    Parameters
    ----------
    steps
        The artefacts in the order in which one is made from another.
    """

    steps: tuple[CheckStep, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst that was found."""
        return worst(step.verdict for step in self.steps)

    @property
    def first_invalid(self) -> int | None:
        """Number of the first artefact that is blocked, from 1; None where none is."""
        blocked = (n for n, step in enumerate(self.steps, 1) if step.verdict is Verdict.BLOCK)
        return next(blocked, None)

    def to_json(self) -> dict[str, Any]:
        """The fields of `check --json`."""
        return {
            "verdict": self.verdict.value,
            "first_invalid": self.first_invalid,
            "steps": [step.to_json() for step in self.steps],
        }


def worst(verdicts: Any) -> Verdict:
    """The worst of some verdicts; pass where there is none."""
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.PASS)


def check(request: CheckRequest) -> ChainCheck:
    """Replay the preconditions of a chain of artefacts.

    Each artefact is read, its digests are computed anew, and what it says of itself is held against
    what its own metadata and some of its bytes say. Then it is judged beside those before it.

    Parameters
    ----------
    request
        The artefacts.

    Raises
    ------
    BadInput
        If one is not there. One that is there and cannot be read blocks.

    Examples
    --------
    >>> tm.check(tm.CheckRequest(("valley.zarr",))).verdict.value
    'pass'
    """
    read = [_read(name) for name in request.artefacts]
    return replayed([read[number] for number in in_order([each.state for each in read])])


def replayed(artefacts: Sequence[Artefact]) -> ChainCheck:
    """Judge artefacts that were read, in their order."""
    states = [each.state for each in artefacts]
    steps = []
    for number, each in enumerate(artefacts):
        name = plain(each.name)
        faults = tuple(Finding(AS_IT_IS, Verdict.BLOCK, fault) for fault in each.faults)
        if each.readable:
            steps.append(CheckStep(name, each.state, (*faults, *judged(states, number))))
        else:
            steps.append(CheckStep(name, None, faults))
    return ChainCheck(tuple(steps))


def _read(name: str) -> Artefact:
    try:
        is_there = not is_local(name) or Path(local_path(name)).exists()
    except OSError:
        is_there = False
    if not is_there:
        raise BadInput("there is no such file or store", "artefacts", name)
    try:
        return read_artefact(name)
    except (BadInput, Altered) as error:
        fault = str(error.args[0])
    except OSError as error:
        fault = f"it cannot be read: {error.strerror}"
    # It stands in the chain as places that nobody knows: no rule says anything of them.
    return Artefact(name, State(Kind.PLACES), (fault,), readable=False)
