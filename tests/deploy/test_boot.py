"""Secrets reach the environment and nothing else, and the container becomes what was asked for."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from deploy import boot
from deploy.boot import NotOnGoogleCloud

BOOT = Path(boot.__file__)
TOKEN, SECRET = "the-account's-token", "a secret value"


class Cloud(BaseHTTPRequestHandler):
    """A metadata server and a Secret Manager that holds one secret.

    Parameters
    ----------
    failures
        How many more requests for secrets are answered with 503.
    drops
        How many more connections are closed without an answer.
    tokens
        Whether the machine has an account.
    asked
        Paths of all requests.
    """

    failures = 0
    drops = 0
    tokens = True
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        Cloud.asked.append(self.path)
        if Cloud.drops:
            Cloud.drops -= 1
            self.close_connection = True
            return
        if self.path.startswith("/computeMetadata/"):
            assert self.headers["Metadata-Flavor"] == "Google"
            if not Cloud.tokens and self.path.endswith("/token"):
                self.reply(404, b"", flavored=True)
                return
            token = json.dumps({"access_token": TOKEN}).encode()
            found = token if self.path.endswith("/token") else b"a-project"
            self.reply(200, found, flavored=True)
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

    def reply(self, status: int, body: bytes, flavored: bool = False) -> None:
        self.send_response(status)
        if flavored:
            self.send_header("Metadata-Flavor", "Google")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Proxy(BaseHTTPRequestHandler):
    """Answers whoever is asked for as proxies do that know no such host."""

    status = 403

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"<html>a page of its own</html>")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on the loopback: its host and port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def cloud() -> Iterator[dict[str, str]]:
    """The environment of a machine in that cloud."""
    Cloud.failures, Cloud.drops, Cloud.tokens = 0, 0, True
    Cloud.asked.clear()
    with served(Cloud) as host:
        yield {"GCE_METADATA_HOST": host, "SECRET_MANAGER_ENDPOINT": f"http://{host}"}


def at_once(seconds: float) -> None:
    """Wait for nothing."""


def test_secrets_are_handed_over(cloud: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    Cloud.failures = 2
    environment = dict(cloud)
    assert boot.hand_over_secrets(environment, at_once) == ["EARTHDATA_TOKEN"]
    assert environment["EARTHDATA_TOKEN"] == SECRET
    assert "PC_SDK_SUBSCRIPTION_KEY" not in environment
    said = capsys.readouterr()
    assert "tessera-planetary-computer-key" in said.err
    assert SECRET not in said.out + said.err
    assert TOKEN not in said.out + said.err


def test_what_is_set_is_kept(cloud: dict[str, str]) -> None:
    environment = {**cloud, "EARTHDATA_TOKEN": "mine"}
    assert boot.hand_over_secrets(environment, at_once) == []
    assert environment["EARTHDATA_TOKEN"] == "mine"


def test_nobody_is_asked_where_nothing_is_wanted(cloud: dict[str, str]) -> None:
    given = {"EARTHDATA_TOKEN": "mine", "PC_SDK_SUBSCRIPTION_KEY": "mine, too"}
    assert boot.hand_over_secrets({**cloud, **given}) == []
    assert boot.hand_over_secrets({**cloud, "NO_GCE_CHECK": "true"}) == []
    assert Cloud.asked == []


@pytest.mark.parametrize("drops", [1, 3])
def test_connections_that_drop_are_tried_again(cloud: dict[str, str], drops: int) -> None:
    """The first that drops is the metadata server's: it does not count as being elsewhere."""
    Cloud.drops = drops
    assert boot.hand_over_secrets(dict(cloud), at_once) == ["EARTHDATA_TOKEN"]


def test_one_refused_connection_is_not_elsewhere(cloud: dict[str, str]) -> None:
    """The metadata server begins to listen while it is waited for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    servers = []

    def listen(seconds: float) -> None:
        servers.append(ThreadingHTTPServer(("127.0.0.1", port), Cloud))
        threading.Thread(target=servers[0].serve_forever, daemon=True).start()

    here = {**cloud, "GCE_METADATA_HOST": f"127.0.0.1:{port}"}
    assert boot.hand_over_secrets(here, listen) == ["EARTHDATA_TOKEN"]
    servers[0].shutdown()
    servers[0].server_close()


@pytest.mark.parametrize("status", [200, 302, 403, 404, 503])
def test_whatever_else_answers_is_not_google(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    class Told(Proxy):
        pass

    Told.status = status
    with served(Told) as host:
        assert boot.hand_over_secrets({"GCE_METADATA_HOST": host}) == []
    assert f"not on Google Cloud (something else answers, with {status})" in capsys.readouterr().err


def test_the_metadata_server_is_asked_without_a_proxy(
    cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(Proxy) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(NotOnGoogleCloud, match="403"):
            boot.ask_metadata(proxy, "project/project-id", at_once)
        host = cloud["GCE_METADATA_HOST"]
        assert boot.ask_metadata(host, "project/project-id", at_once) == b"a-project"


def test_a_secret_that_cannot_be_fetched_stops_the_container(cloud: dict[str, str]) -> None:
    Cloud.failures = 100
    with pytest.raises(OSError, match="503"):
        boot.hand_over_secrets(dict(cloud), at_once)


def test_a_machine_without_an_account_stops_the_container(cloud: dict[str, str]) -> None:
    Cloud.tokens = False
    done = subprocess.run(
        [sys.executable, BOOT, "true"],
        env={**os.environ, **cloud},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "boot: HTTP Error 404: Not Found\n")


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


ABOUT_ITSELF = """
import getpass, json, os
print(json.dumps([os.getcwd(), os.environ["HOME"], getpass.getuser()]))
"""


def as_nobody(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Start as a user without a name, in a folder that is closed to him."""
    closed, copy = tmp_path / "closed", shutil.copy(BOOT, tmp_path)
    closed.mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o755)
    start = f"import os, runpy; os.chdir({str(closed)!r}); os.setuid(54321); "
    start += f"runpy.run_path({str(copy)!r}, run_name='__main__')"
    return subprocess.run(
        ["/usr/bin/python3", "-c", start, *words],
        env={"PATH": os.environ["PATH"], "HOME": "/", "NO_GCE_CHECK": "true"},
        capture_output=True,
        text=True,
        timeout=60,
    )


only_root = pytest.mark.skipif(
    os.getuid() != 0 or not Path("/usr/bin/python3").exists(),
    reason="only root may become somebody else, who needs a Python of the system's",
)


@only_root
def test_anybody_has_a_place_to_write_and_a_name(tmp_path: Path) -> None:
    """Beam's boot writes into its working directory, PyTorch below the home by the user's name."""
    done = as_nobody(tmp_path, "/usr/bin/python3", "-c", ABOUT_ITSELF)
    assert done.returncode == 0, done.stderr
    folder, home, name = json.loads(done.stdout)
    assert folder == home == tempfile.gettempdir()
    assert name == "tessera"


@only_root
def test_a_worker_needs_a_user_with_a_name(tmp_path: Path) -> None:
    """Beam's boot would end in a panic."""
    done = as_nobody(tmp_path, "--id=1")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("boot: user 54321 does not stand in /etc/passwd")
    assert line.endswith("run workers as 10001 or 0")
