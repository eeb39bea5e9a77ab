"""The `pretrain` command: train an encoder on d-pixels, by Barlow Twins or from a teacher."""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

import torch

from tessera_mosaic.model import probes
from tessera_mosaic.model.cards import Card, card_for, card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint, read_checkpoint
from tessera_mosaic.model.networks import Network
from tessera_mosaic.model.pretrain import objectives
from tessera_mosaic.model.pretrain.objectives import BarlowTwins, Distillation, Objective
from tessera_mosaic.model.pretrain.parallel import Processes, processes
from tessera_mosaic.model.pretrain.samples import Samples, SamplesError, concatenate, decode_samples
from tessera_mosaic.model.pretrain.shuffle import Shuffled
from tessera_mosaic.model.pretrain.tokens import embed_samples
from tessera_mosaic.model.pretrain.training import BEST, LAST, Look, Recipe, TrainingError, train
from tessera_mosaic.pipeline.commands.refusals import model_refusals
from tessera_mosaic.pipeline.embedding.sample_tile import read_index
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage

PROJECTOR = 16_384
"""Width of the projector (TESSERA v1, the released encoders)."""

TOKENS = 40
"""Observations of each sensor in a view (TESSERA v1)."""

BUFFER = 500_000
"""Pixels shuffled at once: TESSERA v1 wrote its d-pixels in chunks of 100,000 to 500,000."""

LOOKED_AT = 512
"""Pixels of the training data whose rank is monitored (ours)."""

OPTIONS = "options.json"
"""What a folder's training was asked for."""

NOT_DECIDING = ("out", "json", "command", "beam_arguments")


