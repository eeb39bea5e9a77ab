"""This machine as one that a plan can be made for: how fast it encodes and reads, measured once.

What was found lies in the user's cache folder, by encoder, precision and machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import platform
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tessera_mosaic.model.cards import SHIPPED, Card, CardError, card_named
from tessera_mosaic.model.cores import usable_cores
from tessera_mosaic.model.observations import Origin, Stack
from tessera_mosaic.model.precision import Precision
from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.errors import as_bad_input
from tessera_mosaic.pipeline.planning import plan_request
from tessera_mosaic.pipeline.planning.estimate import Plan
from tessera_mosaic.pipeline.planning.plan_request import HERE, PlanRequest
from tessera_mosaic.pipeline.planning.priors import (
    Figure,
    Machine,
    Priors,
    Throughput,
    read_priors,
)

if TYPE_CHECKING:
    from tessera_mosaic.pipeline.tiling.lattice import Window

log = logging.getLogger(__name__)

DEPTH = 64, 80
"""Observations of Sentinel-2 and Sentinel-1 of a pixel that is encoded to see how fast."""

LEAST_SECONDS = 1.0
"""For which the encoder, and the reader, are watched at least."""

SIDE = 512
"""Side in pixels of the raster that is read."""

FOLDER = "tessera-mosaic"


@dataclass(frozen=True)
class Speed:
    """How fast a machine is.

    Parameters
    ----------
    device
        What encodes: `CPU`, or the name of a GPU.
    cores
        Number of cores that can be used.
    tokens_per_second
        Tokens that the encoder computes with in a second.
    read_core_seconds
        Seconds of a core to decode a million pixels of a scene, all its bands.
    """

    device: str
    cores: int
    tokens_per_second: float
    read_core_seconds: float


@as_bad_input(CardError)
def plan(request: PlanRequest, card: Card | None = None) -> Plan:
    """Reckon what a run would take.

    Parameters
    ----------
    request
        What it is made for. The machine `here` is this one, which is measured for some seconds the
        first time.
    card
        Card of weights that are no published model's, in place of the request's model.

    Raises
    ------
    BadInput
        If the area, the catalogue or the model cannot be used, there are no scenes, or nobody has
        measured an encoder on such a machine.
    Unavailable
        If the catalogue's provider does not serve at the moment.

    Examples
    --------
    >>> area = tm.AreaRequest("7.0,46.0,7.1,46.1")
    >>> found = tm.plan(tm.PlanRequest(area, 2024, model="v2-large", precision="bf16"))
    >>> found.tiles, found.pixels
    (2, 8388608)
    >>> found.bill_on("g6e.xlarge").machine.device
    'L40S'
    """
    if request.machine != HERE:
        return plan_request.plan(request, card)
    card = card or card_named(request.model or SHIPPED.name)
    speed = known_speed(card, request.precision)
    return plan_request.plan(request, card, priors_here(speed, card, request.precision))


def priors_here(speed: Speed, card: Card, precision: Precision) -> Priors:
    """The package's figures with this machine among the others, and its own speed of reading."""
    priors, today = read_priors(), time.strftime("%Y-%m")
    source = f"measured on this machine, {speed.cores} cores"
    machine = Machine(
        HERE,
        speed.device,
        speed.cores,
        0.0,
        "it is there already",
        today,
        shares_cores=speed.device == "CPU",
    )
    tokens = float(sum(DEPTH))
    rate = speed.tokens_per_second / tokens
    row = Throughput(speed.device, card.name, precision, tokens, rate, source, today)
    value = speed.read_core_seconds
    reading = priors.figures["read_core_seconds"]
    here = {
        "read_core_seconds": dataclasses.replace(
            reading, value=value, low=value, high=4 * value, source=source, date=today
        ),
        # Cores are counted as they are used here, whatever they are in silicon.
        "vcpus_per_core": Figure(
            "vcpus_per_core", 1.0, 1.0, 1.0, "virtual cores that are one core", source, today
        ),
    }
    return dataclasses.replace(
        priors,
        figures=priors.figures | here,
        machines=(machine,),
        throughputs=(row,),
    )


def known_speed(card: Card, precision: Precision) -> Speed:
    """How fast this machine is, out of the user's cache folder, or measured now."""
    path = _cache(card, precision)
    try:
        return Speed(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        log.info("this machine is measured, which takes some seconds")
    speed = measure(card, precision)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(speed)) + "\n", encoding="utf-8")
    except OSError as error:
        log.warning("%s cannot be written: %s", path, error.strerror)
    return speed


def _cache(card: Card, precision: Precision) -> Path:
    """File of what was found for an encoder on this machine."""
    try:
        home = Path.home() / ".cache"
    except RuntimeError:
        home = Path(tempfile.gettempdir())
    folder = Path(os.environ.get("XDG_CACHE_HOME") or home) / FOLDER
    encoder = [card.family, asdict(card.sizes), precision, __version__]
    machine = [platform.node(), platform.processor(), usable_cores()]
    digest = hashlib.sha256(json.dumps([encoder, machine]).encode()).hexdigest()[:16]
    return folder / f"here-{digest}.json"


def measure(card: Card, precision: Precision) -> Speed:
    """Measure how fast this machine encodes and reads.

    Raises
    ------
    BadInput
        If it cannot encode in such a precision.
    """
    device, rate = encoding_speed(card, precision)
    return Speed(device, usable_cores(), rate, reading_speed())


