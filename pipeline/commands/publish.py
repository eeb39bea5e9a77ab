"""The command `publish`: what makes a mosaic easy to find, to see and to open."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from tessera_mosaic.pipeline.errors import Altered, BadInput
from tessera_mosaic.pipeline.ledger.keys import REGISTRY, REPORT
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tessera_mosaic.pipeline.publishing.publish import publish

log = logging.getLogger(__name__)


def publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `publish`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")


def publish_command(args: argparse.Namespace) -> dict[str, Any]:
    """Publish a mosaic, say what is where, and return the fields of `publish --json`.

    Raises
    ------
    BadInput
        If there is no mosaic, or part of it is damaged.
    """
    storage = mosaic_at(args.store).storage
    try:
        result = publish(storage)
    except Altered as error:
        raise BadInput(f"{args.store} is damaged, `verify` names all of it: {error}") from None
    where = {"report": storage.locate(REPORT), "registry": storage.locate(REGISTRY)}
    if not args.json:
        print(
            f"{result['tiles']:,} tiles in the registry, {result['new']:,} of them new; "
            f"{result['painted']:,} painted into the picture"
        )
        print(f"report: {where['report']}")
    return result | where
