"""How many cores a process may use, by its machine and by its container's quota."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

OWN_GROUPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")
"""Where Linux says in which control groups a process is, and what each may use."""


def usable_cores() -> int:
    """Cores this process may keep busy, at least one."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, int(min([cores, *_quotas()])))


def _quotas() -> Iterator[float]:
    """Cores' worth of time that the process's control groups may spend, of each that is limited."""
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = GROUPS / "cpu" if controllers else GROUPS
        folder = root / group.lstrip("/")
        # A container may see its own group at the root, under whatever name the host knows it.
        for level in (folder, *folder.parents):
            if level.is_relative_to(root):
                with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                    yield _first_version(level) if controllers else _second_version(level)


def _first_version(group: Path) -> float:
    """Quota of a control group of version 1; none, or infinite, where it is not limited."""
    quota = int((group / "cpu.cfs_quota_us").read_text())
    return quota / int((group / "cpu.cfs_period_us").read_text()) if quota > 0 else float("inf")


def _second_version(group: Path) -> float:
    """The same of version 2."""
    quota, period = (group / "cpu.max").read_text().split()
    return float("inf") if quota == "max" else int(quota) / int(period)
