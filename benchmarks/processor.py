"""On which processor a figure was taken, and how busy the machine was."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tessera_mosaic.model.cores import usable_cores

FAST_MATRICES = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 bf16", "avx512f": "AVX-512"}
"""What Linux calls the instructions that decide how fast a processor multiplies matrices."""


def machine_line() -> str:
    """One line above every table: processor, cores that may be used, and the load before it."""
    return f"{processor()}, {usable_cores()} cores, load {os.getloadavg()[0]:.1f}"


def processor() -> str:
    """Name of the processor, and its fastest instructions for matrices.

    Examples
    --------
    >>> bool(processor())
    True
    """
    told = Path("/proc/cpuinfo")
    if not told.exists():
        return platform.processor() or platform.machine()
    fields = [line.split(":", 1) for line in told.read_text().splitlines() if ":" in line]
    known = {name.strip(): value.strip() for name, value in fields}
    flags = known.get("flags", "").split()
    fastest = next((word for flag, word in FAST_MATRICES.items() if flag in flags), "")
    name = known.get("model name") or platform.machine()
    return f"{name} ({fastest})" if fastest else name
