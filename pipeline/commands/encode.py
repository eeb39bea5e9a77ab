"""The command `encode`: a directory of d-pixel arrays to codes and scales."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from tessera_mosaic.pipeline.commands.arguments import encoder_arguments
from tessera_mosaic.pipeline.commands.contract import Contract, Material
from tessera_mosaic.pipeline.contracts.state import Kind
from tessera_mosaic.pipeline.embedding.encoder_requests import EncodeRequest
from tessera_mosaic.pipeline.scenes.scene import Imagery

CONTRACT = Contract(
    costs="encodes every pixel of the folder: `plan` tells pixels a second of the model",
    takes={"stack": Material.DPIXELS, "weights": Kind.WEIGHTS},
    gives={"out": Material.EMBEDDINGS},
    needs=("the folder's imagery is one that the model was trained on",),
    lasting=("arrays of the same names in `out` are replaced",),
    tells=("out", "model", "weights_sha256", "shape", "embedded", "seconds"),
    requests=(EncodeRequest,),
)


def encode_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `encode`."""
    parser.add_argument("--stack", required=True, metavar="DIR", help="d-pixel directory")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the arrays go")
    encoder_arguments(parser)
    parser.add_argument("--device", default=EncodeRequest.device, help="cpu, cuda or cuda:N")
    parser.add_argument("--dim", type=int, metavar="K", help="keep the first K values")
    parser.add_argument(
        "--source",
        choices=[each.value for each in Imagery],
        help="where the imagery is from, if stack.json does not say so",
    )
    parser.add_argument(
        "--float", action="store_true", dest="floats", help="write embedding.npy too"
    )
    parser.add_argument("--report", action="store_true", help="how faithful quantization was")


def encode_command(args: argparse.Namespace) -> dict[str, Any]:
    """Embed a d-pixel directory.

    Returns
    -------
    The fields of `encode --json`.

    Raises
    ------
    BadInput
        If the directory, the options or the weights cannot be used.
    """
    names = (field.name for field in dataclasses.fields(EncodeRequest))
    request = EncodeRequest(**{name: getattr(args, name) for name in names})
    # Imported here, so that --help does not load PyTorch.
    from tessera_mosaic.pipeline.embedding.encode_directory import encode_directory

    made = encode_directory(request)
    height, width, dims = made.shape
    report = made.report
    if not args.json:
        print(
            f"{request.out}: {made.embedded:,} of {height * width:,} px embedded with "
            f"{made.model}, {dims} values each, in {made.seconds:.1f} s"
        )
        if report is not None:
            print(
                f"quantization: cosine {report.mean_cosine:.6f} on average and "
                f"{report.least_cosine:.6f} at the least, largest error "
                f"{report.largest_error:.4g}, {report.share_at_limit:.2%} of codes at the limit"
            )
    return {
        "out": request.out,
        "model": made.model,
        "weights_sha256": made.weights_sha256,
        "shape": list(made.shape),
        "embedded": made.embedded,
        "seconds": round(made.seconds, 3),
        "pixels_per_second": round(made.embedded / made.seconds, 1) if made.seconds else 0.0,
        "report": report and dataclasses.asdict(report),
    }
