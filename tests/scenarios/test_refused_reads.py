"""A read that a store refuses is neither damage, nor a state of the work, nor a sign to stop."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import pytest

from tessera_mosaic.pipeline.errors import BadInput, StoreError
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.job.failure_limit import FailureLimit
from tessera_mosaic.pipeline.job.outcome import Outcome
from tessera_mosaic.pipeline.ledger.records import Record, read_record
from tessera_mosaic.pipeline.ledger.tally import Tally
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.verification.border_checks import border_roughness
from tessera_mosaic.requests import RunRequest
from tessera_mosaic.yearly import AnnualSteps, annual
from tests import jobs
from tests.fakes.environment import s3_here, store_at
from tests.fakes.proxy import Act, Asked, FaultProxy, fault_proxy, s3_error
from tests.samples import TILES, write_sample

YEAR = 2018

REFUSALS = [(403, "AccessDenied"), (400, "InvalidToken")]

READS = ("GET", "LIST", "HEAD")


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultProxy]:
    """A proxy before a store that works."""
    with s3_here("bucket") as address:
        upstream = int(address.rpartition(":")[2])
        with fault_proxy(upstream) as proxy, store_at("s3", proxy.port):
            yield proxy


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All objects of a finished mosaic of two tiles that touch."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(Storage(str(folder)), TILES[:2], [YEAR])
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def mosaic_at(name: str, objects: dict[str, bytes]) -> Storage:
    storage = Storage(f"s3://bucket/{name}", patience=5.0)
    for key, data in objects.items():
        storage.write(key, data)
    return storage


def kind_of(asked: Asked) -> str:
    """What is asked for: shards of an array, metadata, a list, a kind of record or of file."""
    path = unquote(urlsplit(asked.path).path).partition("bucket")[2].lstrip("/")
    if asked.kind == "LIST":
        return f"list of {'records' if 'records' in unquote(asked.path) else 'others'}"
    key = path.partition("/")[2]
    if key.startswith("records/"):
        return "/".join(key.split("/")[2:3])
    array = re.search(r"(\w+)/c/", key)
    return array[1] if array else key.rpartition(".")[2]


class Refusing:
    """Refuses what is read of one kind, while it is in force.

    Attributes
    ----------
    kind
        The kind; None refuses nothing.
    refused
        How often that was done.
    kinds
        All that was read meanwhile, each kind once.
    """

    def __init__(self, kind: str | None = None) -> None:
        self.kind, self.refused, self.kinds = kind, 0, dict[str, None]()

    @contextmanager
    def at(self, proxy: FaultProxy) -> Iterator[None]:
        proxy.rule = self._rule
        try:
            yield
        finally:
            proxy.rule = lambda asked: None

    def _rule(self, asked: Asked) -> Act | None:
        if asked.kind not in READS:
            return None
        self.kinds[kind_of(asked)] = None
        if kind_of(asked) != self.kind:
            return None
        self.refused += 1
        return s3_error(403, "AccessDenied")


@pytest.mark.parametrize("command", ["status", "verify", "publish"])
def test_whatever_is_refused_ends_a_command(
    proxy: FaultProxy,
    objects: dict[str, bytes],
    command: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And says so, whichever of all the objects and folders it is that the command reads."""

    def store(name: str) -> list[str]:
        return [command, f"--store={mosaic_at(f'{command}-{name}', objects).url}", "--json"]

    whole, first, again = store("whole"), Refusing(), Refusing()
    for undisturbed in (first, again):
        with undisturbed.at(proxy):
            assert jobs.run_here(whole) == 0
    # A lock that may not be read is left behind, which a line says.
    kinds = sorted((first.kinds.keys() | again.kinds.keys()) - {"lock"})
    assert len(kinds) > 3
    for kind in kinds:
        refusing = Refusing(kind)
        # Of what is published already, `publish` does not read all again.
        words = whole if kind in again.kinds else store(kind.replace(" ", "-"))
        capsys.readouterr()
        with refusing.at(proxy):
            code = jobs.run_here(words)
        said = capsys.readouterr()
        assert refusing.refused, kind
        assert code in (1, 2), (kind, said.out)
        assert said.out == "", kind
        assert "403 AccessDenied" in said.err, kind


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_a_yearly_rerun_publishes_nothing_that_it_may_not_verify(
    proxy: FaultProxy, objects: dict[str, bytes], status: int, code: str
) -> None:
    storage = mosaic_at(f"annual-{status}", objects)
    request = RunRequest("catalog", "region", YEAR, storage.url)
    outcome = Outcome(2, 2, 0, 0, 1.0, {}, {})
    steps = dataclasses.replace(AnnualSteps.of(request), run=lambda request: outcome)
    for word in ("/embeddings/c/", "/records/"):
        with (
            proxy.failing(s3_error(status, code), method="GET", word=word),
            pytest.raises((StoreError, BadInput), match=code),
        ):
            annual(request, steps=steps)
    assert not storage.holds("published")


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_a_refused_look_for_a_stop_sign_stops_nobody(
    proxy: FaultProxy, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage("s3://bucket/signs")
    limit = FailureLimit(storage, YEAR, "launch")
    with proxy.failing(s3_error(status, code)):
        assert not limit.reached(Tally(storage, YEAR, "launch"))
    assert f"whether the job was stopped cannot be seen: {storage.url}" in caplog.text
    assert code in caplog.text
    limit.say()
    assert FailureLimit(storage, YEAR, "launch").reached(Tally(storage, YEAR, "launch"))


def test_a_border_that_may_not_be_read_is_not_passed_over(
    proxy: FaultProxy, objects: dict[str, bytes]
) -> None:
    mosaic = read_mosaic(mosaic_at("border", objects))

    def record(number: int) -> Record:
        found = read_record(mosaic.storage, YEAR, TILES[number])
        assert found is not None
        return found

    one, other = record(0), record(1)
    assert border_roughness(mosaic, one, other, vertical=True)
    denied = s3_error(403, "AccessDenied")
    with (
        proxy.failing(denied, word="/scales/c/"),
        pytest.raises(StoreError, match="AccessDenied"),
    ):
        border_roughness(mosaic, one, other, vertical=True)
    key = next(stored.key for stored in other.objects if "/scales/" in stored.key)
    mosaic.storage.write(key, b"damaged")
    assert border_roughness(mosaic, one, other, vertical=True) is None
