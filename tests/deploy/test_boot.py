"""Secrets reach the environment and nothing else, and the container becomes what was asked for."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy import boot

BOOT = Path(boot.__file__)
TOKEN, SECRET = "the-account's-token", "a secret value"


class Cloud(BaseHTTPRequestHandler):
    """A metadata server and a Secret Manager that holds one secret."""

    failures = 0
    tokens = True

    def do_GET(self) -> None:
        if self.path.startswith("/computeMetadata/"):
            assert self.headers["Metadata-Flavor"] == "Google"
            if not Cloud.tokens:
                self.reply(404, b"")
                return
            token = json.dumps({"access_token": TOKEN}).encode()
            self.reply(200, token if self.path.endswith("/token") else b"a-project")
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.reply(401, b"")
        elif Cloud.failures:
            Cloud.failures -= 1
            self.reply(503, b"")
        elif self.path.startswith("/v1/projects/a-project/secrets/tessera-earthdata-token/"):
            data = base64.b64encode(f"{SECRET}\n".encode()).decode()
            self.reply(200, json.dumps({"payload": {"data": data}}).encode())
        else:
            self.reply(404, b"")

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cloud() -> Iterator[dict[str, str]]:
    """The environment of a machine in that cloud."""
    Cloud.failures, Cloud.tokens = 0, True
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    yield {"GCE_METADATA_HOST": host, "SECRET_MANAGER_ENDPOINT": f"http://{host}"}
    server.shutdown()
    server.server_close()


def test_secrets_are_handed_over(
    cloud: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot.time, "sleep", lambda seconds: None)
    Cloud.failures = 2
    environment = dict(cloud)
    assert boot.hand_over_secrets(environment) == ["EARTHDATA_TOKEN"]
    assert environment["EARTHDATA_TOKEN"] == SECRET
    assert "PC_SDK_SUBSCRIPTION_KEY" not in environment
    said = capsys.readouterr()
    assert "tessera-planetary-computer-key" in said.err
    assert SECRET not in said.out + said.err
    assert TOKEN not in said.out + said.err


def test_what_is_set_is_kept(cloud: dict[str, str]) -> None:
    environment = {**cloud, "EARTHDATA_TOKEN": "mine"}
    assert boot.hand_over_secrets(environment) == []
    assert environment["EARTHDATA_TOKEN"] == "mine"


def test_a_secret_that_cannot_be_fetched_stops_the_container(
    cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot.time, "sleep", lambda seconds: None)
    Cloud.failures = 100
    with pytest.raises(OSError, match="503"):
        boot.hand_over_secrets(dict(cloud))


def test_a_machine_without_an_account_stops_the_container(cloud: dict[str, str]) -> None:
    Cloud.tokens = False
    with pytest.raises(OSError, match="404"):
        boot.hand_over_secrets(dict(cloud))


def test_the_command_inherits_the_secrets(cloud: dict[str, str]) -> None:
    program = "import os; print(os.environ['EARTHDATA_TOKEN'])"
    done = subprocess.run(
        [sys.executable, BOOT, sys.executable, "-c", program],
        env={**os.environ, **cloud},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == f"{SECRET}\n"


def test_options_alone_go_to_beams_boot(tmp_path: Path) -> None:
    beam = tmp_path / "boot"
    beam.write_text('#!/bin/sh\necho "$@"\n')
    beam.chmod(0o755)
    program = tmp_path / "boot.py"
    program.write_text(BOOT.read_text().replace(boot.BOOT, str(beam)))
    nowhere = {"GCE_METADATA_HOST": "127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, program, "--id=1", "--logging_endpoint=here"],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "--id=1 --logging_endpoint=here\n"
    assert "not on Google Cloud" in done.stderr
