"""Training trains, notices collapse, resumes to the same bytes, and is one in two processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tessera_mosaic.model import probes
from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.checkpoints.checkpoint import (
    random_checkpoint,
    read_checkpoint,
    state_digest,
)
from tessera_mosaic.model.networks import Network
from tessera_mosaic.model.pretrain.history import History
from tessera_mosaic.model.pretrain.objectives import (
    BarlowTwins,
    Distillation,
    rank_me,
    spread,
)
from tessera_mosaic.model.pretrain.parallel import Processes
from tessera_mosaic.model.pretrain.samples import Samples, encode_samples
from tessera_mosaic.model.pretrain.shuffle import Shuffled
from tessera_mosaic.model.pretrain.tokens import embed_samples
from tessera_mosaic.model.pretrain.training import BEST, LAST, STATE, Recipe, TrainingError, train
from tessera_mosaic.model.sizes import Sizes
from tests.model.pretrain.seasons import TINY, fields, trained_and_other_fields

STATISTICS = card_named("v2-nano").statistics
ALONE = Processes(0, 1, torch.device("cpu"))
RECIPE = Recipe(steps=40, batch=200, lr=2e-2, precision="fp32", every=20)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def files_of(samples: Samples, parts: int = 4) -> dict[str, Samples]:
    pieces = np.array_split(np.arange(len(samples)), parts)
    return {f"{n}.npz": samples.take(piece) for n, piece in enumerate(pieces)}


def stream_of(samples: Samples, recipe: Recipe) -> Shuffled:
    files = files_of(samples)
    return Shuffled(
        {name: len(part) for name, part in files.items()},
        lambda name: encode_samples(files[name]),
        recipe.batch,
        buffer=500,
        seed=recipe.seed,
    )


def look(encoder: Network) -> dict[str, float]:
    _, other = trained_and_other_fields()
    z = embed_samples(encoder, other, STATISTICS)
    return {"rank": rank_me(z), "probe": neighbours(z, other)}


def neighbours(z: torch.Tensor, samples: Samples) -> float:
    """Share of the pixels whose crop the nearest neighbours in other fields tell."""
    folds = probes.grouped_folds(samples.groups)
    return probes.score("knn", z.numpy(), samples.labels, folds).accuracy


def twins(redundancy: float = 5e-3, quantize: bool = True) -> BarlowTwins:
    network = random_checkpoint(TINY, 0).network().train()
    return BarlowTwins(network, 64, STATISTICS, (8, 8), redundancy=redundancy, quantize=quantize)


def run(
    folder: Path,
    recipe: Recipe = RECIPE,
    redundancy: float = 5e-3,
    soils: float = 0.03,
    **more: int,
) -> History:
    torch.manual_seed(recipe.seed)
    samples, _ = trained_and_other_fields(soils=soils)
    stream = stream_of(samples, recipe)
    return train(twins(redundancy), stream, recipe, folder, look, ALONE, **more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    folder = tmp_path_factory.mktemp("trained")
    return folder, run(folder, replace(RECIPE, steps=80))


def test_the_loss_falls_and_so_do_the_errors_of_the_probe(trained: tuple[Path, History]) -> None:
    before = look(random_checkpoint(TINY, 0).network())
    first, *_, last = trained[1].rows
    assert last["total"] < 0.5 * first["total"]
    assert 1 - last["probe"] < 0.5 * (1 - before["probe"])


def test_the_rank_of_the_projection_tells_a_collapse(tmp_path: Path) -> None:
    ranks = {}
    for redundancy in (5e-3, 0.0):
        recipe = replace(RECIPE, steps=60)
        folder = tmp_path / str(redundancy)
        first, *_, last = run(folder, recipe, redundancy=redundancy, soils=0.3).rows
        assert last["total"] < 0.5 * first["total"]
        ranks[redundancy] = last["rank_projection"]
    # Without the cross-correlation term the loss falls as well, and nothing else tells.
    assert ranks[0.0] < 0.75 * ranks[5e-3]


def test_history_stands_in_a_table_and_a_picture(trained: tuple[Path, History]) -> None:
    folder, _ = trained
    lines = (folder / "history.csv").read_text().splitlines()
    names = "step,total,invariance,redundancy,mix,gradient,rank_projection,rank,probe"
    assert lines[0] == names
    assert [int(line.split(",")[0]) for line in lines[1:]] == [20, 40, 60, 80]
    assert (folder / "history.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_encoder_is_the_best_by_probe(trained: tuple[Path, History]) -> None:
    folder, history = trained
    best = look(read_checkpoint(folder / BEST).network())
    assert best["probe"] == max(row["probe"] for row in history.rows)
    last = look(read_checkpoint(folder / LAST).network())
    assert last["probe"] == history.rows[-1]["probe"]


def test_an_interrupted_training_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(whole)
    # It stops after the look of step 20, and what it did since then is done again.
    run(broken, stop_after=27)
    run(broken)
    for name in ("history.csv", "history.png"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name
    for name in (LAST, BEST):
        one, other = (read_checkpoint(folder / name).state for folder in (whole, broken))
        assert state_digest(one) == state_digest(other)
    one, other = (torch.load(folder / STATE, weights_only=True) for folder in (whole, broken))
    # Adam's moments and counts of steps are among it.
    assert any("exp_avg" in state for state in one["optimizer"]["state"].values())
    assert told(one) == told(other)


def told(value: Any) -> Any:
    """A state with its tensors as bytes, to be compared."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.numpy().tobytes()
    if isinstance(value, dict):
        return {name: told(each) for name, each in value.items()}
    return [told(each) for each in value] if isinstance(value, list | tuple) else value


