"""A published checkpoint to sizes and parameters, safely and strictly; and back into a file.

A weights file is untrusted: its digest is taken before anything reads it, pickles are read with
PyTorch's restricted unpickler, and every key, shape and type must be the one its family has.
Which family that is, and its sizes, are read from the parameters themselves; what the file
states about them must agree.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from model.networks import Family, Network, Sizes, day_encoding, empty_network

WITHDRAWN = {
    "best_model_fsdp_20260425_202039.pt": "the v1.1 AWS encoder was retrained on 2026-05-03, after "
    "its imagery had the reflectance offset taken off twice: get tessera_v1_1_aws_encoder.pt",
}
"""Published files that the authors replaced (TESSERA reference, README, 2026-05-03)."""

PARTS = ("s2_backbone.", "s1_backbone.", "dim_reducer.", "fusion_")
"""What an encoder's parameters begin with."""

TRAINING_PARTS = ("projector.", "segmented_matryoshka_projector.")
"""Parameters that only training uses; published checkpoints of v1 carry them along."""

COMPILED_PREFIX = "_orig_mod."
"""What `torch.compile` put into the names of v1 parameters."""

V1_HEADS: dict[Family, int] = {"v1.0-float": 8, "v1.0": 4, "v1.1": 4}
"""Attention heads where a file does not state them (TESSERA reference, configurations)."""

V2_HEADS = 4

SEQUENCE_LENGTHS = list(range(8, 257, 8))


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
        Parameters by published name, float32.
    sha256
        Of the file.
    dropped
        How many parameters of the file only training uses.
    """

    family: Family
    sizes: Sizes
    state: dict[str, Tensor]
    sha256: str
    dropped: int = 0

    def network(self) -> Network:
        """The encoder with these parameters, which it shares."""
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
        A local file: one of the published payloads, or safetensors as `write_checkpoint` makes.
    sha256
        Digest that the file must have, where it is known.

    Raises
    ------
    CheckpointError
        If the file cannot be read, has another digest, or holds anything else.
    """
    path = Path(path)
    refuse_withdrawn(path.name)
    digest = file_digest(path)
    if sha256 and digest != sha256:
        raise CheckpointError(f"{path} is not the file it should be: its sha256 is {digest}")
    state, stated = _read(path)
    try:
        return _checkpoint(state, stated, digest)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def refuse_withdrawn(name: str) -> None:
    """Raise if a file of this name was published and replaced."""
    if name in WITHDRAWN:
        raise CheckpointError(f"{name} is withdrawn: {WITHDRAWN[name]}")


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None


