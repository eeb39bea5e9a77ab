"""Which models there are, and what has to hold when one is used?

A card says all about a model but its weights. Read `card` (what stands on one), then `published`
(those of the published models and of the shipped one), then `choice` (which one belongs to a name
or to a weights file). Nothing here loads PyTorch.
"""

from tessera_mosaic.model.cards.card import Card, CardError
from tessera_mosaic.model.cards.choice import card_for, card_named, card_of_weights
from tessera_mosaic.model.cards.published import CARDS, KNOWN, SHIPPED

__all__ = [
    "CARDS",
    "KNOWN",
    "SHIPPED",
    "Card",
    "CardError",
    "card_for",
    "card_named",
    "card_of_weights",
]
