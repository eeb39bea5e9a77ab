"""What rules say of states that no command makes, or makes with a warning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tessera_mosaic.pipeline.contracts.chain import in_order, parents
from tessera_mosaic.pipeline.contracts.rules import Verdict, judged
from tessera_mosaic.pipeline.contracts.state import LATTICE, Input, Kind, State

MOSAIC = State(
    Kind.MOSAIC,
    ("f0",),
    product="tessera",
    fingerprint="f0",
    dims=128,
    crs=("EPSG:32631",),
    lattice=LATTICE,
    pixel=10.0,
    extent=(2.0, 50.0, 3.0, 51.0),
    years=(2022, 2023),
    sensors={2022: ("s1", "s2"), 2023: ("s2",)},
)
HEAD = replace(MOSAIC.leads_to(Kind.HEAD), digests=("h0",), years=(2022,))
MAP = State(
    Kind.MAP,
    ("m0",),
    (Input(Kind.HEAD, "h0"), Input(Kind.MOSAIC, "f0")),
    fingerprint="f0",
    crs=("EPSG:32631",),
    lattice=LATTICE,
    pixel=10.0,
    extent=(2.1, 50.1, 2.2, 50.2),
    years=(2022,),
)
FIELD = replace(MOSAIC.leads_to(Kind.FIELD), digests=("d0",), extent=(2.1, 50.1, 2.2, 50.2))
PLACES = State(Kind.PLACES, ("p0",), extent=(2.12, 50.12, 2.15, 50.15))


def said(*chain: State) -> list[tuple[Verdict, str]]:
    """What is said of the last artefact of a chain."""
    return [(each.verdict, each.message) for each in judged(chain, len(chain) - 1)]


@pytest.mark.parametrize(
    "chain",
    [
        (MOSAIC, HEAD, MAP),
        (MOSAIC, FIELD),
        (FIELD, PLACES),
        (MOSAIC, replace(MAP, kind=Kind.CHANGE, inputs=MAP.inputs[1:])),
        (State(Kind.MOSAIC), State(Kind.PLACES), State(Kind.SAMPLE)),
    ],
)
def test_what_goes_together_or_is_not_known_is_let_be(chain: tuple[State, ...]) -> None:
    assert [verdict for verdict, _ in said(*chain) if verdict is Verdict.BLOCK] == []


def test_a_field_is_not_asked_outside_its_box() -> None:
    beside = replace(PLACES, extent=(2.15, 50.1, 2.3, 50.2))
    assert said(FIELD, beside)[0] == (
        Verdict.BLOCK,
        "part of the file of places lies outside the box of the field",
    )
    far = replace(PLACES, extent=(5.0, 50.0, 5.1, 50.1))
    assert "outside the field" in said(FIELD, far)[0][1]
    turned = replace(PLACES, extent=(50.12, 2.12, 50.15, 2.15))
    assert said(FIELD, turned)[0][1].endswith("of the file of places are swapped")
    assert said(beside, FIELD)[0] == said(FIELD, beside)[0]


def test_what_lies_on_the_mosaic_need_not_lie_in_a_field_of_part_of_it() -> None:
    table = replace(MOSAIC.leads_to(Kind.VECTORS), years=(2022,), extent=(2.0, 50.0, 2.5, 50.5))
    places = replace(PLACES, extent=table.extent)
    for chain in ((FIELD, table), (FIELD, places), (places, FIELD)):
        assert said(MOSAIC, *chain) == []
    of_field = replace(table, inputs=(*table.inputs, Input(Kind.FIELD, "d0")))
    assert "outside the box of the field" in said(MOSAIC, FIELD, of_field)[0][1]


def test_places_that_reach_beyond_a_mosaic_are_warned_of() -> None:
    beyond = replace(PLACES, extent=(2.5, 50.5, 3.5, 50.6))
    assert said(MOSAIC, beyond) == [
        (Verdict.WARN, "part of the file of places lies outside the mosaic")
    ]


def test_a_shift_between_years_that_radar_saw_and_did_not_see_is_warned_of() -> None:
    matched = replace(MAP, years=(2023,), matched={2023: 2022})
    assert said(MOSAIC, HEAD, matched) == [
        (Verdict.WARN, "radar was observed in 2022, and not in 2023")
    ]
    assert said(MOSAIC, HEAD, replace(matched, matched=None))[0][0] is Verdict.BLOCK


def test_a_unit_that_is_lost_is_warned_of_and_another_blocks() -> None:
    head, in_tons = replace(HEAD, unit="t/ha"), replace(MAP, unit="t/ha")
    assert said(MOSAIC, head, in_tons) == []
    assert said(MOSAIC, head, MAP) == [
        (Verdict.WARN, "the head is in t/ha, and the map has no unit")
    ]


def test_what_names_nothing_is_warned_of() -> None:
    stray = State(Kind.HITS, years=(2022,))
    assert said(MOSAIC, stray) == [
        (Verdict.WARN, "the table of hits does not tell what it was made from")
    ]


def test_two_fingerprints_meet_only_where_they_are_fused() -> None:
    other = replace(MOSAIC, digests=("f1",), fingerprint="f1", product="other")
    assert said(MOSAIC, other)[0][0] is Verdict.BLOCK
    fused = State(
        Kind.FUSED, inputs=(Input(Kind.MOSAIC, "f0"), Input(Kind.MOSAIC, "f1")), fingerprint="f0"
    )
    chain = (MOSAIC, other, fused)
    assert [judged(chain, at) for at in range(3)] == [(), (), ()]


def test_of_several_alike_the_one_that_is_named_counts() -> None:
    rival = replace(MAP, digests=("m1",), years=(2023,))
    sample = State(Kind.SAMPLE, ("s0",), (Input(Kind.MAP, "m0"),), years=(2022,), design="class")
    chain = (MAP, rival, sample)
    assert list(parents(chain, 2)) == [MAP]
    assert said(*chain) == []


def test_order_follows_digests_and_else_stays() -> None:
    chain = [MAP, PLACES, HEAD, MOSAIC]
    assert [chain[at].kind for at in in_order(chain)] == ["places", "mosaic", "head", "map"]
    one = State(Kind.HEAD, ("a",), (Input(Kind.PLACES, "b"),))
    other = State(Kind.SAMPLE, ("b",), (Input(Kind.HEAD, "a"),))
    assert sorted(in_order([one, other])) == [0, 1]
