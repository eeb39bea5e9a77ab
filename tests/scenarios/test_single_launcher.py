"""A store that takes the condition and puts an object all the same, on S3's ground."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import jobs
from tests.fakes.environment import s3_here, store_at
from tests.fakes.proxy import Act, FaultProxy, fault_proxy


@pytest.fixture
def believing() -> Iterator[FaultProxy]:
    """A proxy that keeps the condition from the store."""
    with (
        s3_here("bucket") as address,
        fault_proxy(int(address.rpartition(":")[2])) as proxy,
        store_at("s3", proxy.port),
        proxy.failing(Act(drop=("if-none-match",))),
    ):
        yield proxy


def test_it_takes_one_launcher_that_says_so(
    believing: FaultProxy, archive: Path, run: jobs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = jobs.options(archive, Path("store"))
    words[3] = store = "--store=s3://bucket/alone"
    assert jobs.run_here(words) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert "--single-launcher: store s3://bucket/alone puts an object also where" in said
    assert run(*words, "--single-launcher")[1]["done"] == 12
    assert not [asked for asked in believing.asked if asked.path.endswith(".lock")]
    # What the workers finished is in the summary: the launcher has brought it there.
    kinds = {problem["problem"] for problem in run("verify", store)[1]["problems"]}
    assert kinds <= {"border"}
    assert jobs.run_here(["publish", store]) == 2
