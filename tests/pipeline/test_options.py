"""Beam's options are taken strictly."""

from __future__ import annotations

import pytest

from pipeline.errors import BadInput
from pipeline.options import beam_options


def test_direct_names_the_local_runner_outright() -> None:
    assert beam_options("direct", 1, []).get_all_options()["runner"] == "FnApiRunner"


def test_workers_are_processes_of_the_local_runner() -> None:
    options = beam_options("direct", 2, []).get_all_options()
    assert options["direct_running_mode"] == "multi_processing"
    assert options["direct_num_workers"] == 2


def test_beams_own_options_pass() -> None:
    options = beam_options("dataflow", 1, ["--machine_type=g2-standard-8", "--experiments", "a"])
    assert options.get_all_options()["machine_type"] == "g2-standard-8"
    assert options.get_all_options()["experiments"] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--machin_type=x"], "did you mean --machine_type"),
        (["--num_workers=many"], "num_workers"),
        (["stray"], "stray"),
    ],
)
def test_what_beam_does_not_know_is_an_error(arguments: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        beam_options("dataflow", 1, arguments)


@pytest.mark.parametrize("runner", ["DaskRunner", "apache_beam.runners.dask.DaskRunner"])
def test_runners_that_lose_data_are_refused(runner: str) -> None:
    with pytest.raises(BadInput, match="loses data"):
        beam_options(runner, 1, [])


def test_workers_are_refused_where_the_runner_has_its_own() -> None:
    with pytest.raises(BadInput, match="--workers"):
        beam_options("dataflow", 2, [])
