"""What a store must give the official client, and other readers. Runs in the client's environment.

`SAMPLE` names a folder with `sample.json` (where the store is and what it holds) and the pixels
that were put into it, one `.npz` a tile and year.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray
import zarr
from geotessera.store import GeoTesseraZarr
from obstore.store import HTTPStore
from pyproj import Transformer
from zarr.storage import LocalStore, ObjectStore

FOLDER = Path(os.environ["SAMPLE"])
TOLD = json.loads((FOLDER / "sample.json").read_text())
STORE, SIDE, DEPTHS = TOLD["store"], TOLD["side"], TOLD["depths"]
FIRST, SECOND = TOLD["written_years"]
HALF = SIDE // 2


class Tile:
    """A tile of the store and the pixels that were put into it."""

    def __init__(self, zone: int, row: int, col: int) -> None:
        self.zone, self.row, self.col = zone, row, col

    def _load(self, year: int) -> dict[str, np.ndarray]:
        return dict(np.load(FOLDER / f"{self.zone}-{self.row}-{self.col}-{year}.npz"))

    @cached_property
    def first(self) -> dict[str, np.ndarray]:
        return self._load(FIRST)

    @cached_property
    def second(self) -> dict[str, np.ndarray]:
        return self._load(SECOND)

    @cached_property
    def values(self) -> np.ndarray:
        """The first year's embeddings, float32 (side, side, 128), NaN where there are none."""
        codes, scales = self.first["codes"], self.first["scales"]
        kept = np.where(np.isfinite(scales), scales, np.float32(np.nan))
        return codes.astype(np.float32) * kept[..., None]

    def centre(self, row: float, col: float) -> tuple[float, float]:
        """Easting and northing of a pixel's centre."""
        x = TOLD["west_edge"] + (self.col * SIDE + col + 0.5) * 10
        y = TOLD["north_edge"] - (self.row * SIDE + row + 0.5) * 10
        return x, y

    def lonlat(self, row: float, col: float) -> tuple[float, float]:
        return to_degrees(self.zone, *self.centre(row, col))

    def box(self, top: float, left: float, bottom: float, right: float) -> tuple[float, ...]:
        """Eastings and northings of the outer edges of rows top..bottom, columns left..right."""
        west, north = self.centre(top - 0.5, left - 0.5)
        east, south = self.centre(bottom - 0.5, right - 0.5)
        return west, south, east, north


def to_degrees(zone: int, x: float, y: float) -> tuple[float, float]:
    return Transformer.from_crs(f"EPSG:326{zone:02d}", 4326, always_xy=True).transform(x, y)


def to_metres(zone: int, lon: float, lat: float) -> tuple[float, float]:
    return Transformer.from_crs(4326, f"EPSG:326{zone:02d}", always_xy=True).transform(lon, lat)


TILES = {(zone, row): Tile(zone, row, col) for zone, row, col in TOLD["tiles"]}
EQUATOR = TOLD["equator_row"]
NORTH, SOUTH = TILES[31, EQUATOR - 1], TILES[31, EQUATOR]
EAST = TILES[32, EQUATOR - 1]
CALM = (5, 70)


def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return np.array_equal(ours, theirs, equal_nan=True)


@pytest.fixture(scope="module")
def client() -> GeoTesseraZarr:
    return GeoTesseraZarr(STORE)


@pytest.fixture(scope="module")
def zone(client: GeoTesseraZarr) -> xarray.Dataset:
    return client.open_zone(zone=31)


# Open


def check_years(client: GeoTesseraZarr) -> None:
    assert client.years == TOLD["years"]


def check_model_and_build_surface(client: GeoTesseraZarr) -> None:
    assert client.model_version == TOLD["model"]
    assert client.build_version == TOLD["version"]


def check_bands_and_depths(client: GeoTesseraZarr) -> None:
    assert client.n_bands == 128
    assert client.depths == {d: f"embeddings_d{d}" for d in DEPTHS} | {128: "embeddings"}


def check_accessor(zone: xarray.Dataset) -> None:
    of = zone.tessera
    assert (of.crs, of.pixel_size, of.years, of.n_bands) == ("EPSG:32631", 10.0, TOLD["years"], 128)


