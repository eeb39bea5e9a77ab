"""What a maker of one's own takes: this one writes the mean of a tile's rows and columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.errors import Throttled
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.io.stored_object import StoredObject
from tessera_mosaic.pipeline.job.job_request import JobRequest
from tessera_mosaic.pipeline.job.launch import launch
from tessera_mosaic.pipeline.ledger.metrics import Meter
from tessera_mosaic.pipeline.ledger.records import Record, State, TileResult
from tessera_mosaic.pipeline.ledger.standing import standing
from tessera_mosaic.pipeline.ledger.tile_lists import TileList
from tessera_mosaic.pipeline.tiling.lattice import Tile
from tests import jobs
from tests.fakes.raw_server import raw_server


@dataclass(frozen=True)
class MeanMaker:
    """Writes the mean of a tile's row and column."""

    busy: str = ""
    fingerprint: str = "mean of row and column, version 1"

    def steps(self, tile: Tile) -> int:
        return 1

    def open(self, storage: Storage, threads: int) -> TileMeans:
        return TileMeans(self, storage)


class TileMeans:
    """Writes means in one worker process."""

    def __init__(self, maker: MeanMaker, storage: Storage) -> None:
        self._maker, self._storage = maker, storage

    def make(
        self, tile: Tile, before: Record | None, meter: Meter, writing: Callable[[], None]
    ) -> TileResult | None:
        if tile.name == self._maker.busy:
            raise Throttled("the server of means asks for patience")
        data = json.dumps((tile.row + tile.col) / 2).encode()
        (key,) = self.keys(tile)
        with meter("write"):
            writing()
            self._storage.write(key, data)
        written = StoredObject(key, len(data), hashlib.sha256(data).hexdigest())
        return TileResult(State.DONE, objects=(written,))

    def keys(self, tile: Tile) -> Iterable[str]:
        return (f"means/{tile.name}.json",)

    def renew(self) -> None:
        """Nothing to renew."""


TILES = TileList.of(Tile(31, 100, col, 256) for col in range(10, 16))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_maker_of_ones_own_has_all_that_a_job_has(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(jobs.ROOT), prepend=":")
    request = JobRequest(str(tmp_path), 2024, TILES, workers=workers, pacing=jobs.QUICK)
    # A proxy that answers nothing, through which no worker is looked for.
    with raw_server(lambda send, head: None) as proxy:
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, proxy.url)
        failing = launch(request, MeanMaker(busy=next(iter(TILES)).name))
        assert (failing.done, failing.failures) == (5, {"throttled": 1})
        outcome = launch(request, MeanMaker())
        assert proxy.seen == []
    assert (outcome.done, outcome.measures["tiles_kept"]) == (6, 5)
    means = sorted(json.loads(path.read_bytes()) for path in tmp_path.glob("means/*"))
    assert means == [55.0, 55.5, 56.0, 56.5, 57.0, 57.5]
    stands = standing(Storage(str(tmp_path)), 2024)
    assert (stands.planned, stands.done, stands.failed) == (6, 6, 0)
