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
    from tessera_mosaic.adopting import adopt
    from tessera_mosaic.calibration import plan
    from tessera_mosaic.launching import SampleOutcome, run, run_years, sample
    from tessera_mosaic.model.cards import Card
    from tessera_mosaic.model.encoder import Embedding
    from tessera_mosaic.model.heads.head import HeadKind, Task
    from tessera_mosaic.model.observations import Origin, Stack
    from tessera_mosaic.model.precision import Precision
    from tessera_mosaic.pipeline.downstream.area_result import AreaResult
    from tessera_mosaic.pipeline.downstream.areas import AreasRequest, areas
    from tessera_mosaic.pipeline.downstream.change_request import ChangedRequest
    from tessera_mosaic.pipeline.downstream.check import ChainCheck, CheckStep, check
    from tessera_mosaic.pipeline.downstream.check_request import CheckRequest
    from tessera_mosaic.pipeline.downstream.compare import CompareRequest, Comparison, compare
    from tessera_mosaic.pipeline.downstream.environments import (
        EnvironmentScores,
        EnvironmentsRequest,
        evaluate_environments,
    )
    from tessera_mosaic.pipeline.downstream.export import export
    from tessera_mosaic.pipeline.downstream.export_request import (
        Exported,
        ExportedFile,
        ExportLayout,
        ExportRequest,
        ExportValues,
    )
    from tessera_mosaic.pipeline.downstream.extract import Extracted, ExtractRequest, extract
    from tessera_mosaic.pipeline.downstream.field import Field, FieldPrediction
    from tessera_mosaic.pipeline.downstream.field_pack import (
        Packed,
        PackedSize,
        PackRequest,
        pack,
    )
    from tessera_mosaic.pipeline.downstream.fusion import (
        Complementarity,
        FuseRequest,
        complementarity,
    )
    from tessera_mosaic.pipeline.downstream.make_blocks import Blocks, BlocksRequest, blocks
    from tessera_mosaic.pipeline.downstream.make_change import Changed, changed
    from tessera_mosaic.pipeline.downstream.make_map import Mapped, map
    from tessera_mosaic.pipeline.downstream.map_request import MapRequest
    from tessera_mosaic.pipeline.downstream.picture import Pictured, PictureRequest, picture
    from tessera_mosaic.pipeline.downstream.point import PointFound, PointRequest, point
    from tessera_mosaic.pipeline.downstream.point_file import Design
    from tessera_mosaic.pipeline.downstream.points import DrawnPoints, PointsRequest, points
    from tessera_mosaic.pipeline.downstream.search import Searched, search
    from tessera_mosaic.pipeline.downstream.search_request import SearchRequest
    from tessera_mosaic.pipeline.downstream.suggest import Suggestion, SuggestRequest, suggest
    from tessera_mosaic.pipeline.downstream.train import Trained, TrainRequest, train
    from tessera_mosaic.pipeline.downstream.vector_table import Statistic
    from tessera_mosaic.pipeline.embedding.encode_directory import Encoded, encode_directory
    from tessera_mosaic.pipeline.embedding.encoder_requests import EncodeRequest
    from tessera_mosaic.pipeline.embedding.encoders import Encoder
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
        Stopped,
        StoreDenied,
        StoreError,
        StoreFull,
        StoreMismatch,
        StoreReadOnly,
        StoreUnavailable,
        TesseraError,
        Throttled,
        TimedOut,
        Unavailable,
        Unforeseen,
    )
    from tessera_mosaic.pipeline.evaluation.environment_models import ModelChoice, ValueMethod
    from tessera_mosaic.pipeline.evaluation.stratified_estimates import Estimate
    from tessera_mosaic.pipeline.imagery.resample import Kernel
    from tessera_mosaic.pipeline.job.job_request import JobOptions
    from tessera_mosaic.pipeline.job.outcome import Outcome
    from tessera_mosaic.pipeline.job.pacing import Pacing
    from tessera_mosaic.pipeline.mosaic.datasets import Zones, dequantize, open_mosaic
    from tessera_mosaic.pipeline.planning.estimate import Plan
    from tessera_mosaic.pipeline.planning.plan_request import PlanRequest
    from tessera_mosaic.pipeline.publishing.icechunk import IcechunkRequest
    from tessera_mosaic.pipeline.publishing.publish import Published, publish
    from tessera_mosaic.pipeline.stacks.read_stack import (
        RegionStack,
        StackRequest,
        read_stack,
        write_stack,
    )
    from tessera_mosaic.pipeline.stacks.sentinel1 import PassRule
    from tessera_mosaic.pipeline.stacks.sentinel2 import OffsetRule
    from tessera_mosaic.pipeline.tiling.area import AreaRequest, WantedPixels
    from tessera_mosaic.pipeline.verification.findings import Findings, Problem
    from tessera_mosaic.pipeline.verification.status import Status, status
    from tessera_mosaic.pipeline.verification.verify import verify
    from tessera_mosaic.requests import AdoptRequest, Device, RunRequest, SampleRequest

