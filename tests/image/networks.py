"""Network namespaces that are joined by a cable, and one port that leads through it.

    ip netns exec NAME python -m tests.image.networks PORT HOST

carries what comes to a port of NAME's loopback to the same port of HOST.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.image.roots import ROOT

NEAR, FAR = "10.77.0.1", "10.77.0.2"
"""Addresses of the two ends of a cable."""


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *words], check=True)


@contextmanager
def namespace(name: str) -> Iterator[str]:
    """A network namespace with a loopback of its own."""
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        ip("netns", "delete", name)


@contextmanager
def cable(near: str, far: str) -> Iterator[None]:
    """A cable between two namespaces; the near end may be the machine's own, which has no name."""
    at = ["-n", near] if near else []
    names = f"{far}-a", f"{far}-b"
    ip(*at, "link", "add", names[0], "type", "veth", "peer", "name", names[1], "netns", far)
    try:
        for where, name, address in ((at, names[0], NEAR), (["-n", far], names[1], FAR)):
            ip(*where, "address", "add", f"{address}/30", "dev", name)
            ip(*where, "link", "set", name, "up")
        yield
    finally:
        # The other end goes with it.
        subprocess.run(["ip", *at, "link", "delete", names[0]], check=False)


@contextmanager
def forwarded(name: str, port: int, host: str) -> Iterator[None]:
    """While it lasts, a port of the loopback of a namespace leads to another host."""
    words = ["ip", "netns", "exec", name, sys.executable, "-m", "tests.image.networks"]
    with subprocess.Popen([*words, str(port), host], cwd=ROOT) as process:
        try:
            yield
        finally:
            process.terminate()


def wait_for(name: str, host: str, port: int, seconds: float = 120) -> None:
    """Wait until somebody listens."""
    program = f"import socket; socket.create_connection(({host!r}, {port}), 2).close()"
    deadline = time.monotonic() + seconds
    words = ["ip", "netns", "exec", name, "python3", "-c", program]
    while subprocess.run(words, capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, f"nobody listens at {host}:{port}"
        time.sleep(0.2)


async def forward(port: int, host: str) -> None:
    """Carry connections until the process ends."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    server = await asyncio.start_server(accept, "localhost", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(forward(int(sys.argv[1]), sys.argv[2]))
