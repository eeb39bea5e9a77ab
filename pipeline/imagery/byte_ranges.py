"""Which bytes of a file hold the blocks that a window needs, and fetching them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.imagery.cog import Header, decode

GAP = 4 * 1024
"""Bytes between two blocks up to which they are fetched as one range."""

MOST_RUN = 16 * 2**20
"""Most bytes of one range."""

Fetch = Callable[[int, int], bytes]
"""Gives the bytes at an offset, fewer where the file ends."""


def runs_of(header: Header, numbers: list[int]) -> Iterator[list[int]]:
    """Group blocks that lie close together in the file, so that one request gets them.

    Parameters
    ----------
    header
        Header of the file.
    numbers
        Numbers of the blocks, row by row; in any order, and none without data.

    Yields
    ------
    Numbers of the blocks of one range, in the order of their bytes.
    """
    run: list[int] = []
    start = end = 0
    for number in sorted(numbers, key=lambda number: int(header.offsets[number])):
        offset, size = int(header.offsets[number]), int(header.sizes[number])
        if run and (offset < end or offset - end > GAP or offset + size - start > MOST_RUN):
            yield run
            run = []
        if not run:
            start = offset
        run.append(number)
        end = offset + size
    if run:
        yield run


def fetch_run(header: Header, run: list[int], fetch: Fetch) -> list[NDArray[Any]]:
    """Fetch the blocks of one range at once and decode them.

    Raises
    ------
    Corrupt
        If the file ends before its blocks do, or a block does not decode.
    """
    start = int(header.offsets[run[0]])
    length = int(header.offsets[run[-1]] + header.sizes[run[-1]]) - start
    data = fetch(start, length)
    if len(data) < length:
        raise Corrupt(f"it ends {length - len(data)} bytes before its blocks do")
    view = memoryview(data)
    blocks = []
    for number in run:
        at = int(header.offsets[number]) - start
        blocks.append(decode(view[at : at + int(header.sizes[number])], header, number))
    return blocks


def paste_block(
    pixels: NDArray[Any], corner: tuple[int, int], out: NDArray[Any], source: tuple[slice, slice]
) -> bool:
    """Copy the part of a block that lies in a window of the raster.

    Parameters
    ----------
    pixels
        Pixels of the block, (rows, cols).
    corner
        Row and column of the block's first pixel in the raster.
    out
        Pixels of the window, which are written to.
    source
        Rows and columns of the raster that the window has.

    Returns
    -------
    Whether all of the block lies in the window.
    """
    into, out_of = [], []
    for first, size, side in zip(corner, pixels.shape, source, strict=True):
        low, high = max(first, side.start), min(first + size, side.stop)
        into.append(slice(low - side.start, high - side.start))
        out_of.append(slice(low - first, high - first))
    part = pixels[tuple(out_of)]
    out[tuple(into)] = part
    return part.shape == pixels.shape