__all__ = [
    "AdoptRequest",
    "Altered",
    "AreaRequest",
    "AreaResult",
    "AreasRequest",
    "BadEmbedding",
    "BadInput",
    "Blocks",
    "BlocksRequest",
    "BrokenOff",
    "Card",
    "ChainCheck",
    "Changed",
    "ChangedRequest",
    "CheckRequest",
    "CheckStep",
    "CompareRequest",
    "Comparison",
    "Complementarity",
    "Corrupt",
    "Design",
    "Device",
    "DeviceError",
    "DrawnPoints",
    "Embedding",
    "EncodeRequest",
    "Encoded",
    "Encoder",
    "EnvironmentScores",
    "EnvironmentsRequest",
    "Estimate",
    "Expired",
    "ExportLayout",
    "ExportRequest",
    "ExportValues",
    "Exported",
    "ExportedFile",
    "ExtractRequest",
    "Extracted",
    "Field",
    "FieldPrediction",
    "Findings",
    "FuseRequest",
    "Gone",
    "HeadKind",
    "IcechunkRequest",
    "Incomplete",
    "JobOptions",
    "Kernel",
    "MapRequest",
    "Mapped",
    "ModelChoice",
    "NoCatalogue",
    "NoScenes",
    "OffsetRule",
    "Origin",
    "OutOfMemory",
    "Outcome",
    "Pacing",
    "PackRequest",
    "Packed",
    "PackedSize",
    "PassRule",
    "PictureRequest",
    "Pictured",
    "Plan",
    "PlanRequest",
    "PointFound",
    "PointRequest",
    "PointsRequest",
    "Poisoned",
    "Precision",
    "Problem",
    "Published",
    "Refused",
    "RegionStack",
    "RunRequest",
    "SampleOutcome",
    "SampleRequest",
    "SceneError",
    "SearchRequest",
    "Searched",
    "Stack",
    "StackRequest",
    "Statistic",
    "Status",
    "Stopped",
    "StoreDenied",
    "StoreError",
    "StoreFull",
    "StoreMismatch",
    "StoreReadOnly",
    "StoreUnavailable",
    "SuggestRequest",
    "Suggestion",
    "Task",
    "TesseraError",
    "Throttled",
    "TimedOut",
    "TrainRequest",
    "Trained",
    "Unavailable",
    "Unforeseen",
    "ValueMethod",
    "WantedPixels",
    "Zones",
    "adopt",
    "areas",
    "blocks",
    "changed",
    "check",
    "compare",
    "complementarity",
    "dequantize",
    "encode_directory",
    "evaluate_environments",
    "export",
    "extract",
    "map",
    "open_mosaic",
    "pack",
    "picture",
    "plan",
    "point",
    "points",
    "publish",
    "read_stack",
    "run",
    "run_years",
    "sample",
    "search",
    "status",
    "suggest",
    "train",
    "verify",
    "write_stack",
]

