"""Real object stores of this machine, which `make stores` builds."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import botocore.session
import pytest
from botocore.config import Config

BUILT = Path(__file__).resolve().parents[2] / "build/stores"
"""Where `make stores` puts them."""

KEY, SECRET = "tesseraroot", "tesserasecret"

SCHEMES = {"versitygw": "s3", "minio": "s3", "fake-gcs-server": "gs"}
"""Schemes of the addresses of each server's buckets."""

WAIT = 30.0
"""Seconds until a server has to listen."""


def built(name: str) -> Path:
    """The program of a server; skips where it was not built."""
    program = Path(os.environ.get("TESSERA_STORES", BUILT)) / name
    if not program.is_file():
        pytest.skip(f"{name} is not built here: `make stores` does it where Go is")
    return program


@contextmanager
def running_server(name: str, folder: Path) -> Iterator[int]:
    """Run `versitygw`, `minio` or `fake-gcs-server` with a bucket named `bucket`: its port."""
    program, port = built(name), _free_port()
    folder.mkdir(parents=True, exist_ok=True)
    where = f"127.0.0.1:{port}"
    variables = {**os.environ, "MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}
    quiet = {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "MINIO_CALLHOME_ENABLE": "off"}
    keys = ["--access", KEY, "--secret", SECRET]
    command = {
        "versitygw": [*keys, "--port", where, "--quiet", "posix", str(folder)],
        "minio": ["server", "--quiet", "--address", where, str(folder)],
        "fake-gcs-server": [
            *("-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
            *("-public-host", where, "-backend", "memory", "-log-level", "error"),
        ],
    }[name]
    with open(f"{folder}.log", "wb") as log:
        server = subprocess.Popen(
            [str(program), *command], env=variables | quiet, stdout=log, stderr=log
        )
    try:
        _wait_for(port, server)
        _make_bucket(name, port)
        yield port
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT
    while True:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)


def _make_bucket(name: str, port: int) -> None:
    if name == "fake-gcs-server":
        address = f"http://127.0.0.1:{port}/storage/v1/b?project=test"
        request = urllib.request.Request(
            address, b'{"name": "bucket"}', {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()
        return
    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 8}),
    )
    client.create_bucket(Bucket="bucket")
