"""A provider that does not serve while a catalogue is opened or searched is no bad input."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.server import serving
from tessera_mosaic.pipeline.errors import ExitCode, Throttled, TimedOut, Unavailable
from tessera_mosaic.pipeline.io.http import Patience
from tessera_mosaic.pipeline.scenes.open_catalog import open_catalogue
from tests import jobs
from tests.fakes.catalogues import items_of
from tests.fakes.web import FakeStac, Reply, Request, fake_web

PATHS = {"api": "/", "static": "/catalog.json", "index": "/items.parquet"}
"""Where a catalogue of each kind lies on its server."""

BUSY: Reply = 503, {"Retry-After": "0"}, b"busy"
"""An answer after which a client may ask again at once, so that the tests do not wait."""

HURRIED = Patience(pause=0.001)


def words(command: str, catalogue: str, out: Path) -> list[str]:
    """A command over a catalogue."""
    where = [f"--catalog={catalogue}", f"--region={jobs.REGION}", f"--year={jobs.YEAR}"]
    more = {
        "run": [f"--store={out}", f"--tile={jobs.SIDE}"],
        "plan": [],
        "stack": [f"--out={out}"],
        "sample": [f"--out={out}", f"--tile={jobs.SIDE}"],
    }
    return [command, *where, *more[command]]


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("command", ["run", "plan", "stack", "sample"])
def test_a_catalogue_whose_provider_is_busy_ends_a_command_with_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str
) -> None:
    asked: Counter[str] = Counter()

    def busy(request: Request) -> Reply:
        asked[request.path] += 1
        return BUSY

    with fake_web(busy) as address:
        catalogue = f"{address}{PATHS[kind]}"
        assert jobs.run_here(words(command, catalogue, tmp_path / "out")) == ExitCode.FAILED
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(f"tessera-mosaic {command}: catalogue {catalogue}: ")
    assert said.endswith("HTTP 503")
    assert asked == {PATHS[kind]: Throttled.request_tries}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["run", "plan", "stack"])
def test_a_search_whose_provider_is_busy_ends_a_command_with_exit_code_1(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    api = FakeStac(items_of(archive, "https://nowhere.example"))

    def answer(request: Request) -> Reply:
        # What is searched for while the catalogue is opened has no time.
        return BUSY if b"datetime" in request.body else api(request)

    with fake_web(answer) as address:
        assert jobs.run_here(words(command, f"{address}/", tmp_path / "out")) == ExitCode.FAILED
    [said] = capsys.readouterr().err.splitlines()
    assert said == f"tessera-mosaic {command}: {address}/search: HTTP 503"


@pytest.mark.parametrize("kind", PATHS)
def test_a_catalogue_whose_provider_does_not_answer_has_the_class_of_that(kind: str) -> None:
    with fake_web(lambda request: BUSY) as address:
        catalogue = f"{address}{PATHS[kind]}"
    # Nobody listens there any more.
    with pytest.raises(TimedOut, match=f"^catalogue {catalogue}: ") as caught:
        open_catalogue(catalogue, patience=HURRIED)
    assert caught.value.exit_code == ExitCode.FAILED


def test_a_document_below_the_catalogue_that_is_not_served_is_no_bad_input_either(
    archive: Path,
) -> None:
    def failing(path: str, start: int) -> str:
        return "" if path == "catalog.json" else "failing"

    with (
        serving(archive.parent, failing) as server,
        pytest.raises(Unavailable, match=f"^catalogue {server.url}/catalog.json: .*HTTP 500"),
    ):
        open_catalogue(f"{server.url}/catalog.json", patience=HURRIED)