_PLACES = {
    "tessera_mosaic.adopting": ("adopt",),
    "tessera_mosaic.calibration": ("plan",),
    "tessera_mosaic.launching": ("SampleOutcome", "run", "run_years", "sample"),
    "tessera_mosaic.model.cards": ("Card",),
    "tessera_mosaic.model.encoder": ("Embedding",),
    "tessera_mosaic.model.heads.head": ("HeadKind", "Task"),
    "tessera_mosaic.model.observations": ("Origin", "Stack"),
    "tessera_mosaic.model.precision": ("Precision",),
    "tessera_mosaic.pipeline.downstream.area_result": ("AreaResult",),
    "tessera_mosaic.pipeline.downstream.areas": ("AreasRequest", "areas"),
    "tessera_mosaic.pipeline.downstream.change_request": ("ChangedRequest",),
    "tessera_mosaic.pipeline.downstream.check": ("ChainCheck", "CheckStep", "check"),
    "tessera_mosaic.pipeline.downstream.check_request": ("CheckRequest",),
    "tessera_mosaic.pipeline.downstream.make_blocks": ("Blocks", "BlocksRequest", "blocks"),
    "tessera_mosaic.pipeline.downstream.make_change": ("Changed", "changed"),
    "tessera_mosaic.pipeline.downstream.make_map": ("Mapped", "map"),
    "tessera_mosaic.pipeline.downstream.map_request": ("MapRequest",),
    "tessera_mosaic.pipeline.downstream.environments": (
        "EnvironmentScores",
        "EnvironmentsRequest",
        "evaluate_environments",
    ),
    "tessera_mosaic.pipeline.downstream.export": ("export",),
    "tessera_mosaic.pipeline.downstream.export_request": (
        "ExportLayout",
        "ExportRequest",
        "ExportValues",
        "Exported",
        "ExportedFile",
    ),
    "tessera_mosaic.pipeline.downstream.picture": ("PictureRequest", "Pictured", "picture"),
    "tessera_mosaic.pipeline.downstream.point": ("PointFound", "PointRequest", "point"),
    "tessera_mosaic.pipeline.downstream.point_file": ("Design",),
    "tessera_mosaic.pipeline.downstream.points": ("DrawnPoints", "PointsRequest", "points"),
    "tessera_mosaic.pipeline.downstream.search": ("Searched", "search"),
    "tessera_mosaic.pipeline.downstream.search_request": ("SearchRequest",),
    "tessera_mosaic.pipeline.downstream.suggest": ("SuggestRequest", "Suggestion", "suggest"),
    "tessera_mosaic.pipeline.downstream.compare": ("CompareRequest", "Comparison", "compare"),
    "tessera_mosaic.pipeline.downstream.extract": ("ExtractRequest", "Extracted", "extract"),
    "tessera_mosaic.pipeline.downstream.fusion": (
        "Complementarity",
        "FuseRequest",
        "complementarity",
    ),
    "tessera_mosaic.pipeline.downstream.train": ("TrainRequest", "Trained", "train"),
    "tessera_mosaic.pipeline.downstream.field": ("Field", "FieldPrediction"),
    "tessera_mosaic.pipeline.downstream.field_pack": (
        "PackRequest",
        "Packed",
        "PackedSize",
        "pack",
    ),
    "tessera_mosaic.pipeline.downstream.vector_table": ("Statistic",),
    "tessera_mosaic.pipeline.embedding.encode_directory": ("Encoded", "encode_directory"),
    "tessera_mosaic.pipeline.embedding.encoder_requests": ("EncodeRequest",),
    "tessera_mosaic.pipeline.embedding.encoders": ("Encoder",),
    "tessera_mosaic.pipeline.evaluation.environment_models": ("ModelChoice", "ValueMethod"),
    "tessera_mosaic.pipeline.evaluation.stratified_estimates": ("Estimate",),
    "tessera_mosaic.pipeline.imagery.resample": ("Kernel",),
    "tessera_mosaic.pipeline.job.job_request": ("JobOptions",),
    "tessera_mosaic.pipeline.job.outcome": ("Outcome",),
    "tessera_mosaic.pipeline.job.pacing": ("Pacing",),
    "tessera_mosaic.pipeline.mosaic.datasets": ("Zones", "dequantize", "open_mosaic"),
    "tessera_mosaic.pipeline.planning.estimate": ("Plan",),
    "tessera_mosaic.pipeline.planning.plan_request": ("PlanRequest",),
    "tessera_mosaic.pipeline.publishing.icechunk": ("IcechunkRequest",),
    "tessera_mosaic.pipeline.publishing.publish": ("Published", "publish"),
    "tessera_mosaic.pipeline.stacks.read_stack": (
        "RegionStack",
        "StackRequest",
        "read_stack",
        "write_stack",
    ),
    "tessera_mosaic.pipeline.stacks.sentinel1": ("PassRule",),
    "tessera_mosaic.pipeline.stacks.sentinel2": ("OffsetRule",),
    "tessera_mosaic.pipeline.tiling.area": ("AreaRequest", "WantedPixels"),
    "tessera_mosaic.pipeline.verification.findings": ("Findings", "Problem"),
    "tessera_mosaic.pipeline.verification.status": ("Status", "status"),
    "tessera_mosaic.pipeline.verification.verify": ("verify",),
    "tessera_mosaic.requests": ("AdoptRequest", "Device", "RunRequest", "SampleRequest"),
}
"""Names by their modules; those that are not here are errors."""


if not TYPE_CHECKING:
    # Type checkers take the imports above, and so know which names there are not.

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from tessera_mosaic.search_path import without_folder_of_script

        errors = "tessera_mosaic.pipeline.errors"
        place = next((module for module, names in _PLACES.items() if name in names), errors)
        with without_folder_of_script():
            value = getattr(import_module(place), name)
        return globals().setdefault(name, value)

    def __dir__() -> list[str]:
        return __all__
