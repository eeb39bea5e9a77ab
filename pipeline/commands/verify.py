"""The command `verify`: every planned shard against its record and its bytes."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.store import ROOT, mosaic_at
from tessera_mosaic.pipeline.tiling.lattice import zone_group
from tessera_mosaic.pipeline.verification.findings import Checked, Verdict, object_checked
from tessera_mosaic.pipeline.verification.mosaic_checks import check_objects, check_tiles

log = logging.getLogger(__name__)


def verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `verify`."""
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument("--year", type=int, help="one year (all by default)")


def verify_command(args: argparse.Namespace) -> dict[str, Any]:
    """Check a mosaic, name its problems, and return the fields of `verify --json`.

    Raises
    ------
    BadInput
        If there is no mosaic, or it does not have the year.
    """
    verdict = Verdict()
    verdict.take(_checked(args.store, args.year), show=not args.json)
    if not args.json:
        verdict.show()
    return verdict.to_json()


def _checked(store: str, year: int | None) -> Iterator[Checked]:
    """Everything that was looked at, or the root alone where it cannot be read."""
    try:
        mosaic = mosaic_at(store)
    except BadInput as error:
        storage = Storage(store)
        if not any(storage.exists(f"{zone_group(zone)}/zarr.json") for zone in range(1, 61)):
            raise
        yield object_checked(ROOT, "metadata", f"the root's metadata is lost: {error}")
        return
    if year is not None:
        mosaic.step(year)
    yield from check_objects(mosaic)
    yield from check_tiles(mosaic, [year] if year else mosaic.years)
