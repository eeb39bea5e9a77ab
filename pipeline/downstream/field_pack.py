"""Pack a region of a mosaic into a field, which knows its vectors in a twentieth of the bytes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

from tessera_mosaic.model.fields.components import Baseline, Components
from tessera_mosaic.model.fields.fidelity import Fidelity
from tessera_mosaic.model.fields.field import Field, FieldError
from tessera_mosaic.model.fields.fitting import Fitting, one_thread
from tessera_mosaic.model.fields.sizes import Sizes, choose_sizes
from tessera_mosaic.pipeline import __version__
from tessera_mosaic.pipeline.bounds import Bounds, check_bounds
from tessera_mosaic.pipeline.downstream.field_checkpoint import Checkpoint, CheckpointFile
from tessera_mosaic.pipeline.downstream.field_file import (
    RegionField,
    decode_field,
    encode_field,
)
from tessera_mosaic.pipeline.downstream.field_region import FieldRegion, read_field_region
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.file_place import file_place
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.any_mosaic import open_any
from tessera_mosaic.pipeline.mosaic.identity import fingerprint, model_name

ALGORITHM = 1
"""Version of what makes fields: raised whenever the same vectors would come out as others."""

RATIO, RATIOS = 20.0, Bounds("choose 5 to 1000", least=5, most=1000)
"""How many times smaller a field is than the codes, and what may be asked for."""

CURVE = (10.0, 20.0, 50.0, 100.0)
"""Ratios of a curve."""

RESERVE = 4096
"""Bytes of a file for what it tells beside its arrays."""

Told = Callable[[int, int], None]


def unseen(done: int, of: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class PackRequest:
    """A region to pack into a field.

    Parameters
    ----------
    store
        Path or URL of the mosaic, of ours or published by somebody else.
    out
        Path or URL of the field's file.
    region
        Part of the Earth: `west,south,east,north` or a point `lon,lat` in degrees, a vector file, a
        CSV file of points, countries or Sentinel-2 tiles. The smallest rectangle of pixels that
        holds it is packed, one a zone.
    years
        Calendar years.
    ratio
        How many times smaller the file is than the int8 codes of its pixels.
    curve
        Whether other ratios are tried as well, which takes several times as long.
    buffer
        Metres around points; by default as many as hold a pixel.

    Raises
    ------
    BadInput
        If there is no year, one twice, or the ratio cannot be.

    Examples
    --------
    >>> tm.PackRequest("valley.zarr", "field.safetensors", "2.99,50.84,3,50.85", (2024,)).ratio
    20.0
    """

    store: str
    out: str
    region: str
    years: tuple[int, ...]
    ratio: float = field(default=RATIO, metadata=RATIOS.metadata)
    curve: bool = False
    buffer: float | None = None

    def __post_init__(self) -> None:
        if not self.years:
            raise BadInput("name at least one", "years")
        if len(set(self.years)) < len(self.years):
            raise BadInput("name each year once", "years", ",".join(map(str, self.years)))
        check_bounds(self)


@dataclass(frozen=True)
class PackedSize:
    """How close a field of some size comes, beside principal components in as many bytes.

    Parameters
    ----------
    ratio
        How many times smaller it is than the codes.
    bytes
        Its bytes.
    fidelity
        How close it comes to the mosaic.
    components
        The best that principal components do in as many bytes; None where not even one fits.
    """

    ratio: float
    bytes: int
    fidelity: Fidelity
    components: Components | None

    def to_json(self) -> dict[str, Any]:
        """As `pack --json` tells it."""
        pca = self.components
        told = None if pca is None else vars(pca) | {"fidelity": vars(pca.fidelity)}
        return vars(self) | {"fidelity": vars(self.fidelity), "components": told}


@dataclass(frozen=True)
class Packed:
    """What came of a packing.

    Parameters
    ----------
    out
        Path or URL of the file.
    size
        The field, beside principal components.
    curve
        Fields of all sizes that were tried, smaller ratios first.
    years, zones, dims
        What it holds: calendar years, UTM zones, values of a vector.
    vectors
        Number of vectors that it was made from.
    square_kilometres
        Ground that it holds.
    core_hours
        Processor time of its making; 0 where it was there already.
    """

    out: str
    size: PackedSize
    curve: tuple[PackedSize, ...]
    years: tuple[int, ...]
    zones: tuple[int, ...]
    dims: int
    vectors: int
    square_kilometres: float
    core_hours: float

    def to_json(self) -> dict[str, Any]:
        """The fields of `pack --json`."""
        curve = [each.to_json() for each in self.curve]
        return vars(self) | {"size": self.size.to_json(), "curve": curve}


def pack(request: PackRequest, reading: Told = unseen, packing: Told = unseen) -> Packed:
    """Pack a region of a mosaic into a field; run again, it goes on, to the same bytes.

    Parameters
    ----------
    request
        What is packed, and where to.
    reading, packing
        Called with the number of blocks that are read, or of steps that are done, and of all.

    Raises
    ------
    BadInput
        On anything that cannot be used: nothing there, too much or too little ground, something
        else in the place of the file.
    StoreError
        If the mosaic cannot be read, or the file not be written.

    Examples
    --------
    >>> region = "2.9911,50.8429,3.0000,50.8510"
    >>> packed = tm.pack(tm.PackRequest("valley.zarr", "field.safetensors", region, (2024,)))
    >>> packed.years, packed.size.bytes <= packed.vectors * packed.dims / packed.size.ratio
    ((2024,), True)
    >>> tm.Field("field.safetensors")(2.996, 50.846, 2024).shape
    (128,)
    """
    storage, key = file_place(request.out, "out")
    region = read_field_region(
        open_any(request.store),
        request.region,
        tuple(sorted(request.years)),
        request.buffer,
        reading,
    )
    made = _Packing(request, region, CheckpointFile(storage, key), packing)
    if storage.exists(key):
        return made.made_before(storage, key)
    with one_thread():
        return made.make(storage, key)


class _Packing:
    """A packing: the fields that are made one after another, the one that is kept last."""

    def __init__(
        self, request: PackRequest, region: FieldRegion, file: CheckpointFile, tell: Told
    ) -> None:
        self._request, self._region, self._file, self._tell = request, region, file, tell
        self._data = region.data
        ratios = [ratio for ratio in CURVE if ratio != request.ratio] if request.curve else []
        self._sizes = self._fitting_sizes(ratios)
        told = {
            "algorithm": ALGORITHM,
            "mosaic": fingerprint(region.mosaic.identity),
            "windows": [str(window) for window in region.windows],
            "years": region.years,
            "vectors": self._data.sha256,
            "ratio": request.ratio,
            "software": software(),
        }
        self._digest = _digest(told)
        self._begun = _digest(told | {"curve": list(self._sizes)})

    def _fitting_sizes(self, ratios: list[float]) -> dict[float, Sizes]:
        """Sizes of all fields, those of the curve as far as there can be such."""
        sizes = {}
        for ratio in ratios:
            with suppress(FieldError):
                sizes[ratio] = self._sizes_of(ratio)
        try:
            return sizes | {self._request.ratio: self._sizes_of(self._request.ratio)}
        except FieldError as error:
            raise BadInput(
                f"{error}: pack more ground or more years, or ask for less",
                "ratio",
                f"{self._request.ratio:g}",
            ) from None

    def _sizes_of(self, ratio: float) -> Sizes:
        known = 0 if self._data.known is None else self._data.known.size // 8 + 1
        most = int(len(self._data) * self._data.dims / ratio) - RESERVE - known
        return choose_sizes(self._data.rectangles, self._data.years, self._data.dims, most)

    def made_before(self, storage: Storage, key: str) -> Packed:
        """What the same packing made before.

        Raises
        ------
        BadInput
            If what is there is something else.
        """
        there = BadInput(
            "it is there already: name another, or remove it", "out", self._request.out
        )
        try:
            made = decode_field(storage.read(key))
        except FieldError:
            raise there from None
        if made.request != self._digest:
            raise there
        self._file.remove()
        return self._packed(storage.size(key), {made.ratio: made.fidelity}, 0.0)

    def make(self, storage: Storage, key: str) -> Packed:
        """Make what is left to be made, and write the file."""
        begun = self._file.read(self._begun)
        others = [ratio for ratio in self._sizes if ratio != self._request.ratio]
        found = dict(zip(others, begun.done, strict=False))
        made, seconds = None, 0.0
        for number, ratio in enumerate(self._sizes):
            if ratio in found:
                continue
            made, seconds = self._fitted(number, begun)
            found[ratio] = self._data.fidelity(made)
            begun = Checkpoint(self._begun, tuple(found.values()))
            if ratio in others:
                self._file.write(begun)
        assert made is not None
        data = encode_field(self._region_field(made, found[self._request.ratio]))
        storage.write(key, data)
        self._file.remove()
        return self._packed(len(data), found, seconds)

    def _fitted(self, number: int, begun: Checkpoint) -> tuple[Field, float]:
        """One of the fields, and the processor time that it took."""
        fitting = Fitting(self._data, [*self._sizes.values()][number])
        if begun.tensors is not None:
            fitting.go_on(begun.step, begun.tensors)
        start = time.process_time() - begun.seconds
        while not fitting.done:
            fitting.learn()
            done = number * fitting.steps + fitting.step
            self._tell(done, len(self._sizes) * fitting.steps)
            if self._file.due:
                seconds = time.process_time() - start
                tensors = fitting.tensors()
                self._file.write(
                    replace(begun, step=fitting.step, tensors=tensors, seconds=seconds)
                )
        return fitting.field(), time.process_time() - start

    def _region_field(self, made: Field, fidelity: Fidelity) -> RegionField:
        identity = self._region.mosaic.identity
        return RegionField(
            field=made,
            windows=self._region.windows,
            years=self._region.years,
            mosaic=fingerprint(identity),
            model=model_name(identity),
            ratio=float(self._request.ratio),
            vectors=len(self._data),
            fidelity=fidelity,
            request=self._digest,
            software=software(),
        )

    def _packed(self, size: int, found: Mapping[float, Fidelity], seconds: float) -> Packed:
        baseline = Baseline(self._data)
        ground = self._data.rectangles, self._data.years
        # What a file has beside its arrays is the same whatever its size.
        beside = size - self._sizes[self._request.ratio].bytes(*ground)
        sizes = []
        for ratio, fidelity in sorted(found.items()):
            took = self._sizes[ratio].bytes(*ground) + beside
            sizes.append(PackedSize(ratio, took, fidelity, baseline.within(took)))
        return Packed(
            out=self._request.out,
            size=next(each for each in sizes if each.ratio == self._request.ratio),
            curve=tuple(sizes),
            years=self._region.years,
            zones=tuple(window.zone for window in self._region.windows),
            dims=self._data.dims,
            vectors=len(self._data),
            square_kilometres=self._region.square_kilometres,
            core_hours=seconds / 3600,
        )


def software() -> dict[str, str]:
    """Versions of the software that decides a field's bytes."""
    return {"tessera-mosaic": __version__, "torch": metadata.version("torch")}


def _digest(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