def pretrain_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `pretrain`."""
    parser.add_argument("--data", required=True, nargs="+", help="folders that `sample` made")
    parser.add_argument(
        "--out",
        required=True,
        help="local folder, the same for all processes; a training in it goes on",
    )
    parser.add_argument(
        "--model", default="v2-nano", help="card with sizes and statistics (%(default)s)"
    )
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument(
        "--batch", type=int, default=Recipe.batch, help="pixels a step, in all (%(default)s)"
    )
    parser.add_argument(
        "--s2-tokens", type=int, default=TOKENS, help="Sentinel-2 dates of a view (%(default)s)"
    )
    parser.add_argument(
        "--s1-tokens", type=int, default=TOKENS, help="Sentinel-1 dates of a view (%(default)s)"
    )
    parser.add_argument(
        "--projector", type=int, default=PROJECTOR, help="width of the projector (%(default)s)"
    )
    parser.add_argument(
        "--redundancy",
        type=float,
        default=objectives.REDUNDANCY,
        help="weight of the off-diagonal terms of the cross-correlation",
    )
    parser.add_argument(
        "--mix", type=float, default=objectives.MIX, help="weight of the mix term (%(default)s)"
    )
    parser.add_argument(
        "--lr", type=float, default=Recipe.lr, help="base learning rate (%(default)s)"
    )
    parser.add_argument(
        "--vector-share",
        type=float,
        default=Recipe.vector_share,
        help="share of the rate that biases and gains have",
    )
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=Recipe.precision)
    parser.add_argument(
        "--every", type=int, default=Recipe.every, help="steps between looks (%(default)s)"
    )
    parser.add_argument(
        "--buffer", type=int, default=BUFFER, help="pixels shuffled at once (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--probe", help="folder of labelled d-pixels that choose the best")
    parser.add_argument("--teacher", help="weights to distil, instead of Barlow Twins")
    parser.add_argument("--init", help="weights to start from, instead of random ones")
    parser.add_argument("--sharding", choices=("ddp", "fsdp"), default="ddp")


@model_refusals()
def pretrain_command(args: argparse.Namespace) -> dict[str, Any]:
    """Train an encoder.

    Returns
    -------
    Where the `best` and the `last` encoder are, `steps`, and the last row of monitoring; nothing
    from the others of several processes, of which the first tells.

    Raises
    ------
    BadInput
        On anything that cannot be used.
    """
    with processes() as here:
        try:
            return _pretrain(args, here)
        except (SamplesError, TrainingError) as error:
            raise BadInput(str(error)) from None


def _pretrain(args: argparse.Namespace, here: Processes) -> dict[str, Any]:
    card = card_named(args.model)
    if not card.family.startswith("v2"):
        raise BadInput(f"--model {card.name}: only encoders of v2 can be trained")
    if args.batch % here.count:
        raise BadInput(f"--batch {args.batch} cannot be shared by {here.count} processes")
    if min(args.steps, args.batch, args.s2_tokens, args.s1_tokens, args.every, args.buffer) < 1:
        raise BadInput("steps, batch, tokens, every and buffer have to be 1 or more")
    recipe = Recipe(
        steps=args.steps,
        batch=args.batch,
        seed=args.seed,
        lr=args.lr,
        vector_share=args.vector_share,
        precision=args.precision,
        every=args.every,
    )
    files, read = _open(args.data)
    stream = Shuffled(
        files, read, args.batch // here.count, args.buffer, args.seed, here.rank, here.count
    )
    objective, look = _objective(args, card), _look(args, card, files, read)
    folder = _settled(args, files, here)
    history = train(objective, stream, recipe, folder, look, here, args.sharding)
    if here.rank:
        return {}
    last = history.rows[-1]
    if not args.json:
        said = ", ".join(f"{name} {value:.4g}" for name, value in last.items())
        print(f"{folder / BEST}: {said}")
    return {
        "best": str(folder / BEST),
        "last": str(folder / LAST),
        "steps": recipe.steps,
        "history": last,
    }


def _settled(args: argparse.Namespace, files: dict[str, int], here: Processes) -> Path:
    """The folder of a training, with all that decides its bytes written there.

    Each process comes here by itself: one writes, and all compare.

    Raises
    ------
    BadInput
        If there can be no such folder, or it has a training with other options.
    """
    storage = Storage(args.out)
    if storage.folder is None:
        raise BadInput(f"--out {args.out}: training writes to a local folder")
    options = {name: value for name, value in vars(args).items() if name not in NOT_DECIDING}
    options |= {"processes": here.count, "files": files}
    text = (json.dumps(options, indent=1) + "\n").encode()
    try:
        if not storage.create(OPTIONS, text) and storage.read(OPTIONS) != text:
            raise BadInput(
                f"{storage.url} holds a training with other options (see its {OPTIONS}): "
                "name another folder, or give the same options again"
            )
    except OSError as error:
        raise BadInput(f"--out {args.out} cannot be written to: {error.strerror}") from None
    return storage.folder


def _open(folders: list[str]) -> tuple[dict[str, int], Any]:
    """Lengths of the files in all folders, and a function that reads one."""
    storages = [Storage(folder) for folder in folders]
    files = {
        f"{number}/{key}": length
        for number, storage in enumerate(storages)
        for key, length in read_index(storage)["files"].items()
    }
    if not files:
        raise BadInput(f"{' and '.join(folders)}: no d-pixels were drawn there")

    def read(name: str) -> bytes:
        number, key = name.split("/", 1)
        storage = storages[int(number)]
        try:
            return storage.read(key)
        except FileNotFoundError:
            raise BadInput(f"{storage.url} has no {key}, which its index names") from None

    return files, read


def _objective(args: argparse.Namespace, card: Card) -> Objective:
    torch.manual_seed(args.seed)
    start = read_checkpoint(args.init) if args.init else random_checkpoint(card.sizes, args.seed)
    if start.sizes != card.sizes:
        raise BadInput(f"--init {args.init} has other sizes than {card.name}")
    encoder = start.network().train()
    lengths = args.s2_tokens, args.s1_tokens
    if args.teacher is None:
        return BarlowTwins(
            encoder,
            args.projector,
            card.statistics,
            lengths,
            redundancy=args.redundancy,
            mix=args.mix,
        )
    teacher = read_checkpoint(args.teacher)
    return Distillation(
        encoder,
        teacher.network(),
        card.statistics,
        card_for(teacher.family, teacher.sizes).statistics,
        lengths,
        lengths,
    )


def _look(args: argparse.Namespace, card: Card, files: dict[str, int], read: Any) -> Look:
    """Monitoring: rank over some training pixels, and the probe over labelled ones."""
    name = next(iter(files))
    some = decode_samples(read(name), name)
    some = some.take(torch.arange(min(LOOKED_AT, len(some))).numpy())
    labelled, folds = _labelled(args.probe) if args.probe else (None, [])
    embed = functools.partial(embed_samples, statistics=card.statistics)

    def look(encoder: Network) -> dict[str, float]:
        seen = {"rank": objectives.rank_me(embed(encoder, some))}
        if labelled is not None:
            features = embed(encoder, labelled).numpy()
            seen["probe"] = probes.score("knn", features, labelled.labels, folds).accuracy
        return seen

    return look


def _labelled(folder: str) -> tuple[Samples, list[probes.Split]]:
    """The labelled d-pixels of a folder that can be probed, and their folds."""
    files, read = _open([folder])
    samples = concatenate([decode_samples(read(name), name) for name in files])
    try:
        samples = samples.take(probes.worth_probing(samples.labels, samples.groups).nonzero()[0])
        return samples, probes.grouped_folds(samples.groups)
    except probes.ProbeError as error:
        raise BadInput(f"--probe {folder}: {error}; draw it with --labels") from None
