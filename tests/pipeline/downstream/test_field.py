"""`pack` makes a field of a region that is small, close, whole after kills; `Field` tells of it."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tessera_mosaic as tm
from tessera_mosaic.model.fields.fitting import Fitting, one_thread
from tessera_mosaic.model.fields.sizes import choose_sizes
from tessera_mosaic.model.heads.fitting import Labelled, Recipe
from tessera_mosaic.model.heads.head import Head, HeadClass, HeadKind, Task
from tessera_mosaic.model.heads.training_space import training_space
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.contracts.rules import Verdict
from tessera_mosaic.pipeline.contracts.state import STATE, Kind, State
from tessera_mosaic.pipeline.downstream.check import CheckRequest, check
from tessera_mosaic.pipeline.downstream.field_file import FORMAT, decode_field, encode_field
from tessera_mosaic.pipeline.downstream.field_pack import RESERVE
from tessera_mosaic.pipeline.downstream.field_region import read_field_region
from tessera_mosaic.pipeline.downstream.head_file import write_head
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.identity import adopted_identity, fingerprint
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store, read_mosaic
from tessera_mosaic.pipeline.tiling.lattice import Tile, pixels_at, to_lonlat
from tests import caldor
from tests.jobs import ROOT

YEARS = tuple(range(2017, 2024))


@dataclass(frozen=True)
class Burn:
    """The real square as a mosaic, and a field of it that is 50 times smaller than its codes."""

    folder: Path
    shared: Path
    told: str = ""

    def words(self, ratio: float, out: str, years: str = "2017-2023") -> list[str]:
        """The words of a packing."""
        return [
            *("pack", f"--store={self.folder / 'mosaic.zarr'}", f"--years={years}"),
            *(f"--region={self.folder / 'square.geojson'}", f"--ratio={ratio:g}"),
            f"--out={self.folder / out}",
        ]

    def cosines(self, field: tm.Field) -> Any:
        """Cosines of what a field tells of all pixels and years, beside the real vectors."""
        told = caldor.square(self.shared)
        lon, lat = caldor.centres()
        real = told["embeddings"] * told["scales"][..., None]
        made = np.stack([field(lon, lat, int(year)) for year in told["years"]])
        lengths = np.linalg.norm(real, axis=-1) * np.linalg.norm(made, axis=-1)
        return (real * made).sum(axis=-1) / lengths

    def check(self, out: str, ratio: float, least: float) -> None:
        """Check that a field is small and close enough."""
        codes = len(YEARS) * 64 * 64 * 128
        assert codes / (self.folder / out).stat().st_size >= ratio
        assert self.cosines(tm.Field(str(self.folder / out))).mean() >= least


@pytest.fixture(scope="module")
def burn(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Burn:
    """The square, packed."""
    folder = tmp_path_factory.mktemp("burn")
    caldor.mosaic(shared, folder / "mosaic.zarr", YEARS)
    caldor.region(folder / "square.geojson")
    burn = Burn(folder, shared)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(burn.words(50, "50.safetensors")) == 0
    return replace(burn, told=out.getvalue())


def test_a_real_region_fifty_times_smaller_is_close(burn: Burn) -> None:
    burn.check("50.safetensors", 50, 0.974)
    field = tm.Field(str(burn.folder / "50.safetensors"))
    cosines = burn.cosines(field)
    assert field.fidelity.mean == pytest.approx(cosines.mean(), abs=1e-5)
    assert field.fidelity.p5 == pytest.approx(np.quantile(cosines, 0.05), abs=1e-5)
    assert "28,672 vectors of 128 values" in burn.told
    assert "PCA of" in burn.told
    assert "core hours for 1,000 km2" in burn.told
    assert not list(burn.folder.glob("*.part"))


def test_a_real_region_twenty_times_smaller_is_close_after_a_third_of_the_steps(burn: Burn) -> None:
    mosaic = read_mosaic(Storage(str(burn.folder / "mosaic.zarr")))
    data = read_field_region(mosaic, str(burn.folder / "square.geojson"), YEARS).data
    most = len(data) * data.dims // 20 - RESERVE - data.years * data.pixels // 8
    fitting = Fitting(data, choose_sizes(data.rectangles, data.years, data.dims, most), epochs=14)
    with one_thread():
        while not fitting.done:
            fitting.learn()
    assert data.fidelity(fitting.field()).mean >= 0.985


@pytest.mark.soak
def test_the_curve_of_the_real_region(burn: Burn, run: Callable[..., Any]) -> None:
    code, result = run(*burn.words(20, "20.safetensors"), "--curve")
    assert code == 0
    burn.check("20.safetensors", 20, 0.985)
    assert [each["ratio"] for each in result["curve"]] == [10, 20, 50, 100]
    means = [each["fidelity"]["mean"] for each in result["curve"]]
    assert means == sorted(means, reverse=True)
    for each in result["curve"][1:]:
        assert each["fidelity"]["mean"] > each["components"]["fidelity"]["mean"]


def test_a_packing_that_was_killed_goes_on_to_the_same_bytes(
    burn: Burn, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [sys.executable, "-m", "tessera_mosaic", *burn.words(50, "killed.safetensors")]
    part = burn.folder / "killed.safetensors.part"
    with subprocess.Popen(words, cwd=ROOT) as process:
        deadline = time.monotonic() + 240
        while not part.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert part.exists()
    assert not (burn.folder / "killed.safetensors").exists()
    assert main(burn.words(40, "killed.safetensors")) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith("was begun: remove it, or name another out")
    assert len(said.splitlines()) == 1
    assert main([*burn.words(50, "killed.safetensors"), "--quiet"]) == 0
    assert not part.exists()
    whole = (burn.folder / "50.safetensors").read_bytes()
    assert (burn.folder / "killed.safetensors").read_bytes() == whole
    (burn.folder / "killed.safetensors").unlink()


def test_what_is_done_is_told_again_and_nothing_else_is_overwritten(
    burn: Burn, run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = burn.folder / "50.safetensors"
    before = path.read_bytes(), path.stat().st_mtime_ns
    code, result = run(*burn.words(50, path.name))
    assert (code, result["core_hours"]) == (0, 0)
    assert result["size"]["bytes"] == len(before[0])
    assert main(burn.words(20, path.name)) == 2
    assert "it is there already" in capsys.readouterr().err
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--years": "2016"}, "2016"),
        ({"--years": "17"}, "--years 17: name years as"),
        ({"--years": "2018,2018"}, "--years 2018,2018: name each year once"),
        ({"--ratio": "2"}, "--ratio 2.0: choose 5 to 1000"),
        ({"--ratio": "900"}, "too few to be told in"),
        ({"--region": "10,10,11,11"}, "no zone that owns ground of this region"),
        ({"--region": "-121,38,-120.1,40"}, "more than a field holds"),
        ({"--out": "there/"}, "it names a folder"),
        ({"--out": "/dev"}, "--out /dev: it is a folder, not a file"),
        ({"--out": "/dev/null"}, "--out /dev/null: it is a device or a pipe, not a file"),
    ],
)
def test_what_cannot_be_packed_is_told_in_one_line(
    burn: Burn, capsys: pytest.CaptureFixture[str], changed: dict[str, str], said: str
) -> None:
    words = [
        next((f"{name}={value}" for name, value in changed.items() if word.startswith(name)), word)
        for word in burn.words(50, "none.safetensors")
    ]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (burn.folder / "none.safetensors").exists()


@pytest.fixture(scope="module")
def field(burn: Burn) -> tm.Field:
    """The field of the square."""
    return tm.Field(str(burn.folder / "50.safetensors"))


def test_a_field_takes_numbers_and_arrays(field: tm.Field) -> None:
    lon, lat = (of[3:5, 7:9] for of in caldor.centres())
    both = field(lon, lat, 2022)
    assert both.shape == (2, 2, 128)
    one = field(float(lon[1, 0]), float(lat[1, 0]), 2022)
    assert one.shape == (128,)
    np.testing.assert_allclose(one, both[1, 0], rtol=1e-4, atol=1e-5)
    many = field(lon[0, 0], lat[0, 0], np.array([2017, 2022]))
    np.testing.assert_allclose(many[1], both[0, 0], rtol=1e-4, atol=1e-5)
    assert not np.allclose(many[0], many[1])


@pytest.mark.parametrize(
    ("lon", "lat", "year", "said"),
    [
        (-120.0, 38.7, 2022, "is not in this field, which lies within -120.34"),
        (38.7, -120.3, 2022, "lat -120.3: it is -80 to 84 degrees"),
        (np.nan, 38.7, 2022, "lon nan: it is -180 to 180 degrees"),
        (None, None, 2024, "year 2024: this field holds 2017, 2018"),
        (None, None, 2017.5, "year 2017.5: this field holds"),
        (None, None, "2022", "year 2022: a calendar year is a whole number"),
        ("east", 38.7, 2022, "do not go together"),
        (1j, 38.7, 2022, "do not go together"),
        ([-120.3, -120.3], [38.7] * 3, 2022, "do not go together"),
    ],
)
def test_a_field_refuses_what_it_does_not_hold(
    field: tm.Field, lon: Any, lat: Any, year: Any, said: str
) -> None:
    if lon is None:
        lon, lat = (of[0, 0] for of in caldor.centres())
    with pytest.raises(BadInput, match=said):
        field(lon, lat, year)


def test_pixels_without_an_embedding_have_none(burn: Burn, field: tm.Field) -> None:
    """The window of the region is a little larger than the square."""
    told = decode_field((burn.folder / "50.safetensors").read_bytes())
    window = told.windows[0]
    assert window.height * window.width > 64 * 64
    rows, cols = np.mgrid[0 : window.height, 0 : window.width]
    x, y = window.west + 10 * (cols + 0.5), window.north - 10 * (rows + 0.5)
    known = np.isfinite(field(*to_lonlat(10).transform(x, y), 2020)).all(axis=-1)
    expected = np.zeros(window.shape, bool)
    expected[caldor.SQUARE.within(window)] = True
    np.testing.assert_array_equal(known, expected)


def test_heads_of_the_mosaic_work_on_the_field(burn: Burn, field: tm.Field) -> None:
    head, store = burn.folder / "burned.head", str(burn.folder / "mosaic.zarr")
    told, west = caldor.square(burn.shared), np.s_[:, :32]
    at = told["years"].tolist().index(2022)
    vectors = (told["embeddings"][at] * told["scales"][at][..., None])[west].reshape(-1, 128)
    labels = caldor.burned(burn.shared)[west].ravel().astype(int)
    data = Labelled(vectors, labels.astype(float), np.ones(len(labels)))
    write_head(
        str(head),
        Head(
            HeadKind.LOGISTIC,
            Task.CLASS,
            Recipe(HeadKind.LOGISTIC, Task.CLASS, 2).fit(data, 30.0),
            training_space(vectors, labels.astype(np.int32)),
            (HeadClass(1, "unburned", (0, 99, 0)), HeadClass(2, "burned", (99, 0, 0))),
            fingerprint(read_mosaic(Storage(store)).identity),
            "tessera-v1.1",
            128,
            (2022,),
            vectors.mean(axis=0, keepdims=True),
            np.arange(5, dtype=np.uint64),
            "0" * 64,
        ),
    )
    lon, lat = caldor.centres()
    found = field.predict(str(head), lon, lat, 2022)
    codes = {name: code for code, name in found.classes.items()}
    said = found.code[:, 32:] == codes["burned"]
    truth = caldor.burned(burn.shared)[:, 32:]
    assert 2 * (said & truth).sum() / (said.sum() + truth.sum()) >= 0.8
    assert (found.confidence >= 0.5).all()
    assert np.isnan(found.value).all()
    with pytest.raises(BadInput, match="year 2021: the head was trained on 2022, and"):
        field.predict(str(head), lon, lat, 2021)
    stranger = burn.folder / "stranger.safetensors"
    held = decode_field((burn.folder / "50.safetensors").read_bytes())
    stranger.write_bytes(encode_field(replace(held, mosaic="f" * 64)))
    with pytest.raises(BadInput, match=r"rests on embeddings of .* f{12}.*: train one on"):
        tm.Field(str(stranger)).predict(str(head), lon, lat, 2022)


def test_a_field_says_what_it_is_and_belongs_to_its_mosaic(burn: Burn) -> None:
    path, store = burn.folder / "50.safetensors", str(burn.folder / "mosaic.zarr")
    data = path.read_bytes()
    assert encode_field(decode_field(data)) == data
    state = State.from_json(FORMAT.told(data)[STATE])
    assert (state.kind, state.years, state.crs) == (Kind.FIELD, YEARS, ("EPSG:32610",))
    assert state.fingerprint == fingerprint(read_mosaic(Storage(store)).identity)
    chain = check(CheckRequest((store, str(path))))
    assert chain.verdict is Verdict.PASS, chain.to_json()


def test_a_field_over_a_zone_line_holds_both_zones(tmp_path: Path) -> None:
    store, out = tmp_path / "mosaic.zarr", tmp_path / "field.safetensors"
    region, side, dims = "5.990,50.000,6.010,50.010", 256, 16
    identity = adopted_identity("smooth", "arrays", nearest=False, margin=0)
    mosaic = create_store(Storage(str(store)), Layout(side, dims), identity, [2024], [31, 32])
    lon, lat = np.array([5.99, 6.0099, 5.99, 6.0099]), np.array([50.0, 50.0, 50.0099, 50.0099])
    zones, rows, cols = pixels_at(lon, lat)
    held = {
        Tile(int(zone), int(row) // side, int(col) // side, side)
        for zone, row, col in zip(zones, rows, cols, strict=True)
    }
    for tile in held:
        row, col = np.mgrid[0:side, 0:side]
        phase = row[..., None] / 20 + col[..., None] / 30 + np.arange(dims) + tile.zone
        codes = np.round(100 * np.sin(phase)).astype(np.int8)
        scales = np.full((side, side), 0.01, np.float32)
        scales[::7, ::5] = np.inf
        counts = np.ones((side, side), np.uint16)
        names = ("s2", "s1_ascending", "s1_descending")
        with mosaic.writer(tile, 2024) as writer:
            writer.put(tile.window, codes, scales, dict.fromkeys(names, counts))
            writer.close()
    request = tm.PackRequest(str(store), str(out), region, (2024,), ratio=5)
    assert tm.pack(request).zones == (31, 32)
    field = tm.Field(str(out))
    lons, lats = np.meshgrid(np.linspace(5.9985, 6.0015, 21), np.linspace(50.001, 50.009, 4))
    made, known = field(lons, lats, 2024), 0
    for at in np.ndindex(lons.shape):
        real = tm.point(tm.PointRequest(str(store), float(lons[at]), float(lats[at]), 2024)).vector
        assert (real is None) == np.isnan(made[at]).any()
        if real is not None:
            known += 1
            assert real @ made[at] / np.linalg.norm(real) / np.linalg.norm(made[at]) > 0.9
    assert 0 < known < lons.size


JUNK = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=5)),
    st.lists(st.integers(), max_size=6),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(max_examples=150)
@given(st.data(), JUNK)
def test_a_sealed_file_of_nonsense_is_refused_or_read_whole(
    burn: Burn, data: Any, junk: Any
) -> None:
    held = (burn.folder / "50.safetensors").read_bytes()
    told, tensors = FORMAT.decode(held, lambda told, tensors: (told, tensors))
    told = {name: value for name, value in told.items() if name not in ("version", "sha256")}
    told[data.draw(st.sampled_from(sorted(told)))] = junk
    assert "\n" not in refusal(told, tensors)


def refusal(told: dict[str, Any], tensors: dict[str, Any]) -> str:
    """Why a sealed file is no field; empty where it is one, or JSON cannot hold it."""
    try:
        decode_field(FORMAT.encode(told, tensors))
    except ValueError as error:
        return str(error)
    return ""


def test_a_file_that_was_changed_is_refused(burn: Burn, tmp_path: Path) -> None:
    data = bytearray((burn.folder / "50.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "changed").write_bytes(data)
    for name, said in (("changed", "not as it was written"), ("none", "there is no such file")):
        with pytest.raises(BadInput, match=said):
            tm.Field(str(tmp_path / name))
