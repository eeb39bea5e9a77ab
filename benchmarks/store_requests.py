"""What a tile and each command ask of an object store, on a real server.

`python -m benchmarks store_requests [--server versitygw|minio|fake-gcs-server]`

The server is one that `make stores` built. A proxy before it counts: LIST are listings, which are
charged as PUT are, and PUT are all that puts, which Google and uploads in parts do by POST. The job
is that of the tests: twelve tiles of one zone and year. What is printed is the table of
docs/runners.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests import jobs
from tests.fakes.environment import store_at
from tests.fakes.proxy import Asked, fault_proxy
from tests.fakes.servers import SCHEMES, running_server

KINDS = ("PUT", "GET", "LIST", "HEAD", "DELETE")

TILES = 12
"""Tiles of the job."""


def main(argv: Sequence[str]) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks store_requests", description=__doc__)
    parser.add_argument("--server", choices=SCHEMES, default="versitygw")
    server = parser.parse_args(argv).server
    with tempfile.TemporaryDirectory() as folder:
        archive = jobs.archive(Path(folder) / "archive")
        with (
            running_server(server, Path(folder) / "server") as port,
            fault_proxy(port) as proxy,
            store_at(SCHEMES[server], proxy.port),
        ):
            store = f"--store={SCHEMES[server]}://bucket/mosaic"
            words = jobs.options(archive, Path("store"))
            words[3] = store
            commands = {
                f"`run`, {TILES} tiles": words,
                "`run` again, all done": words,
                "`status`": ["status", store],
                "`verify`": ["verify", store],
                "`publish`": ["publish", store],
                "`publish` again": ["publish", store],
            }
            print(f"| | {' | '.join(KINDS)} |")
            print(f"| --- |{' ---: |' * len(KINDS)}")
            for name, command in commands.items():
                proxy.asked.clear()
                with contextlib.redirect_stdout(io.StringIO()):
                    jobs.run_here(command)
                if name.startswith("`run`, "):
                    of_tiles = [asked for asked in proxy.asked if asked.is_of_tile]
                    print(row("a tile", of_tiles, TILES))
                print(row(name, proxy.asked))
    return 0


def row(name: str, requests: Sequence[Asked], parts: int = 1) -> str:
    """A row of the table."""
    kinds = Counter("PUT" if asked.kind == "POST" else asked.kind for asked in requests)
    return f"| {name} | " + " | ".join(f"{kinds[kind] / parts:g}" for kind in KINDS) + " |"
