"""Encoders opened by a model's name or a weights file, whose errors have our classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tessera_mosaic.model.cards import Card, CardError, card_of_weights
from tessera_mosaic.model.checkpoints.checkpoint import Checkpoint, read_checkpoint
from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.model.encoder import Embedding, encoder_identity
from tessera_mosaic.model.encoder import Encoder as CardEncoder
from tessera_mosaic.model.engine.instructions import pin_instructions
from tessera_mosaic.model.engine.kernels import UnusableDevice, find_place
from tessera_mosaic.model.observations import Origin, Stack
from tessera_mosaic.pipeline.embedding.encoder_card import card_of_name
from tessera_mosaic.pipeline.embedding.weights import local_weights, pulled_weights
from tessera_mosaic.pipeline.errors import (
    BadEmbedding,
    BadInput,
    DeviceError,
    OutOfMemory,
    as_bad_input,
)
from tessera_mosaic.pipeline.io.urls import plain


class Encoder(CardEncoder):
    """An encoder that turns a year of observations into embeddings.

    `Encoder.open` opens one by its name or its weights; who has read the weights makes one of
    them. One encoder serves all threads of a process.

    Parameters
    ----------
    checkpoint
        Parameters of the network, from `read_checkpoint`.
    card
        Card with the statistics and rules that they were trained with; afterwards the attribute
        `card` says which imagery the encoder takes and how many values its embeddings have.
    precision
        Precision of matrix products: `fp32` or `bf16`.
    device
        Name of the device that computes: `cpu`, `cuda` or `cuda:N`.
    threads
        Number of threads that compute at once on the CPU, whoever calls; None for one a core.
    lay_out
        Lays the network out for the device.

    Examples
    --------
    Embed two pixels that Sentinel-2 saw clear on three days, and Sentinel-1 on none:

    >>> import numpy as np
    >>> stack = tm.Stack(
    ...     bands=np.full((3, 1, 2, 10), 1500, np.uint16),
    ...     masks=np.ones((3, 1, 2), np.uint8),
    ...     doys=np.array([40, 150, 230], np.uint16),
    ...     sar_ascending=np.zeros((0, 1, 2, 2), np.int16),
    ...     sar_ascending_doy=np.zeros(0, np.int16),
    ...     sar_descending=np.zeros((0, 1, 2, 2), np.int16),
    ...     sar_descending_doy=np.zeros(0, np.int16),
    ... )
    >>> made = tm.Encoder.open(threads=1).embed(stack, values=True)
    >>> made.codes.shape, made.codes.dtype, made.scales.shape
    ((1, 2, 128), dtype('int8'), (1, 2))
    >>> bool(np.abs(made.codes * made.scales[..., None] - made.values).max() < made.scales.max())
    True
    """

    @classmethod
    def open(
        cls,
        model: str | None = None,
        weights: str | None = None,
        precision: str = "fp32",
        threads: int | None = None,
        device: str = "cpu",
        imagery: str | None = None,
    ) -> Encoder:
        """Open an encoder.

        Parameters
        ----------
        model
            Name of the card whose statistics apply, such as `v2-nano`; `tessera-mosaic models`
            lists them. None for the card of the weights, or for the shipped encoder.
        weights
            Path or address of a weights file; None for the model's own, which are shipped with
            the package or were fetched by `tessera-mosaic models pull`.
        precision
            Precision of matrix products: `fp32` (the same bytes whatever the batch, threads and
            order) or `bf16` (faster where the device has it).
        threads
            Number of threads that compute at once on the CPU, whoever calls; None for one a core.
        device
            Name of the device that computes: `cpu`, `cuda` or `cuda:N`.
        imagery
            Source of the imagery that will be embedded, `mpc` or `aws`, where it is known; a model
            that was trained on other imagery is refused.

        Raises
        ------
        BadInput
            If model, weights and imagery do not go together, the weights are not there or are
            none, or the device is not there.
        """
        checkpoint, card = find_checkpoint(model, weights, imagery=imagery)
        with as_bad_input(UnusableDevice):
            return cls(checkpoint, card, precision, device, threads)

    def embed(
        self,
        stack: Stack,
        at: Origin | None = None,
        values: bool = False,
        dims: int | None = None,
        told: Callable[[int], object] = int,
    ) -> Embedding:
        """Embed every pixel of a stack.

        Parameters
        ----------
        stack
            Observations of H x W pixels in one year.
        at
            Where and when the stack is; only models of v1.0, which draw observations by place,
            need it.
        values
            Whether to return the embeddings before quantization too.
        dims
            Number of leading values to keep, one of the card's `depths`; None for all.
        told
            Called with the number of tokens of each run of pixels once they are computed.

        Returns
        -------
        Embedding
            `codes` : int8 (H, W, D); `scales` : float32 (H, W), +inf where nothing was seen; and
            `values` : float32 (H, W, D) in the units of the embedding, if asked for. A pixel's
            embedding is its codes times its scale.

        Raises
        ------
        BadInput
            If the model has no embeddings of so many values, or needs to know where the stack is.
        BadEmbedding
            If what came out is not finite or too large to store.
        OutOfMemory
            If not even one pixel fits into the memory of the device.
        DeviceError
            If the device fails.
        """
        with as_bad_input(CardError), encoder_errors():
            return super().embed(stack, at, values, dims, told)


@dataclass(frozen=True)
class Choice:
    """An encoder that is known to be there and to be sound, and is not laid out for a device.

    Parameters
    ----------
    card
        Card of the encoder, with the sizes of the weights.
    weights_sha256
        Hexadecimal digest of the weights file.
    precision
        Precision of matrix products: `fp32` or `bf16`.
    reproducible
        Whether the processor's instructions are pinned.
    """

    card: Card
    weights_sha256: str
    precision: str
    reproducible: bool = False

    def identity(self) -> dict[str, object]:
        """All that decides an embedding's bytes, as JSON takes it: the same as the encoder's."""
        return encoder_identity(self.card, self.weights_sha256, self.precision, self.reproducible)


def choose_encoder(
    model: str | None,
    weights: str | None,
    precision: str = "fp32",
    imagery: str | None = None,
    reproducible: bool = False,
) -> Choice:
    """Choose what `Encoder.open` would open, for those who do not encode.

    Parameters
    ----------
    model, weights, precision, imagery
        As for `Encoder.open`.
    reproducible
        Whether the processor's instructions are pinned.

    Raises
    ------
    BadInput
        As `Encoder.open`, but for what the device has to say: see `check_device`.

    Examples
    --------
    >>> choose_encoder(None, None).card.name
    'flanders-nano'
    """
    checkpoint, card = find_checkpoint(model, weights, imagery=imagery)
    return Choice(card, checkpoint.sha256, precision, reproducible)


def load_encoder(
    model: str | None,
    weights: str | None,
    precision: str = "fp32",
    threads: int | None = None,
    sha256: str = "",
    device: str = "cpu",
    imagery: str | None = None,
    reproducible: bool = False,
) -> Encoder:
    """Open an encoder on a worker, which has to be the one that the launcher chose.

    Parameters
    ----------
    model, weights, precision, threads, device, imagery
        As for `Encoder.open`.
    sha256
        Hexadecimal digest of the weights that the launcher chose; empty where nobody did.
    reproducible
        Whether to pin the processor's instructions.

    Raises
    ------
    BadInput
        As `Encoder.open`, or if the worker has other weights than the launcher, or cannot be held
        to the pinned instructions.
    """
    if reproducible:
        pin()
    checkpoint, card = find_checkpoint(model, weights, sha256, imagery)
    if sha256 and checkpoint.sha256 != sha256:
        raise BadInput("the encoder has changed since the run began: its sha256 is another")
    with as_bad_input(UnusableDevice):
        return Encoder(checkpoint, card, precision, device, threads)


@as_bad_input(CardError, CheckpointError)
def find_checkpoint(
    model: str | None, weights: str | None, sha256: str = "", imagery: str | None = None
) -> tuple[Checkpoint, Card]:
    """Parameters and card that a model's name and a weights file stand for.

    Parameters
    ----------
    model, weights, imagery
        As for `Encoder.open`.
    sha256
        Hexadecimal digest that a weights file must have; empty where it is not known.

    Raises
    ------
    BadInput
        If there are no weights, they are not what they should be, or model, weights and imagery do
        not go together.
    """
    if weights is not None:
        found = _named_weights(weights, sha256)
    else:
        found = _own_weights(card_of_name(model))
    card = card_of_weights(found.family, found.sizes, found.sha256, model, imagery)
    if imagery is not None:
        card.accepts(imagery)
    return found, card


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
            "name the file that holds them"
        )
    try:
        return read_checkpoint(path, card.sha256)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; fetch it again with `tessera-mosaic models pull {card.name}`"
        ) from None


def pin() -> None:
    """Pin the instructions of this process, before it computes anything.

    Raises
    ------
    BadInput
        If it is too late, or the processor does not have them.
    """
    with as_bad_input(UnusableDevice):
        pin_instructions()


def check_device(device: str, precision: str) -> None:
    """Check that this machine has a device, and that it can compute in a precision.

    Parameters
    ----------
    device, precision
        As for `Encoder.open`.

    Raises
    ------
    BadInput
        If not.
    """
    with as_bad_input(UnusableDevice):
        find_place(device, precision)


@contextmanager
def encoder_errors() -> Iterator[None]:
    """Give what an encoder raises the class that tells what to do about it.

    Raises
    ------
    BadEmbedding, OutOfMemory, DeviceError
        If the encoder fails: the class says whether another encoder, a smaller block or another
        machine could help.
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
