"""The Flex Template agrees with the program and with the service's own schema."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.main import run_words
from deploy.presets import PRESETS
from deploy.template import METADATA, check_values, launch_body, metadata, specification
from tessera_mosaic.pipeline.cli import build_parser
from tessera_mosaic.pipeline.job.beam_options import beam_options

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = {
    "project": "a-project",
    "gcp_region": "europe-west4",
    "store": "gs://mosaic/mosaic.zarr",
    "scratch": "gs://scratch",
    "template": "gs://assets/templates/tessera-mosaic.json",
    "worker_account": "tessera-worker@a-project.iam.gserviceaccount.com",
    "subnetwork": "regions/europe-west4/subnetworks/tessera-mosaic",
    "max_workers": "8",
}
VALUES = {"area": "5.8,50.7,6.1,50.9", "year": "2024", "catalog": "planetary-computer"}

SERVICE = (
    "--runner=DataflowRunner",
    "--project=a-project",
    "--region=europe-west4",
    "--temp_location=gs://scratch/temp",
    "--template_location=gs://scratch/staging/job_object",
    "--job_name=tessera-2024",
)
"""What the template's launcher adds of its own."""


def words_of_launch(body: dict[str, Any]) -> list[str]:
    """The launcher's words for a launch."""
    launch = body["launchParameter"]
    words = [f"--{name}={value}" for name, value in launch["parameters"].items()]
    return [
        *words,
        *SERVICE,
        *(f"--{o}" for o in launch["environment"]["additionalPipelineOptions"]),
    ]


def parsed(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    return build_parser("run").parse_known_args(["run", *words])


@pytest.fixture(scope="module")
def messages() -> Any:
    """Those of the service, as Google's client declares them."""
    return pytest.importorskip(
        "google.cloud.dataflow_v1beta3", reason="needs tessera-mosaic[dataflow]"
    )


def test_metadata_is_that_of_the_options() -> None:
    assert json.loads(METADATA.read_text()) == metadata(), "python -m deploy.template metadata"


def test_every_parameter_reaches_the_program() -> None:
    given = {"NUMBER": "64", "TEXT": "text", "BOOLEAN": "true"}
    words = []
    for entry in metadata()["parameters"]:
        choices = [choice["value"] for choice in entry.get("enumOptions", ())]
        words.append(f"--{entry['name']}={choices[0] if choices else given[entry['paramType']]}")
    args, rest = parsed(run_words(words))
    assert rest == []
    for name in (entry["name"] for entry in metadata()["parameters"]):
        value = getattr(args, "region" if name == "area" else name)
        assert value not in (None, False, []), name


def test_cloud_region_and_area_do_not_meet(messages: Any) -> None:
    args, rest = parsed(run_words(words_of_launch(launch_body(PRESETS["l4"], SETTINGS, VALUES))))
    assert args.region == VALUES["area"]
    options = beam_options("dataflow", 1, rest).get_all_options()
    assert options["region"] == "europe-west4"
    assert options["number_of_worker_harness_threads"] == PRESETS["l4"].threads


def test_flags_and_lists_become_words() -> None:
    given = ["--refresh=true", "--retry_failed=false", "--overwrite=a,b", "--region=europe-west4"]
    assert run_words(given) == ["--refresh", "--overwrite", "a", "b", "--gcp_region=europe-west4"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"yaer": "2024"}, "no parameter yaer"),
        ({"catalog": None}, "needs catalog"),
        ({"year": "24"}, "year=24 does not look like"),
        ({"store": "/home/me/mosaic.zarr"}, "store=/home/me/mosaic.zarr does not look like"),
    ],
)
def test_a_launch_refuses_what_the_service_would(
    changes: dict[str, str | None], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {name: value for name, value in (VALUES | changes).items() if value is not None}
    with pytest.raises(SystemExit, match="2"):
        check_values(values, argparse.ArgumentParser())
    assert says in capsys.readouterr().err


def test_a_launch_that_is_refused_prints_no_body() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.template", "launch", "l4", "year"],
        cwd=ROOT,
        input=json.dumps(SETTINGS),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "needs area, catalog" in done.stderr
    assert done.stdout == ""


def test_the_service_knows_every_field(messages: Any) -> None:
    from google.protobuf import json_format

    spec = messages.ContainerSpec.pb(messages.ContainerSpec())
    json_format.ParseDict(specification("registry/image@sha256:0"), spec)
    assert spec.default_environment.sdk_container_image == spec.image
    names = [parameter.name for parameter in spec.metadata.parameters]
    assert len(names) == len(set(names)) == len(metadata()["parameters"])

    request = messages.LaunchFlexTemplateRequest.pb(messages.LaunchFlexTemplateRequest())
    json_format.ParseDict(launch_body(PRESETS["l4"], SETTINGS, VALUES), request)
    environment = request.launch_parameter.environment
    assert environment.machine_type == "g2-standard-8"
    assert environment.ip_configuration == 2  # WORKER_IP_PRIVATE
    assert set(request.launch_parameter.parameters) <= set(names)


def test_a_misspelt_field_would_be_found(messages: Any) -> None:
    from google.protobuf import json_format

    wrong = launch_body(PRESETS["l4"], SETTINGS, VALUES)
    wrong["launchParameter"]["environment"]["machinType"] = "n1"
    request = messages.LaunchFlexTemplateRequest.pb(messages.LaunchFlexTemplateRequest())
    with pytest.raises(json_format.ParseError, match="machinType"):
        json_format.ParseDict(wrong, request)
