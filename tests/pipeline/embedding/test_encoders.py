"""Which encoder a command's `--model` and `--weights` come to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tessera_mosaic.model.cards import CARDS, SHIPPED, CardError
from tessera_mosaic.model.data import WEIGHTS
from tessera_mosaic.pipeline.embedding.encoders import (
    card_of_options,
    check_device,
    choose_encoder,
    encoder_errors,
    load_encoder,
)
from tessera_mosaic.pipeline.errors import BadInput, TesseraError


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


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (FloatingPointError("too large"), "bad-embedding"),
        (MemoryError(), "out-of-memory"),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried"), "out-of-memory"),
        (torch.OutOfMemoryError("not even one pixel"), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out-of-memory"),
        (RuntimeError("CUDA error: an illegal memory access"), "bad-device"),
    ],
)
def test_what_an_encoder_raises_has_a_class(raised: Exception, kind: str) -> None:
    with pytest.raises(TesseraError) as caught, encoder_errors():
        raise raised
    assert caught.value.kind == kind
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_failure_of_a_device_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), encoder_errors():
        raise RuntimeError("shapes do not fit")
