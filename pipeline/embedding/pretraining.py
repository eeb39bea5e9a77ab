"""From folders of d-pixels to trained weights: what reads, checks and writes around a training."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tessera_mosaic.model import probes
from tessera_mosaic.model.cards import Card, CardError, card_for, card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint, read_checkpoint
from tessera_mosaic.model.checkpoints.files import CheckpointError, file_digest
from tessera_mosaic.model.networks import Network
from tessera_mosaic.model.pretrain.objectives import BarlowTwins, Distillation, Objective, rank_me
from tessera_mosaic.model.pretrain.parallel import Processes, processes
from tessera_mosaic.model.pretrain.samples import Samples, SamplesError, concatenate, decode_samples
from tessera_mosaic.model.pretrain.shuffle import Shuffled
from tessera_mosaic.model.pretrain.tokens import embed_samples
from tessera_mosaic.model.pretrain.training import BEST, LAST, Look, Recipe, TrainingError, train
from tessera_mosaic.pipeline.embedding.encoder_requests import PretrainRequest
from tessera_mosaic.pipeline.embedding.sample_index import read_index, recorded_digests
from tessera_mosaic.pipeline.errors import BadInput, as_bad_input
from tessera_mosaic.pipeline.io.storage import Storage

LOOKED_AT = 512
"""Pixels of the training data whose rank is monitored (ours)."""

OPTIONS = "options.json"
"""Object of a training's folder that holds what it was asked for."""

NOT_DECIDING = ("out", "words")
"""What decides no byte of a training: where it goes, and how the command was once written."""

BY_CONTENT = ("data", "probe", "teacher", "init")
"""Folders and files that a training is asked for: what decides its bytes is what they hold."""


@dataclass(frozen=True)
class Pretrained:
    """What came of a training.

    Parameters
    ----------
    best, last
        Paths of the weights files of the look with the highest probe score, and of the last one.
    steps
        Number of steps that the encoder was trained for.
    history
        What the last look said, by name: the step, parts of the loss, ranks, the probe's score.
    """

    best: Path
    last: Path
    steps: int
    history: dict[str, float]


@dataclass(frozen=True)
class SampleFolders:
    """Folders of d-pixels, whose files have names of their own here.

    Parameters
    ----------
    storages
        The folders.
    files
        Number of pixels of each file, by the number of its folder and its name there.
    """

    storages: tuple[Storage, ...]
    files: dict[str, int]

    @classmethod
    def open(cls, folders: Sequence[str]) -> SampleFolders:
        """Read the indices of some folders.

        Parameters
        ----------
        folders
            Paths or URLs of folders that `sample` made.

        Raises
        ------
        BadInput
            If there are no d-pixels.
        """
        storages = tuple(Storage(folder) for folder in folders)
        files = {
            f"{number}/{key}": length
            for number, storage in enumerate(storages)
            for key, length in read_index(storage).files.items()
        }
        if not files:
            raise BadInput(f"{' and '.join(folders)}: no d-pixels were drawn there")
        return cls(storages, files)

    def read(self, name: str) -> bytes:
        """Bytes of a file.

        Raises
        ------
        BadInput
            If the folder's index names a file that is not there.
        """
        number, key = name.split("/", 1)
        storage = self.storages[int(number)]
        try:
            return storage.read(key)
        except FileNotFoundError:
            raise BadInput(f"{storage.url} has no {key}, which its index names") from None

    def digest(self) -> str:
        """Digest of all that the files hold, wherever the folders are."""
        found = hashlib.sha256()
        for number, storage in enumerate(self.storages):
            known = recorded_digests(storage)
            for name in self.files:
                of, key = name.split("/", 1)
                if int(of) == number:
                    told = known.get(key) or hashlib.sha256(self.read(name)).hexdigest()
                    found.update(f"{number} {key} {told}\n".encode())
        return found.hexdigest()

    def samples(self, name: str) -> Samples:
        """d-pixels of a file."""
        return decode_samples(self.read(name), name)


def pretrain(request: PretrainRequest) -> Pretrained | None:
    """Train an encoder on d-pixels without labels, by Barlow Twins or from a teacher.

    Where `torchrun` started several processes, each has to call this with the same request. A
    training that was stopped goes on from what its folder holds.

    Parameters
    ----------
    request
        On what, how, and where the weights go.

    Returns
    -------
    Pretrained or None
        None in all processes but the first.

    Raises
    ------
    BadInput
        If the d-pixels, the weights or the folder cannot be used, or the loss is no number.
    """
    refused = CardError, CheckpointError, SamplesError, TrainingError
    with processes() as here, as_bad_input(*refused):
        return _pretrain(request, here)


