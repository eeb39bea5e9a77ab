"""A simulated archive: real cloud-optimized GeoTIFFs and a static STAC catalogue of a made-up land.

It has what makes real archives hard: granules that overlap, in one zone or two, swath edges, cloud
and its shadow, both orbit directions, speckle, two processing baselines. The same `Simulation`
makes the same bytes. It says that it is simulated in the catalogue, in each item and in each file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine
from shapely.affinity import translate

from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.simulation.landscape import CODES, Ground, ground_under
from tessera_mosaic.pipeline.simulation.overpass import (
    Footprint,
    Pass,
    Simulation,
    passes,
    sentinel1_scene,
    sentinel2_scene,
)

__all__ = ["Footprint", "Simulation", "simulate_archive"]

BLOCK = 256
"""Side of the files' internal tiles in pixels."""

WORLD = shapely.box(-180, -90, 180, 90)


def simulate_archive(out: Path, spec: Simulation) -> Path:
    """Write an archive.

    Parameters
    ----------
    out
        Folder that does not exist yet, or holds an archive of the same `spec`, which is kept.
    spec
        What it holds.

    Returns
    -------
    Path
        Its `catalog.json`. Beside it, `ground_truth/` has rasters of land cover and of parcels.

    Raises
    ------
    BadInput
        If something else is there.
    """
    catalogue = out / "catalog.json"
    if catalogue.is_file():
        held = json.loads(catalogue.read_text(encoding="utf-8")).get("simulation")
        if held == _recipe(spec):
            return catalogue
    if out.exists():
        raise BadInput(f"{out} exists and is not this archive: remove it, or name another folder")
    building = out.with_name(out.name + ".partial")
    shutil.rmtree(building, ignore_errors=True)
    make_directory(building)
    jobs = [(footprint, year) for year in spec.years for footprint in spec.footprints]
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        written = pool.map(lambda job: list(_write_granule_year(building, spec, *job)), jobs)
    _write_catalogue(building, spec, [item for items in written for item in items])
    building.rename(out)
    return catalogue


def _write_granule_year(
    out: Path, spec: Simulation, granule: Footprint, year: int
) -> Iterator[dict[str, Any]]:
    """Write all scenes of a granule in a year, and its ground truth; give their items."""
    corner = granule.epsg, granule.west, granule.north
    shape = granule.height, granule.width
    half = granule.height // 2, granule.width // 2
    fine = ground_under(spec.landscape, *corner, 10, shape, year)
    coarse = ground_under(spec.landscape, *corner, 20, half, year)
    _write_ground_truth(out, granule, year, fine)
    for passing in passes(spec):
        if passing.time.year != year or not passing.sees(spec, coarse).any():
            continue
        if passing.sensor == "s2":
            images = sentinel2_scene(spec, passing, granule, fine, coarse)
        else:
            images = sentinel1_scene(spec, passing, granule, fine)
        item = _item(spec, passing, granule, images)
        folder = out / item["collection"] / item["id"]
        folder.mkdir(parents=True)
        for name, image in images.items():
            nodata = spec.s1_nodata if passing.sensor == "s1" else 0
            _write_cog(folder / f"{name}.tif", image, granule, nodata)
        _write_json(folder / f"{item['id']}.json", item)
        yield item


def _write_cog(
    path: Path, image: NDArray[Any], granule: Footprint, nodata: float, **tags: str
) -> None:
    """Write a cloud-optimized GeoTIFF whose overviews come from the nearest pixel."""
    pixel = 10 * granule.width // image.shape[1]
    with rasterio.open(
        path,
        "w",
        driver="COG",
        height=image.shape[0],
        width=image.shape[1],
        count=1,
        dtype=image.dtype,
        crs=f"EPSG:{granule.epsg}",
        transform=Affine(pixel, 0, granule.west, 0, -pixel, granule.north),
        nodata=nodata,
        blocksize=BLOCK,
        compress="DEFLATE",
        level=1,
        predictor="YES",
        overview_resampling="NEAREST",
    ) as file:
        file.write(image, 1)
        file.update_tags(SIMULATED="YES", TIFFTAG_SOFTWARE="tessera-mosaic simulate", **tags)


def _write_ground_truth(out: Path, granule: Footprint, year: int, ground: Ground) -> None:
    """Rasters of land cover codes, uint8, and of parcel numbers, uint32; 0 is nothing."""
    folder = out / "ground_truth"
    folder.mkdir(exist_ok=True)
    legend = json.dumps({code: name for name, code in CODES.items()})
    path = folder / f"land_cover_{granule.name}_{year}.tif"
    _write_cog(path, ground.cover, granule, 0, CLASSES=legend)
    _write_cog(folder / f"parcels_{granule.name}_{year}.tif", ground.parcel, granule, 0)


