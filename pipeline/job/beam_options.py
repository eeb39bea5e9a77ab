"""Command line arguments that several commands share, and Beam's own, checked strictly."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PrismRunnerOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)
from apache_beam.runners.direct.direct_runner import SwitchingDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import create_runner

from tessera_mosaic.pipeline.console import install_hint, unknown_option
from tessera_mosaic.pipeline.errors import BadInput, BrokenOff

ELEMENTS_A_WORKER, ELEMENTS = 16, 1_000
"""Elements of a zone that a runner should have to spread before workers are given several tiles at
a time: for each worker of the local runner, so that none waits long for the last; and of a fleet,
so that it can grow to as many machines."""

LOSING_RUNNERS = {
    "DaskRunner": "it drops the outputs of finish_bundle and of all leaves but one",
    "PySparkRunner": "it sends tagged outputs to every branch",
}
"""Runners that lose data, and how."""


class CloudOptions(PipelineOptions):
    """Ours among Beam's options."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--gcp_region",
            help="cloud region that the job runs in: Beam's --region, which here would be taken "
            "for the part of the Earth to map",
        )


def beam_options(
    runner: str, workers: int, extra: list[str], own: Sequence[str] = ()
) -> PipelineOptions:
    """Beam's options for a run.

    Parameters
    ----------
    runner
        `direct`, `dataflow`, or any name that Beam knows.
    workers
        Processes of the local runner; other runners take Beam's own options.
    extra
        Arguments that are Beam's.
    own
        Options of the command, of which one may have been meant.

    Raises
    ------
    BadInput
        On an argument that Beam does not know either, options that do not go together, or a
        runner that loses data.
    """
    name = runner_name(runner)
    check_beam_arguments(extra, own)
    arguments = [f"--runner={name}", *extra]
    if workers > 1:
        if name != "FnApiRunner":
            raise BadInput("--workers is for the local runner; use the runner's own Beam options")
        arguments += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    options = PipelineOptions(arguments, save_main_session=False)
    if region := options.view_as(CloudOptions).gcp_region:
        options.view_as(GoogleCloudOptions).region = region
    if name == "DataflowRunner":
        check_dataflow_options(options)
    if name == "PrismRunner":
        check_prism_options(options)
    return options


def runner_name(asked: str) -> str:
    """The one name of a runner, which Beam takes in any case, without "Runner", and as a path.

    Raises
    ------
    BadInput
        If there is no such runner, or it loses data.
    """
    check_runner_loses_nothing(asked)
    try:
        runner = type(create_runner(asked))
    except Exception as error:  # It imports and calls what the user names.
        raise BadInput(f"--runner {asked}: {error}") from None
    if issubclass(runner, SwitchingDirectRunner):
        # Beam's bare default, which would first try to download another local runner.
        return FnApiRunner.__name__
    check_runner_loses_nothing(runner.__name__)
    return runner.__name__ if runner.__name__ in StandardOptions.KNOWN_RUNNER_NAMES else asked


def check_runner_loses_nothing(asked: str) -> None:
    """Refuse the runners that lose data, however they are spelt."""
    for name, how in LOSING_RUNNERS.items():
        spellings = (name.lower(), name.lower().removesuffix("runner"))
        if asked.rsplit(".", 1)[-1].lower() in spellings:
            raise BadInput(f"--runner {asked}: Beam's {name} loses data ({how})")


def sharing_processes(options: PipelineOptions) -> int:
    """Worker processes that share the cores of one machine; 0 for one a core.

    Dataflow starts one a core unless it is told otherwise, and so does a portable runner's worker
    pool at a parallelism of 0.
    """
    asked = options.get_all_options()
    if asked["runner"] == "DataflowRunner":
        return 1 if "no_use_multiple_sdk_containers" in (asked["experiments"] or ()) else 0
    if asked["runner"] == "FnApiRunner":
        apart = asked["direct_running_mode"] == "multi_processing"
        return asked["direct_num_workers"] if apart else 1
    return int(asked.get("sdk_worker_parallelism", 1))


def runs_here(options: PipelineOptions) -> bool:
    """Whether the options ask for the local runner."""
    return options.view_as(StandardOptions).runner == FnApiRunner.__name__


def machine_type(options: PipelineOptions) -> str:
    """The kind of machine that a cloud's runner is asked for; empty where there is none."""
    return options.view_as(WorkerOptions).machine_type or ""


def elements_to_spread(options: PipelineOptions) -> int:
    """Elements that should come of a zone before workers are given several tiles at a time."""
    each = ELEMENTS_A_WORKER * (sharing_processes(options) or 1)
    return each if runs_here(options) else ELEMENTS


