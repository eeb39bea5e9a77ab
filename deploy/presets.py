"""Options of a job for each kind of GPU worker, derived from what the machine and the job are.

    python -m deploy.presets l4               prints them, one a line
    python -m deploy.presets l4 --explain     how each number came about
    python -m deploy.presets l4 --terraform   writes them where Terraform finds them

One worker has one GPU and one process on it. Everything here follows from what `plan` knows of a
machine and the facts about a job below; `deploy/README.md` tells the reasons.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.engine.batches import GPU_SHARE, GPU_SLABS
from tessera_mosaic.model.precision import Precision
from tessera_mosaic.pipeline.imagery.read_budget import DENSE_PIXEL
from tessera_mosaic.pipeline.planning.priors import Machine, Priors, read_priors, tokens_per_second
from tessera_mosaic.pipeline.planning.revisits import GRANULE, GRANULE_STEP
from tessera_mosaic.pipeline.tiling.lattice import DEFAULT_SIDE
from tessera_mosaic.requests import DEFAULT_BLOCK

VARIABLES = Path(__file__).with_name("terraform") / "workers.auto.tfvars.json"

MODEL = "v2-large"
"""The largest published student: what suits it suits the smaller ones."""

PRECISION = Precision.BF16
"""In which GPUs encode: two to three times as fast as fp32, and codes hardly move."""

TOKENS = 145
"""Of a pixel's year, as `plan` has it of all land (docs/planet.md)."""

PASSES = 104, 70
"""Of Sentinel-2 and of Sentinel-1 over a pixel in a year, as `plan` has it of all land."""

CORE_MARGIN, OTHER_CORES = 4, 2
"""Encryption, warps, packing and compression take a few times what reading does; two cores are for
Beam and the system. A cloud's vCPU is half a core."""

EDGE_SECONDS = 30
"""At a tile's begin and end, when it gives the GPU nothing: finding scenes, the first block, and
putting the shard."""

SLABS = 8
"""In which a block is encoded, at least, so that no slab is mostly padding."""

IMAGE_GB, SYSTEM_GB = 10, 20
"""On a worker's disk: the image, 6 GB unpacked and 3.2 packed (deploy/README.md); the system."""

MEMORY_FOR_STACKS = 0.25
"""Part of a machine's memory in which stacks wait to be encoded; what is more waits on its disk."""