def _pretrain(request: PretrainRequest, here: Processes) -> Pretrained | None:
    if request.batch % here.count:
        raise BadInput(f"it cannot be shared by {here.count} processes", "batch", request.batch)
    card = card_named(request.model)
    recipe = Recipe(
        steps=request.steps,
        batch=request.batch,
        seed=request.seed,
        lr=request.lr,
        vector_share=request.vector_share,
        precision="bf16" if request.precision == "bf16" else "fp32",
        every=request.every,
    )
    folders = SampleFolders.open(request.data)
    stream = Shuffled(
        folders.files,
        folders.read,
        request.batch // here.count,
        request.buffer,
        request.seed,
        here.rank,
        here.count,
    )
    objective, look = _objective(request, card), _look(request, card, folders)
    folder = _settled(request, folders, here)
    history = train(objective, stream, recipe, folder, look, here, request.sharding)
    if here.rank:
        return None
    return Pretrained(folder / BEST, folder / LAST, recipe.steps, history.rows[-1])


def _settled(request: PretrainRequest, folders: SampleFolders, here: Processes) -> Path:
    """The folder of a training, with all that decides its bytes written there.

    Each process comes here by itself: one writes, and all compare.

    Raises
    ------
    BadInput
        If there can be no such folder, or it has a training that was asked for otherwise.
    """
    storage = Storage(request.out)
    if storage.folder is None:
        raise BadInput("training writes to a local folder", "out", request.out)
    spelled = dataclasses.asdict(request) | {"processes": here.count, "files": folders.files}
    asked = _deciding(spelled) | _contents(request, folders)
    del asked["files"]
    try:
        if storage.create(OPTIONS, (json.dumps(asked, indent=1) + "\n").encode()):
            return storage.folder
        known = _deciding(json.loads(storage.read(OPTIONS)))
    except OSError as error:
        raise BadInput(f"it cannot be written to: {error.strerror}", "out", request.out) from None
    except ValueError as error:
        raise BadInput(f"{storage.url}/{OPTIONS} cannot be read: {error}") from None
    # Trainings of earlier versions tell how their folders and files were spelt.
    same = json.loads(json.dumps(_deciding(spelled) if "files" in known else asked))
    if other := [name for name in same if name not in known or known[name] != same[name]]:
        raise BadInput(
            f"{storage.url} holds a training with other options or files: another "
            f"{' and '.join(other)} (see its {OPTIONS}): name another folder, or ask for the same "
            "again"
        )
    return storage.folder


def _deciding(asked: dict[str, object]) -> dict[str, object]:
    """What decides the bytes of a training."""
    return {name: value for name, value in asked.items() if name not in NOT_DECIDING}


def _contents(request: PretrainRequest, folders: SampleFolders) -> dict[str, object]:
    """Digests of the folders and files that a training is asked for, by `BY_CONTENT`."""
    probe = None if request.probe is None else SampleFolders.open([request.probe])
    weights = (
        None if path is None else file_digest(Path(path).expanduser())
        for path in (request.teacher, request.init)
    )
    return dict(
        zip(BY_CONTENT, (folders.digest(), probe and probe.digest(), *weights), strict=True)
    )


def _objective(request: PretrainRequest, card: Card) -> Objective:
    torch.manual_seed(request.seed)
    start = (
        read_checkpoint(request.init)
        if request.init
        else random_checkpoint(card.sizes, request.seed)
    )
    if start.sizes != card.sizes:
        raise BadInput(f"it has other sizes than {card.name}", "init", request.init)
    encoder = start.network().train()
    lengths = request.s2_tokens, request.s1_tokens
    if request.teacher is None:
        return BarlowTwins(
            encoder,
            request.projector,
            card.statistics,
            lengths,
            redundancy=request.redundancy,
            mix=request.mix,
        )
    teacher = read_checkpoint(request.teacher)
    return Distillation(
        encoder,
        teacher.network(),
        card.statistics,
        card_for(teacher.family, teacher.sizes).statistics,
        lengths,
        lengths,
    )


def _look(request: PretrainRequest, card: Card, folders: SampleFolders) -> Look:
    """Monitoring: rank over some training pixels, and the probe over labelled ones."""
    some = folders.samples(next(iter(folders.files)))
    some = some.take(np.arange(min(LOOKED_AT, len(some))))
    probe = _probe(request.probe) if request.probe else None
    embed = functools.partial(embed_samples, statistics=card.statistics)

    def look(encoder: Network) -> dict[str, float]:
        seen = {"rank": rank_me(embed(encoder, some))}
        if probe is not None:
            labelled, score = probe
            seen["probe"] = score(embed(encoder, labelled).numpy())
        return seen

    return look


def _probe(folder: str) -> tuple[Samples, Callable[[probes.Features], float]]:
    """The labelled d-pixels of a folder that can be probed, and what scores their embeddings."""
    folders = SampleFolders.open([folder])
    samples = concatenate([folders.samples(name) for name in folders.files])
    try:
        samples = samples.take(probes.worth_probing(samples.labels, samples.groups).nonzero()[0])
        folds = probes.grouped_folds(samples.groups)
    except probes.ProbeError as error:
        raise BadInput(
            f"{error}; draw d-pixels of labelled pixels alone", "probe", folder
        ) from None
    return samples, lambda z: probes.score("knn", z, samples.labels, folds).accuracy
