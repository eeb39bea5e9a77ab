"""How pixels become observations: the choices that a mosaic has to be made with throughout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.imagery.resample import KERNELS
from tessera_mosaic.pipeline.scenes import Source
from tessera_mosaic.pipeline.stacks import sentinel1, sentinel2

IMAGERY = ("mpc", "aws")
"""Products as ESA made them, on Planetary Computer, and as Element 84 and NASA did, on AWS."""


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become observations.

    Parameters
    ----------
    imagery
        `mpc` or `aws`: whose Sentinel-2 and Sentinel-1 products the scenes are.
    kernel
        Resampling of the Sentinel-2 bands: `nearest`, `bilinear` or `cubic`.
    offset
        Radiometric offset of Sentinel-2, one of `sentinel2.OFFSETS`.
    s1_mosaic
        Where scenes of one Sentinel-1 pass overlap, one of `sentinel1.MOSAICS`.

    Raises
    ------
    BadInput
        If one of them is unknown.
    """

    imagery: str = "mpc"
    kernel: str = "bilinear"
    offset: str = "reference"
    s1_mosaic: str = "first"

    def __post_init__(self) -> None:
        for name, known in (
            ("imagery", IMAGERY),
            ("kernel", tuple(KERNELS)),
            ("offset", sentinel2.OFFSETS),
            ("s1_mosaic", sentinel1.MOSAICS),
        ):
            if getattr(self, name) not in known:
                raise BadInput(f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}")

    @classmethod
    def told(cls, identity: Mapping[str, Any], imagery: str) -> Preprocessing:
        """The rules that an identity tells of, for scenes of some imagery."""
        names = ("kernel", "offset", "s1_mosaic")
        return cls(imagery, **{name: identity[name] for name in names if name in identity})

    def check(self, source: Source) -> None:
        """Refuse a catalogue whose scenes would not become what the rules promise.

        Raises
        ------
        BadInput
            Saying which rule to choose.
        """
        if source.keeps_offset:
            self.check_kept(f"the scenes of catalogue {source.name}")

    def check_kept(self, scenes: str) -> None:
        """Refuse scenes that have the radiometric offset, if it would stay in them unseen."""
        if self.imagery == "aws" and self.offset == "reference":
            raise BadInput(
                f"{scenes} have the radiometric offset in their pixels, which the reference rules "
                "for aws do not take out: choose --offset item"
            )

    @property
    def s1_kernel(self) -> str:
        """Resampling of Sentinel-1: OPERA's 30 m are interpolated, others are taken as they are."""
        return "bilinear" if self.imagery == "aws" else "nearest"

    def identity(self) -> dict[str, Any]:
        """All that decides the bytes of a stack, as JSON values."""
        return {
            "kernel": self.kernel,
            "offset": self.offset,
            "s1_kernel": self.s1_kernel,
            "s1_mosaic": self.s1_mosaic,
        }