def check_dimensions_and_types(zone: xarray.Dataset) -> None:
    assert zone["embeddings"].dims == ("time", "band", "y", "x")
    assert zone["scales"].dims == ("time", "y", "x")
    assert (zone["embeddings"].dtype, zone["scales"].dtype) == (np.int8, np.float32)


def check_selectors_agree(client: GeoTesseraZarr) -> None:
    by_zone = client.open_zone(zone=31)
    assert by_zone.identical(client.open_zone(lon=3.0))
    assert by_zone.identical(client.open_zone(bbox=(2.9, 0.0, 3.1, 0.1)))


def check_absent_zone(client: GeoTesseraZarr) -> None:
    with pytest.raises(KeyError):
        client.open_zone(zone=17)


# Values


@pytest.mark.parametrize("tile", [NORTH, SOUTH], ids=["north", "south"])
def check_points_bit_for_bit(client: GeoTesseraZarr, tile: Tile) -> None:
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, SIDE, 60), rng.integers(62, 110, 60)
    keep = np.isfinite(tile.first["scales"][rows, cols])
    rows, cols = rows[keep], cols[keep]
    points = [tile.lonlat(row, col) for row, col in zip(rows, cols, strict=True)]
    assert same(client.sample_points(points, FIRST), tile.values[rows, cols])


def check_the_year_picks_the_slice(client: GeoTesseraZarr) -> None:
    row, col = CALM
    vector = client.sample_at(*NORTH.lonlat(row, col), SECOND)
    expected = NORTH.second["codes"][row, col] * np.float32(NORTH.second["scales"][row, col])
    assert same(vector, expected)


def check_unknown_year(client: GeoTesseraZarr) -> None:
    with pytest.raises((KeyError, ValueError)):
        client.sample_points([NORTH.lonlat(*CALM)], 1999)


def check_year_without_pixels_is_nodata(client: GeoTesseraZarr) -> None:
    unwritten = next(year for year in TOLD["years"] if year not in (FIRST, SECOND))
    assert client.probe(*NORTH.lonlat(*CALM), unwritten) == (None, "nodata")


def check_northings_are_negative_in_the_south(zone: xarray.Dataset) -> None:
    x, y = SOUTH.centre(*CALM)
    assert y < 0
    assert same(zone.tessera.sample_at(x, y, FIRST), SOUTH.values[CALM])
    assert zone.tessera.probe(x, y + 1e7, FIRST)[1] == "outside"


# Sentinels


def check_water(client: GeoTesseraZarr) -> None:
    assert client.probe(*NORTH.lonlat(30, 45), FIRST) == (None, "water")


def check_a_slit_is_bridged(client: GeoTesseraZarr) -> None:
    at = NORTH.lonlat(100, 50)
    vector, status = client.probe(*at, FIRST)
    neighbours = NORTH.values[99:102, 49:52].reshape(-1, 128)
    assert status == "valid"
    assert any(same(vector, neighbour) for neighbour in neighbours)
    assert client.probe(*at, FIRST, search_px=0) == (None, "nodata")


def check_a_wide_hole_is_nodata(client: GeoTesseraZarr) -> None:
    assert client.probe(*NORTH.lonlat(80, 45), FIRST) == (None, "nodata")


def check_far_points_are_outside(client: GeoTesseraZarr) -> None:
    assert client.probe(-100.0, 40.0, FIRST) == (None, "outside")


def check_a_mixed_batch(client: GeoTesseraZarr) -> None:
    at = [(5, 70), (30, 45), (80, 45), (7, 7)]
    points = [NORTH.lonlat(*where) for where in at] + [(-100.0, 40.0), EAST.lonlat(5, 70)]
    got = client.sample_points(points, FIRST)
    expected = [NORTH.values[where] for where in at] + [np.full(128, np.nan), EAST.values[5, 70]]
    assert same(got, np.array(expected, np.float32))


# Regions


