"""The command `adopt`: embeddings that were made elsewhere into a mosaic."""

from __future__ import annotations

import argparse
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import job_arguments, job_options
from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.commands.run import print_outcome, retry_command
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.tiling.lattice import DEFAULT_SIDE
from tessera_mosaic.requests import AdoptRequest

CONTRACT = Contract(
    costs="reads the embeddings once and writes them once",
    takes={
        "codes": Material.EMBEDDINGS,
        "scales": Material.EMBEDDINGS,
        "georef": Material.EMBEDDINGS,
        "observations_s2": Material.EMBEDDINGS,
        "observations_s1_ascending": Material.EMBEDDINGS,
        "observations_s1_descending": Material.EMBEDDINGS,
        "from": Material.EMBEDDINGS,
    },
    gives={"store": Kind.MOSAIC},
    needs=(
        "`codes`, `scales` and `georef`, or `from`",
        "a mosaic that is there was adopted too, from the same product",
        "pixels are those of the lattice, or `nearest` is asked for",
    ),
    resumes=True,
    lasting=("`overwrite` replaces tiles, whose old bytes are gone",),
    tells=("tiles", "done", "failed", "pixels", "seconds"),
    requests=(AdoptRequest,),
)


def adopt_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `adopt`."""
    parser.add_argument("--codes", metavar="F", help=".npy of int8 (height, width, dims)")
    parser.add_argument("--scales", metavar="F", help=".npy of float32 (height, width)")
    parser.add_argument(
        "--georef", metavar="F", help='JSON: {"crs": "EPSG:32610", "transform": [a, b, c, d, e, f]}'
    )
    for name in ("s2", "s1-ascending", "s1-descending"):
        parser.add_argument(
            f"--observations-{name}", metavar="F", help=".npy of uint16 (height, width), if known"
        )
    parser.add_argument(
        "--from",
        dest="folder",
        metavar="DIR",
        help="in place of these: what `encode` wrote, or a tree of published 0.1 degree cells",
    )
    parser.add_argument("--year", required=True, type=int, help="calendar year of the embeddings")
    parser.add_argument("--model", required=True, help="name of the product that made them")
    parser.add_argument("--store", required=True, help="path or URL of the mosaic")
    parser.add_argument(
        "--tile",
        type=int,
        default=DEFAULT_SIDE,
        metavar="PX",
        help="side of a tile (%(default)s)",
    )
    parser.add_argument(
        "--nearest",
        action="store_true",
        help="where pixels lie elsewhere than those of the lattice, take the nearest",
    )
    job_arguments(parser)


def adopt_request(args: argparse.Namespace) -> AdoptRequest:
    """The request that the options of `adopt` come to.

    Raises
    ------
    BadInput
        If one of them cannot be used.
    """
    return AdoptRequest(
        store=args.store,
        year=args.year,
        model=args.model,
        codes=args.codes,
        scales=args.scales,
        georef=args.georef,
        observations_s2=args.observations_s2,
        observations_s1_ascending=args.observations_s1_ascending,
        observations_s1_descending=args.observations_s1_descending,
        folder=args.folder,
        tile=args.tile,
        nearest=args.nearest,
        **job_options(args),
    )


def adopt_command(args: argparse.Namespace) -> dict[str, Any]:
    """Adopt, tell what came of it, and return the fields of `adopt --json`."""
    # Imported here, so that --help does not load Beam.
    from tessera_mosaic.adopting import adopt

    outcome = adopt(adopt_request(args))
    retry = retry_command(args.words, outcome)
    if not args.json:
        print_outcome(args.store, outcome, f"{outcome.pixels:,} pixels adopted", retry)
        if refused := outcome.measures.get("pixels_refused"):
            print(f"  {refused:,.0f} pixels have a scale that is none: they count as empty")
    return {**outcome.to_json(), "retry": retry}
