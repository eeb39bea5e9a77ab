"""The training loop: steps, monitoring, checkpoints that resume to the same bytes."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tessera_mosaic.model.checkpoints.checkpoint import Checkpoint, state_digest, write_checkpoint
from tessera_mosaic.model.networks import Network
from tessera_mosaic.model.pretrain.history import History
from tessera_mosaic.model.pretrain.objectives import Objective
from tessera_mosaic.model.pretrain.parallel import (
    Processes,
    Sharding,
    load_whole_state,
    whole_state,
    wrap,
)
from tessera_mosaic.model.pretrain.recipe import Recipe
from tessera_mosaic.model.pretrain.shuffle import Shuffled

STATE = "state.pt"
"""What a training resumes from."""

LAST, BEST = "last.safetensors", "best.safetensors"
"""Encoders: of the latest monitored step, and of the one with the highest probe score."""


class TrainingError(ValueError):
    """A training cannot start or go on. The message says why, in one line."""


Look = Callable[[Network], dict[str, float]]
"""What monitoring says about an encoder; `probe`, where it is among it, chooses the best."""


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with a group of matrices and a group of vectors, each with its share of the rate."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "share": recipe.matrix_share},
        {"params": [p for p in trained if p.ndim == 1], "share": recipe.vector_share},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)


def train(
    objective: Objective,
    stream: Shuffled,
    recipe: Recipe,
    folder: Path,
    look: Look,
    here: Processes,
    sharding: Sharding = "ddp",
    stop_after: int | None = None,
) -> History:
    """Train an objective's encoder, from where the folder says an earlier training stopped.

    Parameters
    ----------
    objective
        What to minimise, with its encoder.
    stream
        Batches of this process.
    recipe
        How.
    folder
        For `history.csv`, `history.png`, `state.pt`, `last.safetensors` and `best.safetensors`.
    look
        Monitors the encoder every so many steps and at the end.
    here, sharding
        Processes that train together.
    stop_after
        Step at which to stop early, as an interruption would.

    Raises
    ------
    TrainingError
        If the folder's training had another recipe or other parameters, or its state is damaged,
        or the loss is no longer a number.
    """
    module = wrap(objective, here, sharding)  # type: ignore[arg-type]
    optimizer = make_optimizer(module, recipe)
    history = History()
    start = 0
    if (folder / STATE).is_file():
        start, history = _resume(folder / STATE, module, optimizer, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    batches = stream.batches(start)
    for step in range(start, min(recipe.steps, stop_after or recipe.steps)):
        rng = np.random.default_rng([recipe.seed, step, here.rank])
        inputs = objective.draw(next(batches), rng)
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * group["share"] * recipe.rate(step)
        with _precision(recipe, here):
            parts = module(*(tensor.to(here.device) for tensor in inputs))
        optimizer.zero_grad(set_to_none=True)
        parts["total"].backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), recipe.clip)
        if not bool(torch.isfinite(parts["total"])):
            raise TrainingError(f"the loss of step {step} is not finite: lower --lr")
        optimizer.step()
        history.add(step, {name: part.item() for name, part in parts.items()}, norm.item())
        if (step + 1) % recipe.every == 0 or step + 1 == recipe.steps:
            states = whole_state(module, optimizer)
            if not here.rank:
                _take_stock(states, objective, recipe, history, step + 1, folder, look)
            here.wait()
    return history


def _precision(recipe: Recipe, here: Processes) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast(here.device.type, torch.bfloat16, enabled=recipe.precision == "bf16")


def _take_stock(
    states: tuple[dict[str, Any], dict[str, Any]],
    objective: Objective,
    recipe: Recipe,
    history: History,
    step: int,
    folder: Path,
    look: Look,
) -> None:
    """Look at the encoder, then write history and checkpoints."""
    state, optimizer_state = states
    prefix = "encoder."
    parameters = {
        key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)
    }
    encoder = objective.encoder
    checkpoint = Checkpoint(encoder.family, encoder.sizes, parameters, state_digest(parameters))
    best = history.best_probe()
    seen = objective.watch() | look(checkpoint.network())
    history.look(step, seen)
    write_checkpoint(checkpoint, folder / LAST)
    if "probe" not in seen or best is None or seen["probe"] > best:
        write_checkpoint(checkpoint, folder / BEST)
    history.write(folder)
    partial = folder / f"{STATE}.partial"
    torch.save(
        {
            "step": step,
            "recipe": asdict(recipe),
            "objective": state,
            "optimizer": optimizer_state,
            "history": history.rows,
        },
        partial,
    )
    os.replace(partial, folder / STATE)


def _resume(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe
) -> tuple[int, History]:
    """Give a module and its optimizer the state of an earlier training; return its step."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        said = str(error).partition("\n")[0]
        raise TrainingError(f"{path} cannot be read, remove it to begin anew: {said}") from None
    other = [name for name, value in asdict(recipe).items() if saved["recipe"].get(name) != value]
    if other:
        raise TrainingError(
            f"{path} is of a training with another {' and '.join(other)}: "
            "name another folder, or give the same options again"
        )
    if saved["objective"].keys() != {name.removeprefix("module.") for name in module.state_dict()}:
        raise TrainingError(
            f"{path} is of a training with other parameters: "
            "name another folder, or remove it to begin anew"
        )
    load_whole_state(module, optimizer, saved["objective"], saved["optimizer"])
    return saved["step"], History(saved["history"])
