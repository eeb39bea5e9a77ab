"""Cores are counted on every system, and a container's quota counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tessera_mosaic.model.cores import machine_cores, usable_cores

QUOTAS = {
    "none": ({}, "", 8),
    "second version, in a container": ({"cpu.max": "200000 100000"}, "0::/", 2),
    "half a core": ({"cpu.max": "50000 100000"}, "0::/", 1),
    "no limit": ({"cpu.max": "max 100000"}, "0::/", 8),
    "more than there is": ({"cpu.max": "6400000 100000"}, "0::/", 8),
    "of a group above": ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 3),
    "first version": (
        {"cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000"},
        "5:cpu,cpuacct:/a\n3:cpuset:/\n0::/",
        4,
    ),
    "first version, in a container": (
        {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
        "5:cpuacct,cpu:/docker/0123",
        2,
    ),
    "first version, no limit": (
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        "5:cpu:/",
        8,
    ),
    "something else": ({"cpu.max": "a lot"}, "0::/", 8),
}


@pytest.mark.parametrize(("files", "own", "expected"), QUOTAS.values(), ids=QUOTAS)
def test_a_quota_counts(files: dict[str, str], own: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "own").write_text(own and own + "\n")
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text + "\n")
    assert usable_cores(8, tmp_path / "own", tmp_path / "groups") == expected


def test_systems_without_affinity_and_control_groups(tmp_path: Path) -> None:
    assert machine_cores(SimpleNamespace(cpu_count=lambda: 6)) == 6
    assert machine_cores(SimpleNamespace(cpu_count=lambda: None)) == 1
    bound = SimpleNamespace(cpu_count=lambda: 6, sched_getaffinity=lambda _: {0, 4})
    assert machine_cores(bound) == 2
    assert usable_cores(6, tmp_path / "none", tmp_path) == 6
