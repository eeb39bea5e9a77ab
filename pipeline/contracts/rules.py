"""Which artefacts may meet: preconditions over what they say of themselves.

A rule looks at one artefact of a chain and at those before it, and says in one line why they do not
go together, or nothing. What an artefact does not tell is never held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tessera_mosaic.pipeline.contracts.chain import EMBEDDINGS, LABELS, MAPS, alike, parents
from tessera_mosaic.pipeline.contracts.ground import lies_apart, lies_partly_outside
from tessera_mosaic.pipeline.contracts.state import Kind, Numbers, State

SHOWN = 12
"""Digits of a digest that a message shows."""

Rule = Callable[[Sequence[State], int], str]
"""What is wrong with the artefact of a number in a chain; empty where nothing is."""


class Verdict(StrEnum):
    """What a rule says of an artefact."""

    PASS = "pass"
    WARN = "warn"
    BLOCK = "block"


@dataclass(frozen=True)
class Finding:
    """What a rule found.

    Parameters
    ----------
    rule
        Name of the rule.
    verdict
        Whether the artefact may be used all the same.
    message
        What is wrong, in one line.
    """

    rule: str
    verdict: Verdict
    message: str


def judged(chain: Sequence[State], at: int) -> tuple[Finding, ...]:
    """What all rules say of an artefact and those before it, what blocks first.

    Parameters
    ----------
    chain
        Artefacts in the order in which one is made from another.
    at
        Number of the one that is judged.

    Examples
    --------
    >>> from tessera_mosaic.pipeline.contracts.rules import judged
    >>> from tessera_mosaic.pipeline.contracts.state import Kind, State
    >>> mosaic = State(Kind.MOSAIC, ("9c41",), fingerprint="9c41", dims=128)
    >>> head = State(Kind.HEAD, ("5f2a",), fingerprint="9c41", dims=64)
    >>> judged([mosaic, head], 1)[0].message
    'the head takes embeddings of 64 values, and those of the mosaic have 128'
    """
    found = [
        Finding(name, verdict, message)
        for verdict, rules in RULES.items()
        for name, rule in rules.items()
        if (message := rule(chain, at))
    ]
    return tuple(found)


def from_another(chain: Sequence[State], at: int) -> str:
    """An artefact is made from those before it, by their digests."""
    state = chain[at]
    for kind in dict.fromkeys(each.kind for each in state.inputs):
        kinds = alike(kind)
        named = frozenset().union(*(state.made_from(each) for each in kinds))
        others = [each for each in chain[:at] if each.kind in kinds and each.digests]
        if kinds is LABELS:
            # Places that something else was made at, or that nobody used, say nothing of it.
            others = [each for each in others if each.kind in state_kinds(state)]
            others = [each for each in others if not _used(chain, at, each)]
        if others and not any(named.intersection(each.digests) for each in others):
            return (
                f"{state.the} was made from another {kind.noun}: it names "
                f"{_short(min(named))}, and {others[-1].the} given is "
                f"{_short(others[-1].digests[-1])}"
            )
    return ""


def state_kinds(state: State) -> frozenset[Kind]:
    """Kinds of an artefact's inputs."""
    return frozenset(each.kind for each in state.inputs)


def _used(chain: Sequence[State], at: int, of: State) -> bool:
    """Whether another artefact of the chain than one names this one."""
    others = (each for number, each in enumerate(chain) if number != at)
    return any(each.digest in of.digests for other in others for each in other.inputs)


def other_embeddings(chain: Sequence[State], at: int) -> str:
    """All of a chain rests on embeddings of one fingerprint, unless it was fused of several."""
    state = chain[at]
    for other in chain[:at]:
        if state.fingerprint is None or other.fingerprint in (None, state.fingerprint):
            continue
        pair = {str(other.fingerprint), state.fingerprint}
        if any(pair <= each.made_from(Kind.MOSAIC) for each in chain):
            continue
        return (
            f"{state.the} rests on embeddings of {state.product or 'a model'} with fingerprint "
            f"{_short(state.fingerprint)}, and {other.the} on those of "
            f"{other.product or 'a model'} with {_short(str(other.fingerprint))}"
        )
    return ""


