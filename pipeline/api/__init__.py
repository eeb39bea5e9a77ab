"""TESSERA embeddings of the Earth: from Sentinel scenes to an annual global mosaic.

    import tessera_mosaic as tm

    zones = tm.open_mosaic("valley.zarr")

All that this module names is public, and loaded when it is first used: importing the module takes
next to no time, and reading a mosaic loads neither torch nor Beam. Below it lie `pipeline`, the
stages in the order in which a pixel travels through them, and `model`, the encoder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tessera_mosaic.pipeline.errors import (
        Altered,
        BadEmbedding,
        BadInput,
        BrokenOff,
        Corrupt,
        DeviceError,
        Expired,
        Gone,
        Incomplete,
        NoCatalogue,
        NoScenes,
        OutOfMemory,
        Poisoned,
        Refused,
        SceneError,
        StoreDenied,
        StoreError,
        StoreFull,
        StoreMismatch,
        StoreReadOnly,
        TesseraError,
        Throttled,
        TimedOut,
        Unavailable,
        Unforeseen,
    )
    from tessera_mosaic.pipeline.mosaic.datasets import Zones, dequantize, open_mosaic
    from tessera_mosaic.pipeline.planning.plan_request import PlanRequest, plan
    from tessera_mosaic.pipeline.stacks.read_stack import StackRequest, read_stack
    from tessera_mosaic.pipeline.tiling.area import AreaRequest

__all__ = [
    "Altered",
    "AreaRequest",
    "BadEmbedding",
    "BadInput",
    "BrokenOff",
    "Corrupt",
    "DeviceError",
    "Expired",
    "Gone",
    "Incomplete",
    "NoCatalogue",
    "NoScenes",
    "OutOfMemory",
    "PlanRequest",
    "Poisoned",
    "Refused",
    "SceneError",
    "StackRequest",
    "StoreDenied",
    "StoreError",
    "StoreFull",
    "StoreMismatch",
    "StoreReadOnly",
    "TesseraError",
    "Throttled",
    "TimedOut",
    "Unavailable",
    "Unforeseen",
    "Zones",
    "dequantize",
    "open_mosaic",
    "plan",
    "read_stack",
]

_ERRORS = "tessera_mosaic.pipeline.errors"
_DATASETS = "tessera_mosaic.pipeline.mosaic.datasets"

_PLAN = "tessera_mosaic.pipeline.planning.plan_request"
_STACK = "tessera_mosaic.pipeline.stacks.read_stack"

_PLACES = {
    "AreaRequest": "tessera_mosaic.pipeline.tiling.area",
    "PlanRequest": _PLAN,
    "StackRequest": _STACK,
    "Zones": _DATASETS,
    "dequantize": _DATASETS,
    "open_mosaic": _DATASETS,
    "plan": _PLAN,
    "read_stack": _STACK,
}
"""Modules of the names; those that are not here are errors."""


if not TYPE_CHECKING:
    # Type checkers take the imports above, and so know which names there are not.

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from tessera_mosaic.search_path import without_folder_of_script

        with without_folder_of_script():
            module = import_module(_PLACES.get(name, _ERRORS))
        return globals().setdefault(name, getattr(module, name))

    def __dir__() -> list[str]:
        return __all__
