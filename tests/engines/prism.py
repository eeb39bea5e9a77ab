"""Beam's Prism as it is built, worker pools for it, and a connection that can be cut."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import jobs

PRISM = jobs.ROOT / "build" / "engines" / "prism"

BOOT = """#!{python}
import sys
from apache_beam.runners.worker.sdk_worker import SdkHarness
given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
SdkHarness({control}, worker_id=given["id"]).run()
"""
"""What starts a worker in a pool; `control` is where it finds the runner."""


def missing() -> str:
    """Why there is no Prism here; empty where there is one."""
    return "" if PRISM.is_file() else "Prism is not built: make build/engines/prism"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Pool:
    """A pool of worker processes.

    Parameters
    ----------
    process
        Its own process.
    port
        The port at which it is asked for workers.
    """

    process: subprocess.Popen[bytes]
    port: int

    @property
    def options(self) -> list[str]:
        """The options of a job whose workers it starts."""
        return ["--environment_type=EXTERNAL", f"--environment_config=localhost:{self.port}"]

    def workers(self) -> list[int]:
        """The processes that it has started."""
        return jobs.descendants(self.process.pid)


@contextlib.contextmanager
def worker_pool(folder: Path, control: str = 'given["control_endpoint"]') -> Iterator[Pool]:
    """A pool, each of whose workers is a process.

    Parameters
    ----------
    folder
        Where what starts a worker is written.
    control
        Where workers find the runner, as an expression.
    """
    boot = folder / "boot"
    boot.write_text(BOOT.format(python=sys.executable, control=control))
    boot.chmod(0o755)
    port = free_port()
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
    command += [f"--service_port={port}", f"--container_executable={boot}"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while socket.socket().connect_ex(("localhost", port)):
            assert process.poll() is None
            assert time.monotonic() < deadline, "the worker pool does not begin to listen"
            time.sleep(0.1)
        yield Pool(process, port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Cable:
    """A connection to a port of this machine, through another one, that can be cut.

    What is cut takes bytes and says nothing, as a cable that was pulled out.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.cut = threading.Event()
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._over.set()
        self._server.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        ends = {near: far, far: near}
        with selectors.DefaultSelector() as ready, near, far:
            for end in ends:
                ready.register(end, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in ready.select(0.2):
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    try:
                        data = end.recv(1 << 16)
                        if not data:
                            return
                        if not self.cut.is_set():
                            ends[end].sendall(data)
                    except OSError:
                        return
