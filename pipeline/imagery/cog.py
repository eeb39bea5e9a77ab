"""Cloud-optimised GeoTIFFs: what a header says, and how a block's bytes become pixels.

Read are files as Sentinel archives have them: one band, north-up, in tiles or strips. Nothing in
a file is believed before it is checked.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.imagery.resample import Geometry
from tessera_mosaic.pipeline.imagery.tiff_tags import Directories, Fetch, one, paged
from tessera_mosaic.pipeline.scenes.asset_numbers import Numbers

MAX_SIDE = 2**20
MAX_BLOCKS = 2**18
MAX_BLOCK_BYTES = 2**26
MAX_FILE_BYTES = 2**48
MAX_IMAGES = 32

# TIFF 6.0 and its supplements, GeoTIFF 1.1, and GDAL's tag for no data.
WIDTH, HEIGHT, BITS, COMPRESSION, SUBFILE = 256, 257, 258, 259, 254
REDUCED, MASK = 0b001, 0b100
STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_SIZES = 273, 277, 278, 279
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 317, 322, 323, 324, 325
SAMPLE_FORMAT, PIXEL_SCALE, TIE_POINT, TRANSFORM, GEO_KEYS = 339, 33550, 33922, 34264, 34735
METADATA, NODATA = 42112, 42113
RASTER_TYPE_KEY, PROJECTION_KEY = 1025, 3072
PIXEL_IS_POINT, USER_DEFINED = 2, 32767

CODECS: dict[int, Callable[[Any, Any], Any]] = {
    1: lambda data, out: _copied(data, out),
    5: lambda data, out: imagecodecs.lzw_decode(data, out=out),
    8: lambda data, out: imagecodecs.deflate_decode(data, out=out),
    32773: lambda data, out: imagecodecs.packbits_decode(data, out=out),
    32946: lambda data, out: imagecodecs.deflate_decode(data, out=out),
    50000: lambda data, out: imagecodecs.zstd_decode(data, out=out),
}
"""Compressions that are read: none, LZW, Deflate under both its numbers, PackBits, Zstandard."""

DTYPES = {(8, 1): "u1", (16, 1): "u2", (32, 1): "u4", (16, 3): "f2", (32, 3): "f4", (64, 3): "f8"}
"""Pixel types by bits and sample format."""

MAX_METADATA = 2**16
"""Most characters of a file's metadata that are looked through."""

_ITEM = re.compile(
    r"""<Item\s+name=["'](unit|units|unittype|scale|offset)["'][^>]*>([^<]*)</Item>""",
    re.IGNORECASE,
)

_NAMES = {"units": "unit", "unittype": "unit"}


@dataclass(frozen=True, eq=False)
class Header:
    """One image of a file.

    Parameters
    ----------
    place
        Offset of the image's directory in the file.
    geometry
        Ground that the image covers.
    dtype
        Type of the pixels, in the file's byte order.
    nodata
        Value that stands for no data; None where the file does not tell.
    block
        Rows and columns of a block.
    offsets, sizes
        Offset of each block in the file and its bytes, row by row, int64 (blocks,); size 0 is a
        block without data.
    compression, predictor
        Numbers that TIFF has for them.
    others
        Offsets of the directories of the file's other images.
    bits
        Bits of a pixel in the file; those of 1 are decoded to bytes of 0 and 1.
    mask
        The image of the file whose pixels of 0 say where this one has no data; None for none.
    numbers
        What the file says of its numbers.
    """

    place: int
    geometry: Geometry
    dtype: np.dtype[Any]
    nodata: float | None
    block: tuple[int, int]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    compression: int
    predictor: int
    others: tuple[int, ...]
    bits: int = 0
    mask: Header | None = None
    numbers: Numbers = field(default_factory=Numbers)

    @property
    def pixels(self) -> np.dtype[Any]:
        """Type of decoded pixels: in this machine's byte order, and floats of 16 bits as 32."""
        native = self.dtype.newbyteorder("=")
        return np.dtype(np.float32) if native == np.float16 else native

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a block when it is inflated."""
        width = self.block[1]
        return -(-width // 8) if self.bits == 1 else width * self.dtype.itemsize

    @property
    def block_bytes(self) -> int:
        """Bytes of a whole block when it is inflated."""
        return self.block[0] * self.row_bytes

    @property
    def across(self) -> int:
        """Blocks in a row of blocks."""
        return -(-self.geometry.width // self.block[1])

    def blocks(self, rows: slice, cols: slice) -> list[int]:
        """Numbers of the blocks that a window touches."""
        height, width = self.block
        return [
            row * self.across + col
            for row in range(rows.start // height, -(-rows.stop // height))
            for col in range(cols.start // width, -(-cols.stop // width))
        ]

    def corner(self, number: int) -> tuple[int, int]:
        """Row and column of a block's first pixel."""
        row, col = divmod(number, self.across)
        return row * self.block[0], col * self.block[1]