def other_depth(chain: Sequence[State], at: int) -> str:
    """Embeddings have one number of values."""
    state = chain[at]
    for other in parents(chain, at):
        if state.kind is Kind.FUSED:
            # It has the values of other products beside them.
            continue
        if None not in (state.dims, other.dims) and state.dims != other.dims:
            return (
                f"{state.the} takes embeddings of {state.dims} values, and those of the "
                f"{other.kind.noun} have {other.dims}"
            )
    return ""


def other_year(chain: Sequence[State], at: int) -> str:
    """Years are those of what an artefact is made from, or were matched to them."""
    state = chain[at]
    own = {*(state.years or ()), *(state.compared or {}).values()}
    matched = state.matched or {}
    for other in parents(chain, at):
        if other.years is None:
            continue
        if other.kind is Kind.HEAD:
            wanted = {matched.get(year, year) for year in own}
        elif other.kind in EMBEDDINGS:
            wanted = own | set(matched.values())
        else:
            wanted = own
        lacking = sorted(wanted - set(other.years))
        if state.kind is Kind.FUSED and len(lacking) < len(wanted):
            # Other products may be of other years.
            continue
        if lacking:
            told = f"{other.the} is of {other.years_told}"
            return f"{state.the} is of {lacking[0]}, and {told}"
    return ""


def other_zone(chain: Sequence[State], at: int) -> str:
    """Pixels lie in zones of what they were made from."""
    state = chain[at]
    for other in parents(chain, at):
        if state.lattice is None or other.lattice is None or not state.crs or not other.crs:
            continue
        if strange := sorted(set(state.crs) - set(other.crs)):
            return f"{state.the} lies in {strange[0]}, and {other.the} in {', '.join(other.crs)}"
    return ""


def other_lattice(chain: Sequence[State], at: int) -> str:
    """Pixels are those of one lattice."""
    state = chain[at]
    for other in parents(chain, at):
        if state.lattice is None or other.lattice is None:
            continue
        if None not in (state.pixel, other.pixel) and state.pixel != other.pixel:
            return (
                f"{state.the} has pixels of {state.pixel:g} m, and {other.the} of {other.pixel:g} m"
            )
        if state.lattice != other.lattice:
            return f"the pixels of {state.the} are not those of {other.the}"
    return ""


def other_ground(chain: Sequence[State], at: int) -> str:
    """An artefact lies on the ground of what it was made from."""
    return lies_apart(chain, at)


def without_scales(chain: Sequence[State], at: int) -> str:
    """Values are codes times their scale."""
    if chain[at].numbers is not Numbers.CODES:
        return ""
    return (
        f"the values of {chain[at].the} are codes, which nobody multiplied by the scales of "
        "their pixels"
    )


def other_unit(chain: Sequence[State], at: int) -> str:
    """Values keep their unit."""
    state = chain[at]
    for other in parents(chain, at):
        values = not (state.classes or other.classes) and other.kind in MAPS | {Kind.HEAD}
        if values and None not in (state.unit, other.unit) and state.unit != other.unit:
            return f"{state.the} is in {state.unit}, and {other.the} in {other.unit}"
    return ""


def other_range(chain: Sequence[State], at: int) -> str:
    """A map says to what range its head clipped the values."""
    state = chain[at]
    for other in parents(chain, at):
        if state.kind is Kind.MAP and other.kind is Kind.HEAD and other.valid_range:
            low, high = other.valid_range
            clips = f"the head clips values to {low:g} to {high:g}"
            if state.valid_range is None:
                return f"{clips}, and the map does not say so"
            if state.valid_range != other.valid_range:
                low, high = state.valid_range
                return f"{clips}, and the map says {low:g} to {high:g}"
    return ""


def other_classes(chain: Sequence[State], at: int) -> str:
    """A map has the classes of its head, under the same codes."""
    state = chain[at]
    for other in parents(chain, at):
        both = state.classes and other.classes
        if both and other.kind is Kind.HEAD and dict(state.classes or {}) != other.classes:
            return f"the classes of {state.the} are not those of the head"
    return ""


def nodata_is_a_class(chain: Sequence[State], at: int) -> str:
    """Pixels without data are of no class."""
    state = chain[at]
    if state.nodata is None or state.nodata not in (state.classes or {}):
        return ""
    name = (state.classes or {})[int(state.nodata)]
    return f"pixels without data count as class {state.nodata:g}, {name}, in {state.the}"