def degrees_of(box: tuple[float, ...]) -> tuple[float, ...]:
    """A degrees box well inside a metres box of zone 31, at the equator nearly the same."""
    return (*to_degrees(31, box[0] + 2, box[1] + 2), *to_degrees(31, box[2] - 2, box[3] - 2))


def across_the_equator() -> np.ndarray:
    return np.vstack([NORTH.values, SOUTH.values])


def check_region_across_the_equator(client: GeoTesseraZarr) -> None:
    top, left, bottom, right = 70, 20, SIDE + 40, 110
    values, transform, crs = client.read_region(
        degrees_of(NORTH.box(top, left, bottom, right)), FIRST
    )
    west, north = NORTH.box(0, 0, 0, 0)[0::3]
    col, row = round((transform.c - west) / 10), round((north - transform.f) / 10)
    assert crs == "EPSG:32631"
    assert transform[0] == -transform[4] == 10.0
    assert transform.c % 10 == transform.f % 10 == 0
    height, width = values.shape[:2]
    assert abs(row - top) <= 1
    assert abs(col - left) <= 1
    assert abs(row + height - bottom) <= 1
    assert abs(col + width - right) <= 1
    assert same(values, across_the_equator()[row : row + height, col : col + width])


def check_quantized_region(client: GeoTesseraZarr) -> None:
    box = degrees_of(NORTH.box(20, 20, 110, 110))
    codes, scales, transform, _ = client.read_region_quantized(box, FIRST)
    values, plain, _ = client.read_region(box, FIRST)
    finite = np.where(np.isfinite(scales), scales, np.float32(np.nan))
    assert transform == plain
    assert codes.dtype == np.int8
    assert same(codes.astype(np.float32) * finite[..., None], values)
    assert np.isnan(scales).any()
    assert np.isposinf(scales).any()


def check_strips_make_the_region(client: GeoTesseraZarr, zone: xarray.Dataset) -> None:
    metres = NORTH.box(20, 20, 110, 110)
    whole, _ = zone.tessera.read_region(metres, FIRST)
    strips = zone.tessera.iter_region(metres, FIRST, strip_rows=17)
    assert same(np.vstack([block for block, _ in strips]), whole)
    box = degrees_of(metres)
    whole = client.read_region(box, FIRST)[0]
    strips = client.iter_region(box, FIRST, strip_rows=33)
    assert same(np.vstack([block for block, *_ in strips]), whole)


def check_a_box_on_pixel_edges(zone: xarray.Dataset) -> None:
    values, transform = zone.tessera.read_region(NORTH.box(10, 62, 30, 100), FIRST)
    assert same(values, NORTH.values[10:30, 62:100])
    assert (transform.c, transform.f) == NORTH.box(10, 62, 30, 100)[::3]


def check_water_and_holes_are_nan(zone: xarray.Dataset) -> None:
    values, _ = zone.tessera.read_region(NORTH.box(0, 0, SIDE, SIDE), FIRST)
    missing = ~np.isfinite(NORTH.first["scales"])
    assert (np.isnan(values).all(-1) == missing).all()
    assert not np.isnan(values[~missing]).any()


def check_a_box_off_the_grid(zone: xarray.Dataset) -> None:
    with pytest.raises(IndexError):
        zone.tessera.read_region((1e6, 2e7, 1.001e6, 2.001e7), FIRST)


# Depths


@pytest.mark.parametrize("depth", DEPTHS)
def check_depths_are_prefixes(client: GeoTesseraZarr, depth: int) -> None:
    points = [NORTH.lonlat(5, 70), SOUTH.lonlat(60, 100), EAST.lonlat(5, 70)]
    deep = client.sample_points(points, FIRST)
    assert same(client.sample_points(points, FIRST, depth=depth), deep[:, :depth])
    box = degrees_of(NORTH.box(20, 20, 60, 60))
    assert same(
        client.read_region(box, FIRST, depth=depth)[0],
        client.read_region(box, FIRST)[0][..., :depth],
    )


def check_undeclared_depth(client: GeoTesseraZarr) -> None:
    with pytest.raises(ValueError, match="depth"):
        client.sample_points([NORTH.lonlat(*CALM)], FIRST, depth=7)


