"""A Google Cloud Storage of one process: the JSON API as far as file systems use it.

Objects live in memory. Ranges (suffix ranges too), generation preconditions, checksums, resumable
and multipart uploads behave as the service's; `faults` makes it misbehave on purpose.
"""

from __future__ import annotations

import base64
import email
import json
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

GCSFS_ENVIRONMENT = {
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    "NO_GCE_CHECK": "true",
    "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
    "no_proxy": "*",
}
"""What clients need, beside the address, to speak to a fake (gcsfs reads the first at import)."""

NO_MATCH = 412


@dataclass
class Blob:
    """An object and its generation."""

    data: bytes
    generation: int

    def resource(self, bucket: str, name: str) -> dict[str, Any]:
        """The object as the API describes it."""
        checksum = google_crc32c.value(self.data).to_bytes(4, "big")
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(self.data)),
            "generation": str(self.generation),
            "metageneration": "1",
            "etag": str(self.generation),
            "crc32c": base64.b64encode(checksum).decode(),
            "contentType": "application/octet-stream",
            "timeCreated": "2023-01-01T00:00:00.000Z",
            "updated": "2023-01-01T00:00:00.000Z",
            "storageClass": "STANDARD",
        }


@dataclass
class State:
    """Buckets, uploads under way, what was asked for, and faults to come."""

    blobs: dict[tuple[str, str], Blob] = field(default_factory=dict)
    uploads: dict[str, tuple[str, str, dict[str, str], bytearray]] = field(default_factory=dict)
    faults: deque[int] = field(default_factory=deque)
    requests: list[str] = field(default_factory=list)
    created: set[tuple[str, str]] = field(default_factory=set)
    generation: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def operations(self) -> set[tuple[str, str, str]]:
        """What was asked for: the permission that takes, the bucket, and the object or prefix."""
        asked = {("storage.objects.create", *place) for place in self.created}
        for request in self.requests:
            method, _, address = request.partition(" ")
            url = urlsplit(address)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            bucket, _, name = url.path.partition("/b/")[2].partition("/o")
            name = unquote(name.removeprefix("/"))
            if method in ("POST", "PUT"):
                # The name may stand in the body: `created` has it.
                continue
            if method == "DELETE":
                asked.add(("storage.objects.delete", bucket, name))
            elif name:
                asked.add(("storage.objects.get", bucket, name))
            elif url.path.endswith("/o"):
                asked.add(("storage.objects.list", bucket, query.get("prefix", "")))
            else:
                asked.add(("storage.buckets.get", bucket, ""))
        return asked

    def put(self, bucket: str, name: str, data: bytes, query: dict[str, str]) -> Blob | None:
        """Put an object if its precondition holds."""
        with self.lock:
            self.created.add((bucket, name))
            known = self.blobs.get((bucket, name))
            wanted = query.get("ifGenerationMatch")
            if wanted is not None and int(wanted) != (known.generation if known else 0):
                return None
            self.generation += 1
            blob = self.blobs[bucket, name] = Blob(data, self.generation)
            return blob


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    state: State

    def do_GET(self) -> None:
        if self._faulty():
            return
        kind, bucket, name, query = self._address()
        if kind == "bucket":
            self._json({"kind": "storage#bucket", "name": bucket, "location": "US"})
        elif kind == "list":
            self._list(bucket, query)
        elif (blob := self.state.blobs.get((bucket, name))) is None:
            self._json({"error": {"code": 404, "message": f"No such object: {name}"}}, 404)
        elif query.get("alt") == "media":
            self._media(blob)
        else:
            self._json(blob.resource(bucket, name))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self._body()
        if self._faulty():
            return
        _, bucket, name, query = self._address()
        if self.path.startswith("/batch"):
            self._batch(body)
        elif self.path.startswith("/resumable"):
            self._resume(body)
        elif query.get("uploadType") == "resumable":
            told = json.loads(body or b"{}")
            session = uuid.uuid4().hex
            name = query.get("name") or told["name"]
            self.state.uploads[session] = (bucket, name, query, bytearray())
            address = f"http://{self.headers['Host']}/resumable/{session}"
            self._reply(200, b"", {"Location": address})
        elif query.get("uploadType") == "multipart":
            told, data = multipart(self.headers["Content-Type"], body)
            self._put(bucket, json.loads(told)["name"], data, query)
        else:
            self._put(bucket, query["name"], body, query)

    def do_PUT(self) -> None:
        body = self._body()
        if not self._faulty():
            self._resume(body)

    def do_DELETE(self) -> None:
        if self._faulty():
            return
        kind, bucket, name, _ = self._address()
        if kind == "object" and self.state.blobs.pop((bucket, name), None):
            self._reply(204, b"")
        else:
            self._json({"error": {"code": 404, "message": "Not Found"}}, 404)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _address(self) -> tuple[str, str, str, dict[str, str]]:
        """What kind of thing is asked for, its bucket and name, and the query."""
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        parts = url.path.partition("/b/")[2].split("/o", 1)
        bucket = unquote(parts[0])
        if len(parts) == 1:
            return "bucket", bucket, "", query
        name = unquote(parts[1].removeprefix("/"))
        return ("object" if name else "list"), bucket, name, query

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        items, prefixes = [], set()
        for (owner, name), blob in sorted(self.state.blobs.items()):
            if owner == bucket and name.startswith(prefix):
                head, cut, _ = name[len(prefix) :].partition(delimiter or "\0")
                if delimiter and cut:
                    prefixes.add(prefix + head + delimiter)
                else:
                    items.append(blob.resource(bucket, name))
        self._json({"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)})

    def _media(self, blob: Blob) -> None:
        data, status, headers = blob.data, 200, {}
        if asked := self.headers.get("Range"):
            low, _, high = asked.removeprefix("bytes=").partition("-")
            size = len(data)
            first = int(low) if low else max(size - int(high), 0)
            last = min(int(high), size - 1) if low and high else size - 1
            if first >= size:
                self._reply(416, b"", {"Content-Range": f"bytes */{size}"})
                return
            data, status = data[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        headers["X-Goog-Generation"] = str(blob.generation)
        headers["ETag"] = f'"{blob.generation}"'
        self._reply(status, data, headers)

    def _put(self, bucket: str, name: str, data: bytes, query: dict[str, str]) -> None:
        blob = self.state.put(bucket, name, data, query)
        if blob is None:
            self._json({"error": {"code": NO_MATCH, "message": "conditionNotMet"}}, NO_MATCH)
        else:
            self._json(blob.resource(bucket, name))

    def _resume(self, body: bytes) -> None:
        """The next part of a resumable upload."""
        session = self.path.rpartition("/")[2]
        bucket, name, query, data = self.state.uploads[session]
        data += body
        total = self.headers["Content-Range"].rpartition("/")[2]
        if total == "*" or len(data) < int(total):
            self._reply(308, b"", {"Range": f"bytes=0-{len(data) - 1}"})
        else:
            del self.state.uploads[session]
            self._put(bucket, name, bytes(data), query)

    def _batch(self, body: bytes) -> None:
        """Deletions in one request."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        answers = []
        for part in email.message_from_bytes(head + body).get_payload():
            path = part.get_payload().split()[1]
            bucket, name = (unquote(text) for text in path.partition("/b/")[2].split("/o/", 1))
            found = self.state.blobs.pop((bucket, name.partition("?")[0]), None)
            status = "204 No Content" if found else "404 Not Found"
            answers.append(
                "--batch\r\nContent-Type: application/http\r\n"
                f"Content-ID: {part['Content-ID']}\r\n\r\nHTTP/1.1 {status}\r\n\r\n\r\n"
            )
        text = "".join(answers) + "--batch--\r\n"
        self._reply(200, text.encode(), {"Content-Type": "multipart/mixed; boundary=batch"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = bytearray()
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(data)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _faulty(self) -> bool:
        """Misbehave if a fault is due: answer with its status, or hang up where it is 0."""
        with self.state.lock:
            self.state.requests.append(f"{self.command} {self.path}")
            status = self.state.faults.popleft() if self.state.faults else None
        if status is None:
            return False
        if status:
            self._json({"error": {"code": status, "message": "injected"}}, status)
        else:
            self.close_connection = True
        return True

    def _json(self, content: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(content).encode()
        self._reply(status, data, {"Content-Type": "application/json; charset=UTF-8"})

    def _reply(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def multipart(content_type: str, body: bytes) -> list[bytes]:
    """The contents of a message's parts, to the byte: a binary one may end like a line does."""
    boundary = content_type.partition("boundary=")[2].partition(";")[0].strip("'\"").encode()
    first = body.index(boundary) + len(boundary)
    line = b"\r\n" if body[first : first + 2] == b"\r\n" else b"\n"
    parts = (line + body).split(line + b"--" + boundary)[1:-1]
    return [part.partition(2 * line)[2] for part in parts]


@contextmanager
def fake_gcs() -> Iterator[tuple[str, State]]:
    """A running fake: its address and its state."""
    state = State()
    handler = type("BoundHandler", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", state
    finally:
        server.shutdown()
        server.server_close()
