"""What a map can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera_mosaic.pipeline.bounds import Bounds
from tessera_mosaic.pipeline.errors import BadInput, choose
from tessera_mosaic.pipeline.job.job_request import JobOptions
from tessera_mosaic.pipeline.scenes.scene import YEARS, check_year
from tessera_mosaic.pipeline.tiling.area import WantedPixels

PERCENTILES = Bounds("choose a percentile above 0 and up to 100", above=0, most=100)


@dataclass(frozen=True)
class MapRequest(JobOptions):
    """A region's year to map with a head.

    Parameters
    ----------
    store
        Path or URL of the mosaic.
    head
        Path or URL of the head's file.
    region
        As in `RunRequest`.
    year
        Calendar year of the embeddings.
    out
        Path or URL of the map: the root of a Zarr store.
    land, pixels
        As in `RunRequest`.
    probabilities
        Whether the probability of every class is stored.
    quality
        Whether observation counts and the distance to the training data are stored.
    unknown
        Percentile, above 0 and up to 100, of the distance of the training data beyond which a pixel
        becomes class 254, unknown; None for no such limit.
    match_years
        Whether a head may be used on another year than its own, with the shift of the mean over the
        mapped region taken out.
    extra
        Path of a GeoTIFF with the numbers of another source that the head takes, one band each by
        the band's description. Every worker reads it.
    retry_failed, overwrite, refresh, max_failed_share, runner, workers, beam_options, pacing
        As in `JobOptions`.
    store_patience, single_launcher, share
        As in `JobOptions`.

    Raises
    ------
    BadInput
        If a value is out of range.

    Examples
    --------
    >>> tm.MapRequest("valley.zarr", "crops.head", "2.99,50.84,3.0,50.85", 2024, "map.zarr").workers
    1
    """

    store: str
    head: str
    region: str
    year: int = field(metadata=YEARS.metadata)
    out: str
    land: str | None = None
    pixels: WantedPixels = WantedPixels.ALL
    probabilities: bool = False
    quality: bool = True
    unknown: float | None = field(default=None, metadata=PERCENTILES.metadata)
    match_years: bool = False
    extra: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        choose(self, pixels=WantedPixels)
        check_year(self.year)
        if self.out.rstrip("/") == self.store.rstrip("/"):
            raise BadInput("a map lies in a store of its own, not in the mosaic", "out", self.out)