# Patches


def check_a_patch_in_one_zone(client: GeoTesseraZarr) -> None:
    patch, transform, crs = client.read_patch(*NORTH.lonlat(40, 60), FIRST, 32)
    assert crs == "EPSG:32631"
    assert transform.c % 10 == transform.f % 10 == 0
    assert same(patch, NORTH.values[24:56, 44:76])


def check_a_patch_off_the_grid_is_padded(client: GeoTesseraZarr) -> None:
    top = to_degrees(31, 500_000.0, TOLD["north_edge"] - 35.0)
    patch, transform, _ = client.read_patch(*top, FIRST, 32)
    assert transform.f > TOLD["north_edge"]
    assert patch.shape == (32, 32, 128)
    assert np.isnan(patch).all()
    corner, _, _ = client.read_patch(*NORTH.lonlat(0, 64), FIRST, 32)
    assert np.isnan(corner[:16]).all()
    assert same(corner[16:], NORTH.values[:16, 48:80])


@pytest.mark.parametrize("lon", [6.0, 180.0], ids=["6 east", "antimeridian"])
def check_a_patch_across_zones(client: GeoTesseraZarr, lon: float) -> None:
    _, lat = NORTH.lonlat(8, 70)
    patch, _, _ = client.read_patch(lon, lat, FIRST, 14)
    assert np.isfinite(patch).all()
    known = {row.tobytes() for tile in TILES.values() for row in tile.values.reshape(-1, 128)}
    assert all(vector.tobytes() in known for vector in patch.reshape(-1, 128))


def check_a_patch_in_another_projection(client: GeoTesseraZarr) -> None:
    patch, _, crs = client.read_patch(*NORTH.lonlat(40, 80), FIRST, 16, dst_crs="EPSG:3857")
    assert crs == "EPSG:3857"
    assert np.isfinite(patch).mean() > 0.9


# Zone lines


@pytest.mark.parametrize("lon", [6.0 - 1e-5, 6.0 + 1e-5, 179.99999, -179.99999, 180.0, -180.0])
def check_both_sides_of_a_zone_line(client: GeoTesseraZarr, lon: float) -> None:
    for row in (8, 60):
        _, lat = NORTH.lonlat(row, 70)
        vector, status = client.probe(lon, lat, FIRST)
        assert status == "valid"
        assert np.isfinite(vector).all()


