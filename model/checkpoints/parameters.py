"""Parameters out of an untrusted file: which family they are of, its sizes, and nothing else.

Every name, shape and type must be the one its family has. The family and its sizes are read from
the parameters themselves; what the file states about them must agree. A value is only looked at
after its type is known: tensors without memory, or that claim more of it than the file has bytes,
lists that hold themselves and endless numbers are all things that an unpickler returns.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.model.networks import empty_network
from tessera_mosaic.model.sizes import Family, Sizes

PARTS = ("s2_backbone.", "s1_backbone.", "dim_reducer.", "fusion_")
"""What an encoder's parameters begin with."""

TRAINING_PARTS = ("projector.", "segmented_matryoshka_projector.")
"""Parameters that only training uses; published checkpoints of v1 carry them along."""

COMPILED_PREFIX = "_orig_mod."
"""What `torch.compile` put into the names of v1 parameters."""

V1_HEADS: dict[Family, int] = {"v1.0-float": 8, "v1.0": 4, "v1.1": 4}
"""Attention heads where a file does not state them (TESSERA reference, configurations)."""

V2_HEADS = 4
"""Attention heads of a v2 encoder whose file does not state them."""

MOST_LAYERS = 64
"""Eight times as many as any published encoder has."""

SEQUENCE_LENGTHS = list(range(8, 257, 8))
"""Lengths of the sequences that an encoder of v1.1 or v2 takes."""


def check_parameters(
    raw: Mapping[Any, Any], stated: Mapping[Any, Any], size: int
) -> tuple[Family, Sizes, dict[str, Tensor], int]:
    """Check what a file holds against the family it is of.

    Parameters
    ----------
    raw
        What should be parameters by name, as the file has them.
    stated
        What the file says about them, by name.
    size
        Length of the file in bytes.

    Returns
    -------
    family, sizes
        Those of the encoder.
    state
        Its parameters by published name.
    dropped
        Number of other parameters, which only training uses.

    Raises
    ------
    CheckpointError
        If they are not exactly the parameters of an encoder.
    """
    state: dict[str, Any] = {}
    dropped = 0
    for key, value in raw.items():
        if type(key) is not str:
            raise CheckpointError("its parameters have no names")
        name = key.replace(COMPILED_PREFIX, "")
        if name.startswith(TRAINING_PARTS):
            dropped += 1
        elif name in state:
            raise CheckpointError(f"{short(name)} is there twice")
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
    _check_storage(state, size)
    sizes = _sizes(family, state, stated)
    _agree(sizes, stated)
    _check_exactly(empty_network(family, sizes).state_dict(), state)
    return family, sizes, state, dropped


def _family(state: Mapping[str, Any]) -> Family:
    """The family of parameters, by what only that family has."""
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


def _check_storage(state: Mapping[str, Any], size: int) -> None:
    """Raise unless parameters are plain tensors, and no more of them than a file has bytes."""
    total = 0
    for key, value in state.items():
        plain = type(value) is Tensor and value.layout is torch.strided and not value.is_nested
        if not plain or value.device.type != "cpu" or 0 in value.shape:
            raise CheckpointError(f"{short(key)} is no plain tensor of numbers")
        # Strides of zero make as many numbers of one as they like.
        total += math.prod(value.shape) * value.element_size()
    if total > size:
        raise CheckpointError(f"its parameters claim {total:,} bytes, and it has {size:,}")


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
    except (KeyError, IndexError, ZeroDivisionError):
        raise CheckpointError(
            f"parameters that every {family} encoder has are missing or have no shape"
        ) from None
    if type(heads) is not int or heads < 1 or width % 4 or width % heads:
        raise CheckpointError(f"a width of {width} in {short(heads)} heads is no {family} encoder")
    depth = len({match[1] for match in layers})
    if depth > MOST_LAYERS:
        raise CheckpointError(f"{depth:,} layers are more than any encoder has")
    return Sizes(
        latent=width // 4,
        layers=depth,
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
        if name in stated and not (_plain(stated[name]) and stated[name] == value):
            raise CheckpointError(
                f"it states {name} {short(stated[name])}, and its parameters are for {short(value)}"
            )


def _plain(value: Any) -> bool:
    """Whether a value out of a file can be compared and printed, whatever it holds."""
    parts = value if type(value) is list else [value]
    return all(
        type(part) in (bool, str) or (type(part) is int and part.bit_length() < 64)
        for part in parts
    )


def short(value: Any) -> str:
    """A value out of a file, in 80 printable characters at the most."""
    text = json.dumps(value) if _plain(value) else f"({type(value).__name__})"
    return text if len(text) <= 80 else text[:77] + "..."


def _check_exactly(wanted: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Raise unless parameters are exactly the network's, in name, shape and type, and finite."""
    for what, keys in (
        ("it lacks", wanted.keys() - state.keys()),
        ("it has unknown", state.keys() - wanted.keys()),
    ):
        if keys:
            raise CheckpointError(f"{what} parameters: {len(keys)}, such as {short(min(keys))}")
    for key, parameter in wanted.items():
        value = state[key]
        if value.shape != parameter.shape:
            raise CheckpointError(f"{key} must have shape {tuple(parameter.shape)}")
        if value.dtype != torch.float32:
            raise CheckpointError(f"{key} must be float32, and is {value.dtype}")
        if not value.isfinite().all():
            raise CheckpointError(f"{key} holds numbers that are not finite")
