"""Readers of annual stacks that are compared: ours, and what others read COGs with.

Each finds its scenes first, outside of what is measured, and gives a function that reads them into
the same arrays.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tessera_mosaic.model.observations import S1_BANDS, S2_BANDS
from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds

YEAR = 2024

IN_FLIGHT = 128
"""Reads at a time, the same for all."""

Arrays = dict[str, np.ndarray]
ARRAYS = ("bands", "masks", "sar_ascending", "sar_descending")

Read = Callable[[], Arrays]
"""Reads a stack whose scenes have been found."""

Asset = tuple[str, str]
"""Address of a raster, and how it is resampled."""


def ours(url: str, window: Window) -> Read:
    """By this project's reader."""
    from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
    from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
    from tessera_mosaic.pipeline.stacks.block_reader import read_block
    from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
    from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule

    source = open_catalogue(f"{url}/catalog.json")
    scenes = source.search(lonlat_bounds(window), YEAR)

    def read() -> Arrays:
        reader = SceneReader(source, IN_FLIGHT)
        stack = read_block(
            window, scenes, Preprocessing(source.imagery, offset=OffsetRule.REFERENCE), reader
        ).stack
        reader.close()
        return {name: getattr(stack, name) for name in ARRAYS}

    return read


def odc_stac(url: str, window: Window) -> Read:
    """By odc-stac, into the same arrays."""
    import odc.stac
    from odc.geo.geobox import GeoBox
    from rasterio import Affine

    odc.stac.configure_rio(cloud_defaults=True)
    items = read_items(url)
    box = GeoBox(window.shape, Affine(*window.transform), window.crs)

    def load(sensor: list[Any], bands: list[str], how: Any, dtype: str) -> Any:
        return odc.stac.load(
            sensor,
            bands=bands,
            geobox=box,
            groupby="id",
            resampling=how,
            dtype=dtype,
            pool=IN_FLIGHT,
            fail_on_error=True,
        )

    def read() -> Arrays:
        how = {"*": "bilinear", "SCL": "nearest"}
        s2 = load(items["sentinel-2-l2a"], [*S2_BANDS, "SCL"], how, "uint16")
        s1 = load(items["sentinel-1-rtc"], list(S1_BANDS), "nearest", "float32")
        return assembled(
            [s2[band].to_numpy() for band in S2_BANDS],
            s2["SCL"].to_numpy(),
            [s1[band].to_numpy() for band in S1_BANDS],
            items,
        )

    return read


def stackstac_(url: str, window: Window) -> Read:
    """By stackstac, into the same arrays."""
    import dask
    import pandas
    import stackstac
    from rasterio.enums import Resampling

    # The version that installs beside lazycogs names an option that pandas has dropped.
    to_datetime = pandas.to_datetime
    pandas.to_datetime = lambda *values, infer_datetime_format=None, **more: to_datetime(
        *values, **more
    )
    items = read_items(url)

    def load(sensor: list[Any], bands: list[str], how: Resampling, dtype: str) -> Any:
        stacked = stackstac.stack(
            sensor,
            assets=bands,
            epsg=int(window.crs.removeprefix("EPSG:")),
            resolution=10,
            bounds=window.bounds,
            snap_bounds=False,
            resampling=how,
            rescale=False,
            dtype=dtype,
            fill_value=np.array(0, dtype)[()],
            chunksize=max(window.shape),
        )
        with dask.config.set(scheduler="threads", num_workers=IN_FLIGHT):
            return stacked.to_numpy()

    def read() -> Arrays:
        bands = load(items["sentinel-2-l2a"], list(S2_BANDS), Resampling.bilinear, "uint16")
        classes = load(items["sentinel-2-l2a"], ["SCL"], Resampling.nearest, "uint16")
        power = load(items["sentinel-1-rtc"], list(S1_BANDS), Resampling.nearest, "float32")
        return assembled(
            [bands[:, n] for n in range(len(S2_BANDS))],
            classes[:, 0],
            [power[:, n] for n in range(len(S1_BANDS))],
            items,
        )

    return read


