"""The job on object stores that others wrote, and with faults before them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from tessera_mosaic.pipeline.io.local_files import PARTIAL
from tessera_mosaic.pipeline.io.locks import Pace, locked
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.graph import run_graph
from tessera_mosaic.pipeline.job.job_spec import JobSpec
from tessera_mosaic.pipeline.job.local_runner import GraphRuns
from tests import jobs
from tests.fakes.environment import store_at
from tests.fakes.proxy import Act, FaultProxy, fault_proxy, s3_error
from tests.fakes.servers import SCHEMES, running_server
from tests.samples import TILES, write_sample

HURRIED = Pace(expiry=0.5, renewal=0.05, poll=0.02, told=0.1)
"""Of processes that do not wait long for one another."""


@dataclass(frozen=True)
class Place:
    """A real server that everything in this process speaks to, through a proxy."""

    server: str
    proxy: FaultProxy

    def url(self, name: str) -> str:
        return f"{SCHEMES[self.server]}://bucket/{name}"

    def words(self, archive: Path, name: str) -> list[str]:
        words = jobs.options(archive, Path("store"))
        words[3] = f"--store={self.url(name)}"
        return words

    def shards(self, name: str) -> dict[str, bytes]:
        storage = Storage(self.url(name))
        return {
            key: storage.read(key) for key in storage.list("") if not key.startswith("records/")
        }


@contextlib.contextmanager
def place_of(server: str, folder: Path) -> Iterator[Place]:
    with (
        running_server(server, folder) as port,
        fault_proxy(port) as proxy,
        store_at(SCHEMES[server], proxy.port),
    ):
        yield Place(server, proxy)


@pytest.fixture(scope="module", params=SCHEMES)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with place_of(request.param, tmp_path_factory.mktemp("server") / "data") as place:
        yield place


on_versitygw = pytest.mark.parametrize("place", ["versitygw"], indirect=True)
"""Of tests in which the proxy answers, so that one server is as good as another."""


def test_a_year_in_few_requests(place: Place, archive: Path, finished: Path, run: jobs.Run) -> None:
    words, store = place.words(archive, "year"), f"--store={place.url('year')}"
    asked = place.proxy.asked
    asked.clear()
    assert run(*words)[1]["done"] == 12
    of_tiles = Counter(each.kind for each in asked if each.is_of_tile)
    puts = of_tiles.pop("PUT", 0) + of_tiles.pop("POST", 0)
    assert puts == 7 * 12
    assert of_tiles == {"GET": 12, "DELETE": 12}
    assert place.proxy.kinds()["HEAD"] == 0
    assert place.shards("year") == jobs.shards(finished)

    asked.clear()
    assert run("status", store)[1]["done"] == 12
    assert len(asked) <= 20
    assert run(*words)[1]["pixels"] == 0
    assert run("publish", store)[1]["new"] == 12
    assert run("publish", store)[1]["new"] == 0
    # Tiles this small make `verify` suspect a border.
    assert {each["problem"] for each in run("verify", store)[1]["problems"]} <= {"border"}


def in_this_process(job: JobSpec, zones: list[int], flags: dict[str, Any]) -> Counter[str]:
    """Run the graph here, where a launcher would start a process for it."""
    return run_graph(job, zones, PipelineOptions([], **flags))


def test_a_killed_run_goes_on_and_two_launchers_share_the_rest(
    place: Place, archive: Path, finished: Path
) -> None:
    words, asked = place.words(archive, "killed"), place.proxy.asked
    asked.clear()
    assert jobs.kill_when(words, lambda: sum(each.puts_record for each in list(asked)) > 2) != 0
    storage = Storage(place.url("killed"))
    assert len(list(storage.list(f"records/{jobs.YEAR}/tiles/"))) < 12
    runs = GraphRuns(apart=in_this_process)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(jobs.launched, words, runs=runs) for _ in range(2)]
        ended = [each.result() for each in both]
    assert [(code, result["done"]) for code, result in ended] == [(0, 12)] * 2
    assert place.shards("killed") == jobs.shards(finished)


def test_a_lock_of_the_dead_is_taken_over(place: Place) -> None:
    storage = Storage(place.url("locked"))
    key = f"{PARTIAL}/number.lock"
    storage.write(key, b"somebody-17 token 3")
    without = Act(edit=lambda body: body.replace(b"<Condition>If-None-Match</Condition>", b""))
    with place.proxy.failing(without), locked(storage, "number", HURRIED):
        assert storage.exists(key)
    assert not storage.exists(key)


@on_versitygw
def test_bad_weather_is_sat_out_by_every_command(
    place: Place, archive: Path, run: jobs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command meets a store that is busy at its first requests, or hangs up."""
    words, store = place.words(archive, "weather"), f"--store={place.url('weather')}"
    busy, gone = s3_error(503, "SlowDown"), Act(hang_up="before")
    commands = [words, *([name, store] for name in ("status", "verify", "publish"))]
    for command, act in zip(commands, (busy, gone, busy, gone), strict=True):
        with place.proxy.failing(act, times=4):
            assert jobs.run_here(command) in (0, 3), capsys.readouterr().err


@on_versitygw
def test_a_refused_read_is_no_damage(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    storage = Storage(place.url("refused"))
    write_sample(storage, TILES[:1], [2018])
    store = f"--store={storage.url}"
    for status, code in ((400, "InvalidToken"), (403, "AccessDenied")):
        with place.proxy.failing(s3_error(status, code), method="GET", word="/embeddings/c/"):
            assert jobs.run_here(["verify", store]) == 1
        said = capsys.readouterr()
        assert code in said.err
        assert "problems" not in said.out


@on_versitygw
def test_a_store_that_is_full_fails_tiles_as_full(
    place: Place, archive: Path, run: jobs.Run
) -> None:
    full = s3_error(507, "XMinioStorageFull")
    words = [*place.words(archive, "full"), "--max-failed-share=1"]
    with place.proxy.failing(full, method="PUT", word="/scales/c/"):
        code, result = run(*words)
    assert (code, result["failures"]) == (3, {"store-full": 12})


def test_no_server_is_waited_for_that_cannot_be_built(tmp_path: Path) -> None:
    """As where Go is, and the proxy of its modules does not answer."""
    shutil.copy(jobs.ROOT / "Makefile", tmp_path)
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\nexec sleep 600\n")
    go.chmod(0o755)
    ended = subprocess.run(
        ["make", "--no-print-directory", "stores", "STORES=minio", "REACHED_IN=0.2"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "minio is not built: its module cannot be reached within 0.2 s\n"
