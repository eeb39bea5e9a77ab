"""The benchmarks themselves: gates that can fail, and operations counted right."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as benchmarks
from benchmarks import encode
from tessera_mosaic.model.cards import card_named
from tessera_mosaic.model.checkpoints.checkpoint import random_checkpoint
from tessera_mosaic.model.engine.kernels import UnusableDevice
from tessera_mosaic.model.sizes import Family, Sizes
from tessera_mosaic.pipeline.planning.priors import THROUGHPUT, read_priors

SIZES = Sizes(latent=12, layers=2, heads=4, feedforward=56, representation=40)


def test_one_failed_gate_fails_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in (("good", 0), ("bad", 1), ("silent", None)):
        module = types.SimpleNamespace(main=lambda argv, code=code: code)
        monkeypatch.setitem(benchmarks.sys.modules, f"benchmarks.{name}", module)
    names = {"good": "", "bad": "", "silent": ""}
    codes = [benchmarks.main([name], names) for name in ("good", "bad", "silent", "all", "worse")]
    assert codes == [0, 1, 0, 1, 2]


def test_what_needs_a_file_is_no_part_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in (("good", 0), ("fusion", 1)):
        module = types.SimpleNamespace(main=lambda argv, code=code: code)
        monkeypatch.setitem(benchmarks.sys.modules, f"benchmarks.{name}", module)
    names = {"good": "", "fusion": ""}
    assert [benchmarks.main([name], names) for name in ("all", "fusion")] == [0, 1]


@pytest.mark.parametrize(
    "asked",
    [["write", "--side", "512"], pytest.param(["scale", "--tiles", "4"], marks=pytest.mark.soak)],
    ids="{0[0]}".format,
)
def test_stores_of_benchmarks_are_sound(asked: list[str]) -> None:
    assert benchmarks.main(asked) == 0


@pytest.mark.soak
def test_makers_of_benchmarks_reach_worker_processes() -> None:
    asked = ["pipeline", "--tiles", "1", "2", "--workers", "2", "--block", "128"]
    command = [sys.executable, "-m", "benchmarks", *asked]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert told.startswith("workers 2, blocks of 128 px: whole ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main(["encode", "--device", "cuda"]) == 2
    said = capsys.readouterr().err
    told = "benchmarks encode: device cuda was asked for, and 0 GPUs are usable here"
    assert said.splitlines()[1:] == [told]


def a_row(path: str, values: np.ndarray) -> encode.Row:
    subject = encode.Subject(card_named("v2-nano"), encode.DEPTHS[0], "cpu", 1)
    scales = np.abs(values).max(axis=-1) / 127
    return encode.Row(subject, path, 500, encode.Spent(2.0, 1.0), 100.0, values, scales)


@pytest.mark.parametrize(("noise", "code"), [(0, 0), (0.05, 1)])
def test_bf16_that_strays_fails_and_rates_are_recorded(
    tmp_path: Path, noise: float, code: int
) -> None:
    draw = np.random.default_rng(0)
    exact = draw.normal(size=(200, 128)).astype(np.float32)
    fast = exact + noise * draw.normal(size=exact.shape).astype(np.float32)
    rows = {"fp32": a_row("fp32", exact), "bf16": a_row("bf16", fast)}
    book = tmp_path / "throughput.json"
    book.write_text(THROUGHPUT.read_text())
    gauges = encode.Gauges(lambda subject, peaks: rows, lambda *_: 1e12, book)
    assert encode.main(["--model", "v2-nano", "--record", "mine"], gauges) == code
    known = [row for row in read_priors(throughput=book).throughputs if row.device == "mine"]
    assert {(row.model, row.precision, row.tokens) for row in known} == {
        ("v2-nano", "fp32", 176),
        ("v2-nano", "bf16", 176),
    }
    assert {row.pixels_per_second for row in known} == {250}


def test_a_precision_that_the_machine_lacks_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def peak(device: str, precision: str, threads: int) -> float:
        if precision == "bf16":
            raise UnusableDevice("this CPU has no bf16 arithmetic")
        return 1e12

    measured = []

    def measure(subject: encode.Subject, peaks: dict[str, float]) -> dict[str, encode.Row]:
        measured.append((subject.card.name, list(peaks)))
        return {}

    assert encode.main(["--threads", "1"], encode.Gauges(measure, peak)) == 0
    assert "bf16 is left out: this CPU has no bf16 arithmetic" in capsys.readouterr().out
    assert {name for name, _ in measured} == {
        *("v1.0", "v1.0-float", "v1.1-mpc"),
        *("v2-nano", "v2-small", "v2-medium", "v2-large"),
    }
    assert all(paths == ["fp32"] for _, paths in measured)


def test_every_path_is_measured() -> None:
    card = dataclasses.replace(card_named("v1.0"), sizes=SIZES, dims=40)
    subject = encode.Subject(card, (9, 8), "cpu", torch.get_num_threads(), 1.0, 16)
    rows = {path: encode.run_path(subject, path) for path in ("reference", "autocast", "fp32")}
    assert {row.pixels for row in rows.values()} == {16}
    assert rows["fp32"].values.shape == (16, 40)
    assert np.isfinite(rows["fp32"].scales).all()
    line = encode.told(rows["fp32"], 1e12, rows)
    assert line.split()[:3] == ["v1.0", "40+40", "fp32"]


@pytest.mark.parametrize("family", ["v1.0", "v1.1", "v2", "v2-teacher"])
def test_operations_are_those_of_the_network(family: Family) -> None:
    network = random_checkpoint(SIZES, 0, family).network()
    s2, s1 = torch.ones(1, 24, 11), torch.ones(1, 16, 3)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        network(s2, s1)
    counted = counter.get_total_flops()
    assert encode.pixel_flops(family, SIZES, (24, 16)) == pytest.approx(counted, rel=0.01)
