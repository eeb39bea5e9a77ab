"""Where are the weights that the package brings along?

They lie in this folder, and were trained by `pretrain`, on no published weights: see
docs/pretraining.md. `cards.SHIPPED` says what they are.
"""

from __future__ import annotations

from pathlib import Path

from tessera_mosaic.model.cards import SHIPPED

WEIGHTS = Path(__file__).with_name(SHIPPED.file)
"""Path of the weights of `cards.SHIPPED`."""
