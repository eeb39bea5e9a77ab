"""Which encoder a command's `--model` and `--weights` come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.cards import CARDS, SHIPPED, CardError
from model.data import WEIGHTS
from pipeline.encoders import card_of_options, check_device, choose_encoder, load_encoder
from pipeline.errors import BadInput


def test_a_choice_is_what_would_be_loaded(shared: Path) -> None:
    weights = str(shared / "golden/encoders/v1_1.pt")
    for options in ((None, None), (None, weights)):
        chosen = choose_encoder(*options, imagery="mpc")
        loaded = load_encoder(*options, threads=1, imagery="mpc")
        assert chosen.identity() == loaded.identity()
        assert chosen.card == loaded.card
    with pytest.raises(CardError, match="trained on imagery of mpc and this is aws"):
        choose_encoder("v1.1-mpc", weights, imagery="aws")


def test_a_device_is_looked_for_without_an_encoder() -> None:
    check_device("cpu", "fp32")
    with pytest.raises(BadInput, match="GPUs are usable here"):
        check_device("cuda:63", "fp32")


def test_the_shipped_encoder_is_found_by_its_name_and_by_its_file() -> None:
    options = (None, None), (SHIPPED.name, None), (None, str(WEIGHTS)), (SHIPPED.name, str(WEIGHTS))
    for model, weights in options:
        assert choose_encoder(model, weights).card == SHIPPED
        assert card_of_options(model, weights) == SHIPPED
    with pytest.raises(CardError, match="these are the weights of flanders-nano"):
        choose_encoder("v2-nano", str(WEIGHTS))
    with pytest.raises(CardError, match="flanders-nano was trained on imagery of mpc"):
        choose_encoder(None, str(WEIGHTS), imagery="aws")


def test_a_plan_needs_no_weights() -> None:
    assert [card_of_options(name, None) for name in CARDS] == list(CARDS.values())
