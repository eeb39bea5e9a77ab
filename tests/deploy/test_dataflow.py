"""What reaches Dataflow: graph, workers and staged files, against a fake of the cloud.

Store, records and staging lie in the fake object store; nothing of the real cloud is reached.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.presets import PRESETS
from deploy.template import launch_body
from tests import jobs
from tests.deploy.cloud import PROJECT, REGION, Cloud, fake_cloud
from tests.deploy.services import STAGED
from tests.deploy.test_template import SETTINGS

pytest.importorskip("google.cloud.dataflow", reason="needs tessera-mosaic[dataflow]")

STORE = "gs://mosaic/mosaic.zarr"
IMAGE = "registry/tessera-mosaic@sha256:0"
HINT = "type:nvidia-l4;count:1;install-nvidia-driver"

TEMPLATE = """
import json, sys
from deploy.main import run_words
from tessera_mosaic.pipeline.cli import main
for words in json.loads(sys.argv[1]):
    assert main(["run", *run_words(words)]) == 3, words
"""

ANNUAL = """
import argparse, json, sys
from tessera_mosaic.pipeline.commands.annual import annual_arguments
from tessera_mosaic.pipeline.commands.run import run_request
from tessera_mosaic.yearly import AnnualPacing, annual
parser = argparse.ArgumentParser()
annual_arguments(parser)
args, args.beam_arguments = parser.parse_known_args(json.loads(sys.argv[1]))
pacing = AnnualPacing(rounds=2, round_pause=0, busy_pause=0)
print(json.dumps(annual(run_request(args), pacing=pacing).to_json()))
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.archive(tmp_path_factory.mktemp("simulated") / "archive")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with fake_cloud(tmp_path_factory.mktemp("account")) as cloud:
        yield cloud


def run_python(program: str, given: Any, cloud: Cloud) -> str:
    """Run a program in a process whose clients are led to the fake; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(given)],
        cwd=jobs.ROOT,
        env={**os.environ, **cloud.environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def submitted(catalog: Path, cloud: Cloud) -> dict[str, Any]:
    """Job and graph of a Flex Template's launch: with a preset, and with a resource hint."""
    values = {"area": jobs.REGION, "year": str(jobs.YEAR), "catalog": str(catalog)}
    body = launch_body(PRESETS["l4"], SETTINGS | {"store": STORE}, values | {"tile": "32"})
    launch = body["launchParameter"]
    environment = launch["environment"]
    common = {
        **launch["parameters"],
        "runner": "DataflowRunner",
        "project": PROJECT,
        "region": REGION,
        "job_name": launch["jobName"],
        "temp_location": environment["tempLocation"],
        "staging_location": environment["stagingLocation"],
        "sdk_container_image": IMAGE,
        "service_account_email": environment["serviceAccountEmail"],
        "subnetwork": environment["subnetwork"],
        "max_num_workers": environment["maxWorkers"],
    }
    words = [f"--{name}={value}" for name, value in common.items()] + ["--no_use_public_ips"]
    preset = [
        f"--machine_type={environment['machineType']}",
        f"--disk_size_gb={environment['diskSizeGb']}",
        *(f"--experiments={name}" for name in environment["additionalExperiments"]),
        *(f"--{option}" for option in environment["additionalPipelineOptions"]),
    ]
    runs = {
        "preset": [*words, *preset, "--template_location=gs://scratch/preset"],
        "hint": [*words, f"--resource_hints=accelerator={HINT}"],
    }
    runs["hint"] += ["--resource_hints=min_ram=30GB", "--sdk_location=container"]
    runs["hint"].append("--template_location=gs://scratch/hint")
    run_python(TEMPLATE, list(runs.values()), cloud)
    blobs = {
        f"gs://{bucket}/{name}": blob.data for (bucket, name), blob in cloud.objects.blobs.items()
    }
    return {name: json.loads(blobs[f"gs://scratch/{name}"]) | {"blobs": blobs} for name in runs}


def graph(job: dict[str, Any]) -> Any:
    """The pipeline that a job names."""
    from apache_beam.portability.api import beam_runner_api_pb2

    options = job["environment"]["sdkPipelineOptions"]["options"]
    return beam_runner_api_pb2.Pipeline.FromString(job["blobs"][options["pipelineUrl"]])


REQUEST_BYTES, GRAPH_BYTES = 20_000_000, 10_000_000
"""What the service takes at most: of a request for a job, and of the graph that it names."""

PYTHONS_OWN = {
    "beam:coder:pickled_python:v1",
    "beam:coder:tuple:v1",
    "beam:transform:generic_composite:v1",
    "beam:transform:pickled_python:v1",
}
"""What is no standard: composites, and coders that only workers see into."""


def known(*specs: str) -> set[str]:
    """Names that the model of Beam has for a kind of thing."""
    from apache_beam.portability import common_urns

    kinds = [getattr(common_urns, name) for name in specs]
    groups = [each for kind in kinds for each in vars(kind).values() if hasattr(each, "__dict__")]
    named = [each for group in (*kinds, *groups) for each in vars(group).values()]
    return {each.urn for each in named if hasattr(each, "urn")}


