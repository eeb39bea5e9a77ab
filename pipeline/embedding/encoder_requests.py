"""What can be asked for around encoders: to encode a folder of d-pixels, and to train an encoder.

A request is checked when it is made. Nothing here loads PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from tessera_mosaic.model.precision import Precision
from tessera_mosaic.model.pretrain.recipe import MIX, REDUNDANCY, Recipe, Sharding
from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.embedding.encoder_card import card_of_name
from tessera_mosaic.pipeline.errors import BadInput, chosen
from tessera_mosaic.pipeline.scenes.scene import Imagery

PROJECTOR = 16_384
"""Width of the projector (TESSERA v1, the released encoders)."""

TOKENS = 40
"""Observations of each sensor in a view (TESSERA v1)."""

BUFFER = 500_000
"""Pixels shuffled at once: TESSERA v1 wrote its d-pixels in chunks of 100,000 to 500,000."""

COUNTS = Bounds("choose 1 or more", least=1)


@dataclass(frozen=True)
class EncodeRequest:
    """What `encode_directory` is asked for.

    Parameters
    ----------
    stack
        Path of a folder of d-pixel arrays, with or without a `stack.json`.
    out
        Path of the folder for codes and scales, which is made.
    model
        Name of the card whose statistics apply; None for that of the weights, or of the shipped
        encoder.
    weights
        Path or address of a weights file; None for the model's own.
    precision
        Precision of matrix products: `fp32` or `bf16`.
    device
        Name of the device that computes: `cpu`, `cuda` or `cuda:N`.
    dim
        Number of leading values to keep; None for all that the model stores.
    source
        Source of the imagery, `mpc` or `aws`, where there is no `stack.json` that says so.
    floats
        Whether to write the embeddings before quantization too.
    report
        Whether to compare codes with the values that they stand for.

    Raises
    ------
    BadInput
        If the model, the precision or the source is none.

    Examples
    --------
    >>> tm.EncodeRequest("stack", "embeddings", model="v2-nano", dim=16).precision
    'fp32'
    """

    stack: str | Path
    out: str | Path
    model: str | None = None
    weights: str | None = None
    precision: str = "fp32"
    device: str = "cpu"
    dim: int | None = None
    source: str | None = None
    floats: bool = False
    report: bool = False

    def __post_init__(self) -> None:
        card_of_name(self.model)
        chosen(Precision, self.precision, "precision")
        if self.source is not None:
            chosen(Imagery, self.source, "source")


@dataclass(frozen=True)
class PretrainRequest:
    """What `pretrain` is asked for. Defaults are TESSERA v1's.

    Parameters
    ----------
    data
        Paths or URLs of folders of d-pixels, as `sample` draws them.
    out
        Path of a local folder, the same for all processes; a training in it goes on.
    steps
        Number of steps.
    model
        Name of the card with the sizes of the encoder and the statistics of its tokens.
    batch
        Number of pixels of a step, of all processes together.
    s2_tokens, s1_tokens
        Number of dates of Sentinel-2 and of Sentinel-1 in a view of a pixel.
    projector
        Number of features of the projector's layers.
    redundancy
        Weight of the off-diagonal terms of the cross-correlation.
    mix
        Weight of the mix term relative to `redundancy`.
    lr
        Base learning rate.
    vector_share
        Share of the rate that biases and gains have.
    precision
        Precision of matrix products: `bf16` or `fp32`.
    every
        Number of steps between looks at the encoder.
    buffer
        Number of pixels that are shuffled at once.
    seed
        Seed of the initial weights, of the order of pixels and of their views.
    probe
        Path or URL of a folder of labelled d-pixels, on which the best encoder is chosen.
    teacher
        Path of a weights file to distil, instead of Barlow Twins.
    init
        Path of a weights file to start from, instead of random weights.
    sharding
        How several processes share the training: `ddp` or `fsdp`.

    Raises
    ------
    BadInput
        If a number, the model, the precision or the sharding cannot be used.

    Examples
    --------
    >>> PretrainRequest(("d-pixels",), "run", steps=1000).batch
    32768
    """

    data: tuple[str, ...]
    out: str
    steps: int = field(metadata=COUNTS.metadata)
    model: str = "v2-nano"
    batch: int = field(default=Recipe.batch, metadata=COUNTS.metadata)
    s2_tokens: int = field(default=TOKENS, metadata=COUNTS.metadata)
    s1_tokens: int = field(default=TOKENS, metadata=COUNTS.metadata)
    projector: int = field(default=PROJECTOR, metadata=COUNTS.metadata)
    redundancy: float = REDUNDANCY
    mix: float = MIX
    lr: float = Recipe.lr
    vector_share: float = Recipe.vector_share
    precision: str = Recipe.precision
    every: int = field(default=Recipe.every, metadata=COUNTS.metadata)
    buffer: int = field(default=BUFFER, metadata=COUNTS.metadata)
    seed: int = Recipe.seed
    probe: str | None = None
    teacher: str | None = None
    init: str | None = None
    sharding: Sharding = "ddp"

    def __post_init__(self) -> None:
        check_bounds(self)
        if not card_of_name(self.model).family.startswith("v2"):
            raise BadInput("only encoders of v2 can be trained", "model", self.model)
        chosen(Precision, self.precision, "precision")
        if self.sharding not in get_args(Sharding):
            raise BadInput(f"choose {' or '.join(get_args(Sharding))}", "sharding", self.sharding)
