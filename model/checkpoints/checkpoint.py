"""A published checkpoint to sizes and parameters, safely and strictly; and back into a file.

The digest of a file is taken before anything reads it. Pickles are read with PyTorch's restricted
unpickler once `pickles` has seen that they are harmless to it, and `parameters` checks what came.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from tessera_mosaic.model.checkpoints.files import CheckpointError, file_digest, refuse_withdrawn
from tessera_mosaic.model.checkpoints.parameters import check_parameters, short
from tessera_mosaic.model.checkpoints.untrusted import read_weights
from tessera_mosaic.model.networks import Network, day_encoding, empty_network
from tessera_mosaic.model.sizes import Family, Sizes

METADATA = "tessera"
"""Entry of a safetensors file's metadata: JSON with what its parameters do not tell."""

PAYLOADS = (
    ("encoder_state_dict", "arch"),
    ("model", "args"),
    ("model_state", "config"),
    ("model_state_dict", "config"),
)
"""Entries of the published payloads: that of the parameters, and that of what is said of them."""


@dataclass(frozen=True)
class Checkpoint:
    """Parameters of an encoder and where they came from.

    Parameters
    ----------
    family, sizes
        Family and sizes of the network that the parameters fit.
    state
        Parameters by published name, float32.
    sha256
        Hexadecimal digest of the file; where there is no file, of the parameters' names and bytes.
    dropped
        Number of parameters that the file has besides, and that only training uses.
    """

    family: Family
    sizes: Sizes
    state: dict[str, Tensor]
    sha256: str
    dropped: int = 0

    def network(self) -> Network:
        """The network with these parameters, whose memory it shares, in evaluation mode."""
        network = empty_network(self.family, self.sizes)
        network.load_state_dict(self.state, strict=True, assign=True)
        for backbone in (network.s2_backbone, network.s1_backbone):
            backbone.day_table = day_encoding(self.sizes.width)
        return network.eval()


def read_checkpoint(path: str | Path, sha256: str = "") -> Checkpoint:
    """Read a weights file.

    Parameters
    ----------
    path
        Path of a local file: one of the published payloads, or safetensors as `write_checkpoint`
        writes them.
    sha256
        Hexadecimal digest that the file must have; empty where it is not known.

    Raises
    ------
    CheckpointError
        If the file cannot be read, has another digest, or holds anything else.

    Examples
    --------
    >>> from tessera_mosaic.model.data import WEIGHTS
    >>> read_checkpoint(WEIGHTS).family
    'v2'
    """
    path = Path(path)
    refuse_withdrawn(path.name)
    digest = file_digest(path)
    if sha256 and digest != sha256:
        raise CheckpointError(f"{path} is not the file it should be: its sha256 is {digest}")
    try:
        family, sizes, state, dropped = check_parameters(*_read(path), path.stat().st_size)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return Checkpoint(family, sizes, state, digest, dropped)


def write_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint as `.safetensors`, or as its family's published payload in `.pt`.

    Parameters
    ----------
    checkpoint
        Parameters of an encoder.
    path
        Path of the local file to write, whose suffix chooses the format. The file appears whole or
        not at all.

    Raises
    ------
    CheckpointError
        If the name ends in neither, or nothing can be written there.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".pt"):
        raise CheckpointError(f"{path}: weights are written as .safetensors or .pt")
    partial = path.with_name(path.name + ".partial")
    try:
        partial.touch()
        if path.suffix == ".pt":
            _write_payload(checkpoint, partial)
        else:
            _write_safetensors(checkpoint, partial)
        os.replace(partial, path)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        # PyTorch has words of its own for a disk that is full.
        met = error.__context__ if isinstance(error.__context__, OSError) else error
        reason = getattr(met, "strerror", None) or str(met).partition("\n")[0]
        raise CheckpointError(f"{path} cannot be written: {reason}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _write_safetensors(checkpoint: Checkpoint, path: Path) -> None:
    stated = {
        "family": checkpoint.family,
        "nhead": checkpoint.sizes.heads,
        "converted_from_sha256": checkpoint.sha256,
    }
    mode = path.stat().st_mode
    # Of several entries the order would be another in every process.
    safetensors.torch.save_file(_contiguous(checkpoint), path, {METADATA: json.dumps(stated)})
    # The library makes files that only their owner may read.
    path.chmod(mode)


def _write_payload(checkpoint: Checkpoint, path: Path) -> None:
    # A file that it opens itself would have its name in it.
    with path.open("wb") as file:
        torch.save(_payload(checkpoint, _contiguous(checkpoint)), file)


def _contiguous(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {key: value.contiguous() for key, value in checkpoint.state.items()}


def random_checkpoint(sizes: Sizes, seed: int, family: Family = "v2") -> Checkpoint:
    """An encoder with random parameters, the same on every machine.

    Matrices are uniform in the range that keeps variance from layer to layer, biases 0, gains 1.

    Parameters
    ----------
    sizes, family
        Sizes and family of the encoder.
    seed
        Seed of the random numbers.

    Examples
    --------
    >>> random_checkpoint(Sizes(3, 2, 4, 8, 16), seed=7).sha256[:8]
    '27fa0eaa'
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    state = {}
    for key, parameter in empty_network(family, sizes).state_dict().items():
        shape = tuple(parameter.shape)
        if len(shape) == 2:
            bound = math.sqrt(6.0 / sum(shape))
            values = draw.uniform(-bound, bound, shape)
        else:
            values = np.full(shape, float(key.endswith("weight")))
        state[key] = torch.from_numpy(values.astype(np.float32))
    return Checkpoint(family, sizes, state, state_digest(state))


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Hexadecimal sha256 over names and bytes of parameters, in order of name."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Parameters of a file, and what else it states."""
    held = read_weights(path)
    if held.safetensors:
        try:
            stated = json.loads(held.metadata.get(METADATA, "{}"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"it is damaged: {short(str(error))}") from None
        return held.payload, stated if isinstance(stated, dict) else {}
    for weights, rest in PAYLOADS:
        if isinstance(held.payload.get(weights), dict):
            stated = held.payload.get(rest, {})
            return held.payload[weights], stated if isinstance(stated, dict) else {}
    raise CheckpointError("it holds no payload of a published family")


def _payload(checkpoint: Checkpoint, state: dict[str, Tensor]) -> dict[str, Any]:
    """The payload in which a family is published."""
    sizes = checkpoint.sizes
    shape = {
        "repr_dim": sizes.representation,
        "latent_dim": sizes.latent,
        "num_layers": sizes.layers,
        "nhead": sizes.heads,
        "dim_feedforward": sizes.feedforward,
    }
    if checkpoint.family == "v2":
        rest = {"max_seq_len": 256, "matryoshka_dims": "16,32,64,128"}
        return {"model": state, "args": shape | rest | {"enable_qk_norm": sizes.qk_norm}}
    if checkpoint.family == "v2-teacher":
        return {"encoder_state_dict": state, "arch": shape | {"final_layernorm": True}}
    config = {
        "latent_dim": sizes.latent,
        "representation_dim": sizes.representation,
        **{f"{sensor}_num_heads": sizes.heads for sensor in ("s2", "s1")},
        **{f"{sensor}_num_layers": sizes.layers for sensor in ("s2", "s1")},
        **{f"{sensor}_dim_feedforward": sizes.feedforward for sensor in ("s2", "s1")},
    }
    return {"model_state": state, "config": config}
