"""A tile of a published mosaic is told to a map as one of ours is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tessera_mosaic.pipeline.downstream.foreign_tile import ForeignTileReader, reader_of
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any, part_of
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, Tile
from tests.pipeline.mosaic.test_foreign import COL, DIMS, ROW, YEARS, publish


def test_its_squares_are_those_of_its_window(tmp_path: Path) -> None:
    publish(tmp_path / "store")
    mosaic, side = open_any(str(tmp_path / "store")), 64
    tile = Tile(33, ROW // side, COL // side, side)
    reader = reader_of(mosaic, tile, YEARS[1])
    assert isinstance(reader, ForeignTileReader)
    whole = part_of(mosaic, tile.window, YEARS[1])
    np.testing.assert_array_equal(reader.scales(), whole.scales)
    np.testing.assert_array_equal(reader.counts()["s2"], whole.counts["s2"])
    told = np.zeros((DIMS, side, side), np.int8)
    for row in reader.rows():
        for chunk in row:
            square = chunk.codes().reshape(DIMS, CHUNK, CHUNK)
            told[:, chunk.row : chunk.row + CHUNK, chunk.col : chunk.col + CHUNK] = square
    np.testing.assert_array_equal(np.moveaxis(told, 0, -1), whole.codes)
    assert "utm33/embeddings/c/1/0/0/0" in (reader.source() or "")
    assert reader_of(mosaic, Tile(33, 5, 5, side), YEARS[1]).source() is None
