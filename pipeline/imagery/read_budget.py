"""How much memory and local disk the stacks of blocks may take while they wait to be encoded."""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.errors import BadInput, StoreFull

GB = 1_000_000_000

MEMORY_GB, DISK_GB = 4.0, 20.0
"""Taken unless something else is asked for, where there is as much: what a worker of 4 virtual
cores and 16 GB can spare, and what holds a tile of 2048 px with 146 days and 200 passes whole."""

MEMORY_SHARE, DISK_SHARE = 0.25, 0.5
"""Largest parts of the machine's memory, and of what is free on its disk, that are taken so."""

DENSE_PIXEL = 146 * 21 + 200 * 4
"""Bytes of a pixel's stack where a year has many days and passes: ten bands and a mask, two
polarisations."""

LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux says how much memory a container may take."""


def usable_memory(limits: Sequence[Path] = LIMITS) -> int:
    """Bytes of memory that this process may take, by its machine and its container."""
    known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in limits:
        try:
            known.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return min(known)


def free_disk() -> int:
    """Bytes that are free where temporary files lie.

    Raises
    ------
    BadInput
        If no temporary file can be made anywhere.
    """
    try:
        return shutil.disk_usage(tempfile.gettempdir()).free
    except FileNotFoundError as error:
        raise BadInput(
            f"no temporary file can be made ({error.strerror or error}): free some room, or set "
            "TMPDIR to a folder that has some"
        ) from None


class ReadBudget:
    """Room for stacks, shared by the tiles that a process works on. Safe to use from many threads.

    Parameters
    ----------
    memory, disk
        Bytes of memory, and of temporary files.

    Examples
    --------
    >>> budget = ReadBudget(memory=1_000, disk=0)
    >>> room = budget.take(600)
    >>> int(room.array((2, 3), np.uint16).sum())
    0
    >>> budget.free
    400
    >>> room.give_back()
    >>> budget.free
    1000
    """

    def __init__(self, memory: int, disk: int) -> None:
        self.memory, self.disk = memory, disk
        self._used = {True: 0, False: 0}
        self._changed = threading.Condition()

    @property
    def largest(self) -> int:
        """Most bytes that can be taken at once."""
        return max(self.memory, self.disk)

    @property
    def free(self) -> int:
        """Bytes that are not taken."""
        with self._changed:
            return self.memory + self.disk - sum(self._used.values())

    def take(self, size: int) -> Room:
        """Wait for room for so many bytes, and take it: in memory if it fits there, else on disk.

        More than there is counts as all there is: a block has to be read to be encoded.
        """
        with self._changed:
            while True:
                for in_memory, most in ((True, self.memory), (False, self.disk)):
                    if most and self._used[in_memory] + size <= most:
                        self._used[in_memory] += size
                        return Room(self, size, in_memory)
                if size > self.largest and not any(self._used.values()):
                    in_memory = self.memory >= self.disk
                    self._used[in_memory] += size
                    return Room(self, size, in_memory)
                self._changed.wait()

    def _give_back(self, size: int, in_memory: bool) -> None:
        with self._changed:
            self._used[in_memory] -= size
            self._changed.notify_all()


class Room:
    """Room that was taken, until it is given back, at once or little by little.

    Parameters
    ----------
    budget
        Where it was taken.
    size
        Bytes.
    in_memory
        Whether it is in memory, or on a disk.
    """

    def __init__(self, budget: ReadBudget, size: int, in_memory: bool) -> None:
        self._budget, self._left, self.in_memory = budget, size, in_memory

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of zeros in it; what it takes is free when nobody holds the array any more.

        Raises
        ------
        StoreFull
            If the disk is full.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if self.in_memory or size == 0:
            return np.zeros(shape, dtype)
        try:
            # Unnamed: nothing is left behind, however the process ends.
            with tempfile.TemporaryFile(prefix="tessera-mosaic-") as file:
                # Reserved at once: a page that finds no room later would end the process.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
                mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise StoreFull(
                f"no room for {size:,} bytes of a stack in {tempfile.gettempdir()}: "
                f"{error.strerror or error}"
            ) from None
        return np.frombuffer(mapped, dtype).reshape(shape)

    def give_back(self, size: int | None = None) -> None:
        """Let others have some of it, or all that is left."""
        size = self._left if size is None else min(size, self._left)
        self._left -= size
        self._budget._give_back(size, self.in_memory)


GIGABYTES = Bounds("choose 0 or more GB", least=0)


@dataclass(frozen=True)
class ReadLimits:
    """How much memory and local disk of a machine stacks may take.

    Parameters
    ----------
    read_memory, read_disk
        GB of memory and of local disk, for all processes of the machine together; None for what it
        can spare.

    Raises
    ------
    BadInput
        If there would be no room at all.

    Examples
    --------
    >>> ReadLimits(read_memory=2, read_disk=0).budget(share=0.5).memory
    1000000000
    """

    read_memory: float | None = field(default=None, metadata=GIGABYTES.metadata)
    read_disk: float | None = field(default=None, metadata=GIGABYTES.metadata)

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.read_memory == self.read_disk == 0:
            raise BadInput("stacks need memory or disk: choose more than 0", "read_disk", 0)

    def budget(self, share: float = 1.0) -> ReadBudget:
        """The room of a process that has this share of the machine."""
        memory, disk = self.read_memory, self.read_disk
        if memory is None:
            memory = min(MEMORY_GB, MEMORY_SHARE * usable_memory() / GB)
        if disk is None:
            disk = min(DISK_GB, DISK_SHARE * free_disk() / GB)
        return ReadBudget(int(share * memory * GB), int(share * disk * GB))

    def check_here(self, block: int) -> None:
        """Refuse what this machine has not, and less than a block takes.

        Parameters
        ----------
        block
            Side of a block in pixels.

        Raises
        ------
        BadInput
            Naming the parameter.
        """
        memory, disk = usable_memory() / GB, free_disk() / GB
        if self.read_memory is not None and self.read_memory > memory:
            raise BadInput(
                f"there are {memory:.1f} GB of memory here: choose less",
                "read_memory",
                self.read_memory,
            )
        if self.read_disk is not None and self.read_disk > disk:
            raise BadInput(
                f"{disk:.1f} GB are free in {tempfile.gettempdir()}: choose less",
                "read_disk",
                self.read_disk,
            )
        needed = block**2 * DENSE_PIXEL
        if self.budget().largest < needed:
            raise BadInput(
                f"the stack of a block of {block} px may take {needed / GB:.2f} GB: "
                "choose more, or smaller blocks",
                "read_memory",
                self.budget().memory / GB,
            )


SPARE = ReadLimits()
"""As much as a machine can spare."""
