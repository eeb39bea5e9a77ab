"""One process, or several started by `torchrun`: DDP or FSDP."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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

from tessera_mosaic.model.pretrain.recipe import Sharding

LETTING_GO = 1.0
"""Seconds in which gloo's threads let go of the tensors that they sent last."""

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""Asks for states whose parameters are whole and lie in the computer's own memory."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together, as one of them sees it.

    Parameters
    ----------
    rank
        Number of this process, from 0.
    count
        Number of processes.
    device
        Processor or GPU that this process computes on.
    """

    rank: int
    count: int
    device: torch.device

    def wait(self) -> None:
        """Wait until all have come so far."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the other processes, if `torchrun` started this one; else stay alone.

    Threads of gloo outlive the group, because PyTorch keeps it in its caches, and each lets go of
    its last tensors as soon as it has the interpreter's lock. Before Python 3.14 a thread that
    waits for the lock while the interpreter ends aborts a process that is done, so they get time.
    """
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
        if not cuda:
            time.sleep(LETTING_GO)


def wrap(module: nn.Module, here: Processes, sharding: Sharding) -> nn.Module:
    """Make a module train with the other processes, if there are any.

    Parameters
    ----------
    module
        Module to train, which is moved to the device.
    here
        The processes.
    sharding
        How they share the training.
    """
    module.to(here.device)
    if here.count == 1:
        return module
    if sharding == "ddp":
        return DistributedDataParallel(module)
    mesh = dist.init_device_mesh(here.device.type, (here.count,))
    fully_shard(module, mesh=mesh)
    return module


def whole_state(
    module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Any]]:
    """States of a module and its optimizer with every parameter whole.

    All processes have to ask, and the first is told.
    """
    return (
        get_model_state_dict(module, options=WHOLE),
        get_optimizer_state_dict(module, optimizer, options=WHOLE),
    )


def load_whole_state(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    optimizer_state: dict[str, Any],
) -> None:
    """Give a module and its optimizer the states that `whole_state` gave.

    Every process has to do so, with the same states.
    """
    options = StateDictOptions(full_state_dict=True)
    set_model_state_dict(module, state, options=options)
    set_optimizer_state_dict(module, optimizer, optimizer_state, options=options)
