"""Folders of d-pixels as `sample` makes them, for the tests of those who train on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tessera_mosaic.model.pretrain.samples import Samples, encode_samples


def write_samples(out: Path, samples: Samples) -> Path:
    """A folder as `sample` makes it, with two files."""
    halves = np.array_split(np.arange(len(samples)), 2)
    for number, half in enumerate(halves):
        (out / f"{number}.npz").write_bytes(encode_samples(samples.take(half)))
    files = {f"{number}.npz": len(half) for number, half in enumerate(halves)}
    (out / "index.json").write_text(json.dumps({"files": files, "failed": {}}))
    return out