def read_header(fetch: Fetch, epsg: int = 0) -> Header:
    """Parse the header of a file.

    Parameters
    ----------
    fetch
        Gives the bytes of the file at an offset.
    epsg
        EPSG code of the projection, for a file that describes its own in other words than a code.

    Raises
    ------
    Corrupt
        If the file is no GeoTIFF that can be read here.
    """
    with _making_sense():
        form = Directories(paged(fetch))
        others: list[int] = []
        tags, following = form.directory(form.first)
        while following and following not in (form.first, *others) and len(others) < MAX_IMAGES:
            others.append(following)
            following = form.following(following)
        header = _image(form, form.first, tags, _geometry(tags, epsg), tuple(others))
        return replace(header, mask=_mask_of(form, header, others, reduced=0))


def read_coarsest(fetch: Fetch, header: Header) -> Header:
    """Header of the file's coarsest overview; the given one if the file has none.

    Raises
    ------
    Corrupt
        If an overview cannot be read.
    """
    with _making_sense():
        coarsest, form = header, Directories(paged(fetch))
        for place in header.others:
            tags, _ = form.directory(place)
            if one(tags, SUBFILE, 0) & (REDUCED | MASK) != REDUCED:
                continue
            width, height = one(tags, WIDTH), one(tags, HEIGHT)
            if not (0 < width < coarsest.geometry.width and height > 0):
                continue
            small = _image(
                form, place, tags, replace(header.geometry, width=width, height=height), ()
            )
            mask = header.mask and _mask_of(form, small, header.others, REDUCED)
            # Without its mask nobody knows which of its pixels are any.
            if header.mask is None or mask is not None:
                coarsest = replace(small, mask=mask)
        return replace(coarsest, nodata=header.nodata)


def _mask_of(
    form: Directories, image: Header, places: Iterable[int], reduced: int
) -> Header | None:
    """The mask of an image, among the other images of its file."""
    size = image.geometry.width, image.geometry.height
    for place in places:
        small = form.numbers(place)
        kind = small.get(SUBFILE, 0) & (REDUCED | MASK)
        if kind == MASK | reduced and (small.get(WIDTH), small.get(HEIGHT)) == size:
            return _image(form, place, form.directory(place)[0], image.geometry, ())
    return None


@contextlib.contextmanager
def _making_sense() -> Iterator[None]:
    """What goes wrong while tags are parsed is the file's fault."""
    try:
        yield
    except (ValueError, IndexError, OverflowError, struct.error) as error:
        raise Corrupt(f"its header makes no sense: {error}") from None