@dataclass(frozen=True)
class Preset:
    """A machine with one GPU.

    Parameters
    ----------
    machine, accelerator
        As Compute Engine names them.
    device_gb
        Memory of the GPU.
    """

    machine: str
    accelerator: str
    device_gb: int

    @property
    def planned(self) -> Machine:
        """The machine as `plan` knows it."""
        return next(each for each in _priors().machines if each.name == self.machine)

    @property
    def vcpus(self) -> int:
        """Virtual cores of the machine."""
        return self.planned.cores

    @property
    def memory_gb(self) -> int:
        """Memory of the machine."""
        return self.planned.memory_gb

    @property
    def rate(self) -> float:
        """Pixels a second that the GPU can be expected to encode, as `plan` reckons it."""
        return self._speed[0] / TOKENS

    @property
    def _speed(self) -> tuple[float, str]:
        """Tokens a second, and who measured."""
        priors = _priors()
        figure = {name: np.array([of.value]) for name, of in priors.figures.items()}
        speed = tokens_per_second(self.planned, card_named(MODEL), PRECISION, priors, figure)
        assert speed is not None, "a preset is of a machine that can be reckoned with"
        return float(speed[0][0]), speed[1]

    @property
    def read_seconds(self) -> float:
        """Of one core for a pixel's year, as `plan` reckons it."""
        scenes = PASSES[0] * (GRANULE / GRANULE_STEP) ** 2 + PASSES[1]
        return scenes * _priors().figures["read_core_seconds"].value / 1e6

    @property
    def vcpus_needed(self) -> float:
        """That keep the GPU in work."""
        return 2 * (OTHER_CORES + CORE_MARGIN * self.read_seconds * self.rate)

    @property
    def tiles(self) -> int:
        """In hand at once: while one is at its edges, the others keep the GPU in work."""
        return 1 + math.ceil(EDGE_SECONDS / (DEFAULT_SIDE**2 / self.rate))

    @property
    def threads(self) -> int:
        """Bundles in hand: one for each tile, as a bundle that ends waits for its last ones."""
        return self.tiles

    @property
    def slab(self) -> int:
        """Tokens that the encoder will take at a time, as it works that out on the device."""
        sizes = card_named(MODEL).sizes
        token = 4 * (12 * sizes.width + 2 * sizes.feedforward)
        return int(GPU_SHARE / GPU_SLABS * self.device_gb * 1e9 / token)

    @property
    def block(self) -> int:
        """Side of a block: at least `SLABS` slabs of tokens."""
        side = DEFAULT_BLOCK
        while side**2 * TOKENS < SLABS * self.slab:
            side *= 2
        return side

    @property
    def stack_gb(self) -> float:
        """Memory of the blocks of all tiles that are being encoded."""
        return self.tiles * self.block**2 * DENSE_PIXEL / 1e9

    @property
    def tile_gb(self) -> float:
        """Of the stack of a whole tile."""
        return DEFAULT_SIDE**2 * DENSE_PIXEL / 1e9

    @property
    def read_memory(self) -> int:
        """GB of memory in which stacks wait."""
        return int(MEMORY_FOR_STACKS * self.memory_gb)

    @property
    def read_disk(self) -> int:
        """GB of disk in which they wait: what all tiles in hand have beyond it, and a whole one."""
        return math.ceil(max(self.tile_gb, self.tiles * self.tile_gb - self.read_memory))

    @property
    def disk_gb(self) -> int:
        """Of a worker, in tens."""
        shard = DEFAULT_SIDE**2 * 2 * card_named(MODEL).dims / 1e9
        held = IMAGE_GB + SYSTEM_GB + self.read_disk + self.tiles * shard
        return math.ceil(held / 10) * 10

    def service_option(self, flex_start: bool = False) -> str:
        """How Dataflow is told of the GPU."""
        words = f"worker_accelerator=type:{self.accelerator};count:1;install-nvidia-driver"
        return words + ";provisioning_model:FLEX_START" * flex_start

    def options(self, flex_start: bool = False) -> list[str]:
        """Options of `run` for this machine on Dataflow."""
        return [
            "--device=cuda",
            f"--precision={PRECISION}",
            f"--block={self.block}",
            f"--read-memory={self.read_memory}",
            f"--read-disk={self.read_disk}",
            f"--machine_type={self.machine}",
            f"--dataflow_service_options={self.service_option(flex_start)}",
            "--experiments=no_use_multiple_sdk_containers",
            f"--number_of_worker_harness_threads={self.threads}",
            f"--disk_size_gb={self.disk_gb}",
        ]

    def explain(self) -> Iterator[str]:
        """How the numbers came about."""
        yield f"{self.rate:,.0f} px/s of {MODEL} in {PRECISION}, {TOKENS} tokens: {self._speed[1]}"
        yield f"{self.vcpus} vCPUs, of which {self.vcpus_needed:.1f} keep the GPU in work"
        yield (
            f"{self.tiles} tiles at once: one takes {DEFAULT_SIDE**2 / self.rate:.0f} s, of which "
            f"its edges leave the GPU idle for {EDGE_SECONDS} s"
        )
        yield (
            f"blocks of {self.block} px: {self.block**2 * TOKENS / self.slab:.0f} slabs of "
            f"{self.slab:,} tokens; {self.stack_gb:.1f} of {self.memory_gb} GB while encoded"
        )
        yield (
            f"a tile takes up to {self.tile_gb:.0f} GB: {self.read_memory} GB of memory and "
            f"{self.read_disk} GB of disk for those that wait"
        )
        yield f"{self.disk_gb} GB of disk: image, system, stacks, and a shard a tile in hand"


PRESETS = {
    "l4": Preset("g2-standard-8", "nvidia-l4", 24),
    "a100": Preset("a2-highgpu-1g", "nvidia-tesla-a100", 40),
    "h100": Preset("a3-highgpu-1g", "nvidia-h100-80gb", 80),
}
"""By name: Compute Engine's machine types with one GPU, of which `plan` knows the rest."""


@functools.cache
def _priors() -> Priors:
    """Figures of the package, which `plan` reckons with."""
    return read_priors()


def main() -> None:
    """Print a preset."""
    parser = argparse.ArgumentParser(prog="python -m deploy.presets", allow_abbrev=False)
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--flex-start", action="store_true", help="wait for scarce GPUs, for less")
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--terraform", action="store_true")
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    options = preset.options(args.flex_start)
    if args.terraform:
        variables = json.dumps({"worker_options": options}, indent=2)
        VARIABLES.write_text(variables + "\n", encoding="utf-8")
    else:
        print("\n".join(preset.explain() if args.explain else options))


if __name__ == "__main__":
    main()