def rio_tiler(url: str, window: Window) -> Read:
    """By rio-tiler, an asset a call, into the same arrays."""
    from rio_tiler.io import Reader

    def part(asset: Asset) -> np.ndarray:
        href, how = asset
        with Reader(href) as source:
            image = source.part(
                window.bounds,
                dst_crs=window.crs,
                bounds_crs=window.crs,
                width=window.width,
                height=window.height,
                resampling_method=how,
                reproject_method=how,
            )
        return np.asarray(image.array.filled(0)[0])

    def all_parts(assets: Sequence[Asset]) -> list[np.ndarray]:
        import rasterio

        with (
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_HTTP_MULTIPLEX="YES"),
            ThreadPoolExecutor(IN_FLIGHT) as pool,
        ):
            return list(pool.map(part, assets))

    return _asset_by_asset(url, all_parts)


def async_geotiff(url: str, window: Window) -> Read:
    """By async-geotiff, and this project's resampling, into the same arrays."""
    from async_geotiff import GeoTIFF
    from async_geotiff import Window as Pixels
    from obstore.store import HTTPStore

    from tessera_mosaic.pipeline.imagery.resample import Geometry, Kernel, place, resample

    store = HTTPStore.from_url(url, client_options={"allow_http": True})

    async def part(asset: Asset, turns: asyncio.Semaphore) -> np.ndarray:
        href, how = asset
        async with turns:
            file = await GeoTIFF.open(href.removeprefix(url).lstrip("/"), store=store)
            transform, kernel = file.transform, Kernel(how)
            epsg = int(window.crs.removeprefix("EPSG:"))
            geometry = Geometry(
                epsg, transform.c, transform.f, transform.a, file.height, file.width
            )
            placement = place(window, geometry)
            source = placement.source(kernel)
            if source is None:
                raise ValueError(f"{href} does not reach the block")
            rows, cols = source
            pixels = await file.read(
                window=Pixels(
                    cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start
                )
            )
        data = np.asarray(pixels.data)[0]
        return await asyncio.to_thread(resample, data, source, placement, kernel)

    async def every_part(assets: Sequence[Asset]) -> list[np.ndarray]:
        turns = asyncio.Semaphore(IN_FLIGHT)
        return list(await asyncio.gather(*(part(asset, turns) for asset in assets)))

    return _asset_by_asset(url, lambda assets: asyncio.run(every_part(assets)))


class KnownItems:
    """Items where lazycogs looks for them: its own index fetches a part of DuckDB when it is used.

    Parameters
    ----------
    items
        Items of one collection, by time.
    """

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = [(item.datetime, item.to_dict()) for item in items]

    def search(
        self, href: str, datetime: str | None = None, max_items: int | None = None, **_: Any
    ) -> list[dict[str, Any]]:
        """The items of a time, or between two."""
        if datetime is None:
            return [item for _, item in self._items][:max_items]
        ends = [dt.datetime.fromisoformat(end) for end in datetime.split("/")]
        return [item for when, item in self._items if ends[0] <= when <= ends[-1]][:max_items]

    def search_to_arrow(self, href: str, **_: Any) -> Any:
        """The times of all items."""
        import pyarrow

        times = [when.isoformat() for when, _ in self._items]
        return pyarrow.table({"datetime": times, "start_datetime": times})


def lazycogs_(url: str, window: Window) -> Read:
    """By lazycogs, which takes the nearest pixels alone, into the same arrays."""
    import lazycogs
    from obstore.store import HTTPStore

    items = read_items(url)
    store = HTTPStore.from_url(url, client_options={"allow_http": True})

    def load(collection: str, bands: Sequence[str], dtype: str) -> np.ndarray:
        opened = lazycogs.open(
            collection,
            duckdb_client=KnownItems(items[collection]),
            bbox=window.bounds,
            crs=window.crs,
            resolution=10.0,
            bands=list(bands),
            dtype=dtype,
            nodata=0,
            time_period=None,
            store=store,
            path_from_href=lambda href: href.removeprefix(url).lstrip("/"),
            max_concurrent_reads=IN_FLIGHT,
        )
        return np.asarray(opened.values)

    def read() -> Arrays:
        bands = load("sentinel-2-l2a", S2_BANDS, "uint16")
        classes = load("sentinel-2-l2a", ("SCL",), "uint8")
        power = load("sentinel-1-rtc", S1_BANDS, "float32")
        return assembled(list(bands), classes[0], list(power), items)

    return read


