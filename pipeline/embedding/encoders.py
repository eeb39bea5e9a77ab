"""The encoder that a command's `--model` and `--weights` name, and its errors in our classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tessera_mosaic.model.cards import SHIPPED, Card, card_named, card_of_weights
from tessera_mosaic.model.checkpoints.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from tessera_mosaic.model.encoder import Encoder, encoder_identity
from tessera_mosaic.model.engine.kernels import UnusableDevice, find_place
from tessera_mosaic.pipeline.embedding.weights import local_weights, pulled_weights
from tessera_mosaic.pipeline.errors import BadEmbedding, BadInput, DeviceError, OutOfMemory
from tessera_mosaic.pipeline.io.urls import plain
from tessera_mosaic.pipeline.mosaic.layout import depths_to_store


@dataclass(frozen=True)
class Choice:
    """An encoder that is known to be there and to be sound, and is not laid out for a device.

    Parameters
    ----------
    card
        With the sizes of the weights.
    weights_sha256
        Of the weights file.
    precision
        Of matrix products.
    """

    card: Card
    weights_sha256: str
    precision: str

    def identity(self) -> dict[str, object]:
        """All that decides an embedding's bytes, as JSON: the same as the encoder's own."""
        return encoder_identity(self.card, self.weights_sha256, self.precision)


def choose_encoder(
    model: str | None, weights: str | None, precision: str = "fp32", imagery: str | None = None
) -> Choice:
    """What `load_encoder` would load with the same options, for those who do not encode.

    Raises
    ------
    BadInput, CardError, CheckpointError
        As `load_encoder`, but for what the device has to say: see `check_device`.
    """
    checkpoint, card = find_checkpoint(model, weights, imagery=imagery)
    return Choice(card, checkpoint.sha256, precision)


def card_of_options(model: str | None, weights: str | None) -> Card:
    """Card of the encoder that the same options choose, whose own weights need not be here."""
    if weights is None:
        return card_named(model or SHIPPED.name)
    return choose_encoder(model, weights).card


def check_device(device: str, precision: str) -> None:
    """Refuse a device that this machine does not have, or that cannot compute in a precision.

    Raises
    ------
    BadInput
        If so.
    """
    try:
        find_place(device, precision)
    except UnusableDevice as error:
        raise BadInput(str(error)) from None


def load_encoder(
    model: str | None,
    weights: str | None,
    precision: str = "fp32",
    threads: int | None = None,
    sha256: str | None = None,
    device: str = "cpu",
    imagery: str | None = None,
) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    model
        Name of the card whose statistics apply; None for the weights' own, or the shipped encoder.
    weights
        Checkpoint file or address; None for the model's own, or the shipped encoder.
    precision, threads, device
        As for `Encoder`.
    sha256
        Digest that the weights must have, where it was taken before.
    imagery
        Source of the imagery to come, `mpc` or `aws`, where it is known.

    Raises
    ------
    BadInput
        If the device is not there, or the file has changed.
    CardError
        If model, weights and imagery do not go together.
    CheckpointError
        If the weights are none.
    """
    try:
        checkpoint, card = find_checkpoint(model, weights, sha256 or "", imagery)
        encoder = Encoder(checkpoint, card, precision, device, threads)
    except UnusableDevice as error:
        raise BadInput(str(error)) from None
    if sha256 is not None and encoder.weights_sha256 != sha256:
        raise BadInput("the encoder has changed since the run began: its sha256 is another")
    return encoder


def find_checkpoint(
    model: str | None, weights: str | None, sha256: str = "", imagery: str | None = None
) -> tuple[Checkpoint, Card]:
    """Parameters and card that a model's name and a weights file stand for.

    Parameters
    ----------
    model, weights
        As for `load_encoder`.
    sha256
        Digest that a file of weights must have, where it is known.
    imagery
        Source of the imagery to come, where it is known.

    Raises
    ------
    BadInput
        If there are no weights.
    CardError
        If model, weights and imagery do not go together.
    CheckpointError
        If the file is not what it should be.
    """
    if weights is not None:
        checkpoint = _named_weights(weights, sha256)
    else:
        checkpoint = _own_weights(card_named(model or SHIPPED.name))
    card = card_of_weights(checkpoint.family, checkpoint.sizes, checkpoint.sha256, model, imagery)
    if imagery is not None:
        card.accepts(imagery)
    return checkpoint, card


def _named_weights(location: str, sha256: str) -> Checkpoint:
    """Weights that lie anywhere; what is wrong with them is told under the name they were given."""
    path = local_weights(location, sha256)
    try:
        return read_checkpoint(path, sha256)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(path), plain(location))) from None


def _own_weights(card: Card) -> Checkpoint:
    """The published weights of a model, if they are on this machine."""
    path = pulled_weights(card)
    if path is None:
        how = f"fetch them once with `tessera-mosaic models pull {card.name}`, or "
        raise BadInput(
            f"the weights of {card.name} are not on this machine: "
            f"{how if card.repository else f'get {card.file} from {card.page} and '}"
            "name a file with --weights"
        )
    try:
        return read_checkpoint(path, card.sha256)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; fetch it again with `tessera-mosaic models pull {card.name}`"
        ) from None


@contextmanager
def encoder_errors() -> Iterator[None]:
    """Give what an encoder raises the class that tells what to do about it.

    Raises
    ------
    BadEmbedding, OutOfMemory, DeviceError
        By whether another encoder, a smaller block or another machine could help.
    """
    try:
        yield
    except FloatingPointError as error:
        raise BadEmbedding(str(error)) from None
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(_first_line(error)) from error
    except RuntimeError as error:
        # PyTorch's CPU allocator and its drivers have no classes of their own.
        text = _first_line(error)
        if "can't allocate memory" in text or "out of memory" in text:
            raise OutOfMemory(text) from error
        if "CUDA" in text:
            raise DeviceError(text) from error
        raise


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def check_depths(card: Card, asked: bool) -> None:
    """Refuse shorter embeddings of an encoder that has none."""
    depths_to_store(asked, card.depths, card.name)
