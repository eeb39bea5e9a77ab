"""Addresses in messages and names."""

from __future__ import annotations

from tessera_mosaic.pipeline.io.urls import plain


def test_addresses_in_messages_have_no_credential() -> None:
    assert plain("https://u:p@host/a/b.tif?sig=secret#x") == "https://host/a/b.tif"
    assert plain("https://[::1/a?sig=secret") == "https://[::1/a"
    assert plain("/data/what?.tif") == "/data/what?.tif"
