"""The commands around encoders: `encode` a d-pixel directory, and look after `models`."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from tessera_mosaic.model.cards import KNOWN, Card, card_named
from tessera_mosaic.model.checkpoints.checkpoint import (
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from tessera_mosaic.model.networks import parameter_count
from tessera_mosaic.pipeline.commands.refusals import model_refusals
from tessera_mosaic.pipeline.embedding.weights import local_weights, pull_weights, pulled_weights
from tessera_mosaic.pipeline.io.urls import plain


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


@model_refusals()
def models_command(args: argparse.Namespace) -> dict[str, Any]:
    """List the cards, or do one of the actions.

    Returns
    -------
    The fields of `models --json`.
    """
    result: dict[str, Any]
    if args.action == "pull":
        card = card_named(args.model)
        path = pull_weights(card)
        result = {"model": card.name, "path": str(path), "sha256": card.sha256}
        line = f"{card.name}: {path}, sha256 as published"
    elif args.action == "inspect":
        path = local_weights(args.file)
        described = describe_checkpoint(read_checkpoint(path))
        result = {"file": plain(args.file), "bytes": path.stat().st_size, **described}
        line = "\n".join(f"{name:11} {value}" for name, value in result.items())
    elif args.action == "convert":
        checkpoint = read_checkpoint(local_weights(args.file))
        write_checkpoint(checkpoint, args.out)
        result = {"out": args.out} | describe_checkpoint(read_checkpoint(args.out))
        line = f"{args.out}: {result['family']}, sha256 {result['sha256']}"
    else:
        result = {"models": [describe_card(card) for card in KNOWN.values()]}
        line = _table(result["models"])
    if not args.json:
        print(line)
    return result


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
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


def describe_card(card: Card) -> dict[str, Any]:
    """A card, how many parameters its encoder has, and where its weights are on this machine."""
    here = pulled_weights(card)
    return dataclasses.asdict(card) | {
        "parameters": parameter_count(card.family, card.sizes),
        "pulled": None if here is None else str(here),
    }


def _table(models: list[dict[str, Any]]) -> str:
    """The cards, a line each, and what there is to know of each."""
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
