"""One process, or several started by `torchrun`: DDP or FSDP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

Sharding = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is, and where it computes."""

    rank: int
    count: int
    device: torch.device

    def wait(self) -> None:
        """Wait until all have come so far."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the other processes, if `torchrun` started this one; else stay alone."""
    cuda = torch.cuda.is_available()
    if "WORLD_SIZE" not in os.environ:
        yield Processes(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    device = torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def wrap(module: nn.Module, here: Processes, sharding: Sharding) -> nn.Module:
    """Make a module train with the other processes, if there are any."""
    module.to(here.device)
    if here.count == 1:
        return module
    if sharding == "ddp":
        return DistributedDataParallel(module)
    mesh = dist.init_device_mesh(here.device.type, (here.count,))
    fully_shard(module, mesh=mesh)
    return module


_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def whole_state(
    module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Any]]:
    """States of both with every parameter whole; all processes have to ask, the first is told."""
    return (
        get_model_state_dict(module, options=_WHOLE),
        get_optimizer_state_dict(module, optimizer, options=_WHOLE),
    )


def load_whole_state(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    optimizer_state: dict[str, Any],
) -> None:
    """Give both back the states that `whole_state` gave; every process reads the same."""
    options = StateDictOptions(full_state_dict=True)
    set_model_state_dict(module, state, options=options)
    set_optimizer_state_dict(module, optimizer, optimizer_state, options=options)
