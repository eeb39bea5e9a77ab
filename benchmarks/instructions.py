"""Whether unlike processors make the same bytes: the digest of some embeddings, free and pinned.

Run on several machines, or under QEMU's processors, the pinned lines have to be equal::

    python -m benchmarks instructions
    qemu-x86_64 -cpu Haswell .venv/bin/python -m benchmarks.instructions pinned v2-nano
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import numpy as np
import torch

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.engine.instructions import pin_instructions
from tessera_mosaic.model.observations import Origin, Stack

MODELS = ("v2-nano", "v2-small", "v1.0")
SIDE = 6


def stack_of(side: int) -> Stack:
    """A year of observations of some pixels, the same each time."""
    rng = np.random.default_rng(0)
    s2, s1, shape = np.arange(5, 365, 18), np.arange(1, 361, 40), (side, side)
    return Stack(
        bands=rng.integers(0, 8000, (len(s2), *shape, 10)).astype(np.uint16),
        masks=(rng.random((len(s2), *shape)) < 0.6).astype(np.uint8),
        doys=s2.astype(np.uint16),
        sar_ascending=rng.integers(1, 6000, (len(s1), *shape, 2)).astype(np.int16),
        sar_ascending_doy=s1.astype(np.int16),
        sar_descending=np.zeros((0, *shape, 2), np.int16),
        sar_descending_doy=np.zeros(0, np.int16),
    )


def tell(name: str) -> None:
    """Print what computes, the digest of a model's embeddings, and how long they took."""
    card = card_named(name)
    family = "v2" if name.startswith("v2") else card.family
    encoder = Encoder(random_checkpoint(card.sizes, 3, family), card, threads=1)
    begun = time.perf_counter()
    made = encoder.embed(stack_of(SIDE), Origin(31, 0, 0, 2024))
    digest = hashlib.sha256(made.codes.tobytes() + made.scales.tobytes()).hexdigest()
    taken = time.perf_counter() - begun
    print(f"{name:10} {digest[:16]} {taken:6.2f} s  {encoder.arithmetic}", flush=True)


def main(argv: list[str]) -> None:
    """Print a line a model, with this processor's instructions and with the pinned ones."""
    if not argv:
        for kind in ("free", "pinned"):
            subprocess.run([sys.executable, "-m", "benchmarks.instructions", kind], check=True)
        return
    kind, *models = argv
    if kind == "pinned":
        pin_instructions()
    torch.set_num_threads(1)
    for name in models or MODELS:
        tell(name)


if __name__ == "__main__":
    main(sys.argv[1:])
