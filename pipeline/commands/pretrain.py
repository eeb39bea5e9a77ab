"""The command `pretrain`: train an encoder on d-pixels, by Barlow Twins or from a teacher."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, get_args

from tessera_mosaic.model.precision import Precision
from tessera_mosaic.model.pretrain.recipe import Sharding
from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.embedding.encoder_requests import PretrainRequest

Asked = PretrainRequest
"""Whose defaults are those of the options."""

CONTRACT = Contract(
    costs="`steps` times a batch forward and backward: a GPU for hours to days",
    takes={
        "data": Material.DPIXELS,
        "probe": Material.DPIXELS,
        "teacher": Kind.WEIGHTS,
        "init": Kind.WEIGHTS,
    },
    gives={"out": Kind.WEIGHTS},
    needs=("a training that was begun in `out` goes on with the options that it began with",),
    resumes=True,
    tells=("best", "last", "steps", "history"),
    requests=(PretrainRequest,),
)


def pretrain_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `pretrain`."""
    parser.add_argument("--data", required=True, nargs="+", help="folders that `sample` made")
    parser.add_argument(
        "--out",
        required=True,
        help="local folder, the same for all processes; a training in it goes on",
    )
    parser.add_argument(
        "--model", default=Asked.model, help="card with sizes and statistics (%(default)s)"
    )
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument(
        "--batch", type=int, default=Asked.batch, help="pixels a step, in all (%(default)s)"
    )
    parser.add_argument(
        "--s2-tokens",
        type=int,
        default=Asked.s2_tokens,
        help="Sentinel-2 dates of a view (%(default)s)",
    )
    parser.add_argument(
        "--s1-tokens",
        type=int,
        default=Asked.s1_tokens,
        help="Sentinel-1 dates of a view (%(default)s)",
    )
    parser.add_argument(
        "--projector",
        type=int,
        default=Asked.projector,
        help="width of the projector (%(default)s)",
    )
    parser.add_argument(
        "--redundancy",
        type=float,
        default=Asked.redundancy,
        help="weight of the off-diagonal terms of the cross-correlation",
    )
    parser.add_argument(
        "--mix", type=float, default=Asked.mix, help="weight of the mix term (%(default)s)"
    )
    parser.add_argument(
        "--lr", type=float, default=Asked.lr, help="base learning rate (%(default)s)"
    )
    parser.add_argument(
        "--vector-share",
        type=float,
        default=Asked.vector_share,
        help="share of the rate that biases and gains have",
    )
    parser.add_argument(
        "--precision", choices=[each.value for each in Precision], default=Asked.precision
    )
    parser.add_argument(
        "--every", type=int, default=Asked.every, help="steps between looks (%(default)s)"
    )
    parser.add_argument(
        "--buffer", type=int, default=Asked.buffer, help="pixels shuffled at once (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=Asked.seed)
    parser.add_argument("--probe", help="folder of labelled d-pixels that choose the best")
    parser.add_argument("--teacher", help="weights to distil, instead of Barlow Twins")
    parser.add_argument("--init", help="weights to start from, instead of random ones")
    parser.add_argument("--sharding", choices=get_args(Sharding), default=Asked.sharding)


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
    names = (field.name for field in dataclasses.fields(PretrainRequest))
    asked = {name: getattr(args, name) for name in names}
    request = PretrainRequest(**asked | {"data": tuple(args.data)})
    # Imported here, so that --help does not load PyTorch.
    from tessera_mosaic.pipeline.embedding.pretraining import pretrain

    made = pretrain(request)
    if made is None:
        return {}
    if not args.json:
        said = ", ".join(f"{name} {value:.4g}" for name, value in made.history.items())
        print(f"{made.best}: {said}")
    return {
        "best": str(made.best),
        "last": str(made.last),
        "steps": made.steps,
        "history": made.history,
    }
