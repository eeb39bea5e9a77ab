"""Whether a tile meets its neighbours without a seam."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Altered
from tessera_mosaic.pipeline.ledger import records
from tessera_mosaic.pipeline.ledger.records import Record, State
from tessera_mosaic.pipeline.mosaic.shards import decode_shard, read_chunk, read_index
from tessera_mosaic.pipeline.mosaic.store import Mosaic
from tessera_mosaic.pipeline.tiling.lattice import HEIGHT, WIDTH, Tile

BORDER_CHUNKS = 8
"""Inner chunks along each border whose roughness is measured."""

ROUGHEST_BORDER = 1.5
"""Times the step over the roughest other line near the border: the ground has edges of its own."""


def rough_borders(mosaic: Mosaic, tile: Tile, year: int, record: Record) -> Iterator[str]:
    """In words, each border to the east or south that is rougher than the ground beside it."""
    for vertical in (False, True):
        row, col = tile.row + vertical, tile.col + (not vertical)
        if row >= HEIGHT // tile.side or col >= WIDTH // tile.side:
            continue
        other = Tile(tile.zone, row, col, tile.side)
        try:
            beside = records.read_record(mosaic.storage, year, other)
        except Altered:
            continue
        if beside is None or beside.state is not State.DONE:
            continue
        ratio = border_roughness(mosaic, record, beside, vertical)
        if ratio is not None and ratio > ROUGHEST_BORDER:
            yield f"the border to {other.name} is {ratio:.1f} times as rough as any line near it"


def border_roughness(mosaic: Mosaic, one: Record, other: Record, vertical: bool) -> float | None:
    """Mean step over the border of two tiles, in units of the roughest line beside it.

    Parameters
    ----------
    mosaic
        The mosaic that holds the tiles.
    one, other
        Records of the tile and of its neighbour to the east, or to the south.
    vertical
        Whether the neighbour is to the south.

    Returns
    -------
    The ratio, or None where too few pixels lie on both sides, or objects are damaged.
    """
    full = mosaic.layout.embeddings[-1]
    steps = []
    try:
        sides = [_Side(mosaic, record, vertical) for record in (one, other)]
        for n in np.unique(np.linspace(0, full.across - 1, BORDER_CHUNKS).round().astype(int)):
            # Pixels run away from the border to the west or north, then to the east or south.
            near = np.concatenate(
                [sides[0].values(int(n), full.across - 1), sides[1].values(int(n), 0)], axis=-1
            )
            steps.append(np.abs(np.diff(near, axis=-1)).mean(axis=0))
    except (FileNotFoundError, Altered):
        return None
    lines = np.concatenate(steps)
    known = np.isfinite(lines)
    border = full.inner - 1
    if known[:, border].sum() < full.inner:
        return None
    means = np.where(known, lines, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    roughest = np.delete(means, border).max()
    return float(means[border] / roughest) if roughest > 0 else None


class _Side:
    """One tile's values along a border, a chunk at a time."""

    def __init__(self, mosaic: Mosaic, record: Record, vertical: bool) -> None:
        self.storage, self.vertical = mosaic.storage, vertical
        self.full, scales = mosaic.layout.embeddings[-1], mosaic.layout.scales
        of = {stored.key.split("/")[1]: stored for stored in record.objects}
        self.key = of[self.full.name].key
        self.index = read_index(self.storage, self.full, of[self.full.name])
        self.scales = decode_shard(scales, self.storage.read(of[scales.name].key))

    def values(self, along: int, towards: int) -> NDArray[np.float32]:
        """float32 (bands, along the border, across it), NaN where nothing is."""
        n = self.full.inner
        i, j = (towards, along) if self.vertical else (along, towards)
        codes = read_chunk(self.storage, self.full, self.key, self.index, i, j)
        scales = self.scales[i * n : i * n + n, j * n : j * n + n]
        values = codes * np.where(np.isfinite(scales), scales, np.float32(np.nan))
        return values.transpose(0, 2, 1) if self.vertical else values
