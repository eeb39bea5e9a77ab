"""What jobs can be asked for, checked: the same from the command line, from Python, from a test.

Each request is a frozen dataclass. What cannot be used is refused when it is made, with a message
that names the parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tessera_mosaic.model.precision import Precision
from tessera_mosaic.pipeline.bounds import Bounds
from tessera_mosaic.pipeline.errors import BadInput, choose
from tessera_mosaic.pipeline.imagery.read_budget import GIGABYTES, ReadLimits
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.job.job_request import JobOptions
from tessera_mosaic.pipeline.scenes.scene import YEARS, check_year
from tessera_mosaic.pipeline.stacks.losses import LOST_SCENES
from tessera_mosaic.pipeline.stacks.sentinel1 import PassRule
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
from tessera_mosaic.pipeline.tiling.area import MARGIN, AreaRequest, WantedPixels
from tessera_mosaic.pipeline.tiling.lattice import CHUNK, DEFAULT_MARGIN, DEFAULT_SIDE, SIDE
from tessera_mosaic.pipeline.tiling.points import BUFFER

DEFAULT_BLOCK = 256
"""Side of a block in pixels: a year of one is some 150 MB, and it fills many device batches."""

DEFAULT_FRACTION = 1 / 400
"""Share of a tile's pixels that `sample` draws (TESSERA v1)."""

BLOCKS = Bounds(f"a block is a whole number of {CHUNK} px chunks", least=CHUNK, multiple_of=CHUNK)
TILES = Bounds("a run has at least one tile", least=1)
DOLLARS = Bounds("choose US dollars above 0", above=0)
FRACTION = Bounds("choose a share above 0 and up to 1", above=0, most=1)