def job_name(store: str, year: int) -> str:
    """Name of a store's job of a year: a runner that knows names runs one of each at a time."""
    return f"tessera-{year}-{hashlib.sha256(store.encode()).hexdigest()[:8]}"


def only_writes_graph(options: PipelineOptions) -> bool:
    """Whether the runner starts nothing: in a Flex Template's launcher, or in a dry run."""
    template = options.view_as(GoogleCloudOptions).template_location
    return bool(template or options.view_as(TestOptions).dry_run)


def check_dataflow_options(options: PipelineOptions) -> None:
    """Refuse what Dataflow would refuse, or accept and not do, before anything is started.

    Raises
    ------
    BadInput
        Naming the options and what to do.
    """
    cloud = options.view_as(GoogleCloudOptions)
    needed = {
        "--gcp_region": cloud.region,
        "--project": cloud.project,
        "--temp_location": cloud.temp_location,
    }
    missing = [option for option, value in needed.items() if not value]
    if missing:
        raise BadInput(
            f"--runner dataflow needs {', '.join(missing)} (--region is the part of the Earth to "
            "map, --gcp_region the cloud region that the job runs in)"
        )
    try:
        importlib.import_module("google.cloud.dataflow")
    except ImportError:
        raise BadInput(
            f"--runner dataflow needs Google's clients: {install_hint('dataflow')}"
        ) from None
    on_every_worker = any(
        entry.startswith("worker_accelerator=") for entry in cloud.dataflow_service_options or ()
    )
    on_some_steps = any(
        hint.startswith("accelerator=")
        for hint in options.view_as(StandardOptions).resource_hints or ()
    )
    if on_every_worker and on_some_steps:
        raise BadInput(
            "worker_accelerator and --resource_hints accelerator=... exclude one another"
        )
    if cloud.flexrs_goal and (on_every_worker or on_some_steps):
        raise BadInput(
            "--flexrs_goal has no GPUs: use provisioning_model:FLEX_START in worker_accelerator"
        )


def check_prism_options(options: PipelineOptions) -> None:
    """See that Prism is there: Beam would fetch it, and wait for it for as long as it takes.

    Raises
    ------
    BadInput
        If it is not said where it lies, or it does not lie there.
    """
    place = options.view_as(PrismRunnerOptions).prism_location
    if not place:
        raise BadInput(
            "--runner prism needs --prism_location, the path of Beam's program `prism`: "
            "`make build/engines/prism` builds it"
        )
    if "://" not in place and not os.path.isfile(place):
        raise BadInput(f"--prism_location {place}: there is no such file")


def check_beam_arguments(arguments: list[str], own: Sequence[str] = ()) -> None:
    """Refuse arguments that no Beam option class declares.

    Raises
    ------
    BadInput
        Naming the first of them and the option that was probably meant, of Beam's and `own`.
    """
    parser = _BeamParser()
    for options in _subclasses(PipelineOptions):
        if "_add_argparse_args" in vars(options):
            options._add_argparse_args(parser)
    try:
        _, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise BadInput(str(error)) from None
    if unknown:
        raise BadInput(unknown_option(unknown[0], [*own, *parser.names]))


class _BeamParser(argparse.ArgumentParser):
    """Takes what all of Beam's classes of options declare, some of it more than once."""

    def __init__(self) -> None:
        self.names: list[str] = []
        super().__init__(
            add_help=False, allow_abbrev=False, exit_on_error=False, conflict_handler="resolve"
        )

    def add_argument(self, *names: Any, **more: Any) -> argparse.Action:
        self.names += names
        return super().add_argument(*names, **more)


def _subclasses(base: Any) -> list[Any]:
    return [found for child in base.__subclasses__() for found in (child, *_subclasses(child))]


@contextmanager
def runner_errors() -> Iterator[None]:
    """Say in one line why a Beam runner gave up.

    Raises
    ------
    BrokenOff
        If the runner gave up; what it raised is the cause.
    KeyboardInterrupt
        If that is what a runner in this process met.
    """
    try:
        yield
    except Exception as error:
        # A runner's message is a traceback of the worker's; what was raised there stands last.
        lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
        said = lines[-1].split(" [while running")[0]
        if said == "KeyboardInterrupt":
            raise KeyboardInterrupt from None
        raise BrokenOff(
            f"the runner gave up: {said.rstrip('.')}. What is done stays done: the same command "
            "goes on"
        ) from error
