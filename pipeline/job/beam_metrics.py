"""What became of a tile, in Beam's own metrics."""

from __future__ import annotations

from apache_beam.metrics import Metrics

from tessera_mosaic.pipeline.ledger.metrics import measures_of
from tessera_mosaic.pipeline.ledger.records import Record
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary

NAMESPACE = "tessera"
"""Of the job's Beam metrics."""


THOUSANDTHS = "milliseconds"
"""Beam counts whole numbers: what are `seconds` elsewhere are these there."""


def count_in_beam(record: Record) -> None:
    """Bring a record's measures into Beam's metrics: states and retries as counters, all else as
    distributions over tiles."""
    for name, value in measures_of(TileSummary.of(record)).items():
        kind, _, rest = name.partition("_")
        if kind in ("tiles", "retries"):
            Metrics.counter(NAMESPACE, name).inc(int(value))
        elif kind == "seconds":
            Metrics.distribution(NAMESPACE, f"{THOUSANDTHS}_{rest}").update(round(1000 * value))
        else:
            Metrics.distribution(NAMESPACE, name).update(int(value))
