"""Embeddings that were made elsewhere become a mosaic: from a request to a maker and a job.

All that can be wrong with what the user gave is found before the store is touched.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS

from tessera_mosaic.pipeline.embedding.adopt_tile import AdoptMaker, Digests
from tessera_mosaic.pipeline.embedding.adopted_grids import Grid, array_grid, grids_below
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.exclusion import check_job_store
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.store_errors import before_work, store_errors
from tessera_mosaic.pipeline.job.beam_options import beam_options
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.records import FINISHED, State, read_records
from tessera_mosaic.pipeline.ledger.tile_lists import TileList
from tessera_mosaic.pipeline.mosaic.identity import Identity, adopted_identity, fingerprint
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store
from tessera_mosaic.pipeline.tiling.lattice import DEFAULT_MARGIN, Tile, Window
from tessera_mosaic.pipeline.tiling.ownership import (
    owned_columns,
    owned_tile_columns,
    tiles_of_region,
)
from tessera_mosaic.pipeline.tiling.polygons import joined, to_degrees
from tessera_mosaic.requests import AdoptRequest

log = logging.getLogger(__name__)

MOST_NAMED = 5
"""Tiles that a message names at most."""


@dataclass(frozen=True)
class PreparedAdoption:
    """An adoption that was found to be possible; the store is not touched yet.

    Parameters
    ----------
    job
        What is asked of the tile job.
    maker
        What is made of each tile.
    layout, identity
        Layout of the mosaic's arrays, and all that decides its bytes.
    """

    job: JobRequest
    maker: AdoptMaker
    layout: Layout
    identity: Identity

    def create_store(self) -> None:
        """Write the store's metadata, or check that it is the mosaic of this product.

        Raises
        ------
        StoreMismatch
            If the store holds embeddings of another product, or of a run.
        """
        storage, zones = self.job.open_store(), self.job.tiles.zones
        with before_work(), store_errors(self.job.store):
            create_store(storage, self.layout, self.identity, [self.job.year], zones)


def adopt(request: AdoptRequest) -> Outcome:
    """Put embeddings that were made elsewhere into a mosaic; run again, it resumes.

    Bytes are taken as they are where the pixels are those of the lattice. What has a scale that is
    neither within 0 and 1 nor a sentinel counts as no embedding. Of cells that overlap, a pixel
    comes from the one that owns its centre; of other grids, from the first by name that has it.

    Parameters
    ----------
    request
        The embeddings, and where they go.

    Returns
    -------
    Outcome
        Tiles done, failed and missing, failures by class, and what was measured.

    Raises
    ------
    BadInput
        Before the store is touched, on anything that cannot be used.
    BrokenOff
        If the runner gave up before all tiles were tried. What is done stays done.

    Examples
    --------
    >>> region = tm.StackRequest("archive/catalog.json", "2.995,50.845,2.998,50.847", 2024)
    >>> _ = tm.write_stack(region, "stack")
    >>> _ = tm.encode_directory(tm.EncodeRequest("stack", "embeddings"))
    >>> request = tm.AdoptRequest("adopted.zarr", 2024, "mine", folder="embeddings", tile=32)
    >>> tm.adopt(request).pixels
    528
    """
    prepared = prepare_adoption(request)
    prepared.create_store()
    return launch(prepared.job, prepared.maker)


def prepare_adoption(request: AdoptRequest) -> PreparedAdoption:
    """Check a request against its files, the store and the runner.

    Raises
    ------
    BadInput
        On anything that cannot be used.
    """
    beam_options(request.runner, request.workers, list(request.beam_options))
    check_job_store(request.store)
    grids = find_grids(request)
    on_tiles = grids_on_tiles(grids, request.tile, request.nearest)
    source = "arrays" if grids[0].cell is None else "cells"
    identity = adopted_identity(request.model, source, request.nearest, DEFAULT_MARGIN)
    maker = AdoptMaker(
        grids=tuple(grids),
        on_tiles={(t.zone, t.row, t.col): tuple(of) for t, of in on_tiles.items()},
        year=request.year,
        nearest=request.nearest,
        margin=DEFAULT_MARGIN,
        fingerprint=fingerprint(identity),
    )
    observed = tuple(name for name, _ in grids[0].counts)
    layout = Layout(request.tile, grids[0].shape[2], observed=observed)
    tiles = sorted(on_tiles)
    options = request.job_options()
    options["overwrite"] = (*request.overwrite, *_left_empty(request, maker, tiles))
    job = JobRequest(store=request.store, year=request.year, tiles=TileList.of(tiles), **options)
    return PreparedAdoption(job, maker, layout, identity)


def find_grids(request: AdoptRequest) -> list[Grid]:
    """The grids that a request names, by name; of the same product, as far as can be seen."""
    if request.codes is None or request.scales is None or request.georef is None:
        grids = grids_below(Path(str(request.folder)), request.year)
        if len({grid.cell is None for grid in grids}) > 1:
            raise BadInput(f"{request.folder} has cells and other grids: adopt one, then the other")
        return grids
    counts = [(name, Path(path)) for name, path in request.counts.items() if path is not None]
    codes = Path(request.codes)
    return [array_grid(codes, Path(request.scales), Path(request.georef), counts, codes.name)]


def grids_on_tiles(grids: Sequence[Grid], side: int, nearest: bool) -> dict[Tile, list[int]]:
    """Numbers of the grids that lie on each tile.

    Parameters
    ----------
    grids
        The grids.
    side
        Side of the tiles in pixels.
    nearest
        Whether pixels of the lattice take the nearest of a grid.

    Raises
    ------
    BadInput
        If the pixels of a grid are not those of the lattice, and not the nearest is taken; if no
        tile is left.
    """
    found: dict[Tile, list[int]] = defaultdict(list)
    for number, grid in enumerate(grids):
        tiles = _under(grid, side) if nearest else _of_window(grid, grid.window(), side)
        for tile in tiles:
            found[tile].append(number)
    if not found:
        raise BadInput(f"{grids[0].name} lies beyond the ground of its zone: check its place")
    return found


def _of_window(grid: Grid, window: Window, side: int) -> Iterator[Tile]:
    """Tiles of a window that hold pixels which are written to its zone."""
    rows = np.arange(window.row, window.row + window.height)
    first, stop = owned_columns(window.zone, rows, DEFAULT_MARGIN)
    right = window.col + window.width
    kept = int((np.clip(stop, window.col, right) - np.clip(first, window.col, right)).sum())
    lost = window.height * window.width - kept
    if lost and grid.cell is None:
        log.warning(
            "%s: %s of its pixels are left out: they lie beyond zone %d and its margin of %d px, "
            "on the lattice of another zone",
            grid.name,
            f"{lost:,}",
            window.zone,
            DEFAULT_MARGIN,
        )
    tile_rows = np.arange(window.row // side, -(-(window.row + window.height) // side))
    low, high = owned_tile_columns(window.zone, tile_rows, side, DEFAULT_MARGIN)
    for row, begin, end in zip(tile_rows.tolist(), low.tolist(), high.tolist(), strict=True):
        for col in range(max(window.col // side, begin), min(-(-right // side), end)):
            yield Tile(window.zone, row, col, side)


def _under(grid: Grid, side: int) -> Iterator[Tile]:
    """Tiles that hold ground of a grid."""
    height, width, _ = grid.shape
    a, b, c, d, e, f = grid.transform
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    ring = [(a * x + b * y + c, d * x + e * y + f) for x, y in corners]
    ground = to_degrees(np.array([shapely.Polygon(ring)]), CRS.from_user_input(grid.crs), grid.name)
    return tiles_of_region(joined(ground, grid.name), side, DEFAULT_MARGIN)


def _left_empty(request: AdoptRequest, maker: AdoptMaker, tiles: Iterable[Tile]) -> Iterator[str]:
    """Names of tiles in which other grids left nothing, so that these may fill them.

    Raises
    ------
    BadInput
        If a tile was made of other grids, and is not to be overwritten.
    """
    storage, digests, taken = Storage(request.store, patience=request.store_patience), Digests(), []
    with before_work(), store_errors(request.store):
        for tile, record in read_records(storage, request.year, tiles):
            if record is None or record.state not in FINISHED or tile.name in request.overwrite:
                continue
            sources = digests.of(maker.of_tile(tile))
            if record.fingerprint != maker.fingerprint or record.sources == sources:
                continue
            if record.state is State.EMPTY:
                yield tile.name
            elif not (request.refresh and _named(record.sources) == _named(sources)):
                taken.append((tile.name, record.sources))
    if taken:
        names = ", ".join(name for name, _ in taken[:MOST_NAMED])
        of = ", ".join(_named(taken[0][1])) or "others"
        raise BadInput(
            f"{len(taken)} tiles are done already, of other files ({of}): {names}; adopt all files "
            "of a tile in one call, and name the tile to make it again",
            "overwrite",
        )


def _named(sources: Iterable[tuple[str, str]]) -> list[str]:
    return [name for name, _ in sources]