def test_another_training_cannot_go_on_in_the_same_folder(tmp_path: Path) -> None:
    run(tmp_path, stop_after=20)
    with pytest.raises(TrainingError, match=r"another lr and clip"):
        run(tmp_path, replace(RECIPE, lr=1e-3, clip=1.0))
    one, other = (random_checkpoint(TINY, seed).network() for seed in range(2))
    student = Distillation(one, other, STATISTICS, STATISTICS, (8, 8), (8, 8))
    with pytest.raises(TrainingError, match="with other parameters"):
        train(student, stream_of(fields(), RECIPE), RECIPE, tmp_path, look, ALONE)


@pytest.mark.parametrize("damage", [lambda data: data[:-200], lambda data: b"", lambda data: b"x"])
def test_a_damaged_state_is_not_gone_on_from(
    trained: tuple[Path, History], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / STATE).write_bytes(damage((trained[0] / STATE).read_bytes()))
    with pytest.raises(TrainingError, match=r"state\.pt cannot be read"):
        run(tmp_path)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    objective = twins()
    with torch.no_grad():
        objective.encoder.dim_reducer[0].weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="loss of step 0 is not finite"):
        train(objective, stream_of(fields(), RECIPE), RECIPE, tmp_path, look, ALONE)
    assert not (tmp_path / STATE).exists()


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    recipe = Recipe(steps=100)
    rates = [recipe.rate(step) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == 1
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0)


def test_matrices_and_vectors_have_their_own_rates(tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=1, warmup=0.0, weight_decay=0.0, every=1)
    objective = twins()
    before = {name: p.detach().clone() for name, p in objective.named_parameters()}
    train(objective, stream_of(fields(), recipe), recipe, tmp_path, look, ALONE)
    # The first step of Adam is as long as the rate, wherever the gradient is not tiny.
    steps = {
        kind: max(
            float((parameter.detach() - before[name]).abs().max())
            for name, parameter in objective.named_parameters()
            if (parameter.ndim > 1) == (kind == "matrix")
        )
        for kind in ("matrix", "vector")
    }
    assert steps["matrix"] == pytest.approx(recipe.lr * 0.2, rel=0.01)
    assert steps["vector"] == pytest.approx(recipe.lr * 0.0048, rel=0.01)


STUDENT = Sizes(latent=16, layers=1, heads=4, feedforward=128, representation=128)


