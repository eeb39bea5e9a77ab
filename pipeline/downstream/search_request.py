"""What a search can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tessera_mosaic.pipeline.bounds import Bounds
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.job.job_request import JobOptions
from tessera_mosaic.pipeline.scenes.scene import YEARS, check_year
from tessera_mosaic.pipeline.tiling.lattice import PIXEL

Place = tuple[float, float]
"""Longitude and latitude in degrees."""

FORMATS = (".parquet", ".geoparquet", ".geojson")
"""Endings of the tables of hits."""

MOST_HITS = 100_000
"""Hits of a query: they are held in memory, and every tile keeps as many."""


HITS = Bounds(f"choose 1 to {MOST_HITS:,}", least=1, most=MOST_HITS)
SPACINGS = Bounds(
    f"choose a multiple of {PIXEL} m, the side of a pixel", least=0, multiple_of=PIXEL
)
OBSERVATIONS = Bounds("choose 0 or more", least=0)


@dataclass(frozen=True)
class SearchRequest(JobOptions):
    """Places to look for that are like others, or that a head tells.

    Parameters
    ----------
    store
        Path or URL of the mosaic, of ours or published by somebody else.
    year
        Calendar year that is searched.
    out
        Path or URL of the table of hits: `.parquet`, `.geoparquet` or `.geojson`. Beside it go the
        record (`.json`) and the contact sheet (`.png`) of the same name.
    like, unlike
        Longitudes and latitudes of places that hits are to be like, and not to be like.
    like_year
        Calendar year of the embeddings of these places; that of the search without it.
    match_years
        Whether examples or a head of another year may be used, with the shift of the mean over the
        searched ground taken out.
    head
        In their place: path or URL of a linear head, whose classes or values are looked for.
    queries
        In their place: path of a file of points with the columns `query` and `kind`, which is
        `like` or `unlike`.
    region
        As in `RunRequest`; without it, all of the mosaic.
    min_observations
        Least number of observations by Sentinel-2 of a pixel that may be a hit.
    top
        Number of hits of each query.
    spacing
        Side in metres of the squares of ground, of each of which there is one hit at most.
    depth
        Number of first values, a nested depth of the mosaic, by which four times as many
        candidates are found that are then scored with all values; None for all values at once.
    blocks
        Whether the means of blocks of 320 m, which `publish --blocks` made, are searched in place
        of pixels: a first look, in seconds, that misses what is smaller.
    scores
        Path or URL of a GeoTIFF of the scores of all pixels, one band a query; of several zones
        each has its own file. None for no such file.
    retry_failed, overwrite, refresh, max_failed_share, runner, workers, beam_options, pacing
        As in `JobOptions`.
    store_patience, single_launcher, share
        As in `JobOptions`.

    Raises
    ------
    BadInput
        If a value is out of range, or it does not say once what is looked for.

    Examples
    --------
    >>> request = tm.SearchRequest("valley.zarr", 2024, "hits.parquet", like=((2.996, 50.846),))
    >>> request.top, request.square, request.record
    (1000, 16, 'hits.json')
    """

    store: str
    year: int = field(metadata=YEARS.metadata)
    out: str
    like: tuple[Place, ...] = ()
    unlike: tuple[Place, ...] = ()
    like_year: int | None = field(default=None, metadata=YEARS.metadata)
    match_years: bool = False
    head: str | None = None
    queries: str | None = None
    region: str | None = None
    min_observations: int = field(default=0, metadata=OBSERVATIONS.metadata)
    top: int = field(default=1000, metadata=HITS.metadata)
    spacing: float = field(default=160.0, metadata=SPACINGS.metadata)
    depth: int | None = None
    scores: str | None = None
    blocks: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_year(self.year)
        if self.like_year is not None:
            check_year(self.like_year)
        if PurePosixPath(self.out).suffix.lower() not in FORMATS:
            raise BadInput(f"use one of {', '.join(FORMATS)}", "out", self.out)
        given = [name for name in ("like", "head", "queries") if getattr(self, name)]
        if len(given) != 1:
            told = "give examples, a head or a file of queries"
            raise BadInput(told if not given else f"{told}, one of them", "like")
        for name in ("unlike", "like_year"):
            if getattr(self, name) and self.head:
                raise BadInput("a head has examples and years of its own", name)
        if self.unlike and not self.like:
            raise BadInput("the file has its own", "unlike")
        if self.depth is not None and self.head:
            raise BadInput("a head takes all values of an embedding", "depth", self.depth)
        if self.depth is not None and self.scores:
            raise BadInput("a nested depth scores candidates alone", "scores", self.scores)
        for name in ("depth", "scores", "min_observations", "share") if self.blocks else ():
            if getattr(self, name):
                raise BadInput("a first look at blocks has none", name, getattr(self, name))

    @property
    def square(self) -> int:
        """Side of a square of ground in pixels."""
        return max(1, int(self.spacing) // PIXEL)

    @property
    def job_store(self) -> str:
        """Where the list of tiles, records and heaps lie until the result is whole."""
        return f"{self.out}.job"

    @property
    def record(self) -> str:
        """Path or URL of the record."""
        return f"{self.out.rpartition('.')[0]}.json"

    @property
    def sheet(self) -> str:
        """Path or URL of the contact sheet."""
        return f"{self.out.rpartition('.')[0]}.png"
