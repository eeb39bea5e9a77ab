"""What the published models are."""

from __future__ import annotations

import json

import pytest

from tessera_mosaic.model.cards import (
    CARDS,
    KNOWN,
    SHIPPED,
    CardError,
    card_for,
    card_named,
    card_of_weights,
)
from tessera_mosaic.model.networks import parameter_count
from tessera_mosaic.model.sizes import Sizes

PARAMETERS = {
    "v1.0": 45_828_226,
    "v1.0-float": 87_841_922,
    "v1.1-mpc": 57_708_738,
    "v1.1-aws": 57_708_738,
    "v2-nano": 1_066_402,
    "v2-small": 7_112_322,
    "v2-medium": 21_031_506,
    "v2-large": 43_831_170,
    "v2-teacher": 2_064_266_242,
}
"""As the authors publish them."""


@pytest.mark.parametrize("name", CARDS)
def test_parameters_are_as_many_as_published(name: str) -> None:
    card = card_named(name)
    assert parameter_count(card.family, card.sizes) == card.parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", CARDS)
def test_cards_are_whole(name: str) -> None:
    card = card_named(name)
    assert len(card.statistics.s2_mean) == len(card.statistics.s2_std) == 10
    assert card.dims <= card.sizes.representation
    assert card.depths == tuple(sorted(d for d in card.depths if d < card.dims))
    assert bool(card.repository) == bool(card.sha256) == card.family.startswith("v2")
    identity = card.identity()
    assert json.loads(json.dumps(identity))["statistics"] is not None
    assert "sha256" not in identity
    assert "page" not in identity


def test_a_model_meets_only_its_own_imagery() -> None:
    card_named("v2-nano").accepts("aws")
    card_named("v1.1-mpc").accepts("mpc")
    with pytest.raises(CardError, match=r"v1\.1-mpc was trained on imagery of mpc and this is aws"):
        card_named("v1.1-mpc").accepts("aws")
    with pytest.raises(CardError, match=r"'v3': there are flanders-nano, v1\.0-float,"):
        card_named("v3")


def test_every_known_model_can_be_named() -> None:
    assert [card_named(name) for name in KNOWN] == [SHIPPED, *CARDS.values()]


def test_parameters_of_other_sizes_are_not_told() -> None:
    card = card_named("v2-nano")
    assert card.of("v2", card.sizes) is card
    assert card.of("v2", Sizes(8, 2, 4, 48, 64)).parameters == 0


def test_statistics_decide_identity() -> None:
    mpc, aws = card_named("v1.1-mpc").identity(), card_named("v1.1-aws").identity()
    assert mpc != aws
    assert mpc["statistics"] != aws["statistics"]


def test_the_card_of_weights_without_a_name() -> None:
    medium = card_named("v2-medium")
    assert card_for("v2", medium.sizes) == medium
    odd = card_for("v2", Sizes(8, 2, 4, 48, 64))
    assert (odd.name, odd.dims, odd.depths) == ("v2 (other sizes)", 64, (16, 32))
    assert odd.statistics == medium.statistics
    with pytest.raises(CardError, match=r"ask for the model v1\.1-mpc or v1\.1-aws"):
        card_for("v1.1", card_named("v1.1-mpc").sizes)
    assert card_for("v1.1", card_named("v1.1-mpc").sizes, "aws") == card_named("v1.1-aws")
    with pytest.raises(CardError, match=r"v2-nano is a model of the family v2, and the weights"):
        card_named("v2-nano").of("v1.1", card_named("v1.1-mpc").sizes)


def test_known_weights_meet_their_own_card_whatever_is_asked_for() -> None:
    nano = card_named("v2-nano")
    assert card_of_weights("v2", SHIPPED.sizes, SHIPPED.sha256) == SHIPPED
    assert card_of_weights("v2", SHIPPED.sizes, SHIPPED.sha256, SHIPPED.name) == SHIPPED
    assert card_of_weights("v2", nano.sizes, nano.sha256) == nano
    for asked in ("v2-nano", "v2-large", "v1.1-aws"):
        with pytest.raises(CardError, match=f"weights of flanders-nano, and {asked} was asked"):
            card_of_weights("v2", SHIPPED.sizes, SHIPPED.sha256, asked)


def test_unknown_weights_meet_the_card_that_is_named_unless_their_sizes_are_anothers() -> None:
    nano = card_named("v2-nano")
    assert card_of_weights("v2", nano.sizes, "f" * 64) == nano
    assert card_of_weights("v2", nano.sizes, "f" * 64, "flanders-nano") == SHIPPED
    with pytest.raises(
        CardError, match="sizes of v2-nano, and v2-large was asked for: ask for the model v2-nano"
    ):
        card_of_weights("v2", nano.sizes, "f" * 64, "v2-large")
    with pytest.raises(CardError, match=r"of the family v2, and the weights are .* v1\.1"):
        card_of_weights("v1.1", card_named("v1.1-mpc").sizes, "f" * 64, "v2-nano")
    odd = card_of_weights("v1.1", Sizes(12, 2, 4, 64, 36), "f" * 64, "v1.1-aws")
    assert odd.statistics == card_named("v1.1-aws").statistics
    assert (odd.name, odd.dims) == ("v1.1-aws (other sizes)", 36)
