"""The `demo` command: the whole main job on an archive that it simulates, and a picture of it."""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from tessera_mosaic.model.encoder import Encoder
from tessera_mosaic.model.observations import Stack
from tessera_mosaic.model.quantize import dequantize
from tessera_mosaic.pipeline.commands.refusals import model_refusals
from tessera_mosaic.pipeline.commands.run import run_arguments
from tessera_mosaic.pipeline.embedding.encoders import load_encoder
from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
from tessera_mosaic.pipeline.io.local_files import make_directory
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.publishing.drawing import (
    Panel,
    class_colours,
    count_colours,
    draw_figure,
    principal_components,
    true_colour,
)
from tessera_mosaic.pipeline.scenes import open_catalogue
from tessera_mosaic.pipeline.simulation.archive import Footprint, Simulation, simulate_archive
from tessera_mosaic.pipeline.simulation.landscape import COVERS
from tessera_mosaic.pipeline.stacks.read_stack import Preprocessing, read_stack
from tessera_mosaic.pipeline.tiling.lattice import lonlat_bounds, window_of_bounds, zone_group

YEAR, TILE = 2024, 256

GRANULES = (
    Footprint("31UDS", 32631, 498_560, 5_633_440, 288, 238),
    Footprint("31UES", 32631, 499_980, 5_633_440, 288, 146),
)
"""Two granules that overlap by 96 px; together 288 px square, around the corner of four tiles."""

ARCHIVE = Simulation(GRANULES, years=(YEAR,), s2_days=40, s1_days=40, seed=0)

