"""Whom a mosaic owes what is named."""

from __future__ import annotations

import html
import json

import pytest

from tessera_mosaic.model.cards import SHIPPED
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.identity import adopted_identity
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.publishing.attribution import attribution, licence_of, terms
from tests.samples import identity


def test_attribution_names_what_has_to_be_named(store: Storage) -> None:
    text = store.read("ATTRIBUTION.md").decode()
    assert "Contains modified Copernicus Sentinel data 2018, 2019." in text
    assert "not those of a" in text
    assert "5eed" * 16 in text


def test_the_weights_that_are_shipped_are_named_with_their_licence() -> None:
    encoder = {"weights_sha256": SHIPPED.sha256, "card": SHIPPED.identity()}
    text = attribution(identity(encoder=encoder), [2024])
    assert f"{SHIPPED.name} (" in text
    assert "licence Apache-2.0" in text
    assert licence_of(identity(encoder=encoder)) == "Apache-2.0"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("tessera-v1.1", "under CC-BY-SA"),
        ("TESSERA 1.1 global", "under CC-BY-SA"),
        ("tessera-v1.10", "those of whoever did so"),
        ("somebody's", "those of whoever did so"),
    ],
)
def test_embeddings_that_were_adopted_keep_the_terms_of_their_product(
    model: str, told: str
) -> None:
    adopted = adopted_identity(model, "arrays", nearest=False, margin=32)
    assert told in terms(adopted)
    assert told in attribution(adopted, [2024])


def test_catalogue_and_report_tell_the_terms(store: Storage) -> None:
    told = terms(read_mosaic(store).identity)
    assert json.loads(store.read("stac/collection.json"))["tessera_mosaic:terms"] == told
    assert html.escape(told) in store.read("report.html").decode()


def test_weights_that_bind_nothing_leave_the_terms_of_the_imagery() -> None:
    encoder = {"weights_sha256": SHIPPED.sha256, "card": SHIPPED.identity()}
    assert "carry those of the imagery" in terms(identity(encoder=encoder))
    assert "ask whoever made this mosaic" in terms(identity())
