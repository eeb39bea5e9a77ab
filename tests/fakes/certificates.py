"""Certificates of servers of this machine."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


def self_signed(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of `localhost` and `near.example`, and what a server speaks TLS with."""
    made = folder / "certificate.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:near.example"]
    words += ["-out", str(made[0]), "-keyout", str(made[1])]
    if shutil.which("openssl") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("openssl is not here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made)
    return made[0], context
