"""The scores of all pixels of a search as GeoTIFFs: one a tile, then one a zone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import score_key
from tessera_mosaic.pipeline.tiling.lattice import Tile

BLOCK = 512
"""Side in pixels of the blocks of the file of a zone."""


def encode_scores(tile: Tile, scores: NDArray[np.float32]) -> bytes:
    """A tile's scores (queries, side, side) as a GeoTIFF; NaN where there is none."""
    options: dict[str, Any] = {
        "driver": "GTiff",
        "width": tile.side,
        "height": tile.side,
        "count": len(scores),
        "dtype": "float32",
        "crs": CRS.from_string(tile.window.crs),
        "transform": Affine(*tile.window.transform),
        "nodata": np.nan,
        "compress": "deflate",
        "num_threads": 1,
    }
    with MemoryFile() as memory:
        with memory.open(**options) as file:
            file.write(scores)
        memory.seek(0)
        return bytes(memory.read())


def put_scores(
    job: Storage, tiles: Sequence[Tile], names: Sequence[str], storage: Storage, key: str
) -> None:
    """Put the scores of a zone's tiles as one cloud-optimised GeoTIFF.

    Parameters
    ----------
    job
        Where the tiles' files lie.
    tiles
        Tiles of one zone, at least one.
    names
        Names of the queries, which become those of the bands.
    storage, key
        Where the file goes.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for tile in tiles:
            (folder / f"{tile.name}.tif").write_bytes(job.read(score_key(tile)))
        mosaic, whole = folder / "all.vrt", folder / "all.tif"
        mosaic.write_text(_virtual(tiles, names))
        rasterio.shutil.copy(
            mosaic, whole, driver="COG", compress="DEFLATE", blocksize=BLOCK, bigtiff="IF_SAFER"
        )
        storage.put_file(key, whole)


def _virtual(tiles: Sequence[Tile], names: Sequence[str]) -> str:
    """The tiles as one virtual raster, which names its bands."""
    side = tiles[0].side
    top, left = min(tile.row for tile in tiles), min(tile.col for tile in tiles)
    height = (max(tile.row for tile in tiles) + 1 - top) * side
    width = (max(tile.col for tile in tiles) + 1 - left) * side
    corner = Tile(tiles[0].zone, top, left, side).window
    a, b, c, d, e, f = corner.transform
    bands = "".join(
        f'  <VRTRasterBand dataType="Float32" band="{number}">\n'
        "    <NoDataValue>nan</NoDataValue>\n"
        f"    <Description>{escape(name)}</Description>\n"
        + "".join(
            "    <SimpleSource>\n"
            f'      <SourceFilename relativeToVRT="1">{tile.name}.tif</SourceFilename>\n'
            f"      <SourceBand>{number}</SourceBand>\n"
            f'      <SrcRect xOff="0" yOff="0" xSize="{side}" ySize="{side}"/>\n'
            f'      <DstRect xOff="{(tile.col - left) * side}" yOff="{(tile.row - top) * side}" '
            f'xSize="{side}" ySize="{side}"/>\n'
            "    </SimpleSource>\n"
            for tile in tiles
        )
        + "  </VRTRasterBand>\n"
        for number, name in enumerate(names, 1)
    )
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">\n'
        f"  <SRS>{corner.crs}</SRS>\n"
        f"  <GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>\n"
        f"{bands}</VRTDataset>\n"
    )
