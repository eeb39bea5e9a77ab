"""Artefacts in the order in which one is made from another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tessera_mosaic.pipeline.contracts.state import Kind, State

MAPS = frozenset({Kind.MAP, Kind.CHANGE})
"""Kinds from which samples are drawn and areas estimated."""

LABELS = frozenset({Kind.PLACES, Kind.SAMPLE})
"""Kinds from which heads are trained and at which vectors are taken."""

EMBEDDINGS = frozenset({Kind.MOSAIC})

MADE_FROM: Mapping[Kind, frozenset[Kind]] = {
    Kind.MOSAIC: frozenset(),
    Kind.HEAD: EMBEDDINGS | LABELS,
    Kind.MAP: EMBEDDINGS | {Kind.HEAD},
    Kind.CHANGE: EMBEDDINGS,
    Kind.HITS: EMBEDDINGS | {Kind.HEAD},
    Kind.SAMPLE: MAPS,
    Kind.AREAS: MAPS | {Kind.SAMPLE},
    Kind.PLACES: frozenset(),
    Kind.VECTORS: EMBEDDINGS | LABELS | {Kind.FIELD},
    Kind.FUSED: EMBEDDINGS | LABELS | {Kind.VECTORS},
    Kind.FIELD: EMBEDDINGS,
    Kind.BLOCKS: EMBEDDINGS,
    Kind.WEIGHTS: frozenset(),
}
"""Of what kinds of artefacts each kind is made."""


def alike(kind: Kind) -> frozenset[Kind]:
    """Kinds that stand for one another as an input: maps, and places with labels."""
    return next((kinds for kinds in (MAPS, LABELS) if kind in kinds), frozenset({kind}))


def parents(chain: Sequence[State], at: int) -> Iterator[State]:
    """The artefacts before one that it may be made from.

    Where it names one of several alike by its digest, the others are not among them.

    Parameters
    ----------
    chain
        Artefacts in order.
    at
        Number of the one that is looked at.
    """
    state = chain[at]
    before = [each for each in chain[:at] if each.kind in MADE_FROM[state.kind]]
    named = {each.digest for each in state.inputs}
    for each in before:
        rivals = [other for other in before if other.kind in alike(each.kind)]
        if each in _named(rivals, named) or not _named(rivals, named):
            yield each


def _named(states: Sequence[State], digests: set[str]) -> list[State]:
    return [state for state in states if digests.intersection(state.digests)]


def in_order(chain: Sequence[State]) -> list[int]:
    """Numbers of artefacts, each after those that it names by their digests; else as given.

    Examples
    --------
    >>> from tessera_mosaic.pipeline.contracts.chain import in_order
    >>> from tessera_mosaic.pipeline.contracts.state import Input, Kind, State
    >>> head = State(Kind.HEAD, ("h",), (Input(Kind.MOSAIC, "f"),))
    >>> in_order([head, State(Kind.MOSAIC, ("f",))])
    [1, 0]
    """
    order: list[int] = []
    left = list(range(len(chain)))
    while left:
        ready = next(
            (
                number
                for number in left
                if not any(
                    _named([chain[other]], {each.digest for each in chain[number].inputs})
                    for other in left
                    if other != number
                )
            ),
            left[0],
        )
        order.append(ready)
        left.remove(ready)
    return order
