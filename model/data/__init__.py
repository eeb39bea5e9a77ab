"""The weights that the package brings along: trained by `pretrain`, no published ones."""

from __future__ import annotations

from pathlib import Path

from tessera_mosaic.model.cards import SHIPPED

WEIGHTS = Path(__file__).with_name(SHIPPED.file)
"""Those of `cards.SHIPPED`."""
