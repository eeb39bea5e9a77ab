"""What a tile and each command ask of an object store, on a real server.

`python -m benchmarks store_requests [--server versitygw|minio|fake-gcs-server]`

The server is one that `make stores` built. A proxy before it counts: LIST are listings, which are
charged as PUT are. The job is that of the tests: twelve tiles of one zone and year.
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
from tests.fakes.proxy import FaultProxy, fault_proxy
from tests.fakes.servers import SCHEMES, running_server

KINDS = ("PUT", "POST", "GET", "LIST", "HEAD", "DELETE")

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
                f"run, {TILES} tiles": words,
                "run again, all done": words,
                "status": ["status", store],
                "verify": ["verify", store],
                "publish": ["publish", store],
                "publish again": ["publish", store],
            }
            print(f"| {server} | {' | '.join(KINDS)} |")
            print("| --- |" + " ---: |" * len(KINDS))
            for name, command in commands.items():
                proxy.asked.clear()
                with contextlib.redirect_stdout(io.StringIO()):
                    jobs.run_here(command)
                if name.startswith("run, "):
                    print(row("a tile", of_tiles(proxy), TILES))
                print(row(name, proxy.kinds()))
    return 0


def of_tiles(proxy: FaultProxy) -> Counter[str]:
    """Requests for what is a tile's own: its shards, its record, the note that it is begun."""
    return Counter(asked.kind for asked in proxy.asked if asked.is_of_tile)


def row(name: str, kinds: Counter[str], parts: int = 1) -> str:
    """A row of the table."""
    return f"| {name} | " + " | ".join(f"{kinds[kind] / parts:g}" for kind in KINDS) + " |"
