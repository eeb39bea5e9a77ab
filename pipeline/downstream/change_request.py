"""What a map of change can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from tessera_mosaic.pipeline.errors import BadInput, choose
from tessera_mosaic.pipeline.job.job_request import JobOptions
from tessera_mosaic.pipeline.scenes.scene import YEARS, check_year
from tessera_mosaic.pipeline.tiling.area import WantedPixels


@dataclass(frozen=True)
class ChangedRequest(JobOptions):
    """A region to compare between two years.

    Parameters
    ----------
    store
        Path or URL of the mosaic, of ours or published by somebody else.
    from_year, to_year
        The earlier and the later calendar year.
    region
        As in `RunRequest`. The noise of unchanged ground is taken from it, so most of it should be
        as it was.
    out
        Path or URL of the map: the root of a Zarr store.
    land, pixels
        As in `RunRequest`.
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
    >>> request = tm.ChangedRequest(
    ...     "valley.zarr", 2023, 2024, "2.99,50.84,3.0,50.85", "changed.zarr"
    ... )
    >>> request.workers
    1
    >>> tm.ChangedRequest("valley.zarr", 2024, 2024, "2.99,50.84,3.0,50.85", "changed.zarr")
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: to 2024: choose a year after 2024, that of `from`
    """

    store: str
    from_year: int = field(metadata=YEARS.metadata)
    to_year: int = field(metadata=YEARS.metadata)
    region: str
    out: str
    land: str | None = None
    pixels: WantedPixels = WantedPixels.ALL

    def __post_init__(self) -> None:
        check_year(self.from_year, "from")
        check_year(self.to_year, "to")
        super().__post_init__()
        choose(self, pixels=WantedPixels)
        if self.from_year >= self.to_year:
            raise BadInput(
                f"choose a year after {self.from_year}, that of `from`", "to", self.to_year
            )
        if self.out.rstrip("/") == self.store.rstrip("/"):
            raise BadInput("a map lies in a store of its own, not in the mosaic", "out", self.out)
