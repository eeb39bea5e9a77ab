"""Whom a mosaic owes what: the imagery it was made from, and the weights that made it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tessera_mosaic.model.cards import KNOWN, Card
from tessera_mosaic.pipeline.mosaic.identity import Identity, adopted_model
from tessera_mosaic.pipeline.mosaic.metadata import SOURCES, model_uri

LEGAL_NOTICE = "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"

BACKSCATTER = {
    "mpc": (
        "Sentinel-1 radiometrically terrain corrected backscatter was made by Catalyst for the "
        "Microsoft Planetary Computer, CC BY 4.0."
    ),
    "aws": (
        "Sentinel-1 radiometrically terrain corrected backscatter is the OPERA RTC-S1 product of "
        "NASA JPL, distributed by the Alaska Satellite Facility."
    ),
}
"""Who made the backscatter, by source of the imagery."""


CITATION = "Feng et al., University of Cambridge: TESSERA, arXiv:2506.20380"
"""How TESSERA asks to be cited, in short."""

PAPERS = {"v1": "2506.20380", "v2": "2607.03949"}
"""Numbers at arXiv of the papers, by the generation of the models that they are about."""


def publications(identity: Identity) -> list[dict[str, str]]:
    """The papers that are about a mosaic's model, as STAC's scientific extension lists them.

    That of the first generation belongs to all, and is all that is said of unknown weights.
    """
    card = card_of(identity)
    told = [PAPERS["v1"], *[PAPERS["v2"]] * bool(card and card.family.startswith("v2"))]
    return [
        {"doi": f"10.48550/arXiv.{number}", "citation": f"Feng et al., TESSERA, arXiv:{number}"}
        for number in told
    ]


PUBLISHED_TERMS = (
    "Embeddings that are published as TESSERA v1.1 are under CC-BY-SA, as the registry of open "
    "data on AWS has it (datasets/tessera.yaml). The authors wrote in geotessera's issue 150 that "
    "CC0 or CC-BY was meant; until that is settled go by the registry."
)
"""Terms of the embeddings that TESSERA's authors publish."""


def card_of(identity: Identity) -> Card | None:
    """The known model whose very weights made a mosaic; None for any other weights."""
    if adopted_model(identity) is not None:
        return None
    encoder = identity["encoder"]
    card = KNOWN.get(encoder["card"]["name"])
    return card if card and card.sha256 and card.sha256 == encoder["weights_sha256"] else None


def licence_of(identity: Identity) -> str:
    """SPDX name of the licence of a mosaic's weights; `other` where it is not known."""
    card = card_of(identity)
    return card.licence if card else "other"


def model_page(identity: Identity) -> str:
    """Address at which a person finds a mosaic's weights, or their name by digest."""
    card = card_of(identity)
    return (card and card.page) or model_uri(identity)


def terms(identity: Identity) -> str:
    """Under which terms the embeddings are, in whole sentences, with the source."""
    model = adopted_model(identity)
    if model is not None and re.search(r"tessera\W*v?1\.1\b", model, re.IGNORECASE):
        return PUBLISHED_TERMS
    if model is not None:
        return f"The embeddings were published as {model}: the terms are those of whoever did so."
    if (card := card_of(identity)) is None:
        return "Nobody told under which licence the weights are: ask whoever made this mosaic."
    return (
        f"The weights are under {card.licence} ({model_page(identity)}), which lays no terms on "
        "what they make: the embeddings carry those of the imagery."
    )


def attribution(identity: Identity, years: Sequence[int]) -> str:
    """The text that goes with a mosaic, as Markdown.

    Parameters
    ----------
    identity
        What decides the bytes of the mosaic.
    years
        Calendar years that it holds pixels of.
    """
    card, made, imagery = card_of(identity), "Made with", ""
    if (model := adopted_model(identity)) is not None:
        told = f"- product: {model}, as whoever adopted it named it"
        made = "Made elsewhere, and brought to their place with"
    else:
        encoder, imagery = identity["encoder"], BACKSCATTER.get(identity["imagery"], "")
        told = f"- card: {encoder['card']['name']}\n- sha256: {encoder['weights_sha256']}"
    span = ", ".join(str(year) for year in years)
    weights = (
        f"The weights are those of {card.name} ({model_page(identity)}), licence {card.licence}."
        if card
        else "The weights are not those of a model that this software knows: "
        "ask whoever made this mosaic for their licence."
    )
    return f"""# Attribution

## Imagery

Contains modified Copernicus Sentinel data {span}.

Copernicus Sentinel data are free, full and open, under Commission Delegated Regulation (EU)
No 1159/2013 and the legal notice at <{LEGAL_NOTICE}>: whoever passes on what is derived from them
shall keep the line above. {imagery}

{_listed()}

## Weights

{weights}

{told}

TESSERA is by Feng et al., University of Cambridge: <https://arxiv.org/abs/2506.20380>.

## Embeddings

{made} tessera-mosaic (Apache-2.0), which claims no rights in what it makes.

{terms(identity)}
"""


def _listed() -> str:
    return "\n".join(f"- {name}: <{page}>" for name, page in SOURCES.items())