def write_checkpoint(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint as `.safetensors`, or as its family's published payload in `.pt`.

    Raises
    ------
    CheckpointError
        If the name ends in neither, or its folder is not there.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise CheckpointError(f"{path} cannot be written: there is no folder {path.parent}")
    partial = path.with_name(path.name + ".partial")
    state = {key: value.contiguous() for key, value in checkpoint.state.items()}
    if path.suffix == ".safetensors":
        metadata = {
            "family": checkpoint.family,
            "heads": str(checkpoint.sizes.heads),
            "converted_from_sha256": checkpoint.sha256,
        }
        safetensors.torch.save_file(state, partial, metadata)
    elif path.suffix == ".pt":
        torch.save(_payload(checkpoint, state), partial)
    else:
        raise CheckpointError(f"{path}: weights are written as .safetensors or .pt")
    os.replace(partial, path)


def random_checkpoint(sizes: Sizes, seed: int, family: Family = "v2") -> Checkpoint:
    """An encoder with random parameters, the same on every machine.

    Matrices are uniform in the range that keeps variance from layer to layer, biases 0, gains 1.
    The digest is of the parameters' names and bytes, since there is no file.
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
    """sha256 over names and bytes of parameters, in order of name."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of a file, and what else it states."""
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(b"PK"):
        return _read_payload(path)
    if start[8:] == b"{":
        return _read_safetensors(path)
    raise CheckpointError(f"{path} is no weights file: neither PyTorch's zip nor safetensors")


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            stated = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    heads = stated.get("heads", "")
    return state, {"nhead": int(heads)} if heads.isdecimal() else {}


def _read_payload(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    _refuse_swelling(path)
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        # The unpickler meets arbitrary bytes, and raises whatever they lead it to.
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it asks to run {foreign[1]}" if foreign else "it is damaged"
        raise CheckpointError(f"{path} cannot be read safely as weights: {reason}") from None
    if isinstance(payload, dict):
        for weights, rest in (
            ("encoder_state_dict", "arch"),
            ("model", "args"),
            ("model_state", "config"),
            ("model_state_dict", "config"),
        ):
            if isinstance(payload.get(weights), dict):
                stated = payload.get(rest, {})
                return payload[weights], stated if isinstance(stated, dict) else {}
    raise CheckpointError(f"{path} holds no payload of a published family")


def _refuse_swelling(path: Path) -> None:
    """Raise if a zip would take more memory than it has bytes, which PyTorch's own never do."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise CheckpointError(f"{path} cannot be read safely as weights: it is damaged") from None
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"{path} cannot be read safely as weights: it unpacks to {unpacked:,} bytes"
        )


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


def _checkpoint(raw: dict[str, Any], stated: dict[str, Any], sha256: str) -> Checkpoint:
    """Check parameters against the family they are of."""
    state: dict[str, Any] = {}
    dropped = 0
    for key, value in raw.items():
        name = str(key).replace(COMPILED_PREFIX, "")
        if name.startswith(TRAINING_PARTS):
            dropped += 1
        elif name in state:
            raise CheckpointError(f"{name} is there twice")
        else:
            state[name] = value
    family = _family(state)
    if family == "v1.0":
        # Training with simulated quantization left more beside the encoder, which the
        # reference ignores too.
        extra = [name for name in state if not name.startswith(PARTS)]
        dropped += len(extra)
        for name in extra:
            del state[name]
    sizes = _sizes(family, state, stated)
    _agree(sizes, stated)
    _check_parameters(empty_network(family, sizes).state_dict(), state)
    return Checkpoint(family, sizes, state, sha256, dropped)


def _family(state: Mapping[str, Any]) -> Family:
    """Which family parameters are of, by what only that family has."""
    pool = "s2_backbone.attn_pool.temporal_context."
    if not any(key.startswith("s2_backbone.") for key in state):
        raise CheckpointError("these are no parameters of a TESSERA encoder")
    if "fusion_modality_embed" in state:
        return "v2-teacher"
    if pool + "weight_ih_l0" in state:
        return "v1.0-float"
    if pool + "gru_cell.b_r" in state:
        return "v1.1" if "dim_reducer.4.weight" in state else "v1.0"
    return "v2"


def _sizes(family: Family, state: Mapping[str, Any], stated: Mapping[str, Any]) -> Sizes:
    """Sizes, from the shapes of parameters; heads from what the file states, else the family's."""
    layer = re.compile(r"s2_backbone\.transformer_encoder\.(?:layers\.)?(\d+)\.(.+)")
    layers = [match for match in map(layer.fullmatch, state) if match]
    first = {match[2]: state[match[0]] for match in layers if match[1] == "0"}
    last = "dim_reducer.0.weight" if family in ("v1.0", "v1.0-float") else "dim_reducer.4.weight"
    try:
        width = state["s2_backbone.embedding.0.weight"].shape[0]
        feedforward = first["linear1.weight"].shape[0]
        representation = state[last].shape[0]
        if "q_norm.weight" in first:
            heads = width // first["q_norm.weight"].shape[0]
        else:
            heads = stated.get("nhead", stated.get("s2_num_heads", V1_HEADS.get(family, V2_HEADS)))
    except (KeyError, AttributeError, IndexError, ZeroDivisionError):
        raise CheckpointError(
            f"parameters that every {family} encoder has are missing or no tensors"
        ) from None
    if type(heads) is not int or heads < 1 or width % 4 or width % heads:
        raise CheckpointError(f"a width of {width} in {heads!r} heads is no {family} encoder")
    return Sizes(
        latent=width // 4,
        layers=len({match[1] for match in layers}),
        heads=heads,
        feedforward=feedforward,
        representation=representation,
        qk_norm=family == "v2" and "q_norm.weight" in first,
    )


def _agree(sizes: Sizes, stated: Mapping[str, Any]) -> None:
    """Raise if a file states other sizes than its parameters have, or rules we do not follow."""
    known = {
        "latent_dim": sizes.latent,
        "repr_dim": sizes.representation,
        "representation_dim": sizes.representation,
        "num_layers": sizes.layers,
        "nhead": sizes.heads,
        "dim_feedforward": sizes.feedforward,
        "enable_qk_norm": sizes.qk_norm,
        "max_seq_len": SEQUENCE_LENGTHS[-1],
        "num_obs_checkpoints": SEQUENCE_LENGTHS,
        "final_layernorm": True,
        "fusion_method": "concat",
    }
    for sensor in ("s2", "s1"):
        known[f"{sensor}_num_heads"] = sizes.heads
        known[f"{sensor}_num_layers"] = sizes.layers
        known[f"{sensor}_dim_feedforward"] = sizes.feedforward
    for name, value in known.items():
        if name in stated and stated[name] != value:
            raise CheckpointError(
                f"it states {name} {_short(stated[name])}, and its parameters are for "
                f"{_short(value)}"
            )


def _short(value: Any) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 40 else text[:37] + "..."


def _check_parameters(wanted: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Raise unless parameters are exactly the network's, in name, shape and type, and finite."""
    for what, keys in (
        ("it lacks", wanted.keys() - state.keys()),
        ("it has unknown", state.keys() - wanted.keys()),
    ):
        if keys:
            raise CheckpointError(f"{what} parameters: {len(keys)}, such as {min(keys)}")
    for key, parameter in wanted.items():
        value = state[key]
        if not isinstance(value, Tensor) or value.shape != parameter.shape:
            raise CheckpointError(f"{key} must have shape {tuple(parameter.shape)}")
        if value.dtype != torch.float32:
            raise CheckpointError(f"{key} must be float32, and is {value.dtype}")
        if not value.isfinite().all():
            raise CheckpointError(f"{key} holds numbers that are not finite")
