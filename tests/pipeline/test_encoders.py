"""Which encoder a command's `--model` and `--weights` come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.cards import CardError
from pipeline.encoders import check_device, choose_encoder, load_encoder
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
