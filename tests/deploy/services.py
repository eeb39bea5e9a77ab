"""The services that a runner has for a worker's container: provision, artifacts, logs, control."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
)
from google.protobuf import json_format, struct_pb2

STAGED = {"submission_environment_dependencies.txt": b"apache-beam==2.77.0\n"}
"""Files that a job stages when the image has all that it needs."""


@dataclass
class Runner:
    """What the worker is told, and what it said.

    Parameters
    ----------
    options
        Of the pipeline, as the service writes them.
    host
        Address at which a worker reaches the services.
    port
        Of all of them.
    logs
        Messages of boot and of the worker.
    workers
        Ids of workers that asked for work.
    ready
        Set when a worker has answered a first instruction.
    """

    options: Mapping[str, Any]
    host: str
    port: int = 0
    logs: list[str] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)

    @property
    def command_line(self) -> list[str]:
        """The words that Dataflow starts a container with."""
        at = f"{self.host}:{self.port}"
        return [
            "--id=sdk-0-0",
            *(f"--{name}_endpoint={at}" for name in ("logging", "control", "artifact")),
            f"--provision_endpoint={at}",
            "--semi_persist_dir=/var/opt/google",
        ]


class Provision(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:
        options = json_format.ParseDict({"options": dict(self.runner.options)}, struct_pb2.Struct())
        return beam_provision_api_pb2.GetProvisionInfoResponse(
            info=beam_provision_api_pb2.ProvisionInfo(
                pipeline_options=options,
                retrieval_token="token",
                dependencies=[artifact(name) for name in STAGED],
                metadata={"job_id": "2026-11-30_00_00_00-1", "job_name": "tessera"},
            )
        )


class Artifacts(beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceServicer):
    def ResolveArtifacts(self, request: Any, context: Any) -> Any:
        return beam_artifact_api_pb2.ResolveArtifactsResponse(replacements=request.artifacts)

    def GetArtifact(self, request: Any, context: Any) -> Iterator[Any]:
        role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(
            request.artifact.role_payload
        )
        yield beam_artifact_api_pb2.GetArtifactResponse(data=STAGED[role.staged_name])


class Logging(beam_fn_api_pb2_grpc.BeamFnLoggingServicer):
    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def Logging(self, request_iterator: Any, context: Any) -> Iterator[Any]:
        for sent in request_iterator:
            self.runner.logs += [entry.message for entry in sent.log_entries]
        yield from ()


class Control(beam_fn_api_pb2_grpc.BeamFnControlServicer):
    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def Control(self, request_iterator: Any, context: Any) -> Iterator[Any]:
        self.runner.workers.append(dict(context.invocation_metadata())["worker_id"])
        yield beam_fn_api_pb2.InstructionRequest(
            instruction_id="first",
            harness_monitoring_infos=beam_fn_api_pb2.HarnessMonitoringInfosRequest(),
        )
        for answer in request_iterator:
            if answer.instruction_id == "first" and not answer.error:
                self.runner.ready.set()


def artifact(name: str) -> Any:
    """A file that is staged, as a job names it."""
    return beam_runner_api_pb2.ArtifactInformation(
        type_urn="beam:artifact:type:file:v1",
        type_payload=beam_runner_api_pb2.ArtifactFilePayload(path=name).SerializeToString(),
        role_urn="beam:artifact:role:staging_to:v1",
        role_payload=beam_runner_api_pb2.ArtifactStagingToRolePayload(
            staged_name=name
        ).SerializeToString(),
    )


@contextmanager
def services(options: Mapping[str, Any], host: str = "127.0.0.1") -> Iterator[Runner]:
    """Run them, at one port."""
    runner = Runner(options, host)
    server = grpc.server(ThreadPoolExecutor(16))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(Provision(runner), server)
    beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(Artifacts(), server)
    beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(Logging(runner), server)
    beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(Control(runner), server)
    runner.port = server.add_insecure_port(f"{host}:0")
    server.start()
    yield runner
    server.stop(None)