def check_the_owner_answers_at_a_zone_line(client: GeoTesseraZarr) -> None:
    for tile, step in ((NORTH, -1e-5), (EAST, 1e-5)):
        lat = NORTH.lonlat(8, 70)[1]
        x, y = to_metres(tile.zone, 6.0 + step, lat)
        west, north = tile.centre(-0.5, -0.5)
        row, col = int((north - y) // 10), int((x - west) // 10)
        assert same(client.sample_at(6.0 + step, lat, FIRST), tile.values[row, col])


# Export


def check_geotiffs(client: GeoTesseraZarr, tmp_path: Path) -> None:
    _, lat = NORTH.lonlat(8, 70)
    box = (5.9999, lat - 0.0002, 6.0001, lat + 0.0002)
    files = client.export_geotiffs(box, FIRST, tmp_path)
    assert [Path(file).name for file in files] == [
        f"tessera_{FIRST}_utm31.tif",
        f"tessera_{FIRST}_utm32.tif",
    ]
    with rasterio.open(files[0]) as written:
        assert (written.count, written.crs) == (128, "EPSG:32631")
        row, col = (
            (NORTH.box(0, 0, 0, 0)[3] - written.transform.f) / 10,
            (written.transform.c - NORTH.box(0, 0, 0, 0)[0]) / 10,
        )
        got = written.read().transpose(1, 2, 0)
    assert row == int(row)
    expected = NORTH.values[int(row) :, int(col) :][: got.shape[0], : got.shape[1]]
    assert same(got[:, : expected.shape[1]], expected)


@pytest.mark.parametrize("extra", [["--dry-run"], ["--bands", "0,1,2"], ["--depth", "16"]])
def check_command_line(tmp_path: Path, extra: list[str]) -> None:
    _, lat = NORTH.lonlat(8, 70)
    box = f"5.9995,{lat - 0.0002},5.9999,{lat + 0.0002}"
    command = [
        str(Path(sys.executable).parent / "geotessera"),
        "download",
        "--source",
        "zarr",
        "--store-url",
        STORE,
        "--bbox",
        box,
        "--year",
        str(FIRST),
        "-o",
        str(tmp_path),
        *extra,
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = list(tmp_path.glob("*.tif"))
    assert len(written) == (0 if "--dry-run" in extra else 1)


# Other readers, other ways in


@pytest.mark.parametrize("way", ["store object", "path", "trailing slash"])
def check_ways_to_open(way: str) -> None:
    place = {"store object": LocalStore(STORE), "path": Path(STORE), "trailing slash": f"{STORE}/"}
    opened = GeoTesseraZarr(place[way])
    assert same(opened.sample_at(*NORTH.lonlat(*CALM), FIRST), NORTH.values[CALM])


def check_plain_xarray() -> None:
    opened = xarray.open_zarr(STORE, group="utm31", chunks=None)
    x, y = NORTH.centre(*CALM)
    at = opened.sel(time=FIRST, x=x, y=y)
    values = at["embeddings"].values.astype(np.float32) * at["scales"].values
    assert same(values, NORTH.values[CALM])
    assert int(at["observations_s2"]) == NORTH.first["s2"][CALM]


def check_rioxarray_knows_the_place_of_every_array() -> None:
    import rioxarray  # noqa: F401

    opened = xarray.open_zarr(STORE, group="utm31", chunks=None)
    corner = 10, 0, TOLD["west_edge"], 0, -10, TOLD["north_edge"]
    for name in ("embeddings", "scales", "observations_s2"):
        assert opened[name].rio.crs == "EPSG:32631"
        assert opened[name].rio.transform()[:6] == corner
    level = xarray.open_zarr(STORE, group="global_rgb/5", chunks=None)
    assert level["rgb"].rio.crs == "EPSG:4326"
    assert level["rgb"].rio.transform()[2] == -180


def check_the_registry_tool_consolidates_without_loss(tmp_path: Path) -> None:
    copy = tmp_path / "store"
    names = ("zarr.json", "utm31", "utm32", "global_rgb")
    copy.mkdir()
    for name in names:
        (shutil.copy if name == "zarr.json" else shutil.copytree)(Path(STORE, name), copy / name)
    tool = str(Path(sys.executable).parent / "geotessera-registry")
    ran = subprocess.run(
        [tool, "zarr-consolidate", str(copy)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    ours, theirs = (
        json.loads(Path(of, "zarr.json").read_text())["consolidated_metadata"]["metadata"]
        for of in (STORE, copy)
    )
    for path, node in theirs.items():
        assert node["attributes"] == ours[path]["attributes"], path
    assert "utm31/embeddings" in theirs
    assert same(GeoTesseraZarr(copy).sample_at(*NORTH.lonlat(*CALM), FIRST), NORTH.values[CALM])


def session(layout: str) -> Any:
    """A session on an Icechunk repository, whose readers have to allow the place of the bytes."""
    import icechunk

    place = icechunk.local_filesystem_storage(f"{TOLD['icechunk']}/{layout}")
    told = icechunk.Repository.open(place).config.virtual_chunk_containers
    allowed = icechunk.containers_credentials(dict.fromkeys(told))
    repository = icechunk.Repository.open(place, authorize_virtual_chunk_access=allowed)
    return repository.readonly_session(branch="main")


def check_icechunk_in_our_layout() -> None:
    opened = GeoTesseraZarr(session("tessera").store)
    assert opened.years == TOLD["years"]
    assert same(opened.sample_at(*NORTH.lonlat(*CALM), FIRST), NORTH.values[CALM])


def check_icechunk_in_dclimates_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    import geotessera.icechunk

    # Its own way to open a repository allows no place of bytes.
    monkeypatch.setattr(geotessera.icechunk, "open_session", lambda *_, **__: session("dclimate"))
    opened = GeoTesseraZarr("dclimate.icechunk")
    points = [tile.lonlat(*CALM) for tile in (NORTH, SOUTH, EAST)]
    expected = np.array([tile.values[CALM] for tile in (NORTH, SOUTH, EAST)])
    assert same(opened.sample_points(points, FIRST), expected)


def check_tessera_apps() -> None:
    from tessera_apps.io import TesseraReader

    reader = TesseraReader.from_store(session("dclimate").store)
    for zone, tile, top in (("31N", NORTH, 0), ("31S", SOUTH, EQUATOR)):
        rows = slice((tile.row - top) * SIDE, (tile.row - top + 1) * SIDE)
        cols = slice(tile.col * SIDE, (tile.col + 1) * SIDE)
        window = reader.read_window(zone, FIRST, rows, cols)
        assert same(window.dequantize(), np.where(np.isnan(tile.values), np.nan, tile.values))
        assert reader.years_complete(zone) == [FIRST, SECOND]


def check_zarr_python_without_missing_chunks() -> None:
    group = zarr.open_group(STORE, mode="r")
    step = TOLD["years"].index(FIRST)
    rows = slice(NORTH.row * SIDE, (NORTH.row + 1) * SIDE)
    cols = slice(NORTH.col * SIDE, (NORTH.col + 1) * SIDE)
    with zarr.config.set({"array.read_missing_chunks": False}):
        scales = group["utm31/scales"][step, rows, cols]
        codes = group["utm31/embeddings"][step, :, rows, cols]
        assert same(scales, NORTH.first["scales"])
        assert same(codes.transpose(1, 2, 0), NORTH.first["codes"])


class Ranges(http.server.BaseHTTPRequestHandler):
    """Files of the store by range, and no listing."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = Path(STORE) / self.path.lstrip("/")
        data = path.read_bytes() if path.is_file() else b""
        status, asked = 200 if path.is_file() else 404, self.headers.get("Range")
        size, first = len(data), 0
        if asked and status == 200:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            first = int(low) if low else max(size - int(high), 0)
            last = min(int(high), size - 1) if low and high else size - 1
            data, status = data[first : last + 1], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Last-Modified", "Sun, 01 Jan 2023 00:00:00 GMT")
        self.send_header("ETag", '"1"')
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{first + len(data) - 1}/{size}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def check_over_http_without_listing(address: str) -> None:
    remote = HTTPStore.from_url(address, client_options={"allow_http": True})
    opened = GeoTesseraZarr(ObjectStore(remote, read_only=True))
    assert opened.years == TOLD["years"]
    points = [NORTH.lonlat(*CALM), EAST.lonlat(5, 70)]
    assert same(
        opened.sample_points(points, FIRST), np.array([NORTH.values[CALM], EAST.values[5, 70]])
    )


@pytest.mark.parametrize("at", ["the store", "the zone"])
def check_xarray_over_http_without_listing(address: str, at: str) -> None:
    whole = at == "the store"
    place = {"group": "utm31"} if whole else {}
    opened = xarray.open_zarr(address if whole else f"{address}/utm31", chunks="auto", **place)
    assert max(len(chunks) for chunks in opened["embeddings"].chunks) < 10_000
    x, y = NORTH.centre(*CALM)
    here = opened.sel(time=FIRST, x=x, y=y)
    values = here["embeddings"].values.astype(np.float32) * here["scales"].values
    assert same(values, NORTH.values[CALM])


def check_gdal() -> None:
    step = TOLD["years"].index(FIRST)
    try:
        opened = rasterio.open(f'ZARR:"{STORE}":/utm31/scales:{step}')
    except rasterio.errors.RasterioIOError as error:
        if "sharding_indexed" in str(error):
            pytest.skip(f"GDAL {rasterio.__gdal_version__} does not read sharded Zarr")
        raise
    with opened:
        window = rasterio.windows.Window(NORTH.col * SIDE, NORTH.row * SIDE, SIDE, SIDE)
        assert (opened.height, opened.width) == tuple(TOLD["shape"])
        assert same(opened.read(1, window=window), NORTH.first["scales"])
