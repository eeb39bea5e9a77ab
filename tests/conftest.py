"""What all tests share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tessera_mosaic.pipeline.io.storage import Storage
from tests import jobs
from tests.fakes.environment import gcs_here, s3_here
from tests.fakes.gcs import State
from tests.small_demo import SmallDemo, make_small_demo

SHARED = Path(__file__).resolve().parents[2] / "shared"

# Tests run on busy machines, where the time of an example says nothing about it.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference vectors and real imagery beside the checkout; skips where they are not."""
    if not (SHARED / "golden").is_dir():
        pytest.skip("reference vectors and real imagery are not beside this checkout (../shared)")
    return SHARED


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Catalogue of the small simulated archive."""
    return jobs.archive(tmp_path_factory.mktemp("simulated") / "archive")


@pytest.fixture(scope="session")
def finished(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small job's store, made by one process that nobody disturbed."""
    store = tmp_path_factory.mktemp("finished") / "store"
    ended = jobs.run_process(jobs.options(archive, store, "--json"))
    assert ended.code == 0, ended.error
    assert ended.result["done"] == ended.result["tiles"] == 12
    return store


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> SmallDemo:
    """A demo of a small land, in a folder of its own."""
    return make_small_demo(tmp_path_factory.mktemp("small") / "demo")


@pytest.fixture(scope="module")
def gcs() -> Iterator[State]:
    """State of a Google Cloud Storage that everything in this process speaks to."""
    with gcs_here() as state:
        yield state


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Address of an S3 with a bucket named `bucket` that everything in this process speaks to."""
    with s3_here("bucket") as address:
        yield address


@pytest.fixture(scope="module", params=["gs", "s3"])
def remote(request: pytest.FixtureRequest) -> Storage:
    """A place on each kind of object store."""
    request.getfixturevalue({"gs": "gcs", "s3": "s3"}[request.param])
    return Storage(f"{request.param}://bucket/tests")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> jobs.Run:
    """Run a command here, with `--json`; its exit code and its result."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = jobs.run_here([*words, "--json"])
        return code, json.loads(capsys.readouterr().out or "{}")

    return run
