"""Whether artefacts lie on the same ground, by the degrees that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tessera_mosaic.pipeline.contracts.chain import parents
from tessera_mosaic.pipeline.contracts.state import Extent, Kind, State

CLOSE = 0.001
"""Degrees, some 100 m, by which bounds of the same ground may differ."""

GROUND = frozenset({Kind.MOSAIC, Kind.FIELD})
"""Kinds on whose ground places are looked up, which name nothing that they belong to."""


def lies_apart(chain: Sequence[State], at: int) -> str:
    """Why an artefact does not lie on the ground before it; empty where it does."""
    state = chain[at]
    extent = state.extent
    if extent is None:
        return ""
    if not _possible(extent):
        return f"latitudes of {extent[1]:g} to {extent[3]:g} in {state.the}: {_swapped(state)}"
    for other, theirs in _grounds(chain, at):
        if not _overlap(extent, theirs):
            if _overlap(_turned(extent), theirs):
                return f"{state.the} lies outside {other.the}: {_swapped(state)}"
            return f"{state.the} lies at {_told(extent)}, outside {other.the} at {_told(theirs)}"
        inner = state if other.kind is Kind.FIELD else other
        if Kind.FIELD in (other.kind, state.kind) and inner.kind is not Kind.MOSAIC:
            field, within = (theirs, extent) if inner is state else (extent, theirs)
            if not _holds(field, within):
                return f"part of {inner.the} lies outside the box of the field"
    return ""


def lies_partly_outside(chain: Sequence[State], at: int) -> str:
    """What is said of an artefact that reaches beyond the ground before it."""
    state = chain[at]
    if state.extent is None or state.kind in GROUND:
        return ""
    for other, theirs in _grounds(chain, at):
        if not _holds(theirs, state.extent):
            return f"part of {state.the} lies outside {other.the}"
    return ""


def _grounds(chain: Sequence[State], at: int) -> Iterator[tuple[State, Extent]]:
    """Artefacts before one that it has to lie on, with where they lie."""
    state = chain[at]
    for other in chain[:at]:
        places = Kind.PLACES in (state.kind, other.kind) and {state.kind, other.kind} & GROUND
        if _on_a_mosaic(chain, state, other) or _on_a_mosaic(chain, other, state):
            continue
        if other.extent is not None and (places or other in parents(chain, at)):
            yield other, other.extent


def _on_a_mosaic(chain: Sequence[State], state: State, field: State) -> bool:
    """Whether an artefact does not have to lie in a field, since it lies on a mosaic."""
    if field.kind is not Kind.FIELD or state.kind in GROUND or state.extent is None:
        return False
    if state.made_from(Kind.FIELD) & set(field.digests):
        return False
    grounds = [each.extent for each in chain if each.kind is Kind.MOSAIC and each.extent]
    return any(_overlap(state.extent, ground) for ground in grounds)


def _possible(extent: Extent) -> bool:
    west, south, east, north = extent
    return -90 <= south <= north <= 90 and -180 - CLOSE <= west <= east <= 180 + CLOSE


def _overlap(one: Extent, other: Extent) -> bool:
    return (
        one[0] <= other[2] + CLOSE
        and other[0] <= one[2] + CLOSE
        and one[1] <= other[3] + CLOSE
        and other[1] <= one[3] + CLOSE
    )


def _holds(outer: Extent, inner: Extent) -> bool:
    return (
        outer[0] - CLOSE <= inner[0]
        and outer[1] - CLOSE <= inner[1]
        and inner[2] <= outer[2] + CLOSE
        and inner[3] <= outer[3] + CLOSE
    )


def _turned(extent: Extent) -> Extent:
    west, south, east, north = extent
    return south, west, north, east


def _swapped(state: State) -> str:
    return f"longitude and latitude of {state.the} are swapped"


def _told(extent: Extent) -> str:
    west, south, east, north = extent
    return f"{west:.4g},{south:.4g},{east:.4g},{north:.4g}"
