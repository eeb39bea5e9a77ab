"""Nobody beyond this machine reaches a job: where its processes listen while it works."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

from tessera_mosaic.pipeline.errors import BrokenOff
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.loopback import beyond_loopback, localhost, on_loopback
from tessera_mosaic.pipeline.job.runner_process import run_apart
from tests import jobs

LISTEN = "0A"
"""State of a listening socket in Linux's tables of sockets."""


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports on which a process and its descendants listen, as the system has it."""
    inodes, found = set(), set()
    for one in [pid, *jobs.descendants(pid)]:
        try:
            for entry in os.scandir(f"/proc/{one}/fd"):
                inodes.add(os.readlink(entry.path))
        except OSError:  # It has ended, or closed what was looked at.
            continue
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTEN and f"socket:[{words[9]}]" in inodes:
                host, port = words[1].split(":")
                found.add((address_of(host), int(port, 16)))
    return found


def address_of(digits: str) -> str:
    """An address as the system's tables have it, in words of four bytes of this machine's order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words)))


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's tables of sockets")
@pytest.mark.parametrize(
    ("more", "ports"),
    [
        (["--workers=2"], 6),
        (["--direct_running_mode=multi_threading", "--direct_num_workers=2"], 4),
        ([], 0),
    ],
    ids=["processes", "threads", "alone"],
)
def test_a_job_listens_on_loopback_alone(
    archive: Path, finished: Path, tmp_path: Path, more: list[str], ports: int
) -> None:
    words = jobs.options(archive, tmp_path / "store", *more)
    seen: set[tuple[str, int]] = set()
    with subprocess.Popen(
        [sys.executable, "-m", "tessera_mosaic", *words],
        cwd=jobs.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            seen |= listening(process.pid)
            time.sleep(0.2)
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read()
    assert [found for found in sorted(seen) if not is_loopback(found[0])] == []
    assert len({port for _, port in seen}) == ports, "Beam opens other ports than it did"
    assert jobs.contents(tmp_path / "store") == jobs.contents(finished)


class Listening:
    """Listens on an address in the process that unpickles it, as Beam might some day."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __reduce__(self) -> tuple[Any, ...]:
        program = f"import socket, time; kept = socket.create_server(({self._address!r}, 0))"
        return exec, (f"{program}; time.sleep(300)",)


def test_a_runner_that_listens_elsewhere_is_ended() -> None:
    with pytest.raises(BrokenOff, match=r"beyond loopback \(0\.0\.0\.0 port [0-9]+\)$"):
        run_apart(cast(JobSpec, Listening("")), [], {})


def test_sockets_that_may_be_reached_are_told_from_others(tmp_path: Path) -> None:
    before = beyond_loopback()
    near = [socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.1.2.3", 0))]
    with socket.socket(socket.AF_UNIX) as own, socket.create_connection(near[0].getsockname()):
        own.bind(str(tmp_path / "socket"))
        own.listen()
        assert beyond_loopback() == before
    with socket.create_server(("0.0.0.0", 0)) as far:
        port = far.getsockname()[1]
        assert beyond_loopback() == sorted([*before, f"0.0.0.0 port {port}"])
        assert far.getsockname()[1] == port, "looking at a socket leaves it open"
    for one in near:
        one.close()
    assert beyond_loopback() == before


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_both_kinds_of_internet_address_are_looked_at() -> None:
    before = beyond_loopback()
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6),
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as far,
    ):
        assert beyond_loopback() == sorted([*before, f":: port {far.getsockname()[1]}"])


@pytest.mark.parametrize(
    ("asked", "bound"),
    [
        ("[::]:0", "localhost:0"),
        ("0.0.0.0:50000", "localhost:50000"),
        ("dns:///host.example:1", "localhost:1"),
        ("localhost:0", "localhost:0"),
        ("unix:/run/socket", "unix:/run/socket"),
    ],
)
def test_a_server_is_given_the_same_port_on_loopback(asked: str, bound: str) -> None:
    assert localhost(asked) == bound

    class Server:
        """Gives back what it is asked for."""

        def add_insecure_port(self, address: str) -> str:
            return address

        def add_secure_port(self, address: str, credentials: str) -> str:
            return f"{address} {credentials}"

    server = on_loopback(Server)()
    assert server.add_insecure_port(asked) == bound
    assert server.add_secure_port(asked, "secret") == f"{bound} secret"
