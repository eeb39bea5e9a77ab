"""Whose certificates are trusted, the same for all requests, whatever library sends them.

OpenSSL goes by `SSL_CERT_FILE`, botocore and requests by `REQUESTS_CA_BUNDLE`. Either of them is
taken for all here.
"""

from __future__ import annotations

import functools
import os
import ssl

from tessera_mosaic.pipeline.errors import BadInput

BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of certificates, by whom a server may be vouched for."""

CERTIFICATE = (
    "its certificate is not accepted: set SSL_CERT_FILE to the certificates of who vouches for it"
)
"""What is said of a server whose certificate is not accepted."""


@functools.cache
def trust() -> ssl.SSLContext:
    """What trusts the certificates that the environment names, beside those of the system.

    The variables that are not set get the first that is, so that the libraries of the object
    stores trust the same.

    Raises
    ------
    BadInput
        If a variable names no file of certificates.
    """
    named = {name: os.environ[name] for name in BUNDLES if os.environ.get(name)}
    context = ssl.create_default_context()
    for name, path in named.items():
        try:
            folder = os.path.isdir(path)
            context.load_verify_locations(None if folder else path, path if folder else None)
        except (OSError, ssl.SSLError) as error:
            raise BadInput(f"{name} {path}: it is no file of certificates: {error}") from None
    for name in BUNDLES:
        if named:
            os.environ.setdefault(name, next(iter(named.values())))
    return context


def is_certificate(error: BaseException) -> bool:
    """Whether an error of TLS is about a certificate."""
    return "CERTIFICATE" in str(error).upper()


def said_of(error: BaseException) -> str:
    """What is wrong with a certificate, in the words of OpenSSL."""
    text = str(error)
    _, found, said = text.partition("verify failed: ")
    return said.partition(" (_ssl")[0] if found else text[:200]