@pytest.mark.parametrize("name", ["preset", "hint"])
def test_the_request_is_one_that_the_service_takes(submitted: dict[str, Any], name: str) -> None:
    job = {key: value for key, value in submitted[name].items() if key != "blobs"}
    pipeline = graph(submitted[name])
    # Nothing in them grows with the tiles: they stay far below the limits.
    assert len(json.dumps(job)) < REQUEST_BYTES / 1000
    assert len(pipeline.SerializeToString()) < GRAPH_BYTES / 100
    assert list(pipeline.requirements) == []
    components = pipeline.components
    standard = known("StandardPTransforms")
    for transform in components.transforms.values():
        urn = transform.spec.urn
        assert urn in standard or (transform.subtransforms and urn in {"", *PYTHONS_OWN}), urn
        # A step that is made of no others is the service's own or a worker's.
        assert (
            transform.subtransforms
            or transform.spec.payload
            or urn
            in {
                "beam:transform:flatten:v1",
                "beam:transform:group_by_key:v1",
                "beam:transform:impulse:v1",
            }
        )
    coders = {coder.spec.urn for coder in components.coders.values()}
    assert coders <= known("StandardCoders") | PYTHONS_OWN
    windows = {each.window_fn.urn for each in components.windowing_strategies.values()}
    assert windows == {"beam:window_fn:global_windows:v1"}


@pytest.mark.parametrize("name", ["preset", "hint"])
def test_what_the_environment_says_it_can(submitted: dict[str, Any], name: str) -> None:
    """Of the SDK that is installed, with nothing to install; the same in the pool and the graph."""
    from apache_beam.transforms.environments import python_sdk_capabilities
    from apache_beam.version import __version__

    [pool] = submitted[name]["environment"]["workerPools"]
    [harness] = pool["sdkHarnessContainerImages"]
    environments = graph(submitted[name]).components.environments
    environment = environments[harness["environmentId"]]
    assert environment.urn == "beam:env:docker:v1"
    siblings = "beam:protocol:sibling_workers:v1"
    assert set(environment.capabilities) == {*python_sdk_capabilities(), siblings}
    assert set(harness["capabilities"]) == set(environment.capabilities)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    base = f"beam:version:sdk_base:apache/beam_python{version}_sdk:{__version__}"
    assert base in environment.capabilities
    assert staged_names(environment) == set(STAGED)


def staged_names(environment: Any) -> set[str]:
    """Files that a worker fetches before it starts: none that would be installed."""
    from apache_beam.portability.api import beam_runner_api_pb2

    role = beam_runner_api_pb2.ArtifactStagingToRolePayload
    return {role.FromString(each.role_payload).staged_name for each in environment.dependencies}


def test_steps_of_the_graph(submitted: dict[str, Any]) -> None:
    names = {t.unique_name for t in graph(submitted["preset"]).components.transforms.values()}
    for step in ("read request", "spread over workers", "make", "by zone"):
        assert f"make zones/{step}" in names, names


def test_the_graph_holds_no_data(submitted: dict[str, Any]) -> None:
    """Tiles and weights are named in it: it stays small however many tiles there are."""
    assert len(graph(submitted["preset"]).SerializeToString()) < 100_000


def test_workers(submitted: dict[str, Any]) -> None:
    job = submitted["preset"]
    environment, [pool] = job["environment"], job["environment"]["workerPools"]
    preset = PRESETS["l4"]
    assert job["name"].startswith("tessera-2024-")
    assert pool["machineType"] == preset.machine
    assert pool["numThreadsPerWorker"] == preset.threads
    assert pool["diskSizeGb"] == preset.disk_gb
    assert pool["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert pool["subnetwork"] == SETTINGS["subnetwork"]
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 8
    assert environment["serviceAccountEmail"] == SETTINGS["worker_account"]
    assert environment["serviceOptions"] == [preset.service_option()]
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [IMAGE]


def test_environments_and_hints(submitted: dict[str, Any]) -> None:
    """`worker_accelerator` is no hint of the graph's; a hint reaches every one of its steps."""
    from apache_beam.portability.api import beam_runner_api_pb2

    for name, wanted in (("preset", None), ("hint", HINT.encode())):
        found = graph(submitted[name]).components.environments.values()
        assert found
        for environment in found:
            hints = environment.resource_hints
            assert hints.get("beam:resources:accelerator:v1") == wanted
            assert hints.get("beam:resources:min_ram_bytes:v1") == (wanted and b"30000000000")
            assert set(hints) <= known("StandardResourceHints")
            docker = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
            assert docker.container_image == IMAGE


def test_store_and_records_are_in_the_object_store(submitted: dict[str, Any]) -> None:
    keys = submitted["preset"]["blobs"]
    assert f"{STORE}/zarr.json" in keys
    assert any(key.startswith(f"{STORE}/records/{jobs.YEAR}/requests/") for key in keys)
    assert not any("main_session" in key or "weights" in key for key in keys)


def test_a_launch_waits_for_another_and_takes_up_what_is_missing(
    catalog: Path, cloud: Cloud, submitted: dict[str, Any]
) -> None:
    """The fake's jobs end at once and make nothing, so that all tiles stay missing."""
    cloud.busy = 1
    words = [
        *jobs.options(catalog, Path("unused"))[1:],
        f"--store={STORE}",
        "--runner=dataflow",
        f"--project={PROJECT}",
        f"--gcp_region={REGION}",
        "--temp_location=gs://scratch/temp",
        "--sdk_location=container",
        f"--sdk_container_image={IMAGE}",
        f"--dataflow_endpoint={cloud.endpoint}",
        "--precision=bf16",
    ]
    report = json.loads(run_python(ANNUAL, words, cloud).splitlines()[-1])
    assert (report["rounds"], report["missing"], report["problem_counts"]) == (
        2,
        12,
        {"untried": 12},
    )
    assert len(cloud.jobs) == 1 + 2
    assert {job["name"] for job in cloud.jobs} == {submitted["preset"]["name"]}
