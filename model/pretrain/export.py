"""An encoder to a weights file: safetensors, with the sizes in its metadata."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from model.networks import Student


def write_checkpoint(path: Path, encoder: Student) -> None:
    """Write an encoder's parameters and sizes; the same encoder makes the same bytes.

    The sizes stand in the metadata as `args`, JSON with the keys of the published v2 payload.
    """
    sizes = encoder.sizes
    args = {
        "repr_dim": sizes.representation,
        "latent_dim": sizes.latent,
        "num_layers": sizes.layers,
        "nhead": sizes.heads,
        "dim_feedforward": sizes.feedforward,
        "enable_qk_norm": sizes.qk_norm,
    }
    state = {key: value.detach().cpu().contiguous() for key, value in encoder.state_dict().items()}
    save_file(state, path, metadata={"args": json.dumps(args)})
