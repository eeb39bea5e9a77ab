"""The job as a cluster runs it: the graph pickled, the work done by a worker process that was there
before and shares no memory with the launcher, the store in a bucket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import jobs
from tests.deploy.cloud import Cloud, fake_cloud


@contextmanager
def worker_pool(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Beam's pool of SDK workers: its address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    log = folder / "pool.log"
    command = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, stderr=output
        ) as pool,
    ):
        try:
            deadline = time.monotonic() + 120
            while socket.socket().connect_ex(("localhost", port)):
                assert pool.poll() is None, log.read_text()
                assert time.monotonic() < deadline, "the worker pool does not begin to listen"
                time.sleep(0.1)
            yield f"localhost:{port}"
        finally:
            pool.terminate()


def download(cloud: Cloud, bucket: str, folder: Path) -> Path:
    """The objects of a bucket as files."""
    for (held_in, name), blob in cloud.objects.blobs.items():
        if held_in == bucket:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(blob.data)
    return folder


def test_a_worker_of_its_own_makes_the_same_store(tmp_path: Path) -> None:
    catalog = jobs.archive(tmp_path / "archive")
    assert jobs.run_here(jobs.options(catalog, tmp_path / "direct")) == 0

    with fake_cloud(tmp_path) as cloud:
        # The pool starts its workers as `python`.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **cloud.environment, "PATH": path}
        with worker_pool(tmp_path, environment) as address:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "tessera_mosaic"),
                    *jobs.options(catalog, tmp_path / "unused"),
                    *("--store=gs://mosaic", "--runner=PortableRunner", "--job_endpoint=embed"),
                    *("--environment_type=EXTERNAL", f"--environment_config={address}"),
                ],
                cwd=jobs.ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, done.stderr
        made = download(cloud, "mosaic", tmp_path / "bucket")
    assert not (tmp_path / "unused").exists()
    assert jobs.contents(made) == jobs.contents(tmp_path / "direct")


def test_without_a_worker_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So the launcher's own process did none of the work above."""
    catalog = jobs.archive(tmp_path / "archive")
    options = [
        *("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL"),
        "--environment_config=localhost:1",
    ]
    assert jobs.run_here([*jobs.options(catalog, tmp_path / "store"), *options]) == 1
    assert "gave up" in capsys.readouterr().err
    assert not list((tmp_path / "store" / "utm31" / "embeddings").glob("c/**/*"))
