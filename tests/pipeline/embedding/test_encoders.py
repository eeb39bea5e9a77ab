"""Which encoder a model's name and weights come to, and what it raises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tessera_mosaic.model.cards import CARDS, SHIPPED
from tessera_mosaic.model.data import WEIGHTS
from tessera_mosaic.model.encoder import Encoder as CardEncoder
from tessera_mosaic.model.observations import Stack
from tessera_mosaic.pipeline.embedding.encoder_card import card_of_name, check_depths
from tessera_mosaic.pipeline.embedding.encoders import (
    Encoder,
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
    with pytest.raises(BadInput, match="trained on imagery of mpc and this is aws"):
        choose_encoder("v1.1-mpc", weights, imagery="aws")


def test_a_device_is_looked_for_without_an_encoder() -> None:
    check_device("cpu", "fp32")
    with pytest.raises(BadInput, match="GPUs are usable here"):
        check_device("cuda:63", "fp32")


def test_the_shipped_encoder_is_found_by_its_name_and_by_its_file() -> None:
    options = (None, None), (SHIPPED.name, None), (None, str(WEIGHTS)), (SHIPPED.name, str(WEIGHTS))
    for model, weights in options:
        assert choose_encoder(model, weights).card == SHIPPED
    with pytest.raises(BadInput, match="these are the weights of flanders-nano"):
        choose_encoder("v2-nano", str(WEIGHTS))
    with pytest.raises(BadInput, match="flanders-nano was trained on imagery of mpc"):
        choose_encoder(None, str(WEIGHTS), imagery="aws")


def test_a_card_needs_no_weights() -> None:
    assert [card_of_name(name) for name in CARDS] == list(CARDS.values())
    assert card_of_name(None) == SHIPPED
    with pytest.raises(BadInput, match="no model is named 'v9': there are flanders-nano,"):
        card_of_name("v9")


def test_choosing_a_card_loads_no_pytorch() -> None:
    names = ("encoder_card", "encoder_requests", "weights")
    imports = [f"import tessera_mosaic.pipeline.embedding.{name}" for name in names]
    imports += [f"import tessera_mosaic.model.{name}" for name in ("observations", "quantize")]
    told = "assert not {'torch', 'apache_beam'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", "\n".join([*imports, "import sys", told])], check=True)


def test_shorter_embeddings_are_asked_of_those_that_have_them() -> None:
    check_depths(CARDS["v2-nano"], True)
    check_depths(SHIPPED, False)
    with pytest.raises(BadInput) as caught:
        check_depths(SHIPPED, True)
    assert caught.value.of_option == "--depths: the first values of flanders-nano are no embeddings"


@pytest.fixture(scope="module")
def stack(shared: Path) -> Stack:
    return Stack(**np.load(shared / "golden/encoders/input_no_ascending.npz"))


def test_an_opened_encoder_embeds_as_the_models_own(stack: Stack) -> None:
    opened = Encoder.open(threads=1)
    assert (opened.card, opened.threads, opened.precision) == (SHIPPED, 1, "fp32")
    made, wanted = opened.embed(stack), CardEncoder.load(WEIGHTS, SHIPPED).embed(stack)
    assert np.array_equal(made.codes, wanted.codes)
    assert np.array_equal(made.scales, wanted.scales)


def test_an_opened_encoder_raises_our_classes(shared: Path, stack: Stack) -> None:
    weights = str(shared / "golden/encoders/v1_0.pt")
    with pytest.raises(BadInput, match="draws observations by place"):
        Encoder.open(weights=weights, threads=1).embed(stack)
    with pytest.raises(BadInput, match="no embedding of 17 values"):
        Encoder.open(threads=1).embed(stack, dims=17)
    with pytest.raises(BadInput, match="no kind of device called 'abacus'"):
        Encoder.open(device="abacus")
    with pytest.raises(BadInput, match="trained on imagery of mpc and this is aws"):
        Encoder.open(imagery="aws")


def test_a_worker_refuses_weights_that_the_launcher_did_not_choose() -> None:
    assert load_encoder(None, None, sha256=SHIPPED.sha256).card == SHIPPED
    with pytest.raises(BadInput, match="the encoder has changed since the run began"):
        load_encoder(None, None, sha256="0" * 64)


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
