"""Which instructions a processor computes with: what rounds the last bits of an embedding.

Sums are taken in another order where registers are wider, so that float32 results differ between
AVX2 and AVX-512, and between makers of processors. Within one such level they do not.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from tessera_mosaic.model.engine.kernels import UnusableDevice

PINNED = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
}
"""Settings of PyTorch, oneDNN and MKL under which every x86-64 with AVX2 computes alike.

The last one alone makes MKL take the same path on processors of Intel and of AMD.
"""

PINNED_LEVEL = "AVX2, pinned"
"""What is recorded of a processor that computes under `PINNED`."""


def pin_instructions() -> None:
    """Compute with the instructions that every x86-64 with AVX2 has, and in their order of sums.

    The libraries read their settings when they compute for the first time, so this has to come
    before anything is computed in the process.

    Raises
    ------
    UnusableDevice
        If this process has computed with other instructions, or the processor has no AVX2.
    """
    os.environ.update(PINNED)
    level = torch.backends.cpu.get_cpu_capability()
    if level != "AVX2":
        raise UnusableDevice(
            f"this process computes with {level}, and cannot be held to AVX2: start it anew, "
            "or on an x86-64 processor with AVX2"
        )


def instructions(device: torch.device) -> str:
    """What a device computes with, such as `AVX512 (AuthenticAMD)` or `NVIDIA L4`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if all(os.environ.get(name) == value for name, value in PINNED.items()):
        return PINNED_LEVEL
    return f"{torch.backends.cpu.get_cpu_capability()} ({_vendor()})"


def _vendor() -> str:
    """Who made the processor, as it says itself; MKL takes other paths for each."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id"))
    return next(named, "unknown")
