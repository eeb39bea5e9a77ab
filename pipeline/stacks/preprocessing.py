"""How pixels become observations: the choices that a mosaic has to be made with throughout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tessera_mosaic.pipeline.errors import BadInput, choose
from tessera_mosaic.pipeline.imagery.resample import Kernel
from tessera_mosaic.pipeline.scenes.scene import Imagery
from tessera_mosaic.pipeline.scenes.source import Source
from tessera_mosaic.pipeline.stacks.sentinel1 import PassRule
from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become observations.

    Parameters
    ----------
    imagery
        Source of the Sentinel-2 and Sentinel-1 products.
    kernel
        Resampling of the Sentinel-2 bands.
    offset
        Rule by which the radiometric offset of Sentinel-2 is taken out.
    s1_mosaic
        Rule for the value of a pixel that several scenes of one Sentinel-1 pass have.

    Raises
    ------
    BadInput
        If one of them is unknown.
    """

    imagery: Imagery = Imagery.MPC
    kernel: Kernel = Kernel.BILINEAR
    offset: OffsetRule = OffsetRule.REFERENCE
    s1_mosaic: PassRule = PassRule.FIRST

    def __post_init__(self) -> None:
        choose(self, imagery=Imagery, kernel=Kernel, offset=OffsetRule, s1_mosaic=PassRule)

    @classmethod
    def of_identity(cls, identity: Mapping[str, Any], imagery: Imagery) -> Preprocessing:
        """The rules that an identity names, for scenes of some imagery."""
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
        if self.imagery == Imagery.AWS and self.offset == OffsetRule.REFERENCE:
            raise BadInput(
                f"{scenes} have the radiometric offset in their pixels, which the reference rules "
                "for aws do not take out: choose evidence",
                "offset",
                self.offset,
            )

    @property
    def s1_kernel(self) -> Kernel:
        """Resampling of Sentinel-1: OPERA's 30 m are interpolated, others are taken as they are."""
        return Kernel.BILINEAR if self.imagery == Imagery.AWS else Kernel.NEAREST

    def identity(self) -> dict[str, str]:
        """All that decides the bytes of a stack, as JSON values."""
        return {
            "kernel": self.kernel.value,
            "offset": self.offset.value,
            "s1_kernel": self.s1_kernel.value,
            "s1_mosaic": self.s1_mosaic.value,
        }
