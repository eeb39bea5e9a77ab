"""How much a run takes of each thing: tokens, bytes, requests, hours and days.

Every amount that is not certain is an array, see `priors`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tessera_mosaic.model.cards import Card
from tessera_mosaic.model.observations import BIN, LONGEST, S2_BANDS
from tessera_mosaic.pipeline.ledger.journal import JOURNAL_SECONDS
from tessera_mosaic.pipeline.ledger.tally import MOST_TALLY_SECONDS
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.planning.priors import Drawn, Figures, Machine
from tessera_mosaic.pipeline.planning.revisits import Passes

NOTES = 2
"""Objects that are put for a tile beside its arrays: the note that it is begun, which is deleted
again, and its record."""


NAT_MACHINES = 32
"""Machines behind Cloud NAT that are billed at the most (cloud.google.com/nat/pricing)."""

LOOKS = 1
"""Objects that are asked for before a tile is made: its record, which hardly any has."""

LISTED = 1000
"""Keys in one answer of a store to the question which records a zone has."""


def tokens_of(card: Card, passes: Passes, figure: Figures) -> Drawn:
    """Number of observations of a pixel that was seen, with which an encoder computes.

    Parameters
    ----------
    card
        Card of the encoder.
    passes
        Passes of the satellites over the ground.
    figure
        Drawn figures by their names.
    """
    s2, s1 = passes.s2 / passes.seen * figure["s2_clear"], passes.s1 / passes.seen
    if card.family.startswith("v1.0"):
        return np.full_like(s2, 80.0)
    padding = (BIN - 1) / 2 if card.family == "v1.1" else 0.0
    return np.minimum(s2 + padding, LONGEST) + np.minimum(s1 + padding, LONGEST)


def bytes_fetched(reads: tuple[Drawn, Drawn], side: int, figure: Figures) -> Drawn:
    """Bytes of scenes that are fetched: whole blocks, for tiles that lie on them as it happens.

    Parameters
    ----------
    reads
        Numbers of pixels that are read of Sentinel-2 and of Sentinel-1, over all passes.
    side
        Side of the tiles in pixels.
    figure
        Drawn figures by their names.
    """
    whole_10m = (1 + figure["cog_block"] / side) ** 2
    whole_20m = (1 + 2 * figure["cog_block"] / side) ** 2
    # Of the 11 bytes of a pixel uncompressed, 8 are in the four bands of 10 m.
    s2 = reads[0] * figure["s2_bytes"] * (8 * whole_10m + 3 * whole_20m) / 11
    once = s2 + reads[1] * figure["s1_bytes"] * whole_10m
    return once * figure["fetches_a_block"]


def bytes_stored(pixels: float, layout: Layout, figure: Figures) -> list[Drawn]:
    """Bytes of each of the store's arrays; only codes are reckoned to shrink.

    Parameters
    ----------
    pixels
        Number of pixels to embed.
    layout
        Arrays of the store.
    figure
        Drawn figures by their names.
    """
    shrink = {True: figure["compression"], False: np.ones_like(figure["compression"])}
    return [
        pixels * max(array.bands, 1) * array.dtype.itemsize / shrink[array.bands > 0]
        for array in layout.arrays
    ]


def requests_of(
    tiles: int, side: int, passes: Passes, stored: list[Drawn], figure: Figures
) -> dict[str, Drawn]:
    """Number of requests by kind, for what tiles are made of.

    A file takes one for its header and one for each row of blocks, as neighbours in a row lie side
    by side in the file and are fetched together.

    Parameters
    ----------
    tiles, side
        Number of the tiles, and their side in pixels.
    passes
        Passes of the satellites over the ground, and the scenes to open.
    stored
        Bytes of each of the store's arrays.
    figure
        Drawn figures by their names.
    """
    file_10m = 1 + (1 + side / figure["cog_block"]) * figure["fetches_a_block"]
    file_20m = 1 + (1 + side / figure["cog_block"] / 2) * figure["fetches_a_block"]
    bands_10m = 4
    bands_20m = len(S2_BANDS) - bands_10m + 1  # and the classification
    parts = [np.ceil(size / tiles / figure["part_bytes"]) for size in stored]
    scenes = passes.s2_scenes + passes.s1_scenes
    return {
        "catalogue": 2 * tiles + scenes / figure["catalogue_page"],
        "read": passes.s2_scenes * (bands_10m * file_10m + bands_20m * file_20m)
        + passes.s1_scenes * 2 * file_10m,
        "write": tiles * (NOTES + np.sum(parts, axis=0)),
        "look": np.full_like(scenes, LOOKS * tiles),
        "list": np.full_like(scenes, -(-tiles // LISTED)),
        "delete": np.full_like(scenes, tiles),
    }


def machine_hours(
    machine: Machine, encoding: Drawn, reading: Drawn, fetched: Drawn, figure: Figures
) -> Drawn:
    """Hours of machines, by the slowest of encoding, reading and the network.

    Parameters
    ----------
    machine
        Kind of machine.
    encoding, reading
        Hours of encoding by one accelerator, and of reading by one core.
    fetched
        Bytes of scenes that are fetched.
    figure
        Drawn figures by their names.
    """
    cores = machine.cores / figure["vcpus_per_core"]
    network = fetched / (figure["network"] * machine.cores) / 3600
    reading = reading / cores
    busy = encoding + reading if machine.shares_cores else np.maximum(encoding, reading)
    slowest = np.maximum(busy, network)
    return slowest / figure["efficiency"]


def reading_hours(reads: tuple[Drawn, Drawn], figure: Figures) -> Drawn:
    """Hours of one core that reads scenes, with what it fetches again.

    Parameters
    ----------
    reads
        Numbers of pixels that are read of Sentinel-2 and of Sentinel-1, over all passes.
    figure
        Drawn figures by their names.
    """
    millions = (reads[0] + reads[1]) / 1e6 * figure["fetches_a_block"]
    return millions * figure["read_core_seconds"] / 3600


def days_of(tiles: int, hours: Drawn, workers: int, figure: Figures) -> Drawn:
    """Days from start to end: a tile is made by one machine, so some make one more than others.

    Parameters
    ----------
    tiles
        Number of the tiles.
    hours
        Hours of machines, all together.
    workers
        Number of machines at work at once.
    figure
        Drawn figures by their names.
    """
    rounds = -(-tiles // workers)
    return rounds * hours / tiles / figure["plateau"] / 24


def progress_puts(tiles: int, hours: Drawn) -> Drawn:
    """Number of objects in which machines say how far they are.

    They are tallies, and rows of the tiles that were finished.

    Parameters
    ----------
    tiles
        Number of the tiles.
    hours
        Hours of machines, all together.
    """
    seconds = hours * 3600
    return seconds / MOST_TALLY_SECONDS + np.minimum(tiles, seconds / JOURNAL_SECONDS)


def dataflow_fee(machine: Machine, hours: Drawn, figure: Figures) -> Drawn:
    """Money that Dataflow takes beyond the price of the machines, in US dollars."""
    rate = machine.cores * figure["dataflow_vcpu"] + machine.memory_gb * figure["dataflow_memory"]
    rate = rate + machine.disk_gb * figure["dataflow_disk"] + machine.dataflow_gpu
    return np.maximum(rate - machine.usd_per_hour, 0.0) * hours


def nat_fee(fetched: Drawn, days: Drawn, workers: int, figure: Figures) -> Drawn:
    """Money for Cloud NAT in US dollars: by byte, and by machine and hour.

    Parameters
    ----------
    fetched
        Bytes of scenes that are fetched.
    days
        Days from start to end.
    workers
        Number of machines behind it, of which no more than `NAT_MACHINES` are billed.
    figure
        Drawn figures by their names.
    """
    machines = min(workers, NAT_MACHINES)
    return fetched / 2**30 * figure["nat_gib"] + machines * days * 24 * figure["nat_machine_hour"]


def fees(requests: Mapping[str, Drawn], figure: Figures) -> Drawn:
    """Money for requests in US dollars: a listing costs as much as a put, a look as much as a read.

    Deletions are free, as is asking the public catalogues.
    """
    puts = requests["write"] + requests["progress"] + requests["list"]
    gets = requests["read"] + requests["look"]
    return (puts * figure["put"] + gets * figure["get"]) / 1000
