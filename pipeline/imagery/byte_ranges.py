"""Which bytes of a file hold the blocks that a window needs, and what becomes of them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.imagery.cog import Header, decode, inflate
from tessera_mosaic.pipeline.imagery.kernel_types import PIXELS, Kernels, RasterWindow
from tessera_mosaic.pipeline.imagery.tiff_tags import Fetch

GAP = 64 * 1024
"""Bytes between two blocks up to which they are fetched as one range."""

GAP_SHARE = 0.08
"""Largest part of a range that lies between its blocks."""

MOST_RUN = 4 * 2**20
"""Most bytes of one range, so that those of a large window come side by side."""

_ROOM = threading.local()
"""Room of each thread for an inflated block, which is used again and again."""


def runs_of(header: Header, numbers: Collection[int]) -> Iterator[list[int]]:
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
    start = end = idle = 0
    for number in sorted(numbers, key=lambda number: int(header.offsets[number])):
        offset, size = int(header.offsets[number]), int(header.sizes[number])
        gap, length = offset - end, offset + size - start
        apart = gap < 0 or gap > GAP or idle + gap > GAP_SHARE * length or length > MOST_RUN
        if run and apart:
            yield run
            run = []
        if not run:
            start, idle, gap = offset, 0, 0
        run.append(number)
        idle += gap
        end = offset + size
    if run:
        yield run


def fetch_run(header: Header, run: list[int], fetch: Fetch) -> list[memoryview]:
    """Fetch the blocks of one range at once.

    Returns
    -------
    Bytes of each.

    Raises
    ------
    Corrupt
        If the file ends before its blocks do.
    """
    start = int(header.offsets[run[0]])
    length = int(header.offsets[run[-1]] + header.sizes[run[-1]]) - start
    data = fetch(start, length)
    if len(data) < length:
        raise Corrupt(f"it ends {length - len(data)} bytes before its blocks do")
    places = [(int(header.offsets[number]) - start, int(header.sizes[number])) for number in run]
    return [memoryview(data)[at : at + size] for at, size in places]


def place_block(
    data: bytes | memoryview, header: Header, number: int, window: RasterWindow, kernels: Kernels
) -> None:
    """Decode a block, and put the part of it that lies in a window there.

    Parameters
    ----------
    data
        Bytes of the block in the file.
    header, number
        Header of the file, and number of the block.
    window
        Pixels of the window, which are written to.
    kernels
        What puts the pixels there.

    Raises
    ------
    Corrupt
        If the bytes are no such block.
    """
    if not _is_plain(header):
        paste_block(decode(data, header, number), header, number, window)
        return
    raw = inflate(data, header, number, _room(header.block_bytes))
    width, (row, col) = header.block[1], header.corner(number)
    part = _common(header, number, len(raw) // header.row_bytes, window)
    if part is not None:
        rows, cols = part
        here = slice(rows.start - row, rows.stop - row), slice(cols.start - col, cols.stop - col)
        kernels.paste(raw, width, *here, header.predictor, window.part(*part))


def paste_block(pixels: NDArray[Any], header: Header, number: int, window: RasterWindow) -> None:
    """Copy the part of a block that lies in a window of the raster.

    Parameters
    ----------
    pixels
        Pixels of the block, (rows, cols).
    header, number
        Header of the file, and number of the block.
    window
        Pixels of the window, which are written to.
    """
    row, col = header.corner(number)
    part = _common(header, number, len(pixels), window)
    if part is not None:
        rows, cols = part
        window.part(*part)[...] = pixels[
            rows.start - row : rows.stop - row, cols.start - col : cols.stop - col
        ]


def lies_within(header: Header, number: int, window: RasterWindow) -> bool:
    """Whether all of a block that is in the image lies in a window."""
    part = _common(header, number, header.block[0], window)
    row, col = header.corner(number)
    height = min(header.block[0], header.geometry.height - row)
    width = min(header.block[1], header.geometry.width - col)
    return part is not None and (
        (part[0].stop - part[0].start, part[1].stop - part[1].start) == (height, width)
    )


def _is_plain(header: Header) -> bool:
    """Whether a kernel pastes the blocks of a file as they are inflated."""
    native = header.dtype.newbyteorder("=")
    if native not in PIXELS or header.bits == 1:
        return False
    if header.predictor == 3:
        # The bytes of the floats lie sorted by significance, in any byte order.
        return native.kind == "f"
    return header.dtype == native and (header.predictor == 1 or native.kind == "u")


def _common(
    header: Header, number: int, height: int, window: RasterWindow
) -> tuple[slice, slice] | None:
    """Rows and columns of the raster that a block's first rows and a window have both."""
    row, col = header.corner(number)
    bottom = min(row + height, header.geometry.height)
    right = min(col + header.block[1], header.geometry.width)
    both = [
        slice(max(low, first), min(high, first + size))
        for low, high, first, size in (
            (row, bottom, window.top, window.pixels.shape[0]),
            (col, right, window.left, window.pixels.shape[1]),
        )
    ]
    return (both[0], both[1]) if all(side.start < side.stop for side in both) else None


def _room(size: int) -> NDArray[np.uint8]:
    """This thread's room for an inflated block, whose content is of no use any more."""
    kept: NDArray[np.uint8] | None = getattr(_ROOM, "bytes", None)
    if kept is None or len(kept) < size:
        kept = _ROOM.bytes = np.empty(size, np.uint8)
    return kept[:size]
