"""The encoder that a command's `--model` and `--weights` name."""

from __future__ import annotations

import dataclasses

from model.cards import CARDS, Card, card_named
from model.checkpoint import Checkpoint, read_checkpoint
from model.encoder import Encoder, untrained
from pipeline.errors import BadInput


def load_encoder(
    model: str | None,
    weights: str | None,
    precision: str = "fp32",
    threads: int | None = None,
    sha256: str | None = None,
) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    model
        Name of the card whose statistics apply; None for the weights' own, or the shipped encoder.
    weights
        Checkpoint file; None for the shipped encoder.
    precision, threads
        As for `Encoder`.
    sha256
        Digest that the weights must have, where it was taken before.

    Raises
    ------
    BadInput
        If the two do not go together, or the file has changed.
    """
    if weights is None:
        if model is not None:
            raise BadInput(f"--model {model}: name its weights with --weights FILE")
        encoder = untrained(threads=threads)
    else:
        checkpoint = read_checkpoint(weights)
        card = card_named(model) if model else card_of(checkpoint)
        encoder = Encoder(checkpoint, card, precision, threads=threads)
    if sha256 is not None and encoder.weights_sha256 != sha256:
        raise BadInput(f"{weights} has changed since the run began: its sha256 is another")
    return encoder


def card_of(checkpoint: Checkpoint) -> Card:
    """The card of the published model that has a checkpoint's sizes, else its family's rules."""
    family = [card for card in CARDS.values() if card.family == checkpoint.family]
    for card in family:
        if card.sizes == checkpoint.sizes:
            return card
    return dataclasses.replace(family[0], name=checkpoint.family, sizes=checkpoint.sizes)
