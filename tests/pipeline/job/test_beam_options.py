"""Beam's options are taken strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.job.beam_options import beam_options, sharing_processes
from tessera_mosaic.pipeline.job.local_runner import apart


def test_workers_are_processes_of_the_local_runner() -> None:
    options = beam_options("direct", 2, []).get_all_options()
    assert options["direct_running_mode"] == "multi_processing"
    assert options["direct_num_workers"] == 2


CLOUD = ["--gcp_region=europe-west4", "--project=a-project", "--temp_location=gs://bucket/temp"]
GPU = "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1"


@pytest.fixture
def clients() -> None:
    """Google's; skips where they are not installed."""
    pytest.importorskip("google.cloud.dataflow", reason="needs tessera-mosaic[dataflow]")


def test_beams_own_options_pass(clients: None) -> None:
    options = beam_options(
        "dataflow", 1, [*CLOUD, "--machine_type=g2-standard-8", "--experiments", "a"]
    )
    assert options.get_all_options()["machine_type"] == "g2-standard-8"
    assert options.get_all_options()["experiments"] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--machin_type=x"], "did you mean --machine_type"),
        (["--num_workers=many"], "num_workers"),
        (["stray"], "stray"),
        (["--gcp-region=europe-west4"], "did you mean --gcp_region"),
    ],
)
def test_what_beam_does_not_know_is_an_error(arguments: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        beam_options("dataflow", 1, arguments)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["run", "--worker=2"], "--workers"),
        (["run", "--wieghts", "a.pt"], "--weights"),
        (["sample", "--fractoin=1"], "--fraction"),
        (["status", "--yaer=2024"], "--year"),
    ],
)
def test_a_misspelt_option_of_ours_is_known_again(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--catalog=none", "--region=3,50,4,51", "--year=2024"]
    needed = {"run": [*place, "--store=none"], "sample": [*place, "--out=none"]}
    assert main([*arguments, *needed.get(arguments[0], ["--store=none"])]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"tessera-mosaic {arguments[0]}: unknown option ")
    assert f"did you mean {meant}?" in said


@pytest.mark.parametrize(
    "runner",
    ["DaskRunner", "dask", "DASKRUNNER", "apache_beam.runners.dask.DaskRunner", "pysparkrunner"],
)
def test_runners_that_lose_data_are_refused(runner: str) -> None:
    with pytest.raises(BadInput, match="loses data"):
        beam_options(runner, 1, [])


def test_workers_are_refused_where_the_runner_has_its_own() -> None:
    with pytest.raises(BadInput, match="--workers"):
        beam_options("dataflow", 2, [])


def test_the_cloud_region_has_a_name_of_its_own(clients: None) -> None:
    options = beam_options("dataflow", 1, CLOUD).get_all_options()
    assert options["region"] == "europe-west4"


def test_dataflow_is_told_where_to_run() -> None:
    with pytest.raises(BadInput, match="--gcp_region, --temp_location"):
        beam_options("dataflow", 1, CLOUD[1:2])


@pytest.mark.parametrize(
    "other", ["--flexrs_goal=COST_OPTIMIZED", "--resource_hints=accelerator=type:nvidia-l4;count:1"]
)
def test_what_does_not_go_with_a_gpu_is_refused(other: str, clients: None) -> None:
    assert beam_options("dataflow", 1, [*CLOUD, other])
    with pytest.raises(BadInput, match="worker_accelerator"):
        beam_options("dataflow", 1, [*CLOUD, GPU, other])


def test_a_runner_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadInput, match="--runner Nonsense"):
        beam_options("Nonsense", 1, [])


def test_a_runner_that_loses_data_is_known_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "our_runners.py").write_text("class DaskRunner: ...\nSafe = DaskRunner\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match="loses data"):
        beam_options("our_runners.Safe", 1, [])


LOCAL = ["direct", "Direct", "DirectRunner", "SwitchingDirectRunner", "fnapirunner", "FnApi"]


@pytest.mark.parametrize("runner", LOCAL)
def test_the_local_runner_is_the_same_however_it_is_spelt(runner: str) -> None:
    assert beam_options(runner, 1, []).get_all_options()["runner"] == "FnApiRunner"
    for options in (
        beam_options(runner, 2, []),
        beam_options(
            runner, 1, ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
        ),
    ):
        assert apart(options)
        assert sharing_processes(options) == 2


@pytest.mark.parametrize("runner", ["dataflow", "Dataflow", "dataflowrunner", "DataflowRunner"])
def test_dataflow_is_checked_however_it_is_spelt(runner: str) -> None:
    with pytest.raises(BadInput, match="--gcp_region"):
        beam_options(runner, 1, [])
