"""Which card belongs to a name, or to a weights file."""

from __future__ import annotations

import dataclasses

from tessera_mosaic.model.cards.card import Card, CardError
from tessera_mosaic.model.cards.published import CARDS, KNOWN
from tessera_mosaic.model.sizes import Family, Sizes


def card_named(name: str) -> Card:
    """The card of a known model.

    Parameters
    ----------
    name
        Name of the model, a key of `KNOWN`.

    Raises
    ------
    CardError
        If there is none of that name.

    Examples
    --------
    >>> card_named("v2-nano").parameters
    1066402
    """
    if name not in KNOWN:
        raise CardError(f"no model is named {name!r}: there are {', '.join(KNOWN)}")
    return KNOWN[name]


def card_of_weights(
    family: Family,
    sizes: Sizes,
    sha256: str,
    name: str | None = None,
    imagery: str | None = None,
) -> Card:
    """The card of some weights: their own where they are known, else the one that is named.

    Parameters
    ----------
    family, sizes
        Family and sizes of the weights.
    sha256
        Hexadecimal digest of the weights file.
    name
        Name of the card whose statistics shall apply, where the user gives one.
    imagery
        Source of the imagery that the weights shall meet, where it is known.

    Raises
    ------
    CardError
        If the name is another model's than the weights are, in digest, family or sizes.

    Examples
    --------
    >>> shipped = card_named("flanders-nano")
    >>> card_of_weights("v2", shipped.sizes, shipped.sha256).name
    'flanders-nano'
    """
    for card in KNOWN.values():
        if card.sha256 == sha256:
            if name not in (None, card.name):
                raise CardError(
                    f"these are the weights of {card.name}, and {name} was asked for: ask for the "
                    f"model {card.name}"
                )
            return card
    if name is None:
        return card_for(family, sizes, imagery)
    card = card_named(name)
    namesakes = [c.name for c in CARDS.values() if (c.family, c.sizes) == (family, sizes)]
    if namesakes and card.family == family and card.sizes != sizes:
        raise CardError(
            f"these weights have the sizes of {' and '.join(namesakes)}, and {name} was asked "
            f"for: ask for the model {' or '.join(namesakes)}"
        )
    return card.of(family, sizes)


def card_for(family: Family, sizes: Sizes, imagery: str | None = None) -> Card:
    """The card of parameters that came without a name: the published model of those sizes.

    Where no published model has them, the family's own statistics and rules apply, if it has one
    set of them.

    Parameters
    ----------
    family, sizes
        Family and sizes of the parameters.
    imagery
        Source of the imagery that they shall meet, where it is known.

    Raises
    ------
    CardError
        If the family has several sets of statistics and the imagery does not decide.

    Examples
    --------
    >>> card_for("v2", card_named("v2-medium").sizes).name
    'v2-medium'
    """
    cards = [card for card in CARDS.values() if card.family == family]
    if imagery is not None and any(imagery in card.imagery for card in cards):
        cards = [card for card in cards if imagery in card.imagery]
    if len({card.statistics for card in cards}) > 1:
        names = " or ".join(card.name for card in cards)
        raise CardError(
            f"{family} encoders were trained with several sets of statistics: ask for the model "
            f"{names}"
        )
    for card in cards:
        if card.sizes == sizes:
            return card
    return dataclasses.replace(cards[0].of(family, sizes), name=f"{family} (other sizes)")
