"""Jobs that adopt and map are killed again and again: their stores end the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tessera_mosaic.model.heads.head import Head, HeadClass, HeadKind, Task, TrainingSpace
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream.head_file import write_head
from tessera_mosaic.pipeline.mosaic.identity import fingerprint
from tessera_mosaic.pipeline.mosaic.store import mosaic_at
from tests import caldor, jobs

YEAR, TILE = 2022, 32
PORTABLE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


@dataclass(frozen=True)
class Ground:
    """A grid of embeddings, a head for them, and the stores that nobody disturbed.

    Parameters
    ----------
    folder
        Where all of it lies.
    """

    folder: Path

    def words(self, command: str, store: str, *more: str) -> list[str]:
        """Words of a command that adopts the grid, or maps what was adopted."""
        if command == "adopt":
            names = {"codes": "codes.npy", "scales": "scales.npy", "georef": "grid.json"}
            options = [f"--{name}={self.folder / file}" for name, file in names.items()]
            options += [f"--store={self.folder / store}", "--model=somebody", f"--tile={TILE}"]
        else:
            options = [f"--store={self.folder / 'adopt'}", f"--head={self.folder / 'some.head'}"]
            options += [f"--region={self.folder / 'square.json'}", f"--out={self.folder / store}"]
        return [command, *options, f"--year={YEAR}", *more]

    def ends_the_same(self, command: str, store: str) -> None:
        """Check a store against the one that nobody disturbed, and that it is whole."""
        found, expected = (jobs.contents(self.folder / name) for name in (store, command))
        # The collection and the report are named after the place of a map.
        named_after = ("stac/", "report")
        assert {key: of for key, of in found.items() if not key.startswith(named_after)} == {
            key: of for key, of in expected.items() if not key.startswith(named_after)
        }
        assert main(["verify", f"--store={self.folder / store}"]) == 0

    def is_killed(self, command: str, kills: int) -> None:
        """Kill a job at ever later moments, each time on what the last one left; then end it."""
        store = self.folder / f"{command}-killed"
        last = jobs.objects(self.folder / command)
        killed = 0
        for number in range(kills):
            objects = 1 + number * (last - 10) // kills

            def ready(objects: int = objects) -> bool:
                return jobs.objects(store) >= objects

            killed += jobs.kill_when(self.words(command, store.name), ready) == -9
        assert killed == kills
        assert main(self.words(command, store.name)) == 0
        self.ends_the_same(command, store.name)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Made embeddings of eight values where the square lies."""
    chance = np.random.default_rng(0)
    codes = chance.integers(-127, 128, (64, 64, 8)).astype(np.int8)
    scales = chance.uniform(0.01, 0.1, (64, 64)).astype(np.float32)
    return prepared(Ground(tmp_path_factory.mktemp("ground")), codes, scales)


def prepared(ground: Ground, codes: np.ndarray, scales: np.ndarray) -> Ground:
    """Write a grid and a head, and make both stores in peace."""
    np.save(ground.folder / "codes.npy", codes)
    np.save(ground.folder / "scales.npy", scales)
    place = [10, 0, caldor.SQUARE.west, 0, -10, caldor.SQUARE.north]
    (ground.folder / "grid.json").write_text(
        json.dumps({"crs": caldor.SQUARE.crs, "transform": place})
    )
    caldor.region(ground.folder / "square.json")
    assert main(ground.words("adopt", "adopt")) == 0
    identity = mosaic_at(str(ground.folder / "adopt")).identity
    write_head(str(ground.folder / "some.head"), three_classes(codes, fingerprint(identity)))
    assert main(ground.words("map", "map")) == 0
    return ground


def three_classes(codes: np.ndarray, mosaic: str) -> Head:
    """A head that nobody trained."""
    dims, chance = codes.shape[-1], np.random.default_rng(1)
    weight = chance.normal(size=(3, dims)).astype(np.float32)
    space = TrainingSpace(
        means=weight,
        axes=np.zeros((0, dims), np.float32),
        variances=np.zeros(0, np.float32),
        rest=1.0,
        percentiles=np.linspace(0, 9, 101, dtype=np.float32),
    )
    names = ("oats", "rye", "spelt")
    return Head(
        kind=HeadKind.LOGISTIC,
        task=Task.CLASS,
        layers={"weight": weight, "bias": np.zeros(3, np.float32)},
        space=space,
        classes=tuple(HeadClass(code, name, (code, 99, 0)) for code, name in enumerate(names)),
        mosaic=mosaic,
        model="somebody",
        dims=dims,
        years=(YEAR,),
        year_means=np.zeros((1, dims), np.float32),
        pixels=np.arange(1, dtype=np.uint64),
        labels_sha256="",
    )


@pytest.mark.parametrize("command", ["adopt", "map"])
def test_killed_twice_it_ends_the_same(ground: Ground, command: str) -> None:
    ground.is_killed(command, 2)


def test_the_portable_runner_adopts_the_same_bytes(ground: Ground) -> None:
    ended = jobs.run_process(ground.words("adopt", "portable", *PORTABLE))
    assert ended.code == 0, ended.error
    ground.ends_the_same("adopt", "portable")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", ["adopt", "map"])
def test_killed_ten_times_real_embeddings_end_the_same(
    shared: Path, tmp_path: Path, command: str
) -> None:
    told = caldor.square(shared)
    step = told["years"].tolist().index(YEAR)
    ground = prepared(Ground(tmp_path), told["embeddings"][step], told["scales"][step])
    ground.is_killed(command, 10)
