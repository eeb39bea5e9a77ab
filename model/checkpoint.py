"""A published checkpoint to sizes and parameters, safely and strictly.

A weights file is untrusted: its digest is taken before anything reads it, pickles are read with
PyTorch's restricted unpickler, and every key and shape must be the one its family has.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.cards import Family
from model.networks import Sizes, Student


class CheckpointError(ValueError):
    """A file is no checkpoint of a published family. The message says why, in one line."""


@dataclass(frozen=True)
class Checkpoint:
    """Parameters of an encoder and where they came from.

    Parameters
    ----------
    family, sizes
        Which network they fit.
    state
        Parameters by published name.
    sha256
        Of the file.
    """

    family: Family
    sizes: Sizes
    state: dict[str, Tensor]
    sha256: str

    def network(self) -> Student:
        """The encoder with these parameters.

        Raises
        ------
        CheckpointError
            If a key is missing or unexpected, or a shape is another.
        """
        with torch.device("meta"):
            network = Student(self.sizes)
        _check_keys(network, self.state)
        network.to_empty(device="cpu")
        network.load_state_dict(self.state, strict=True)
        for backbone in (network.s2_backbone, network.s1_backbone):
            backbone.reset_days()
        return network.eval()


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a weights file.

    Parameters
    ----------
    path
        A local file in one of the published payloads.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or is anything else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # The unpickler meets arbitrary bytes, and raises whatever they lead it to.
        reason = str(error).strip().splitlines()
        raise CheckpointError(
            f"{path} is no checkpoint that can be read safely: {reason[0] if reason else error!r}"
        ) from None
    if isinstance(payload, dict) and isinstance(payload.get("model"), dict):
        return Checkpoint("v2", _student_sizes(path, payload.get("args")), payload["model"], sha256)
    raise CheckpointError(f"{path} holds no payload of a published family")


def random_checkpoint(sizes: Sizes, seed: int) -> Checkpoint:
    """A v2 student with random parameters, the same on every machine.

    Matrices are uniform in the range that keeps variance from layer to layer, biases 0, gains 1.
    The digest is of the parameters' names and bytes, since there is no file.
    """
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in Student(sizes).state_dict().items()}
    draw = np.random.Generator(np.random.PCG64(seed))
    state = {}
    for key, shape in shapes.items():
        if len(shape) == 2:
            bound = math.sqrt(6.0 / sum(shape))
            values = draw.uniform(-bound, bound, shape)
        else:
            values = np.full(shape, float(key.endswith("weight")))
        state[key] = torch.from_numpy(values.astype(np.float32))
    return Checkpoint("v2", sizes, state, state_digest(state))


def state_digest(state: dict[str, Tensor]) -> str:
    """sha256 over names and bytes of parameters, in order of name."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _student_sizes(path: Path, args: Any) -> Sizes:
    """Sizes that a v2 student's payload states."""
    try:
        sizes = Sizes(
            latent=args["latent_dim"],
            layers=args["num_layers"],
            heads=args["nhead"],
            feedforward=args["dim_feedforward"],
            representation=args["repr_dim"],
            qk_norm=args["enable_qk_norm"],
        )
    except (KeyError, TypeError):
        raise CheckpointError(f"{path} does not state its encoder's sizes in `args`") from None
    return sizes


def _check_keys(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Raise unless the parameters are exactly the network's, in name, shape and type."""
    wanted = network.state_dict()
    for what, keys in (
        ("lacks", wanted.keys() - state.keys()),
        ("has unknown", state.keys() - wanted.keys()),
    ):
        if keys:
            raise CheckpointError(
                f"the checkpoint {what} {len(keys)} of its family's parameters, such as {min(keys)}"
            )
    for key, parameter in wanted.items():
        if not isinstance(state[key], Tensor) or state[key].shape != parameter.shape:
            raise CheckpointError(f"the checkpoint's {key} has not shape {tuple(parameter.shape)}")
