"""A map as files that people open: a GeoTIFF a tile, and a virtual raster a zone.

Class names go where programs look for them: into tags of the GeoTIFF, into the file beside it that
GDAL reads, and into the virtual raster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from tessera_mosaic.pipeline.downstream.map_layout import (
    NO_DATA,
    UNKNOWN,
    UNKNOWN_COLOUR,
    MapLayout,
)
from tessera_mosaic.pipeline.ledger.keys import cog_key
from tessera_mosaic.pipeline.tiling.lattice import PIXEL, Tile

BLOCK = 512
"""Side in pixels of the blocks of a GeoTIFF, at most."""


def class_names(layout: MapLayout) -> dict[int, str]:
    """Names of a map's classes by code, with that of pixels which are of none."""
    return {each.code: each.name for each in layout.classes} | {UNKNOWN: "unknown"}


def class_colours(layout: MapLayout) -> dict[int, tuple[int, int, int]]:
    """Colours of a map's classes by code."""
    return {each.code: each.colour for each in layout.classes} | {UNKNOWN: UNKNOWN_COLOUR}


def encode_cog(
    layout: MapLayout, tile: Tile, values: Mapping[str, NDArray[Any]], tags: Mapping[str, str]
) -> bytes:
    """A tile as a cloud-optimised GeoTIFF with overviews.

    Parameters
    ----------
    layout
        Of the map.
    tile
        The tile.
    values
        The arrays of the tile by name.
    tags
        What it says of itself, as `MapStore.tags` tells it.
    """
    of_classes = layout.of_classes
    pixels = values[layout.pictured[0]]
    options: dict[str, Any] = {
        "driver": "COG",
        "width": tile.side,
        "height": tile.side,
        "count": 1,
        "dtype": pixels.dtype,
        "crs": CRS.from_string(tile.window.crs),
        "transform": Affine(*tile.window.transform),
        "nodata": NO_DATA if of_classes else np.nan,
        "compress": "DEFLATE",
        "blocksize": max(128, min(BLOCK, tile.side)),
        "overview_resampling": "MODE" if of_classes else "AVERAGE",
        "num_threads": 1,
    }
    told = dict(tags)
    with MemoryFile() as memory:
        with memory.open(**options) as file:
            file.write(pixels, 1)
            if of_classes:
                colours = class_colours(layout)
                file.write_colormap(1, {code: (*rgb, 255) for code, rgb in colours.items()})
                told |= {f"CLASS_{code}": name for code, name in class_names(layout).items()}
            file.update_tags(**told)
        memory.seek(0)
        return bytes(memory.read())


def encode_sidecar(layout: MapLayout) -> bytes:
    """What GDAL looks for beside a GeoTIFF: the names of its classes."""
    return (
        "<PAMDataset>\n"
        '  <PAMRasterBand band="1">\n'
        f"{_category_names(layout)}"
        "  </PAMRasterBand>\n"
        "</PAMDataset>\n"
    ).encode()


def encode_vrt(layout: MapLayout, tiles: Sequence[Tile], year: int) -> bytes:
    """The tiles of a zone as one virtual raster, which names its classes and their colours.

    Parameters
    ----------
    layout
        Of the map.
    tiles
        Tiles of one zone that are done, at least one.
    year
        Calendar year.
    """
    side = layout.side
    top, left = min(tile.row for tile in tiles), min(tile.col for tile in tiles)
    height = (max(tile.row for tile in tiles) + 1 - top) * side
    width = (max(tile.col for tile in tiles) + 1 - left) * side
    corner = Tile(tiles[0].zone, top, left, side).window
    kind, none = ("Byte", str(NO_DATA)) if layout.of_classes else ("Float32", "nan")
    sources = "".join(
        "    <SimpleSource>\n"
        f'      <SourceFilename relativeToVRT="1">{cog_key(tile, year)}</SourceFilename>\n'
        "      <SourceBand>1</SourceBand>\n"
        f'      <SourceProperties RasterXSize="{side}" RasterYSize="{side}" DataType="{kind}"/>\n'
        f'      <SrcRect xOff="0" yOff="0" xSize="{side}" ySize="{side}"/>\n'
        f'      <DstRect xOff="{(tile.col - left) * side}" yOff="{(tile.row - top) * side}" '
        f'xSize="{side}" ySize="{side}"/>\n'
        "    </SimpleSource>\n"
        for tile in tiles
    )
    interpretation = "Palette" if layout.of_classes else "Gray"
    colours = _colour_table(layout) + _category_names(layout) if layout.of_classes else ""
    a, b, c, d, e, f = corner.transform
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">\n'
        f"  <SRS>{corner.crs}</SRS>\n"
        f"  <GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>\n"
        f'  <VRTRasterBand dataType="{kind}" band="1">\n'
        f"    <NoDataValue>{none}</NoDataValue>\n"
        f"    <ColorInterp>{interpretation}</ColorInterp>\n"
        f"    <UnitType>{escape(layout.unit)}</UnitType>\n"
        f"{colours}{sources}"
        "  </VRTRasterBand>\n"
        "</VRTDataset>\n"
    ).encode()


def band_description(layout: MapLayout) -> dict[str, Any]:
    """What STAC says of the band: its classes with names and colours, or the unit of its values."""
    told: dict[str, Any] = {
        "data_type": "uint8" if layout.of_classes else "float32",
        "nodata": NO_DATA if layout.of_classes else "nan",
        "raster:spatial_resolution": PIXEL,
    }
    if layout.of_classes:
        colours = class_colours(layout)
        told["classification:classes"] = [
            {
                "value": code,
                "name": _plain(name) or f"class_{code}",
                "title": name,
                "color_hint": "{:02X}{:02X}{:02X}".format(*colours[code]),
            }
            for code, name in class_names(layout).items()
        ]
    elif layout.unit:
        told["unit"] = layout.unit
    return told


def _plain(name: str) -> str:
    """A name of letters, digits, hyphens and underscores, as the classification extension asks."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name)


def _category_names(layout: MapLayout) -> str:
    names = class_names(layout)
    lines = "".join(
        f"      <Category>{escape(names.get(code, ''))}</Category>\n" for code in range(UNKNOWN + 1)
    )
    return f"    <CategoryNames>\n{lines}    </CategoryNames>\n"


def _colour_table(layout: MapLayout) -> str:
    colours = class_colours(layout)
    lines = []
    for code in range(256):
        parts = (*colours.get(code, (0, 0, 0)), 255 if code in colours else 0)
        told = " ".join(f"c{n}={quoteattr(str(part))}" for n, part in enumerate(parts, 1))
        lines.append(f"      <Entry {told}/>\n")
    return f"    <ColorTable>\n{''.join(lines)}    </ColorTable>\n"
