"""The card that a model's name stands for, for those who do not encode: PyTorch is not loaded."""

from __future__ import annotations

from tessera_mosaic.model.cards import SHIPPED, Card, CardError, card_named
from tessera_mosaic.pipeline.errors import as_bad_input
from tessera_mosaic.pipeline.mosaic.layout import depths_to_store


@as_bad_input(CardError)
def card_of_name(model: str | None) -> Card:
    """The card of a model's name.

    Parameters
    ----------
    model
        Name of a card; None for that of the shipped encoder.

    Raises
    ------
    BadInput
        If there is none of that name.

    Examples
    --------
    >>> card_of_name(None).name
    'flanders-nano'
    """
    return card_named(model or SHIPPED.name)


def check_depths(card: Card, asked: bool) -> None:
    """Check that an encoder has shorter embeddings, where they are asked for.

    Parameters
    ----------
    card
        Card of the encoder.
    asked
        Whether the embeddings that its first values are shall be stored too.

    Raises
    ------
    BadInput
        If they are asked for and there are none.
    """
    depths_to_store(asked, card.depths, card.name)
