import dataclasses
import itertools
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tessera_mosaic.pipeline.errors import Corrupt
from tessera_mosaic.pipeline.imagery.cog import decode, read_coarsest, read_header
from tessera_mosaic.pipeline.imagery.resample import Geometry
from tessera_mosaic.pipeline.io.fetcher import Access, Remote

WEST, NORTH = 399_960.0, 5_000_040.0


def write(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write a GeoTIFF as GDAL does."""
    profile = {
        "driver": "GTiff",
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "count": 1,
        "dtype": pixels.dtype,
        "crs": "EPSG:32731",
        "transform": rasterio.Affine(20, 0, WEST, 0, -20, NORTH),
        "nodata": 0,
    }
    with rasterio.open(path, "w", **{**profile, **options}) as file:
        file.write(pixels, 1)
    return path


def read_all(data: bytes) -> tuple[object, np.ndarray]:
    """Header and pixels of a file in memory."""

    def fetch(start: int, length: int) -> bytes:
        return data[start : start + length]

    header = read_header(fetch)
    height, width = header.geometry.height, header.geometry.width
    out = np.zeros((height, width), header.pixels)
    for number in header.blocks(slice(0, height), slice(0, width)):
        if header.sizes[number]:
            start, size = int(header.offsets[number]), int(header.sizes[number])
            row, col = header.corner(number)
            view = out[row : row + header.block[0], col : col + header.block[1]]
            block = decode(data[start : start + size], header, number)
            view[...] = block[: view.shape[0], : view.shape[1]]
    return header, out


KINDS = [
    (compress, predictor, dtype, tiled, order, big)
    for compress, predictor, dtype, tiled, order, big in itertools.product(
        ("NONE", "DEFLATE", "LZW", "ZSTD"),
        (1, 2, 3),
        ("uint8", "uint16", "float32", "float64"),
        (True, False),
        ("LITTLE", "BIG"),
        ("NO", "YES"),
    )
    if (predictor == 1 or compress != "NONE") and (predictor == 3) <= dtype.startswith("float")
    if not (predictor == 2 and dtype.startswith("float"))
]


def test_every_kind_of_file_reads_as_gdal_wrote_it(tmp_path: Path) -> None:
    random_numbers = np.random.default_rng(0)
    for compress, predictor, dtype, tiled, order, big in KINDS:
        pixels = random_numbers.normal(90, 40, (75, 83)).clip(0, 200).astype(dtype)
        options = {"compress": compress, "ENDIANNESS": order, "BIGTIFF": big}
        options |= {} if compress == "NONE" else {"predictor": predictor}
        options |= {"tiled": True, "blockxsize": 16, "blockysize": 32} if tiled else {}
        path = write(tmp_path / "a.tif", pixels, **options)
        header, read = read_all(path.read_bytes())
        np.testing.assert_array_equal(read, pixels, str(options))
        assert header.geometry == Geometry(32731, WEST, NORTH, 20.0, 75, 83)
        assert header.nodata == 0


def test_floats_of_16_bits_become_32(tmp_path: Path) -> None:
    numbers = np.linspace(-3, 60_000, 64 * 64).astype(np.float16).reshape(64, 64)
    data = write(tmp_path / "a.tif", numbers.view(np.uint16)).read_bytes()
    # GDAL knows them from 3.11 on: until then, say what the bits are.
    integers, floats = (struct.pack("<HHIHH", 339, 3, 1, kind, 0) for kind in (1, 3))
    assert data.count(integers) == 1
    header, read = read_all(data.replace(integers, floats))
    assert read.dtype == header.pixels == np.float32
    np.testing.assert_array_equal(read, numbers)


def test_blocks_without_data_and_overviews(tmp_path: Path) -> None:
    pixels = np.zeros((2048, 2048), np.uint16)
    pixels[:512, :512] = np.arange(512) // 4 + 1
    path = write(
        tmp_path / "a.tif",
        pixels,
        driver="COG",
        blocksize=256,
        compress="DEFLATE",
        SPARSE_OK="TRUE",
    )
    data = path.read_bytes()
    header, read = read_all(data)
    assert (header.sizes == 0).any()
    np.testing.assert_array_equal(read, pixels)
    coarsest = read_coarsest(lambda start, length: data[start : start + length], header)
    assert (coarsest.geometry.height, coarsest.geometry.width) == (256, 256)
    assert coarsest.place != header.place


def test_a_point_is_the_middle_of_its_pixel(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.ones((8, 8), np.uint8))
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    with rasterio.open(path) as file:
        west, north = file.transform.c, file.transform.f
    header, _ = read_all(path.read_bytes())
    assert (header.geometry.west, header.geometry.north) == (west, north)


UNREADABLE = {
    "two bands": {"count": 2},
    "signed": {"dtype": "int16"},
    "no place": {"crs": None, "transform": None},
    "in degrees without a code": {
        "crs": "+proj=longlat +R=6371000",
        "transform": rasterio.Affine(1, 0, 0, 0, -1, 9),
    },
    "turned": {"transform": rasterio.Affine(8, 6, WEST, 6, -8, NORTH)},
    "oblong": {"transform": rasterio.Affine(20, 0, WEST, 0, -10, NORTH)},
    "a photograph": {"dtype": "uint8", "compress": "JPEG"},
}


@pytest.mark.parametrize("why", UNREADABLE)
def test_what_is_not_read_is_refused_in_words(tmp_path: Path, why: str) -> None:
    options = UNREADABLE[why]
    pixels = np.ones((32, 32), options.get("dtype", "uint16"))
    path = write(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(Corrupt, match=r"^it|^its"):
        read_all(path.read_bytes())


def test_damage_is_corrupt_and_never_anything_else(tmp_path: Path) -> None:
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    files = [
        write(tmp_path / "a.tif", pixels, compress="DEFLATE", predictor=2).read_bytes(),
        write(
            tmp_path / "b.tif", pixels, BIGTIFF="YES", tiled=True, blockxsize=16, blockysize=16
        ).read_bytes(),
    ]
    chance, refused = random.Random(0), 0
    for number in range(2000):
        data = bytearray(chance.choice(files))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(min(len(data), 600))] = chance.randrange(256)
        if number % 5 == 0:
            del data[chance.randrange(len(data)) :]
        try:
            header, _ = read_all(bytes(data))
            read_coarsest(
                lambda start, length, data=data: bytes(data[start : start + length]), header
            )
        except Corrupt:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize("beyond", [2**63 + 1, 2**64 - 2, 2**49])
def test_overviews_and_blocks_beyond_all_files_are_corrupt(tmp_path: Path, beyond: int) -> None:
    pixels = np.ones((64, 64), np.uint16)
    path = write(
        tmp_path / "a.tif", pixels, BIGTIFF="YES", tiled=True, blockxsize=32, blockysize=32
    )
    data = path.read_bytes()
    header, _ = read_all(data)
    offsets = header.offsets.astype("<u8").tobytes()
    assert data.count(offsets) == 1
    with pytest.raises(Corrupt):
        read_all(data.replace(offsets, struct.pack("<Q", beyond) * 4))

    def fetch(start: int, length: int) -> bytes:
        return Remote().read(Access(str(path)), start, length)

    with pytest.raises(Corrupt):
        read_coarsest(fetch, dataclasses.replace(header, others=(beyond,)))