def _asset_by_asset(url: str, all_parts: Callable[[Sequence[Asset]], list[np.ndarray]]) -> Read:
    """What reads rasters one by one, on all of an archive's rasters."""
    items = read_items(url)

    def hrefs(collection: str, band: str) -> list[str]:
        return [item.assets[band].href for item in items[collection]]

    def read() -> Arrays:
        layers = {
            band: [(href, how) for href in hrefs(collection, band)]
            for collection, bands, how in (
                ("sentinel-2-l2a", S2_BANDS, "bilinear"),
                ("sentinel-2-l2a", ("SCL",), "nearest"),
                ("sentinel-1-rtc", S1_BANDS, "nearest"),
            )
            for band in bands
        }
        parts = iter(all_parts([asset for assets in layers.values() for asset in assets]))
        found = {band: np.stack([next(parts) for _ in of]) for band, of in layers.items()}
        return assembled(
            [found[band] for band in S2_BANDS],
            found["SCL"],
            [found[band] for band in S1_BANDS],
            items,
        )

    return read


@dataclasses.dataclass(frozen=True)
class Peer:
    """A reader that is compared.

    Parameters
    ----------
    module
        What has to be installed for it.
    start
        Finds the scenes at an address over a window.
    """

    module: str
    start: Callable[[str, Window], Read]

    @property
    def is_here(self) -> bool:
        """Whether it is installed."""
        return importlib.util.find_spec(self.module.partition(".")[0]) is not None


READERS = {
    "tessera-mosaic": Peer("tessera_mosaic", ours),
    "odc-stac": Peer("odc.stac", odc_stac),
    "stackstac": Peer("stackstac", stackstac_),
    "lazycogs": Peer("lazycogs", lazycogs_),
    "rio-tiler": Peer("rio_tiler", rio_tiler),
    "async-geotiff": Peer("async_geotiff", async_geotiff),
}


def read_items(url: str) -> dict[str, list[Any]]:
    """The archive's items by collection and time, as pystac has them."""
    import pystac

    found: dict[str, list[Any]] = {}
    for item in pystac.Catalog.from_file(f"{url}/catalog.json").get_items(recursive=True):
        item.make_asset_hrefs_absolute()
        found.setdefault(str(item.collection_id), []).append(item)
    return {name: sorted(items, key=lambda i: i.datetime) for name, items in found.items()}


def assembled(
    bands: list[np.ndarray],
    classes: np.ndarray,
    power: list[np.ndarray],
    items: dict[str, list[Any]],
) -> Arrays:
    """What the others have read, by the same rules: an archive of one granule has no mosaics."""
    from tessera_mosaic.pipeline.stacks.offset_evidence import remove_offset_by_date
    from tessera_mosaic.pipeline.stacks.sentinel1 import code_backscatter
    from tessera_mosaic.pipeline.stacks.sentinel2 import is_clear

    clear = is_clear(classes.astype(np.uint8))
    days = np.flatnonzero(clear.any(axis=(1, 2)))
    out = np.zeros((len(days), *classes.shape[1:], len(S2_BANDS)), np.uint16)
    for channel, layers in enumerate(bands):
        for at, day in enumerate(days):
            date = f"{items['sentinel-2-l2a'][day].datetime:%Y-%m-%d}"
            out[at, ..., channel] = remove_offset_by_date(layers[day], date)
    codes = np.stack([code_backscatter(layer) for layer in power], axis=-1)
    states = np.array([i.properties["sat:orbit_state"] for i in items["sentinel-1-rtc"]])
    seen = codes.any(axis=(1, 2, 3))
    return {
        "bands": out,
        "masks": clear[days].astype(np.uint8),
        **{f"sar_{s}": codes[(states == s) & seen] for s in ("ascending", "descending")},
    }
