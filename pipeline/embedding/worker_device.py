"""Which of a machine's GPUs a worker process encodes on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

import torch

WORKER_ID = "WORKER_ID"
"""Variable in which Beam's local runner numbers the processes that it starts: `worker_0` and so on.
Other runners set it to names of another form, or not at all."""


def device_of_worker(
    device: str,
    environment: Mapping[str, str] = os.environ,
    gpus: Callable[[], int] = torch.cuda.device_count,
) -> str:
    """The device of this process: with several workers on a machine, each has a GPU of its own.

    Where there are fewer GPUs than workers, worker k takes the GPU k modulo their number.

    Parameters
    ----------
    device
        Name of the device that was asked for: `cpu`, `cuda` or `cuda:N`.
    environment
        Variables of this process.
    gpus
        Counts the GPUs of this machine.

    Returns
    -------
    `cuda:N` where `cuda` was asked for in a numbered process of a machine with GPUs, else `device`.

    Examples
    --------
    >>> device_of_worker("cuda", {"WORKER_ID": "worker_5"}, lambda: 4)
    'cuda:1'
    """
    number = re.fullmatch(r"worker_(\d+)", environment.get(WORKER_ID, ""))
    if device != "cuda" or number is None or not (count := gpus()):
        return device
    return f"cuda:{int(number[1]) % count}"