def _copied(data: bytes | memoryview, out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes that are not compressed, as many as there is room for."""
    filled = out[: len(data)]
    filled[:] = np.frombuffer(data, np.uint8, len(filled))
    return filled


def inflate(
    data: bytes | memoryview, header: Header, number: int, out: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Decompress a block.

    Parameters
    ----------
    data
        Bytes of the block in the file.
    header, number
        Header of the file, and number of the block.
    out
        Room for `Header.block_bytes`. What is filled of it is given: all rows that the image has.

    Raises
    ------
    Corrupt
        If the bytes are no such block.
    """
    height, row = header.block[0], header.row_bytes
    try:
        raw = np.asarray(CODECS[header.compression](data, out))
    except Exception as error:
        # Each codec has errors of its own, and all of them mean the same.
        raise Corrupt(f"a block does not decode: {type(error).__name__}") from None
    # The last strip of a file may end with the image.
    needed = min(height, header.geometry.height - header.corner(number)[0])
    if len(raw) % row or not needed <= len(raw) // row <= height:
        raise Corrupt(f"a block has {len(raw):,} bytes in place of {height * row:,}")
    return raw


def decode(data: bytes | memoryview, header: Header, number: int) -> NDArray[Any]:
    """Decode a block.

    Returns
    -------
    Pixels (rows, cols), also of the part of the block that may lie beyond the image.

    Raises
    ------
    Corrupt
        If the bytes are no such block.
    """
    width, row = header.block[1], header.row_bytes
    raw = inflate(data, header, number, np.empty(header.block_bytes, np.uint8))
    native = header.dtype.newbyteorder("=")
    if header.bits == 1:
        return np.unpackbits(raw.reshape(-1, row), axis=1)[:, :width]
    if header.predictor == 3:
        # The bytes of the floats lie sorted by significance, in any byte order.
        mixed = np.frombuffer(raw, native).reshape(-1, width)
        pixels = np.asarray(imagecodecs.floatpred_decode(mixed, axis=-1))
    else:
        pixels = np.frombuffer(raw, header.dtype).reshape(-1, width).astype(native, copy=False)
        if header.predictor == 2:
            pixels = np.asarray(imagecodecs.delta_decode(pixels, axis=1))
    return pixels.astype(header.pixels, copy=False)


def _geometry(tags: dict[int, NDArray[Any]], epsg: int) -> Geometry:
    """Where an image lies, by its GeoTIFF tags."""
    keys = tags.get(GEO_KEYS, np.zeros(0, np.uint16))
    geo = (
        {int(k[0]): int(k[3]) for k in keys[4:].reshape(-1, 4)[:256]} if keys.size % 4 == 0 else {}
    )
    code = geo.get(PROJECTION_KEY, 0)
    epsg = epsg if code == USER_DEFINED else code
    if not epsg:
        raise Corrupt("it names no projection by its EPSG code")
    if TRANSFORM in tags and tags[TRANSFORM].size == 16:
        across, skew, _, west, other, down, _, north = (float(v) for v in tags[TRANSFORM][:8])
        down = -down
    elif PIXEL_SCALE in tags and tags[PIXEL_SCALE].size >= 2 and TIE_POINT in tags:
        across, down = (float(v) for v in tags[PIXEL_SCALE][:2])
        col, row, _, x, y, _ = (float(v) for v in tags[TIE_POINT][:6])
        west, north, skew, other = x - col * across, y + row * down, 0.0, 0.0
    else:
        raise Corrupt("it does not say where it lies")
    if geo.get(RASTER_TYPE_KEY) == PIXEL_IS_POINT:
        west, north = west - across / 2, north + down / 2
    if (
        skew
        or other
        or not across > 0
        or across != down
        or not all(map(math.isfinite, (west, north)))
    ):
        raise Corrupt("its pixels are no squares that point north")
    return Geometry(epsg, west, north, across, one(tags, HEIGHT), one(tags, WIDTH))


def _image(
    form: Directories,
    place: int,
    tags: dict[int, NDArray[Any]],
    geometry: Geometry,
    others: tuple[int, ...],
) -> Header:
    """Check what the tags say of an image's pixels and blocks."""
    height, width = geometry.height, geometry.width
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise Corrupt(f"it says to have {height} x {width} pixels")
    if one(tags, SAMPLES, 1) != 1:
        raise Corrupt(f"it has {one(tags, SAMPLES)} bands in place of one")
    bits, is_mask = one(tags, BITS, 1), bool(one(tags, SUBFILE, 0) & MASK)
    kind = DTYPES.get((8 if is_mask and bits == 1 else bits, one(tags, SAMPLE_FORMAT, 1)))
    compression, predictor = one(tags, COMPRESSION, 1), one(tags, PREDICTOR, 1)
    if kind is None or compression not in CODECS or predictor not in (1, 2, 3):
        raise Corrupt(
            f"its pixels ({bits} bits, format {one(tags, SAMPLE_FORMAT, 1)}, "
            f"compression {compression}, predictor {predictor}) are not read"
        )
    dtype = np.dtype(form.order + kind)
    if TILE_WIDTH in tags:
        block = one(tags, TILE_HEIGHT), one(tags, TILE_WIDTH)
        offsets, sizes = tags.get(TILE_OFFSETS), tags.get(TILE_SIZES)
    else:
        block = min(one(tags, STRIP_ROWS, height), height), width
        offsets, sizes = tags.get(STRIP_OFFSETS), tags.get(STRIP_SIZES)
    if min(block) < 1 or block[0] * block[1] * dtype.itemsize > MAX_BLOCK_BYTES:
        raise Corrupt(f"it says to have blocks of {block[0]} x {block[1]} pixels")
    count = -(-height // block[0]) * -(-width // block[1])
    if count > MAX_BLOCKS or offsets is None or sizes is None:
        raise Corrupt("it does not say where its blocks are")
    offsets, sizes = offsets.astype(np.int64), sizes.astype(np.int64)
    known = len(offsets) == len(sizes) == count
    sound = known and min(offsets.min(), sizes.min()) >= 0 and offsets.max() <= MAX_FILE_BYTES
    if not sound or sizes.max() > MAX_BLOCK_BYTES:
        raise Corrupt(f"its {count} blocks are not where it says")
    return Header(
        place,
        geometry,
        dtype,
        _nodata(tags),
        block,
        offsets,
        sizes,
        compression,
        predictor,
        others,
        bits,
        numbers=_numbers(tags),
    )


def _nodata(tags: dict[int, NDArray[Any]]) -> float | None:
    text = tags[NODATA].tobytes().rstrip(b"\0 ") if NODATA in tags else b""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _numbers(tags: dict[int, NDArray[Any]]) -> Numbers:
    """What GDAL's tag of metadata says of a file's only band."""
    text = tags[METADATA].tobytes().decode("utf-8", "replace") if METADATA in tags else ""
    told: dict[str, str] = {}
    for name, value in _ITEM.findall(text[:MAX_METADATA]):
        told.setdefault(_NAMES.get(name.lower(), name.lower()), value.strip())
    return Numbers(
        told.get("unit", "")[:40], _decimal(told.get("scale")), _decimal(told.get("offset"))
    )


def _decimal(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
