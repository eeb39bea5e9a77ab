"""A web service of one process, answered by a function, and a STAC API made of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


Reply = tuple[int, dict[str, str], Any]
"""Status, headers, and a document or bytes."""


@contextmanager
def fake_web(answer: Callable[[Request], Reply]) -> Iterator[str]:
    """A running service: its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, document = answer(
                Request(
                    self.command,
                    parts.path,
                    dict(parse_qsl(parts.query)),
                    {name.lower(): value for name, value in self.headers.items()},
                    body,
                )
            )
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            # Whoever asked may be gone.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class FakeStac:
    """A STAC API with these items, a few a page.

    Attributes
    ----------
    posts
        Whether it takes searches as POST.
    page
        Items a page.
    merges
        Whether its links to the next page have to be merged into the search.
    searches
        The searches that it was asked.
    """

    items: list[dict[str, Any]]
    posts: bool = True
    page: int = 3
    merges: bool = False
    searches: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        base = f"http://{request.headers['host']}"
        if request.path == "/":
            links = [{"rel": "data", "href": "./collections"}]
            links += [{"rel": "search", "href": f"{base}/search", "method": "GET"}]
            if self.posts:
                links.append({"rel": "search", "href": f"{base}/search", "method": "POST"})
            return 200, {}, {"type": "Catalog", "id": "fake", "links": links}
        if request.path == "/collections":
            names = [{"id": name} for name in sorted({i["collection"] for i in self.items})]
            return 200, {}, {"collections": [*names, {"id": "landsat"}], "links": []}
        if request.path == "/search":
            search = json.loads(request.body) if request.body else _search(request.query)
            return 200, {}, self._search(search, base)
        return 404, {}, {"code": "NotFound"}

    def _search(self, search: dict[str, Any], base: str) -> dict[str, Any]:
        self.searches.append(search)
        first, last = search.get("datetime", "0000/9999").split("/")
        box = search.get("bbox", [-180, -90, 180, 90])
        found = [
            item
            for item in self.items
            if item["collection"] in search["collections"]
            and search.get("ids", [item["id"]]) == [item["id"]]
            and first <= item["properties"]["datetime"] <= last
            and item["bbox"][0] <= box[2]
            and item["bbox"][2] >= box[0]
            and item["bbox"][1] <= box[3]
            and item["bbox"][3] >= box[1]
        ]
        start = int(search.get("token", 0))
        stop = start + min(self.page, int(search["limit"]))
        links = []
        if stop < len(found):
            body = {"token": stop} if self.merges else {**search, "token": stop}
            if self.posts:
                link = {"method": "POST", "body": body, "merge": self.merges}
                links.append({"rel": "next", "href": f"{base}/search", **link})
            else:
                query = "&".join(f"{k}={_text(v)}" for k, v in {**search, "token": stop}.items())
                links.append({"rel": "next", "href": f"{base}/search?{query}"})
        return {"type": "FeatureCollection", "features": found[start:stop], "links": links}


def _search(query: dict[str, str]) -> dict[str, Any]:
    """A search that came as the query of an address."""
    search: dict[str, Any] = dict(query)
    search["collections"] = query["collections"].split(",")
    if "bbox" in query:
        search["bbox"] = [float(part) for part in query["bbox"].split(",")]
    if "ids" in query:
        search["ids"] = query["ids"].split(",")
    return search


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
