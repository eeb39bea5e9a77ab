"""Whom a mosaic owes what is named."""

from __future__ import annotations

from tessera_mosaic.model.cards import SHIPPED
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.publishing.attribution import attribution, licence_of
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
