"""Each worker process of a machine has a GPU of its own, as long as there are enough."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandler
from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
from google.protobuf.struct_pb2 import Struct

from tessera_mosaic.pipeline.embedding.worker_device import WORKER_ID, device_of_worker


@pytest.mark.parametrize(
    ("workers", "gpus", "devices"),
    [
        (4, 4, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        (5, 2, ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]),
        (2, 8, ["cuda:0", "cuda:1"]),
        (2, 1, ["cuda:0", "cuda:0"]),
    ],
)
def test_worker_k_takes_gpu_k_modulo_their_number(
    workers: int, gpus: int, devices: list[str]
) -> None:
    variables = [{WORKER_ID: f"worker_{number}"} for number in range(workers)]
    assert [device_of_worker("cuda", each, lambda: gpus) for each in variables] == devices


@pytest.mark.parametrize(
    ("device", "worker", "gpus"),
    [
        ("cpu", "worker_3", 2),
        ("cuda:0", "worker_3", 2),
        ("cuda", "worker_3", 0),
        ("cuda", "sdk-0-3", 2),
        ("cuda", "", 2),
    ],
)
def test_all_else_stays_as_it_was_asked_for(device: str, worker: str, gpus: int) -> None:
    assert device_of_worker(device, {WORKER_ID: worker} if worker else {}, lambda: gpus) == device


def test_the_local_runner_numbers_its_processes_so(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = f"import os; open({str(told)!r}, 'w').write(os.environ[{WORKER_ID!r}])"
    handlers = [WorkerHandler(Mock(), Mock(), Mock(), Mock()) for _ in range(2)]
    first, second = (int(each.worker_id.removeprefix("worker_")) for each in handlers)
    assert second == first + 1
    script = tmp_path / "worker.py"
    script.write_text(program)
    provided = Mock()
    provided.provision_info.pipeline_options = Struct()
    command = f"{sys.executable} {script}".encode()
    worker = SubprocessSdkWorker(command, "localhost:1", provided, handlers[1].worker_id)
    thread = threading.Thread(target=worker.run)
    thread.start()
    thread.join(60)
    assert told.read_text() == handlers[1].worker_id