def other_sensors(chain: Sequence[State], at: int) -> str:
    """Years that are compared were seen by the same sensors."""
    state = chain[at]
    return "" if state.matched else _sensors(chain, at, state.compared or {})


def matched_sensors(chain: Sequence[State], at: int) -> str:
    """A shift between years that other sensors saw is more than a shift of the mean."""
    return _sensors(chain, at, chain[at].matched or {})


def _sensors(chain: Sequence[State], at: int, pairs: object) -> str:
    if not isinstance(pairs, dict):
        return ""
    for other in parents(chain, at):
        seen = other.sensors or {}
        for year, of in pairs.items():
            if year in seen and of in seen and set(seen[year]) != set(seen[of]):
                with_radar, without = (year, of) if "s1" in seen[year] else (of, year)
                if "s1" in seen[with_radar] and "s1" not in seen[without]:
                    return f"radar was observed in {with_radar}, and not in {without}"
                return f"{year} and {of} were observed by other sensors"
    return ""


def chosen_points(chain: Sequence[State], at: int) -> str:
    """Areas rest on a sample that was drawn by chance."""
    state = chain[at]
    if state.kind is Kind.AREAS and state.design is None:
        return "areas need points that were drawn by chance, and these were chosen"
    for other in parents(chain, at):
        drawn = other.design if other.kind is Kind.SAMPLE else None
        if state.kind is Kind.AREAS and drawn not in (None, state.design):
            return f"the sample has design {drawn}, and the areas {state.design}"
    return ""


def trained_on_sample(chain: Sequence[State], at: int) -> str:
    """No point of a reference sample taught the head."""
    state = chain[at]
    trained = {
        digest
        for each in chain
        if each.kind is Kind.HEAD
        for kind in LABELS
        for digest in each.made_from(kind)
    }
    samples = [state] if any(each.kind in MAPS for each in chain[:at]) else []
    if state.kind is Kind.AREAS:
        samples = list(parents(chain, at))
    if any(each.kind is Kind.SAMPLE and trained.intersection(each.digests) for each in samples):
        return "the head was trained on the points of the sample"
    return ""


def without_intervals(chain: Sequence[State], at: int) -> str:
    """A claim of an area says how sure it is."""
    state = chain[at]
    if state.kind is Kind.AREAS and state.uncertainty is None:
        return "the areas have no intervals: a count of pixels has the map's errors in it"
    return ""


def partly_outside(chain: Sequence[State], at: int) -> str:
    """All of an artefact lies on the ground of what it was made from."""
    return lies_partly_outside(chain, at)


def unconnected(chain: Sequence[State], at: int) -> str:
    """An artefact names something that stands before it."""
    state, before = chain[at], list(parents(chain, at))
    if not before or any(each.digest in other.digests for each in state.inputs for other in before):
        return ""
    if any(None not in (state.fingerprint, other.fingerprint) for other in before):
        return ""
    return f"{state.the} does not tell what it was made from"


def lost_unit(chain: Sequence[State], at: int) -> str:
    """Values of a unit do not lose it."""
    state = chain[at]
    for other in parents(chain, at):
        has_one = other.kind in MAPS | {Kind.HEAD} and other.unit and not other.classes
        if has_one and state.unit is None and state.kind in MAPS | {Kind.AREAS}:
            return f"{other.the} is in {other.unit}, and {state.the} has no unit"
    return ""


def _short(digest: str) -> str:
    return digest[:SHOWN]


RULES: dict[Verdict, dict[str, Rule]] = {
    Verdict.BLOCK: {
        "embeddings": other_embeddings,
        "depth": other_depth,
        "zone": other_zone,
        "lattice": other_lattice,
        "ground": other_ground,
        "year": other_year,
        "sensors": other_sensors,
        "scales": without_scales,
        "no-data": nodata_is_a_class,
        "classes": other_classes,
        "unit": other_unit,
        "range": other_range,
        "chance": chosen_points,
        "training": trained_on_sample,
        "intervals": without_intervals,
        "input": from_another,
    },
    Verdict.WARN: {
        "sensors": matched_sensors,
        "outside": partly_outside,
        "unit": lost_unit,
        "unconnected": unconnected,
    },
}
"""All rules by what they say, in the order in which they are asked."""