WINDOW = window_of_bounds(31, (498_560, 5_630_560, 501_440, 5_633_440))
"""The ground that the granules cover."""


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `demo`."""
    parser.add_argument("--out", default="demo", help="folder for all that it makes (demo)")


@model_refusals()
def demo_command(args: argparse.Namespace) -> dict[str, Any]:
    """Simulate an archive, make its mosaic, draw a picture, and say what is where.

    Returns
    -------
    The fields of `run --json`, and where `archive`, `store` and `picture` are.
    """

    def say(text: str) -> None:
        if not args.json:
            print(text, flush=True)

    out = Path(args.out)
    make_directory(out)
    store, picture = out / "mosaic.zarr", out / "mosaic.png"
    encoder = load_encoder(None, None)
    began = time.monotonic()
    say(f"Simulating a small Sentinel-1 and Sentinel-2 archive of {YEAR} in {out / 'archive'} ...")
    catalogue = simulate_archive(out / "archive", ARCHIVE)
    say(f"Embedding it with {encoder.card.name} on this machine's CPU ...")
    outcome = launch(_run_options(catalogue, store), [])
    say(
        f"  {outcome.done} of {outcome.tiles} tiles done, {outcome.failed} failed; "
        f"{outcome.pixels:,} pixels in {outcome.seconds:.0f} s"
    )
    for kind, count in outcome.failures.items():
        say(f"  {kind}: {count} tiles; run the same command again to retry them")
    say(f"Drawing {picture} ...")
    draw_mosaic(picture, catalogue, store, encoder.card.name)
    say(_closing(out, store, picture, encoder, time.monotonic() - began))
    return outcome.to_json() | {
        "archive": str(catalogue),
        "store": str(store),
        "picture": str(picture),
    }


def _run_options(catalogue: Path, store: Path) -> argparse.Namespace:
    """The options of `run`, as its own command line gives them."""
    parser = argparse.ArgumentParser()
    run_arguments(parser)
    west, south, east, north = lonlat_bounds(WINDOW)
    return parser.parse_args(
        [
            f"--catalog={catalogue}",
            f"--region={west},{south},{east},{north}",
            f"--year={YEAR}",
            f"--store={store}",
            f"--tile={TILE}",
        ]
    )


def draw_mosaic(path: Path, catalogue: Path, store: Path, encoder: str) -> None:
    """Draw the embeddings beside what they were made from.

    Parameters
    ----------
    path
        PNG to write.
    catalogue, store
        The simulated archive, and its mosaic.
    encoder
        Name of the encoder, for the subtitle.
    """
    mosaic = read_mosaic(Storage(str(store)))
    pixels = mosaic.read_window(WINDOW, YEAR)
    stack = _read_year(catalogue, mosaic.identity["rules"])
    side = WINDOW.width * 10 / 1000
    draw_figure(
        path,
        f"TESSERA embeddings of a simulated land, {YEAR}",
        f"Encoder: {encoder}. The scenes are simulated: no satellite saw this land. "
        f"{side:g} km square at 10 m, UTM zone {WINDOW.zone}; north is up; hatched where "
        "there is nothing.",
        [*_what_it_looks_like(pixels, stack, catalogue.parent), *_how_often_it_was_seen(pixels)],
        columns=3,
        pixel=10,
    )


def _what_it_looks_like(pixels: Pixels, stack: Stack, archive: Path) -> list[Panel]:
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
            *class_colours(_ground_truth(archive), [cover.colour for cover in COVERS]),
            classes=tuple((cover.name, cover.colour) for cover in COVERS),
        ),
    ]


def _how_often_it_was_seen(pixels: Pixels) -> list[Panel]:
    titles = {
        "s2": ("Sentinel-2", "Days of the year on which the pixel was seen clear of cloud."),
        "s1_ascending": ("Sentinel-1, ascending", "Evening passes of the year."),
        "s1_descending": ("Sentinel-1, descending", "Morning passes of the year."),
    }
    panels = []
    for name, (title, caption) in titles.items():
        counts = pixels.counts[name]
        some = counts[counts > 0]
        bar = (int(some.min()), int(some.max())) if some.size else (0, 0)
        colours = count_colours(counts, *bar)
        panels.append(Panel(f"Observations: {title}", caption, *colours, bar=bar))
    return panels


def _read_year(catalogue: Path, rules: dict[str, Any]) -> Stack:
    """The annual stack of the demo's ground, by the rules that the mosaic was made with."""
    source = open_catalogue(str(catalogue))
    scenes = source.search(lonlat_bounds(WINDOW), YEAR)
    with contextlib.closing(SceneReader(source)) as reader:
        return read_stack(
            WINDOW, scenes, Preprocessing.of_identity(rules, source.imagery), reader
        ).stack


def _ground_truth(archive: Path) -> NDArray[np.uint8]:
    """Land cover codes of the demo's ground, from the rasters of its granules."""
    cover = np.zeros(WINDOW.shape, np.uint8)
    for granule in GRANULES:
        place = window_of_bounds(WINDOW.zone, granule.bounds).within(WINDOW)
        path = archive / "ground_truth" / f"land_cover_{granule.name}_{YEAR}.tif"
        with rasterio.open(path) as raster:
            cover[place] = raster.read(1)
    return cover


def _closing(out: Path, store: Path, picture: Path, encoder: Encoder, seconds: float) -> str:
    """What a newcomer wants to know at the end."""
    step = read_mosaic(Storage(str(store))).step(YEAR)
    row, col = WINDOW.row + WINDOW.height // 2, WINDOW.col + WINDOW.width // 2
    return f"""
Made in {seconds:.0f} s:
  {out / "archive"}  a simulated archive, with its land cover in ground_truth/
  {store}  the mosaic: int8 codes, a scale a pixel, observation counts
  {picture}  a picture of it

The encoder is {encoder.card.name}, small and trained on one square in Flanders: enough to see the
job work. `tessera-mosaic models` lists the published ones.

One pixel's embedding in {YEAR}, in Python:
  import zarr
  zone = zarr.open_group("{store / zone_group(WINDOW.zone)}", mode="r")
  embedding = zone["embeddings"][{step}, :, {row}, {col}] * zone["scales"][{step}, {row}, {col}]"""
