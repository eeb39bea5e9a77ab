"""The Zarr store: its layout, making it, writing a shard, reading it back."""

from tessera_mosaic.pipeline.mosaic.datasets import Zones, dequantize, open_mosaic
from tessera_mosaic.pipeline.mosaic.layout import COUNTS, Array, Layout
from tessera_mosaic.pipeline.mosaic.shards import Pixels
from tessera_mosaic.pipeline.mosaic.store import Mosaic, create_store, mosaic_at, read_mosaic
from tessera_mosaic.pipeline.mosaic.writer import ShardWriter

__all__ = [
    "COUNTS",
    "Array",
    "Layout",
    "Mosaic",
    "Pixels",
    "ShardWriter",
    "Zones",
    "create_store",
    "dequantize",
    "mosaic_at",
    "open_mosaic",
    "read_mosaic",
]
