"""Check what a search asks for against the mosaic, and make a maker and a job of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tessera_mosaic.pipeline.downstream.head_file import ReadHead, check_mosaic, read_head
from tessera_mosaic.pipeline.downstream.search_examples import (
    ExamplePlaces,
    example_places,
    read_examples,
)
from tessera_mosaic.pipeline.downstream.search_ground import Ground, ground_of
from tessera_mosaic.pipeline.downstream.search_queries import (
    Query,
    queries_of_head,
    query_of,
)
from tessera_mosaic.pipeline.downstream.search_request import SearchRequest
from tessera_mosaic.pipeline.downstream.search_tile import SearchMaker
from tessera_mosaic.pipeline.downstream.year_shift import YearShift, check_year, year_shift
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.exclusion import check_job_store
from tessera_mosaic.pipeline.job.beam_options import beam_options
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.mosaic.any_mosaic import AnyMosaic, open_any
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, pixels_named

ALGORITHM = 1
"""Version of what searches: raised whenever the same inputs would come out as others."""

CANDIDATES = 4
"""How many times as many candidates as hits a nested depth finds: of real vectors the first 16
principal components then miss 0.2 % of the hits."""

DRAWN, DRAWN_DEEP, FEWEST_DRAWN = 100_000, 10_000, 16
"""Pixels, about, that are drawn at random of all ground; where they are read for that alone; and
of a tile at least."""

MOST_BANDS = 8
"""Queries whose scores of all pixels are kept: a tile's are held in memory."""


@dataclass(frozen=True)
class PreparedSearch:
    """A search that was found to be possible; nothing is written yet.

    Parameters
    ----------
    request
        What was asked for.
    mosaic
        Where it is looked for.
    ground
        The tiles that are read.
    asked
        Places of the examples; None with a head.
    head
        The head; None with examples.
    shift
        The shift between the years that is taken out; None where there is none.
    job, maker
        What is asked of the tile job, and what is made of each tile.
    """

    request: SearchRequest
    mosaic: AnyMosaic
    ground: Ground
    asked: ExamplePlaces | None
    head: ReadHead | None
    shift: YearShift | None
    job: JobRequest
    maker: SearchMaker

    @property
    def like_year(self) -> int:
        """Calendar year of the examples."""
        return self.request.like_year or self.request.year

    @property
    def several(self) -> bool:
        """Whether hits have to name their query."""
        return self.request.queries is not None or len(self.maker.queries) > 1


def prepare_search(request: SearchRequest) -> PreparedSearch:
    """Check a request against the mosaic, the examples or the head, the region and the runner.

    Raises
    ------
    BadInput
        On anything that cannot be used.
    """
    beam_options(request.runner, request.workers, list(request.beam_options))
    check_job_store(request.job_store)
    head = None if request.head is None else read_head(request.head)
    asked = None if head is not None else example_places(request)
    mosaic = open_any(request.store, request.store_patience)
    _check_mosaic(mosaic, request)
    to = _guarded_year(request, mosaic, head)
    ground = ground_of(mosaic, request.year, request.region)
    shift = None
    if to is not None:
        shift = year_shift(mosaic, request.year, to, list(ground.tiles), ground.inside)
    shallow: tuple[Query, ...] = ()
    if head is not None:
        queries = queries_of_head(head.head)
        if shift is not None:
            queries = tuple(_shifted(query, shift) for query in queries)
    elif asked is not None:
        vector = None if shift is None else shift.vector
        examples = read_examples(mosaic, request.like_year or request.year, asked, vector)
        queries = tuple(query_of(each) for each in examples)
        if request.depth is not None:
            shallow = tuple(query_of(each, request.depth) for each in examples)
    if request.scores is not None and len(queries) > MOST_BANDS:
        raise BadInput(f"the scores of at most {MOST_BANDS} queries are kept", "scores")
    maker = _maker(request, mosaic, ground, queries, shallow)
    job = JobRequest(
        store=request.job_store, year=request.year, tiles=ground.tiles, **request.job_options()
    )
    return PreparedSearch(request, mosaic, ground, asked, head, shift, job, maker)


def _check_mosaic(mosaic: AnyMosaic, request: SearchRequest) -> None:
    """Check that a mosaic has what is asked of it."""
    mosaic.check_made(request.year)
    depths = mosaic.layout.depths
    if request.depth is not None and request.depth not in depths:
        told = ", ".join(map(str, depths)) or "none"
        raise BadInput(
            f"{mosaic.storage.url} has other nested depths: {told}", "depth", request.depth
        )
    if request.min_observations and "s2" not in mosaic.layout.observed:
        raise BadInput(
            f"{mosaic.storage.url} does not tell observation counts of Sentinel-2",
            "min_observations",
            request.min_observations,
        )


def _guarded_year(request: SearchRequest, mosaic: AnyMosaic, head: ReadHead | None) -> int | None:
    """The year to whose mean embeddings are shifted; None where examples or head are of the year.

    Raises
    ------
    BadInput
        If they are of another year, and nobody asked for the shift to be taken out.
    """
    if head is not None:
        check_mosaic(head.head, mosaic)
        return check_year(head.head.years, request.year, request.match_years)
    like_year = request.like_year or request.year
    if like_year == request.year:
        return None
    mosaic.check_made(like_year)
    if not request.match_years:
        raise BadInput(
            f"without it {request.year} is not searched: the examples are of {like_year}, and "
            "embeddings of another year are shifted, which spoils what is alike",
            "match_years",
        )
    return like_year


def _shifted(query: Query, shift: YearShift) -> Query:
    """A head's query that takes embeddings of the year that is searched as they are."""
    moved = float(np.dot(query.weights, np.asarray(shift.vector, np.float64)))
    return Query(query.name, query.weights, query.bias + moved, query.measure)


def _maker(
    request: SearchRequest,
    mosaic: AnyMosaic,
    ground: Ground,
    queries: tuple[Query, ...],
    shallow: tuple[Query, ...],
) -> SearchMaker:
    """The maker of a search, with the digest of all that decides what is found in a tile."""
    of_a_tile = -(-(DRAWN_DEEP if shallow else DRAWN) // len(ground.tiles))
    parts: dict[str, Any] = {
        "top": CANDIDATES * request.top if shallow else request.top,
        "square": request.square,
        "background": max(of_a_tile, FEWEST_DRAWN),
        "min_observations": request.min_observations,
        "promised": ground.promised,
        "scores": request.scores is not None,
    }
    told = parts | {
        "algorithm": ALGORITHM,
        "mosaic": fingerprint(mosaic.identity),
        "store": mosaic.storage.url,
        "year": request.year,
        "inside": pixels_named(ground.inside),
        "queries": [asdict(each) for each in queries],
        "shallow": [asdict(each) for each in shallow],
    }
    return SearchMaker(
        store=mosaic.storage.url,
        year=request.year,
        fingerprint=fingerprint(told),
        queries=queries,
        inside=ground.inside,
        shallow=shallow,
        **parts,
    )
