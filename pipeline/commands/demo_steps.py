"""The steps of the demo: simulate an archive, make its mosaic, draw it, and say what is where."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from tessera_mosaic.launching import run
from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.observations import Stack
from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.commands.demo_map import Truth, make_crop_map
from tessera_mosaic.pipeline.embedding.encoders import load_encoder
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import ROOT, read_mosaic
from tessera_mosaic.pipeline.publishing.drawing import (
    Panel,
    class_colours,
    count_panels,
    draw_figure,
    principal_components,
    true_colour,
)
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.simulation.landscape import COVERS
from tessera_mosaic.pipeline.stacks.block_reader import read_block
from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
from tessera_mosaic.pipeline.tiling.lattice import (
    PIXEL,
    Window,
    lonlat_bounds,
    to_lonlat,
    window_of_bounds,
)
from tessera_mosaic.requests import RunRequest

YEAR, TILE = 2024, 256


@dataclass(frozen=True)
class Land:
    """The simulated land of a demo.

    Parameters
    ----------
    archive
        What the simulated archive holds.
    window
        The ground that its granules cover.
    """

    archive: Simulation
    window: Window


GRANULES = (
    Footprint("31UDS", 32631, 498_560, 5_633_440, 288, 238),
    Footprint("31UES", 32631, 499_980, 5_633_440, 288, 146),
)
"""Two granules that overlap by 96 px; together 288 px square, around the corner of four tiles."""

LAND = Land(
    Simulation(GRANULES, years=(YEAR,), s2_days=40, s1_days=40, seed=0),
    window_of_bounds(31, (498_560, 5_630_560, 501_440, 5_633_440)),
)


def make_demo(out: Path, land: Land, quiet: bool) -> dict[str, Any]:
    """Make the demo of a land in a folder; what it prints can be left out."""

    def say(text: str) -> None:
        if not quiet:
            print(text, flush=True)

    if (out / ROOT).exists():
        raise BadInput("it is a mosaic or another Zarr store: name a folder for it", "out", out)
    make_directory(out)
    store, picture = out / "mosaic.zarr", out / "mosaic.png"
    encoder = load_encoder(None, None)
    began = time.monotonic()
    say(f"Simulating a small Sentinel-1 and Sentinel-2 archive of {YEAR} in {out / 'archive'} ...")
    catalogue = simulate_archive(out / "archive", land.archive)
    say(f"Embedding it with {encoder.card.name} on this machine's CPU ...")
    outcome = run(demo_request(catalogue, store, land.window))
    say(
        f"  {outcome.done} of {outcome.tiles} tiles done, {outcome.failed} failed; "
        f"{outcome.pixels:,} pixels in {outcome.seconds:.0f} s"
    )
    for kind, count in outcome.failures.items():
        say(f"  {kind}: {count} tiles; run the same command again to retry them")
    say(f"Drawing {picture} ...")
    draw_mosaic(picture, catalogue, store, encoder.card.name, land)
    truth = Truth(
        land.window,
        _ground_truth(catalogue.parent, land, "land_cover").astype(np.uint8),
        _ground_truth(catalogue.parent, land, "parcels"),
    )
    crops = make_crop_map(out, store, YEAR, truth, say)
    say(_closing(out, store, picture, encoder, land.window, time.monotonic() - began))
    if crops is not None:
        say(f"\nThe crop map: {crops.picture}, and a report on it: {crops.mapped.report}")
    told = {} if crops is None else crops.to_json()
    return outcome.to_json() | {
        "archive": str(catalogue),
        "store": str(store),
        "picture": str(picture),
        **told,
    }


def demo_request(catalogue: Path, store: Path, window: Window) -> RunRequest:
    """The run of the demo."""
    west, south, east, north = lonlat_bounds(window)
    return RunRequest(
        catalog=str(catalogue),
        region=f"{west},{south},{east},{north}",
        year=YEAR,
        store=str(store),
        tile=TILE,
    )


def draw_mosaic(path: Path, catalogue: Path, store: Path, encoder: str, land: Land) -> None:
    """Draw the embeddings beside what they were made from.

    Parameters
    ----------
    path
        PNG to write.
    catalogue, store
        The simulated archive, and its mosaic.
    encoder
        Name of the encoder, for the subtitle.
    land
        That the archive is of.
    """
    window = land.window
    mosaic = read_mosaic(Storage(str(store)))
    pixels = mosaic.read_window(window, YEAR)
    stack = _read_year(catalogue, mosaic.identity["rules"], window)
    cover = _ground_truth(catalogue.parent, land, "land_cover")
    side = window.width * 10 / 1000
    draw_figure(
        path,
        f"TESSERA embeddings of a simulated land, {YEAR}",
        f"Encoder: {encoder}. The scenes are simulated: no satellite saw this land. "
        f"{side:g} km square at 10 m, UTM zone {window.zone}; north is up; hatched where "
        "there is nothing.",
        [
            *_what_it_looks_like(pixels, stack, cover.astype(np.uint8)),
            *count_panels(pixels.counts),
        ],
        columns=3,
        pixel=10,
    )


def _what_it_looks_like(pixels: Pixels, stack: Stack, cover: NDArray[np.uint8]) -> list[Panel]:
    colours = principal_components(dequantize(pixels.codes, pixels.scales))
    dims = pixels.codes.shape[-1]
    return [
        Panel(
            "Embeddings",
            f"Three principal components of {dims} dimensions as red, green and blue.",
            *colours,
        ),
        Panel(
            "True colour",
            "Sentinel-2 red, green and blue: median of the clear observations.",
            *true_colour(stack),
        ),
        Panel(
            "Land cover",
            "What the simulation put there; the encoder has not seen it.",
            *class_colours(cover, [kind.colour for kind in COVERS]),
            classes=tuple((kind.name, kind.colour) for kind in COVERS),
        ),
    ]


def _read_year(catalogue: Path, rules: dict[str, Any], window: Window) -> Stack:
    """The annual stack of the demo's ground, by the rules that the mosaic was made with."""
    source = open_catalogue(str(catalogue))
    scenes = source.search(lonlat_bounds(window), YEAR)
    with contextlib.closing(SceneReader(source)) as reader:
        return read_block(
            window, scenes, Preprocessing.of_identity(rules, source.imagery), reader
        ).stack


