"""The command `sample`: draw pixels of a region's year for training."""

from __future__ import annotations

import argparse
import json
import logging
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import catalogue_arguments
from tessera_mosaic.pipeline.console import own_options
from tessera_mosaic.pipeline.embedding.sample_tile import (
    FRACTION,
    RECIPE,
    Sampling,
    draw,
    read_index,
    tiles_of_zone,
)
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.imagery.label_raster import read_labels
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.beam_options import beam_options
from tessera_mosaic.pipeline.scenes import open_catalogue
from tessera_mosaic.pipeline.scenes.scene import check_year
from tessera_mosaic.pipeline.stacks.read_stack import Preprocessing
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.tiling.lattice import DEFAULT_SIDE, check_side
from tessera_mosaic.pipeline.tiling.ownership import zones_touched
from tessera_mosaic.pipeline.tiling.region import read_region

log = logging.getLogger(__name__)


def sample_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sample`."""
    catalogue_arguments(parser)
    parser.add_argument("--region", required=True, help="W,S,E,N in degrees, or a vector file")
    parser.add_argument("--year", required=True, type=int)
    parser.add_argument("--out", required=True, help="folder or URL for the d-pixels")
    parser.add_argument(
        "--fraction", type=float, default=FRACTION, help="share of the pixels (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", help="raster of class codes: draw labelled pixels only")
    parser.add_argument("--fields", help="raster of field numbers on the grid of --labels")
    parser.add_argument(
        "--tile", type=int, default=DEFAULT_SIDE, help="side of a tile in px (%(default)s)"
    )
    parser.add_argument("--kernel", choices=tuple(Kernel), default=Kernel.BILINEAR)
    parser.add_argument("--offset", choices=tuple(OffsetRule), default=OffsetRule.REFERENCE)
    parser.add_argument("--runner", default="direct", help="direct (default), or a Beam runner")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes of the local runner (%(default)s)"
    )


def sample_command(args: argparse.Namespace) -> dict[str, Any]:
    """Draw d-pixels.

    Returns
    -------
    `tiles` asked for, `files` and `pixels` in the folder, and tiles that `failed`.

    Raises
    ------
    BadInput
        On anything that cannot be used, or a folder whose d-pixels were drawn otherwise.
    """
    options = beam_options(args.runner, args.workers, args.beam_arguments, own_options(args))
    check_side(args.tile)
    check_year(args.year)
    if not 0 < args.fraction <= 1:
        raise BadInput(f"--fraction {args.fraction}: choose a share above 0 and up to 1")
    if args.fields and not args.labels:
        raise BadInput("--fields numbers the fields of --labels: name both")
    if args.labels:
        read_labels(args.labels, args.fields)
    source = open_catalogue(args.catalog, args.allow_host)
    rules = Preprocessing(source.imagery, args.kernel, args.offset)
    rules.check(source)
    sampling = Sampling(
        catalog=args.catalog,
        allow_hosts=tuple(args.allow_host),
        year=args.year,
        out=args.out,
        region=read_region(args.region),
        side=args.tile,
        fraction=args.fraction,
        seed=args.seed,
        rules=rules,
        labels=args.labels,
        fields=args.fields,
    )
    zones = zones_touched(sampling.region)
    tiles = sum(1 for zone in zones for _ in tiles_of_zone(zone, sampling))
    storage = Storage(args.out)
    _settle_recipe(storage, args, rules)
    draw(zones, sampling, options)
    index = read_index(storage)
    pixels = sum(index["files"].values())
    if not args.json:
        print(f"{args.out}: {pixels:,} d-pixels of {len(index['files'])} of {tiles} tiles")
        for tile, why in index["failed"].items():
            print(f"  {tile} failed: {why}")
    return {
        "tiles": tiles,
        "files": len(index["files"]),
        "pixels": pixels,
        "failed": len(index["failed"]),
    }


def _settle_recipe(storage: Storage, args: argparse.Namespace, rules: Preprocessing) -> None:
    """Write what the d-pixels are drawn from, or refuse to add to others."""
    asked = ("catalog", "region", "year", "fraction", "seed", "labels", "fields", "tile")
    recipe = {name: getattr(args, name) for name in asked}
    recipe |= {"imagery": rules.imagery, **rules.identity()}
    text = (json.dumps(recipe, indent=1) + "\n").encode()
    if not storage.create(RECIPE, text) and storage.read(RECIPE) != text:
        raise BadInput(
            f"{storage.url} holds d-pixels drawn with other options (see its {RECIPE}): "
            "name another folder"
        )
