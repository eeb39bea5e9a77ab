"""Addresses are asked for as they are, with what cannot stand in a request encoded."""

from __future__ import annotations

import pytest

from tessera_mosaic.pipeline.errors import Refused
from tessera_mosaic.pipeline.io.web_addresses import Address, Proxy


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("https://a.example", "a.example", "/"),
        ("https://A.Example.:443/b?", "a.example", "/b?"),
        ("http://a.example:8080/b#c", "a.example:8080", "/b"),
        ("http://[::1]:80/b", "[::1]", "/b"),
        ("http://[::1]:81/b", "[::1]:81", "/b"),
        ("http://b\u00fccher.example/\u00fc", "xn--bcher-kva.example", "/%C3%BC"),
        ("http://a/b c/[d]", "a", "/b%20c/%5Bd%5D"),
        ("http://a//b/./../c/..", "a", "//"),
        ("http://a/../../b/.", "a", "/b/"),
        ("http://a/b?c=../d&e=f?/:@", "a", "/b?c=../d&e=f?/:@"),
        # A signature is sent as it came; a percent sign that encodes nothing is encoded itself.
        ("http://a/b?sig=x%2fy%3D&t=a+b", "a", "/b?sig=x%2Fy%3D&t=a+b"),
        ("http://a/50%/b?c=100%25", "a", "/50%25/b?c=100%25"),
        ("http://a/b?c=1%&d=%20", "a", "/b?c=1%25&d=%2520"),
    ],
)
def test_what_is_asked_for(url: str, authority: str, target: str) -> None:
    address = Address.of(url)
    assert (address.server.authority, address.target) == (authority, target)


@pytest.mark.parametrize("url", ["ftp://a/b", "http:///b", "http://[::1", "http://a:x/", "/b", ""])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Address.of(url)


def test_proxies() -> None:
    assert Proxy.of("proxy.example:3128").server == Address.of("http://proxy.example:3128").server
    assert Proxy.of("https://proxy.example").server.port == 443
    for url in ("socks5://a:1080", "http://", "http://\u4e00:\u4e00@a"):
        with pytest.raises(Refused, match="not at an http address"):
            Proxy.of(url)
