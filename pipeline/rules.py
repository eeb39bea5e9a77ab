"""How pixels become observations: the choices that a mosaic has to be made with throughout."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import sentinel1, sentinel2
from pipeline.errors import BadInput
from pipeline.resample import KERNELS
from pipeline.scenes import Source

IMAGERY = ("mpc", "aws")
"""Products as ESA made them, on Planetary Computer, and as Element 84 and NASA did, on AWS."""


def rule_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose rules; what they leave open is as the models were trained."""
    parser.add_argument(
        "--offset",
        choices=sentinel2.OFFSETS,
        help="how the radiometric offset of Sentinel-2 is taken out: by the reference's rules (as "
        "the models were trained, the default), by each scene's item and pixels, or not at all",
    )
    parser.add_argument(
        "--s1-mosaic",
        choices=sentinel1.MOSAICS,
        default="first",
        help="the value of a pixel that several scenes of a Sentinel-1 pass have (first)",
    )


@dataclass(frozen=True)
class Rules:
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
    def told(cls, identity: Mapping[str, Any], imagery: str) -> Rules:
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
