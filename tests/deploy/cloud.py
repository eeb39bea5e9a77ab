"""A Google Cloud on the loopback: object store, token endpoint and Dataflow's API for jobs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes.gcs import GCSFS_ENVIRONMENT, State, fake_gcs

PROJECT, REGION = "a-project", "europe-west4"


@dataclass
class Cloud:
    """What it holds, and what a client has to know.

    Parameters
    ----------
    objects
        Of the object store.
    environment
        Variables that lead Google's clients here.
    endpoint
        Of Dataflow.
    jobs
        Requests for jobs, in order.
    busy
        How many more requests are answered with a job that is at work already.
    """

    objects: State
    environment: dict[str, str]
    endpoint: str = ""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    busy: int = 0


@contextmanager
def fake_cloud(folder: Path) -> Iterator[Cloud]:
    """Run it, with a service account's key in a folder."""
    with fake_gcs() as (address, objects):
        cloud = Cloud(objects, {**GCSFS_ENVIRONMENT, "STORAGE_EMULATOR_HOST": address})
        handler = type("BoundHandler", (Handler,), {"cloud": cloud})
        server = ThreadingHTTPServer(("localhost", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cloud.endpoint = f"http://localhost:{server.server_port}"
        account = folder / "account.json"
        account.write_text(json.dumps(service_account(f"{cloud.endpoint}/token")))
        cloud.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(account)
        yield cloud
        server.shutdown()
        server.server_close()


def service_account(token_uri: str) -> dict[str, str]:
    """A key that nobody but this cloud takes."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "client_email": f"launcher@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "1",
        "private_key_id": "1",
        "private_key": key.decode(),
        "token_uri": token_uri,
    }


class Handler(BaseHTTPRequestHandler):
    """Tokens for everybody; jobs that are done as soon as they are asked about."""

    cloud: Cloud

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/token":
            self.reply({"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"})
            return
        job = json.loads(body)
        self.cloud.jobs.append(job)
        known = {"id": "job-1", "name": job["name"], "projectId": PROJECT, "location": REGION}
        if self.cloud.busy:
            self.cloud.busy -= 1
            self.reply({**known, "clientRequestId": "another-launch"})
        else:
            self.reply({**known, "clientRequestId": job["clientRequestId"]})

    def do_GET(self) -> None:
        if "/messages" in self.path:
            self.reply({"jobMessages": []})
        elif "/metrics" in self.path:
            self.reply({"metrics": []})
        else:
            self.reply({"id": "job-1", "currentState": "JOB_STATE_DONE"})

    def reply(self, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