def _ground_truth(archive: Path, land: Land, what: str) -> NDArray[np.int32]:
    """Land cover or parcels of the demo's ground, from the rasters of its granules."""
    window = land.window
    cover = np.zeros(window.shape, np.int32)
    for granule in land.archive.footprints:
        place = window_of_bounds(window.zone, granule.bounds).within(window)
        path = archive / "ground_truth" / f"{what}_{granule.name}_{YEAR}.tif"
        with rasterio.open(path) as raster:
            cover[place] = raster.read(1)
    return cover


def _closing(
    out: Path, store: Path, picture: Path, encoder: Encoder, window: Window, seconds: float
) -> str:
    """What a newcomer wants to know at the end."""
    middle = window.west + (window.width // 2 + 0.5) * PIXEL
    down = window.north - (window.height // 2 + 0.5) * PIXEL
    lon, lat = to_lonlat(window.zone).transform(middle, down)
    return f"""
Made in {seconds:.0f} s:
  {out / "archive"}  a simulated archive, with its land cover in ground_truth/
  {store}  the mosaic: int8 codes, a scale a pixel, observation counts
  {picture}  a picture of it

The encoder is {encoder.card.name}, small and trained on one square in Flanders: enough to see the
job work. `tessera-mosaic models` lists the published ones.

The embedding in {YEAR} at a longitude and latitude, in Python:
  import tessera_mosaic as tm
  found = tm.point(tm.PointRequest("{store}", lon={lon:.5f}, lat={lat:.5f}, year={YEAR}))
  embedding = found.vector

and on the command line: tessera-mosaic point --store {store} {lon:.5f} {lat:.5f}"""
