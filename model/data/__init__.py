"""The encoder that the package brings along: trained by `pretrain`, no published one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model.cards import card_named

WEIGHTS = Path(__file__).with_name("flanders_nano.safetensors")

CARD = replace(
    card_named("v2-nano"),
    name="flanders-nano",
    imagery=("mpc",),
    depths=(),
    licence="Apache-2.0; trained on modified Copernicus Sentinel data 2018",
    page="docs/pretraining.md",
    file=WEIGHTS.name,
    repository="",
    sha256="5e70831a3da24a8d2cfe116c7aaedbd5c9024a70b0e4cca35131481199c2e3d0",
    bytes=4_273_368,
    notes="Trained on the 4,096 pixels of one square in Flanders in 2018, so that the whole way "
    "from imagery to a mosaic can be gone without a download. It is no TESSERA release, its "
    "embeddings cannot be compared with theirs, and it has seen no other climate and no "
    "descending pass. Its first values are not trained to hold the most.",
)
"""Its card. It has the sizes, the statistics and the rules of a v2-nano."""
