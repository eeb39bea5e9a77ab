"""What an evaluation on labels can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera_mosaic.pipeline.bounds import Bounds, check_bounds

SEEDS = 5
"""Repetitions with other draws, unless the request says otherwise."""

REPETITIONS = Bounds("choose 1 or more", least=1)


@dataclass(frozen=True)
class EvaluateRequest:
    """What is to be evaluated.

    Parameters
    ----------
    store
        Path or URL of the mosaic.
    labels
        Path of a raster of class codes; 0 is unlabelled.
    year
        Calendar year of the embeddings.
    fields
        Path of a raster of field numbers on the grid of the labels; None for the connected pixels
        of a class.
    catalog
        Catalogue of imagery for raw features beside the embeddings; None for no raw features.
    out
        Folder for the table and the picture.
    seeds
        Number of repetitions with other draws.

    Raises
    ------
    BadInput
        If there is no repetition.
    """

    store: str
    labels: str
    year: int
    fields: str | None = None
    catalog: str | None = None
    out: str = "evaluation"
    seeds: int = field(default=SEEDS, metadata=REPETITIONS.metadata)

    def __post_init__(self) -> None:
        check_bounds(self)
