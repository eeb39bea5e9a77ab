"""The command `models`: list the encoders that are known; fetch, inspect and convert weights."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_mosaic.model.cards import KNOWN, Card
from tessera_mosaic.model.checkpoints.files import CheckpointError
from tessera_mosaic.pipeline.commands.contract import Contract
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.embedding.encoder_card import card_of_name
from tessera_mosaic.pipeline.embedding.weights import local_weights, pull_weights, pulled_weights
from tessera_mosaic.pipeline.errors import as_bad_input
from tessera_mosaic.pipeline.io.urls import plain

if TYPE_CHECKING:
    from tessera_mosaic.model.checkpoints.checkpoint import Checkpoint

CONTRACT = Contract(
    costs="nothing: cards come with the package",
    tells=("models",),
    actions={
        "pull": Contract(
            costs="fetches the weights once: 4 MB to 8 GB",
            changes="the user's cache of weights (XDG_CACHE_HOME)",
            tells=("model", "path", "sha256"),
        ),
        "inspect": Contract(
            costs="reads the weights once; those at an address are kept in the user's cache",
            takes={"file": Kind.WEIGHTS},
            tells=("file", "bytes", "family", "parameters", "sizes", "sha256"),
        ),
        "convert": Contract(
            costs="reads the weights once and writes them once",
            takes={"file": Kind.WEIGHTS},
            gives={"out": Kind.WEIGHTS},
            lasting=("a file of that name is replaced",),
            tells=("out", "family", "sha256"),
        ),
    },
)


def models_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `models`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    pull = actions.add_parser("pull", help="fetch and check a model's published weights")
    pull.add_argument("model", metavar="M", help="name of a card")
    inspect = actions.add_parser("inspect", help="say what a weights file is")
    inspect.add_argument("file", metavar="F", help="checkpoint file or address")
    convert = actions.add_parser("convert", help="write weights as safetensors, or back as .pt")
    convert.add_argument("file", metavar="F", help="checkpoint file or address")
    convert.add_argument("out", metavar="OUT", help="file to write: .safetensors or .pt")
    for action in (pull, inspect, convert):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS)


def models_command(args: argparse.Namespace) -> dict[str, Any]:
    """List the cards, or do one of the actions.

    Returns
    -------
    The fields of `models --json`.

    Raises
    ------
    BadInput
        If a model is unknown, or weights cannot be fetched, read or written.
    """
    if args.action == "pull":
        result, line = _pulled(card_of_name(args.model))
    elif args.action == "inspect":
        result, line = _inspected(args.file)
    elif args.action == "convert":
        result, line = _converted(args.file, args.out)
    else:
        result = {"models": [_card(card) for card in KNOWN.values()]}
        line = _table(result["models"])
    if not args.json:
        print(line)
    return result


def _pulled(card: Card) -> tuple[dict[str, Any], str]:
    path = pull_weights(card)
    result = {"model": card.name, "path": str(path), "sha256": card.sha256}
    return result, f"{card.name}: {path}, sha256 as published"


def _inspected(file: str) -> tuple[dict[str, Any], str]:
    path = local_weights(file)
    checkpoint = _read(path)
    result = {"file": plain(file), "bytes": path.stat().st_size, **_checkpoint(checkpoint)}
    return result, "\n".join(f"{name:11} {value}" for name, value in result.items())


def _converted(file: str, out: str) -> tuple[dict[str, Any], str]:
    from tessera_mosaic.model.checkpoints.checkpoint import write_checkpoint

    checkpoint = _read(local_weights(file))
    with as_bad_input(CheckpointError):
        write_checkpoint(checkpoint, out)
    result = {"out": out, **_checkpoint(_read(Path(out)))}
    return result, f"{out}: {result['family']}, sha256 {result['sha256']}"


def _read(path: Path) -> Checkpoint:
    # Imported here, so that listing models does not load PyTorch.
    from tessera_mosaic.model.checkpoints.checkpoint import read_checkpoint

    with as_bad_input(CheckpointError):
        return read_checkpoint(path)


def _checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a weights file is."""
    published = [card.name for card in KNOWN.values() if card.sha256 == checkpoint.sha256]
    return {
        "family": checkpoint.family,
        "parameters": sum(value.numel() for value in checkpoint.state.values()),
        "sizes": dataclasses.asdict(checkpoint.sizes),
        "ignored": checkpoint.dropped,
        "sha256": checkpoint.sha256,
        "published": published[0] if published else None,
    }


def _card(card: Card) -> dict[str, Any]:
    """A card, and where its weights are on this machine."""
    here = pulled_weights(card)
    return dataclasses.asdict(card) | {"pulled": None if here is None else str(here)}


def _table(models: list[dict[str, Any]]) -> str:
    """A line for each card, and below them what there is to know of each."""
    lines = [
        f"{'model':14} {'parameters':>13}  {'values':18} {'imagery':9} {'kernel':9} {'licence':10} "
        "weights"
    ]
    for model in models:
        values = ", ".join(map(str, (*model["depths"], model["dims"])))
        lines.append(
            f"{model['name']:14} {model['parameters']:>13,}  {values:18} "
            f"{', '.join(model['imagery']):9} {model['kernel']:9} {model['licence']:10} "
            f"{model['pulled'] or model['page']}"
        )
    lines += [f"\n{model['name']}: {model['notes']}" for model in models]
    return "\n".join(lines)
