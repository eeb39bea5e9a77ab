"""Global shuffling: batches of pixels of many places, in an order that a seed fixes.

Files of d-pixels are shuffled, read into a buffer of many files, and the buffer's pixels are put
in one random order: exact within a buffer, approximate across buffers, as TESSERA v1 describes it.
The order is a function of the seed, so a stream can start at any step without having run the ones
before, and a resumed training sees the batches that an uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tessera_mosaic.model.pretrain.samples import Samples, SamplesError, concatenate, decode_samples


@dataclass(frozen=True)
class Shuffled:
    """Batches without end out of files of d-pixels.

    Parameters
    ----------
    files
        Number of pixels of each file, by its name.
    read
        Gives the bytes of a file of a name.
    batch
        Number of pixels of a batch of this process.
    buffer
        Number of pixels to shuffle at once, at least; whole files are read until there are so many.
    seed
        Seed of the order.
    rank, processes
        Number of this process, from 0, and how many there are: each has every `processes`-th of
        the shuffled files, and all end an epoch with the one that has the fewest pixels.

    Raises
    ------
    SamplesError
        If there are too few files or pixels for one batch each.
    """

    files: Mapping[str, int]
    read: Callable[[str], bytes]
    batch: int
    buffer: int
    seed: int
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if len(self.files) < self.processes:
            raise SamplesError(
                f"{len(self.files)} files of d-pixels cannot be shared by {self.processes} "
                "processes: sample into more shards"
            )
        if not self.steps(0):
            raise SamplesError(
                f"{sum(self.files.values())} d-pixels in {len(self.files)} files do not fill a "
                f"batch of {self.batch} for each of {self.processes} processes"
            )

    def batches(self, start: int = 0) -> Iterator[Samples]:
        """Batches, from the one of step `start` on."""
        epoch = 0
        while start >= self.steps(epoch):
            start -= self.steps(epoch)
            epoch += 1
        while True:
            yield from self._epoch(epoch, start)
            epoch, start = epoch + 1, 0

    def _order(self, epoch: int) -> list[str]:
        names = sorted(self.files)
        rng = np.random.default_rng([self.seed, epoch])
        return [names[at] for at in rng.permutation(len(names))]

    def steps(self, epoch: int) -> int:
        """Number of batches of an epoch, the same for each process.

        The pixels that do not fill one more wait for the next epoch.
        """
        order = self._order(epoch)
        shares = (order[rank :: self.processes] for rank in range(self.processes))
        return min(sum(self.files[name] for name in share) for share in shares) // self.batch

    def _buffers(self, epoch: int) -> Iterator[list[str]]:
        names: list[str] = []
        for name in self._order(epoch)[self.rank :: self.processes]:
            names.append(name)
            if sum(self.files[name] for name in names) >= self.buffer:
                yield names
                names = []
        if names:
            yield names

    def _epoch(self, epoch: int, start: int) -> Iterator[Samples]:
        """The epoch's batches from step `start` on; a batch may span two buffers."""
        wanted = self.steps(epoch) - start
        skip = start * self.batch
        held: list[Samples] = []
        for number, names in enumerate(self._buffers(epoch)):
            pixels = sum(self.files[name] for name in names)
            if skip >= pixels:
                skip -= pixels
                continue
            rng = np.random.default_rng([self.seed, epoch, self.rank, number])
            order = rng.permutation(pixels)[skip:]
            skip = 0
            shuffled = concatenate([self._decoded(name) for name in names])
            at = 0
            while wanted and sum(map(len, held)) + len(order) - at >= self.batch:
                take = self.batch - sum(map(len, held))
                held.append(shuffled.take(order[at : at + take]))
                at += take
                yield concatenate(held)
                held = []
                wanted -= 1
            if not wanted:
                return
            if at < len(order):
                held.append(shuffled.take(order[at:]))

    def _decoded(self, name: str) -> Samples:
        samples = decode_samples(self.read(name), name)
        if len(samples) != self.files[name]:
            raise SamplesError(
                f"{name} has {len(samples)} d-pixels and its index says {self.files[name]}"
            )
        return samples