def _item(
    spec: Simulation, passing: Pass, granule: Footprint, images: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    """A scene's STAC item, with the property names of the public catalogues."""
    properties: dict[str, Any] = {
        "datetime": f"{passing.time:%Y-%m-%dT%H:%M:%S.024000Z}",
        "simulated": True,
        "sat:orbit_state": passing.direction,
        "sat:relative_orbit": 50 + passing.orbit + 60 * passing.ascending,
        "proj:code": f"EPSG:{granule.epsg}",
        "proj:epsg": granule.epsg,
    }
    if passing.sensor == "s2":
        collection = "sentinel-2-l2a"
        name = f"S2{passing.platform}_MSIL2A_{passing.stamp}_T{granule.name}"
        scl = images["SCL"][images["SCL"] > 0]
        properties |= {
            "platform": f"Sentinel-2{passing.platform}",
            "s2:mgrs_tile": granule.name,
            "s2:processing_baseline": spec.baseline(f"{passing.time:%Y-%m-%d}"),
            "eo:cloud_cover": round(100 * float(np.isin(scl, (8, 9, 10)).mean()), 6),
        }
    else:
        collection = "sentinel-1-rtc"
        name = f"S1{passing.platform}_IW_GRDH_1SDV_{passing.stamp}_{granule.name}_rtc"
        properties |= {
            "platform": f"SENTINEL-1{passing.platform}",
            "sar:instrument_mode": "IW",
            "sar:polarizations": ["VV", "VH"],
        }
    up = {"root": "../../catalog.json", "parent": "../collection.json"}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v1.1.0/schema.json"],
        "id": f"SIMULATED_{name}",
        "collection": collection,
        **_geometry(granule),
        "properties": properties,
        "assets": {name: _asset(name, image, granule) for name, image in images.items()},
        "links": [
            {"rel": rel, "href": href, "type": "application/json"}
            for rel, href in (up | {"collection": up["parent"]}).items()
        ],
    }


def _asset(name: str, image: NDArray[Any], granule: Footprint) -> dict[str, Any]:
    pixel = 10.0 * granule.width / image.shape[1]
    return {
        "href": f"./{name}.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data"],
        "proj:shape": list(image.shape),
        "proj:transform": [pixel, 0.0, float(granule.west), 0.0, -pixel, float(granule.north)],
        "gsd": int(pixel),
    }


def _geometry(granule: Footprint) -> dict[str, Any]:
    """Geometry and box of a granule, cut at the antimeridian as GeoJSON (RFC 7946) asks."""
    outline = shapely.Polygon(np.stack(granule.outline, axis=1).round(7))
    west, south, east, north = outline.bounds
    turned = (translate(outline, turn).intersection(WORLD) for turn in (-360, 0, 360))
    parts = [part for part in turned if part.area > 0]
    return {
        "geometry": json.loads(shapely.to_geojson(shapely.union_all(parts))),
        "bbox": [west + 360 * (west < -180), south, east - 360 * (east > 180), north],
    }


def _write_catalogue(out: Path, spec: Simulation, items: list[dict[str, Any]]) -> None:
    """Write the collections, then the catalogue that names them."""
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    for name in ("sentinel-2-l2a", "sentinel-1-rtc"):
        _write_collection(out, name, [item for item in items if item["collection"] == name])
        href = f"./{name}/collection.json"
        links.append({"rel": "child", "href": href, "type": "application/json"})
    catalogue = {
        "type": "Catalog",
        "id": "simulated",
        "stac_version": "1.0.0",
        "title": "Simulated Sentinel-1 and Sentinel-2 archive",
        "description": "Simulated by tessera-mosaic: no satellite saw this land, it does not exist",
        "simulation": _recipe(spec),
        "links": links,
    }
    _write_json(out / "catalog.json", catalogue)


def _write_collection(out: Path, name: str, items: list[dict[str, Any]]) -> None:
    (out / name).mkdir(exist_ok=True)
    times = sorted(item["properties"]["datetime"] for item in items) or [None]
    boxes = sorted({tuple(item["bbox"]) for item in items}) or [(-180.0, -90.0, 180.0, 90.0)]
    links = [
        {"rel": rel, "href": "../catalog.json", "type": "application/json"}
        for rel in ("root", "parent")
    ]
    links += [
        {"rel": "item", "href": f"./{item['id']}/{item['id']}.json", "type": "application/geo+json"}
        for item in items
    ]
    collection = {
        "type": "Collection",
        "id": name,
        "stac_version": "1.0.0",
        "title": f"Simulated {name}",
        "description": f"Scenes with the form of {name}, simulated by tessera-mosaic",
        "license": "Apache-2.0",
        "extent": {
            "spatial": {"bbox": [list(box) for box in boxes]},
            "temporal": {"interval": [[times[0], times[-1]]]},
        },
        "links": links,
    }
    _write_json(out / name / "collection.json", collection)


def _recipe(spec: Simulation) -> Any:
    """The simulation as it stands in the catalogue: JSON has no NaN."""
    return json.loads(json.dumps(asdict(spec) | {"s1_nodata": str(spec.s1_nodata)}))


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