def test_a_student_learns_its_teacher_with_the_most_in_its_first_values(
    trained: tuple[Path, History], tmp_path: Path
) -> None:
    teacher = read_checkpoint(trained[0] / BEST).network()
    student = random_checkpoint(STUDENT, 1).network().train()
    recipe = replace(RECIPE, steps=160, batch=64, every=160, vector_share=0.2)
    torch.manual_seed(0)
    # Most of what a view of a few days says of a teacher's vector is noise.
    objective = Distillation(student, teacher, STATISTICS, STATISTICS, (20, 24), (20, 24))
    samples, other = trained_and_other_fields()
    train(objective, stream_of(samples, recipe), recipe, tmp_path, lambda _: {}, ALONE)
    with torch.no_grad():
        z, wanted = (embed_samples(network, other, STATISTICS) for network in (student, teacher))
        # A teacher's vectors are much alike: what counts is how they differ from their mean.
        explained = {
            depth: 1 - float(spread(head(z[:, : int(depth)]) - wanted) / spread(wanted))
            for depth, head in objective.heads.items()
        }
    # Most of it, with any seed and on any processor.
    assert explained["128"] > 0.7
    assert explained["16"] > 0.85 * explained["128"]
    taught, whole, prefix = (neighbours(space, other) for space in (wanted, z, z[:, :16]))
    assert whole > 0.8
    assert prefix > 0.9 * taught


WORKER = """
import sys
from pathlib import Path
import torch
from tessera_mosaic.model.pretrain.objectives import BarlowTwins
from tessera_mosaic.model.pretrain.parallel import processes
from tessera_mosaic.model.pretrain.shuffle import Shuffled
from tessera_mosaic.model.pretrain.training import train
from tests.model.pretrain import test_training as t

torch.set_num_threads(1)
# Other threads wait for the interpreter, which shows those that wait for it when it ends.
sys.setswitchinterval(10)
folder, sharding = Path(sys.argv[1]), sys.argv[2]
with processes() as here:
    whole = t.fields()
    half = whole.take(t.np.arange(here.rank * 100, here.rank * 100 + 100))
    # What rounds the other way makes more of itself with int8, and with long steps.
    recipe = t.replace(t.RECIPE, steps=2, every=1, lr=1e-3)
    # Several are interrupted, and go on from what they left.
    for stop in (None,) if here.count == 1 else (1, None):
        torch.manual_seed(0)
        objective = t.twins(quantize=False)
        draw = objective.draw
        if here.count == 1:
            both = whole.take(t.np.arange(200))
            objective.draw = lambda samples, rng: t.joined(draw, both, recipe)
            stream = t.stream_of(whole, recipe)
        else:
            objective.draw = lambda samples, rng: t.drawn(draw, half, here.rank)
            stream = t.stream_of(whole, t.replace(recipe, batch=100))
        look = lambda _: {}
        train(objective, stream, recipe, folder, look, here, sharding, stop_after=stop)
"""


def drawn(draw: Callable, samples: Samples, rank: int) -> tuple[torch.Tensor, ...]:
    """Inputs of one process that do not depend on the step; the share is the first's."""
    *views, share, mate = draw(samples, np.random.default_rng(rank))
    return (*views, share, mate)


def joined(draw: Callable, samples: Samples, recipe: Recipe) -> tuple[torch.Tensor, ...]:
    """The inputs of both processes, as one batch."""
    halves = [drawn(draw, samples.take(np.arange(n * 100, n * 100 + 100)), n) for n in range(2)]
    views = [torch.cat(pair) for pair in zip(*(half[:4] for half in halves), strict=True)]
    return (*views, halves[0][4], torch.cat([halves[0][5], halves[1][5] + 100]))


def train_apart(folder: Path, launch: list[str], sharding: str = "ddp") -> dict[str, torch.Tensor]:
    """Parameters that the worker ends with, in processes of its own."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, *launch, str(script), str(folder), sharding]
    subprocess.run(command, check=True, env=environment, timeout=300)
    return read_checkpoint(folder / LAST).state


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return train_apart(tmp_path_factory.mktemp("one"), [])


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_processes_train_as_one_with_the_whole_batch(
    one_process: dict[str, torch.Tensor], tmp_path: Path, sharding: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2"]
    launch += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    two = train_apart(tmp_path, launch, sharding)
    start = random_checkpoint(TINY, 0).state
    for name, value in one_process.items():
        # Some vectors have no gradient but rounding, of which Adam makes whole steps.
        if value.ndim > 1:
            assert (two[name] - value).norm() < 0.05 * (value - start[name]).norm(), name
