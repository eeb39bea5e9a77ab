"""The manifests are what Kubernetes takes, by its own schema, and agree with the program."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tessera_mosaic.pipeline.commands.annual import annual_arguments
from tessera_mosaic.pipeline.commands.run import run_arguments
from tessera_mosaic.pipeline.job.shares import of_array
from tests.deploy.test_image import lint, tool

kubernetes_validate = pytest.importorskip("kubernetes_validate")

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
MANIFESTS = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}


def container(name: str) -> dict[str, Any]:
    (found,) = MANIFESTS[name]["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("name", ["array", "closing"])
def test_the_schema_of_kubernetes_takes_a_manifest(name: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], "1.34", strict=True)


def slips() -> Iterator[tuple[str, dict[str, Any]]]:
    """The array's manifest with a slip each."""
    for place, value in (
        (("spec", "backoffLimitPerIndx"), 3),
        (("spec", "completions"), "8"),
        (("spec", "template", "spec", "containers", 0, "resources", "limit"), {}),
        (("spec", "podFailurePolicy", "rules", 0, "action"), 1),
    ):
        slipped = copy.deepcopy(MANIFESTS["array"])
        inner = slipped
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
        yield str(place[-1]), slipped


@pytest.mark.parametrize(("place", "slipped"), list(slips()))
def test_the_schema_finds_a_slip(place: str, slipped: dict[str, Any]) -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(slipped, "1.34", strict=True)


@pytest.mark.parametrize(
    ("name", "declare"), [("array", run_arguments), ("closing", annual_arguments)]
)
def test_the_words_are_options(name: str, declare: Any) -> None:
    program, command, *words = container(name)["args"]
    assert (program, command) == ("tessera-mosaic", {"array": "run"}.get(name, "annual"))
    parser = argparse.ArgumentParser(exit_on_error=False)
    declare(parser)
    args = parser.parse_args(words)
    same = ("catalog", "region", "year", "store", "model", "device")
    other = argparse.ArgumentParser()
    run_arguments(other)
    array = other.parse_args(container("array")["args"][2:])
    assert [getattr(args, each) for each in same] == [getattr(array, each) for each in same]


def test_each_pod_makes_a_share() -> None:
    spec = MANIFESTS["array"]["spec"]
    told = {each["name"]: each["value"] for each in container("array")["env"]}
    shares = [
        of_array(told | {"JOB_COMPLETION_INDEX": str(index)})
        for index in range(spec["completions"])
    ]
    assert len(set(shares)) == spec["completions"] == shares[0].count
    assert spec["completionMode"] == "Indexed"
    assert container("array")["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_files_are_in_order() -> None:
    lint(tool("shellcheck"), *FOLDER.glob("*.sh"), *(FOLDER.parent / "slurm").glob("*.sh"))
    settings = FOLDER.parent / ".yamllint.yaml"
    lint(tool("yamllint"), "--strict", "--config-file", settings, *FOLDER.glob("*.yaml"))
