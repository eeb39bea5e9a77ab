"""How many cores a process may use, by its machine and by its container's quota."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

OWN_GROUPS = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")
"""Where Linux says in which control groups a process is, and what each may use."""


def usable_cores(
    cores: int | None = None, own_groups: Path = OWN_GROUPS, groups: Path = GROUPS
) -> int:
    """Number of cores that this process may keep busy, at least one.

    Parameters
    ----------
    cores
        Number of cores of the machine that the process may run on; None to ask the system.
    own_groups, groups
        File that says in which control groups the process is, and folder of all control groups.

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    quotas = _quotas(own_groups, groups)
    return max(1, int(min([cores or machine_cores(), *quotas])))


def machine_cores(system: ModuleType = os) -> int:
    """Number of cores of the machine that this process may run on.

    Parameters
    ----------
    system
        Module that asks the operating system; not every system can tell on which cores a process
        may run, and all cores count there.
    """
    affinity = getattr(system, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else system.cpu_count() or 1


def _quotas(own_groups: Path, groups: Path) -> Iterator[float]:
    """Cores' worth of time that the process's control groups may spend, of each that is limited."""
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / "cpu" if controllers else groups
        folder = root / group.lstrip("/")
        # A container may see its own group at the root, under whatever name the host knows it.
        for level in (folder, *folder.parents):
            if level.is_relative_to(root):
                with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                    yield _first_version(level) if controllers else _second_version(level)


def _first_version(group: Path) -> float:
    """Quota of a control group of version 1; infinite where it is not limited."""
    quota = int((group / "cpu.cfs_quota_us").read_text())
    return quota / int((group / "cpu.cfs_period_us").read_text()) if quota > 0 else float("inf")


def _second_version(group: Path) -> float:
    """Quota of a control group of version 2; infinite where it is not limited."""
    quota, period = (group / "cpu.max").read_text().split()
    return float("inf") if quota == "max" else int(quota) / int(period)