class Device(StrEnum):
    """Where workers encode."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class RunRequest(JobOptions):
    """A region's year to embed into a mosaic.

    Parameters
    ----------
    catalog
        STAC API, static catalogue or STAC GeoParquet index, as a path or URL, or the name of a
        public one.
    region
        `west,south,east,north` or a point `lon,lat` in degrees, a vector file, a CSV file of
        points, a country, a Sentinel-2 tile, a list of tiles (.txt), or `global`.
    year
        Calendar year.
    store
        Path or URL of the mosaic.
    allow_hosts
        Hosts of private addresses that the catalogue may point to.
    land
        `coast`, `everywhere` or a mask file: no tile outside of it is made. By default `coast` for
        the region `global`, and `everywhere` for others.
    pixels
        `all` of the tiles that touch the region, or only those `inside` it.
    tile
        Side of a tile in pixels.
    buffer
        Metres around points; by default as many as hold a pixel.
    margin
        Number of pixels written beyond a zone's meridians.
    model, weights
        Name of the card whose sizes and statistics apply, and the checkpoint's path or URL. Without
        both, the encoder that comes with the package.
    block
        Side in pixels of the blocks in which a tile is read and encoded.
    depths
        Whether the shorter embeddings that the model's first values are get stored, too.
    offset
        How the radiometric offset of Sentinel-2 is taken out; by default by the rule of a store
        that is there, else by evidence, or as weights were trained that had another rule.
    s1_mosaic
        The value of a pixel that several scenes of a Sentinel-1 pass have.
    precision
        The arithmetic of the encoder: `fp32` or `bf16`.
    device
        Device that workers encode on: `cpu` or `cuda`.
    reproducible
        Whether every worker computes with the same instructions, so that a fleet of unlike
        processors makes the same bytes; slower, on the CPU in `fp32` alone.
    read_memory, read_disk
        GB of memory and of local disk of each machine that annual stacks may take before they are
        encoded; by default 4 and 20, and less where there is less. Whatever fits is read at once,
        and fetched once.
    max_tiles, max_cost
        Most tiles that the run may have, and most US dollars that its plan may come to; what is
        above is refused before the store is touched. No limit by default.
    allow_lost_scenes
        Number of scenes that a tile may lose for good before it fails: their items or files are
        faulty, or gone.
    allow_lost_sensor
        Whether a tile is made from one sensor though all scenes of the other are faulty.
    retry_failed, overwrite, refresh, max_failed_share, runner, workers, beam_options, pacing
        As in `JobOptions`.
    store_patience, single_launcher, share
        As in `JobOptions`.

    Raises
    ------
    BadInput
        If a value is out of range.

    Examples
    --------
    >>> request = tm.RunRequest(
    ...     "archive/catalog.json", "2.995,50.845,2.998,50.847", 2024, "new.zarr", tile=32
    ... )
    >>> request.precision.value, request.workers
    ('fp32', 1)
    >>> tm.RunRequest("archive/catalog.json", "global", 2024, "new.zarr", workers=0)
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: workers 0: at least one process has to work
    """

    catalog: str
    region: str
    year: int = field(metadata=YEARS.metadata)
    store: str
    allow_hosts: tuple[str, ...] = ()
    land: str | None = None
    pixels: WantedPixels = WantedPixels.ALL
    tile: int = field(default=DEFAULT_SIDE, metadata=SIDE.metadata)
    margin: int = field(default=DEFAULT_MARGIN, metadata=MARGIN.metadata)
    model: str | None = None
    weights: str | None = None
    block: int = field(default=DEFAULT_BLOCK, metadata=BLOCKS.metadata)
    depths: bool = False
    offset: OffsetRule | None = None
    s1_mosaic: PassRule = PassRule.FIRST
    precision: Precision = Precision.FP32
    device: Device = Device.CPU
    reproducible: bool = False
    allow_lost_scenes: int = field(default=0, metadata=LOST_SCENES.metadata)
    allow_lost_sensor: bool = False
    read_memory: float | None = field(default=None, metadata=GIGABYTES.metadata)
    read_disk: float | None = field(default=None, metadata=GIGABYTES.metadata)
    buffer: float | None = field(default=None, metadata=BUFFER.metadata)
    max_tiles: int | None = field(default=None, metadata=TILES.metadata)
    max_cost: float | None = field(default=None, metadata=DOLLARS.metadata)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.area, self.read_limits
        choose(self, s1_mosaic=PassRule, precision=Precision, device=Device)
        if self.offset is not None:
            choose(self, offset=OffsetRule)
        if self.reproducible and (self.precision, self.device) != (Precision.FP32, Device.CPU):
            raise BadInput("only fp32 on the CPU can be the same everywhere", "reproducible", True)
        check_year(self.year)

    @property
    def read_limits(self) -> ReadLimits:
        """How much memory and local disk stacks may take."""
        return ReadLimits(self.read_memory, self.read_disk)

    @property
    def area(self) -> AreaRequest:
        """Which tiles and pixels are asked for."""
        return AreaRequest(self.region, self.tile, self.margin, self.pixels, self.land, self.buffer)


@dataclass(frozen=True)
class SampleRequest(JobOptions):
    """Pixels of a region's year to draw for training.

    Parameters
    ----------
    catalog, region, year, allow_hosts, tile
        As in `RunRequest`.
    offset
        How the radiometric offset of Sentinel-2 is taken out; by default by the rule of a folder
        that is there, else by evidence.
    out
        Folder or URL for the d-pixels.
    fraction
        Share of the pixels to draw, above 0 and up to 1.
    seed
        Seed of the drawing.
    labels
        Path of a raster of class codes, if only labelled pixels are to be drawn.
    fields
        Path of a raster of field numbers on the grid of `labels`.
    kernel
        How coarser pixels are resampled to 10 m.
    retry_failed, overwrite, refresh, max_failed_share, runner, workers, beam_options, pacing
        As in `JobOptions`.
    store_patience, single_launcher, share
        As in `JobOptions`.

    Raises
    ------
    BadInput
        If a value is out of range.

    Examples
    --------
    >>> tm.SampleRequest("archive/catalog.json", "31UDS", 2024, "d-pixels").fraction
    0.0025
    """

    catalog: str
    region: str
    year: int = field(metadata=YEARS.metadata)
    out: str
    allow_hosts: tuple[str, ...] = ()
    tile: int = field(default=DEFAULT_SIDE, metadata=SIDE.metadata)
    fraction: float = field(default=DEFAULT_FRACTION, metadata=FRACTION.metadata)
    seed: int = 0
    labels: str | None = None
    fields: str | None = None
    kernel: Kernel = Kernel.BILINEAR
    offset: OffsetRule | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        choose(self, kernel=Kernel)
        if self.offset is not None:
            choose(self, offset=OffsetRule)
        check_year(self.year)
        if self.fields and not self.labels:
            raise BadInput("it numbers the fields of the labels: name both", "fields", self.fields)


@dataclass(frozen=True)
class AdoptRequest(JobOptions):
    """Embeddings that were made elsewhere, to be put into a mosaic.

    Parameters
    ----------
    store
        Path or URL of the mosaic.
    year
        Calendar year of the embeddings.
    model
        Name of the product, or its URI, as the mosaic shall tell it.
    codes, scales
        Paths of `.npy` files: int8 (height, width, dims) and float32 (height, width).
    georef
        Path of a JSON file that says where they lie: `crs`, and `transform`, six affine numbers.
    observations_s2, observations_s1_ascending, observations_s1_descending
        Paths of `.npy` files with the observation counts, uint16 (height, width), that are known.
    folder
        In place of these: path of a folder that `encode` wrote, of a folder of such, or of a tree
        of the published cells of 0.1 degrees with their landmasks.
    tile
        Side of a tile in pixels.
    nearest
        Whether pixels of the lattice take the nearest of a grid whose pixels lie elsewhere.
    retry_failed, overwrite, refresh, max_failed_share, runner, workers, beam_options, pacing
        As in `JobOptions`.
    store_patience, single_launcher, share
        As in `JobOptions`.

    Raises
    ------
    BadInput
        If a value is out of range, or it is not said what is adopted.

    Examples
    --------
    >>> tm.AdoptRequest("new.zarr", 2024, "tessera-v1.1", folder="embeddings").tile
    2048
    >>> tm.AdoptRequest("new.zarr", 2024, "tessera-v1.1", codes="codes.npy")
    Traceback (most recent call last):
        ...
    tessera_mosaic.pipeline.errors.BadInput: name codes, scales and georef, or one folder
    """

    store: str
    year: int = field(metadata=YEARS.metadata)
    model: str
    codes: str | Path | None = None
    scales: str | Path | None = None
    georef: str | Path | None = None
    observations_s2: str | Path | None = None
    observations_s1_ascending: str | Path | None = None
    observations_s1_descending: str | Path | None = None
    folder: str | Path | None = None
    tile: int = field(default=DEFAULT_SIDE, metadata=SIDE.metadata)
    nearest: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_year(self.year)
        arrays = (self.codes, self.scales, self.georef)
        counts = any(path is not None for path in self.counts.values())
        whole = all(path is not None for path in arrays)
        some = counts or any(path is not None for path in arrays)
        if (self.folder is None) != whole or (self.folder is not None and some):
            raise BadInput("name codes, scales and georef, or one folder")
        if not self.model.strip() or not self.model.isprintable() or len(self.model) > 200:
            raise BadInput("name the product that made the embeddings", "model", repr(self.model))

    @property
    def counts(self) -> dict[str, str | Path | None]:
        """Paths of the observation counts by their names."""
        return {
            "s2": self.observations_s2,
            "s1_ascending": self.observations_s1_ascending,
            "s1_descending": self.observations_s1_descending,
        }
