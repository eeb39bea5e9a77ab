"""What `model` refuses of a user's input is bad input of the command that asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tessera_mosaic.model.cards import CardError
from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.pipeline.errors import BadInput


@contextmanager
def model_refusals() -> Iterator[None]:
    """Give the errors of `model`, which knows none of ours, the class of bad input.

    Raises
    ------
    BadInput
        If a model, its card and its weights do not go together, or a file is no weights, in the
        words of `model`.
    """
    try:
        yield
    except (CardError, CheckpointError) as error:
        raise BadInput(str(error)) from error
