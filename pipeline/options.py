"""Command line arguments that several commands share, and Beam's own, checked strictly."""

from __future__ import annotations

import argparse
import difflib

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.errors import BadInput

RUNNERS = {"direct": "FnApiRunner", "dataflow": "DataflowRunner"}
"""Our names of runners. Beam's bare default would first try to download another local runner."""

LOSING_RUNNERS = {
    "DaskRunner": "it drops the outputs of finish_bundle and of all leaves but one",
    "PySparkRunner": "it sends tagged outputs to every branch",
}
"""Runners that lose data, and how."""


def beam_options(runner: str, workers: int, extra: list[str]) -> PipelineOptions:
    """Beam's options for a run.

    Parameters
    ----------
    runner
        One of `RUNNERS`, or any name that Beam knows.
    workers
        Processes of the local runner; other runners take Beam's own options.
    extra
        Arguments that are Beam's.

    Raises
    ------
    BadInput
        On an argument that Beam does not know either, or a runner that loses data.
    """
    name = RUNNERS.get(runner, runner)
    short = name.rsplit(".", 1)[-1]
    if short in LOSING_RUNNERS:
        raise BadInput(f"--runner {runner}: Beam's {short} loses data ({LOSING_RUNNERS[short]})")
    check_beam_arguments(extra)
    arguments = [f"--runner={name}", *extra]
    if workers > 1:
        if name != "FnApiRunner":
            raise BadInput("--workers is for the local runner; use the runner's own Beam options")
        arguments += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    return PipelineOptions(arguments, save_main_session=False)


def check_beam_arguments(arguments: list[str]) -> None:
    """Refuse arguments that no Beam option class declares.

    Raises
    ------
    BadInput
        Naming the first of them and the option that was probably meant.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for options in _subclasses(PipelineOptions):
        declared = argparse.ArgumentParser(add_help=False, conflict_handler="resolve")
        if "_add_argparse_args" in vars(options):
            options._add_argparse_args(declared)
        for action in declared._actions:
            known = parser._option_string_actions
            if not any(name in known for name in action.option_strings):
                parser._add_action(action)
    try:
        _, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise BadInput(str(error)) from None
    if unknown:
        name = unknown[0].split("=")[0]
        close = difflib.get_close_matches(name, parser._option_string_actions, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise BadInput(f"unknown option {name}{hint}")


def _subclasses(base: type) -> list[type]:
    return [found for child in base.__subclasses__() for found in (child, *_subclasses(child))]
