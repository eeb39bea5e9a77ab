"""What is measured has the same names and sums in records, tallies, Beam's metrics and `--json`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.runner import PipelineResult

from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.beam_metrics import NAMESPACE
from tessera_mosaic.pipeline.job.heartbeat import Heartbeat
from tessera_mosaic.pipeline.ledger.metrics import MEASURES, Meter, measures_of
from tessera_mosaic.pipeline.ledger.records import Failure, Record, State
from tessera_mosaic.pipeline.ledger.tally import read_tallies
from tessera_mosaic.pipeline.ledger.tile_summary import TileSummary
from tests import jobs


def beam_sums(result: PipelineResult) -> dict[str, float]:
    """Beam's metrics of a job, each summed up."""
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    counters = {counter.key.metric.name: counter.result for counter in found["counters"]}
    return counters | {each.key.metric.name: each.result.sum for each in found["distributions"]}


def test_all_places_agree(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results, tallies = [], []
    run, leave = beam.Pipeline.run, Heartbeat.leave

    def kept(pipeline: beam.Pipeline, *args: Any) -> PipelineResult:
        results.append(run(pipeline, *args))
        return results[-1]

    def told(presence: Heartbeat) -> None:
        tallies.append(read_tallies(Storage(str(tmp_path)), jobs.YEAR, presence._launch))
        leave(presence)

    monkeypatch.setattr(beam.Pipeline, "run", kept)
    monkeypatch.setattr(Heartbeat, "leave", told)
    assert jobs.run_here([*jobs.options(archive, tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    paths = sorted(tmp_path.glob("records/*/tiles/*/*.json"))
    records = [Record.from_json(path.read_bytes()) for path in paths]
    summed: Counter[str] = Counter()
    for record in records:
        summed.update(measures_of(TileSummary.of(record)))
    from_beam = beam_sums(results[0])

    assert len(paths) == summed["tiles_done"] == 12
    assert summed["pixels_embedded"] == 12 * jobs.SIDE**2
    assert summed["bytes_read"] > 0
    assert summed["bytes_written"] == sum(
        (tmp_path / entry.key).stat().st_size for record in records for entry in record.objects
    )
    assert set(summed) <= set(MEASURES) <= set(printed)
    for name, value in summed.items():
        if name.startswith("seconds_"):
            thousandths = from_beam[name.replace("seconds", "milliseconds")]
            assert thousandths / 1000 == pytest.approx(value, abs=0.1)
        else:
            assert from_beam[name] == value
        assert tallies[0][name] == pytest.approx(value, abs=0.1)
        assert printed[name] == pytest.approx(value, abs=0.1)


def test_a_meter_takes_back_what_came_to_nothing() -> None:
    tally: Counter[str] = Counter()
    meter = Meter(lambda **measures: tally.update(measures))
    meter.add(blocks=3, pixels_embedded=3_000, bytes_read=10, retries_timeout=1)
    with meter("read"):
        pass
    record = Record("t", 2024, State.FAILED, "f", error=Failure("timeout"), **meter.fields())
    meter.finish(record, blocks=4)
    spent = tally.pop("seconds_read")
    assert spent == pytest.approx(record.seconds["read"])
    assert +tally == Counter(tiles_failed=1, blocks=4, bytes_read=10, retries_timeout=1)
    assert tally["pixels_embedded"] == 0