def encoding_speed(
    card: Card, precision: Precision, least: float = LEAST_SECONDS
) -> tuple[str, float]:
    """What encodes here, and tokens a second, with an encoder of a card's size.

    Parameters
    ----------
    card, precision
        The encoder's card, and the precision it computes in.
    least
        Seconds for which it is watched at least.
    """
    # Imported here, since it takes seconds to load.
    import torch

    from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint
    from tessera_mosaic.model.encoder import Encoder
    from tessera_mosaic.pipeline.embedding.encoders import check_device, encoder_errors

    name = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(name, precision)
    checkpoint = random_checkpoint(card.sizes, 0, card.family)
    with encoder_errors():
        encoder = Encoder(checkpoint, card, precision, name, usable_cores())
        side = 8
        while True:
            stack = _stack(side)
            began = time.perf_counter()
            made = encoder.embed(stack, Origin(31, 0, 0, 2024))
            seconds = time.perf_counter() - began
            if seconds >= least or side >= SIDE:
                break
            side = min(SIDE, max(2 * side, int(side * (least / seconds) ** 0.5)))
    device = torch.cuda.get_device_name() if name == "cuda" else "CPU"
    return device, made.tokens / seconds


def _stack(side: int) -> Stack:
    """A square that every pass saw, of noise."""
    draw = np.random.default_rng(0)
    s2, s1 = DEPTH
    days = [np.linspace(1, 365, count) for count in (s2, s1 // 2, s1 - s1 // 2)]

    def values(count: int, bands: int) -> np.ndarray:
        return draw.integers(200, 6000, (count, side, side, bands))

    return Stack(
        bands=values(s2, 10).astype(np.uint16),
        masks=np.ones((s2, side, side), np.uint8),
        doys=days[0].astype(np.uint16),
        sar_ascending=values(len(days[1]), 2).astype(np.int16),
        sar_ascending_doy=days[1].astype(np.int16),
        sar_descending=values(len(days[2]), 2).astype(np.int16),
        sar_descending_doy=days[2].astype(np.int16),
    )


def reading_speed(least: float = LEAST_SECONDS) -> float:
    """Seconds of a core to read a million pixels of a scene of Sentinel-2, all its bands.

    The bands are rasters as archives have them, deflated with a predictor, which are read from a
    local folder onto the lattice as a run reads them; no network is in it.

    Parameters
    ----------
    least
        Seconds of the processor for which reading is watched at least.
    """
    from tessera_mosaic.pipeline.imagery.scene_reader import SceneReader
    from tessera_mosaic.pipeline.io.fetcher import Remote
    from tessera_mosaic.pipeline.scenes.scene import S2_ASSETS, Imagery, Scene, Sensor
    from tessera_mosaic.pipeline.stacks.block_reader import read_block
    from tessera_mosaic.pipeline.stacks.preprocessing import Preprocessing
    from tessera_mosaic.pipeline.tiling.boxes import Box
    from tessera_mosaic.pipeline.tiling.lattice import Window, lonlat_bounds

    @dataclass
    class Local:
        """A catalogue that lists nothing, on this machine."""

        remote: Remote
        name: str = "this machine"
        imagery: Imagery = Imagery.MPC
        keeps_offset: bool = False

        def search(self, bounds: Box, year: int) -> list[Scene]:
            return []

        def refresh(self, scene: Scene) -> Scene:
            return scene

    window = Window(31, SIDE * 2048, SIDE * 64, SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        remote = Remote(folder)
        scenes: list[Scene] = []
        busy = 0.0
        while not scenes or (busy < least and len(scenes) < 24):
            day = len(scenes)
            assets = {name: str(Path(folder) / f"{day}-{name}.tif") for name in S2_ASSETS}
            for name, path in assets.items():
                _raster(Path(path), name, window)
            scenes.append(
                Scene(
                    f"scene-{day}",
                    Sensor.S2,
                    f"2024-{1 + day // 24:02d}-{1 + day % 24:02d}T10:00:00Z",
                    lonlat_bounds(window),
                    assets,
                    epsg=32631,
                    baseline="05.11",
                )
            )
            reader = SceneReader(Local(remote), threads=1)
            began = time.process_time()
            read_block(window, scenes[-1:], Preprocessing(), reader)
            busy += time.process_time() - began
    return busy / len(scenes) / (SIDE**2 / 1e6)


def _raster(path: Path, name: str, window: Window) -> None:
    """Write a band of noise that compresses as imagery does."""
    import rasterio
    from rasterio.transform import from_origin

    from tessera_mosaic.model.observations import S2_BANDS
    from tessera_mosaic.pipeline.scenes.scene import S2_ASSETS
    from tessera_mosaic.pipeline.tiling.lattice import PIXEL

    coarse = 1 if name in S2_BANDS[:4] else 2
    side = SIDE // coarse
    _, _, west, _, _, north = window.transform[:6]
    draw = np.random.default_rng(S2_ASSETS.index(name))
    kind = np.uint16 if name in S2_BANDS else np.uint8
    slow = np.cumsum(draw.integers(-30, 31, (side, side)), axis=1) + 3000
    noisy = slow + draw.integers(0, 60, (side, side))
    values = noisy if kind is np.uint16 else np.full_like(slow, 4)
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 1,
        "dtype": kind,
        "crs": f"EPSG:{32600 + window.zone}",
        "transform": from_origin(west, north, PIXEL * coarse, PIXEL * coarse),
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "predictor": 2,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.clip(values, 1, 10_000).astype(kind), 1)
