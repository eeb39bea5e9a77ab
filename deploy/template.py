"""The Flex Template: what it says of itself, and what a launch of it asks for.

The metadata is made from the options of `run`, so that the two cannot drift apart.

    python -m deploy.template metadata                  writes deploy/metadata.json
    python -m deploy.template spec IMAGE                prints the template for an image
    python -m deploy.template launch PRESET NAME=VALUE...
                                                        prints the body of a launch; its settings
                                                        are read from standard input
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.main import options
from deploy.presets import PRESETS, Preset
from tessera_mosaic.pipeline.job.beam_options import job_name

METADATA = Path(__file__).with_name("metadata.json")

LEFT_OUT = ("runner", "workers", "share")
"""Options of `run` that a template has no use for: on Dataflow one launch makes the whole list."""

NUMBERS = ("year",)
"""Parameters that are numbers though the option takes more: a launch makes one year."""

PATTERNS = {
    "store": r"^gs://[^ ]+$",
    "year": r"^20[0-9]{2}$",
}
"""What a value has to look like, where more can be said than its type does."""

ENVIRONMENT = {
    "ipConfiguration": "WORKER_IP_PRIVATE",
    "additionalExperiments": ["no_use_multiple_sdk_containers"],
}
"""Of every launch: no public addresses, and one process a worker (see deploy/README.md)."""


def metadata() -> dict[str, Any]:
    """Name, description and parameters of the template."""
    return {
        "name": "TESSERA mosaic",
        "description": "Embeds a region's year of Sentinel-1 and Sentinel-2 into a Zarr mosaic. "
        "Run again, it makes what is missing.",
        "parameters": [
            parameter(name, option) for name, option in options().items() if name not in LEFT_OUT
        ],
    }


def parameter(name: str, option: argparse.Action) -> dict[str, Any]:
    """One option as the template describes it; everything that has a default is optional."""
    # The metavar holds the unit.
    said = f"{option.option_strings[-1]} {option.metavar or ''}".rstrip()
    text = (option.help or "") % vars(option)
    entry: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": f"{said}: {text}" if text else said,
        "isOptional": not option.required,
        "paramType": "TEXT",
    }
    if option.nargs == 0:
        entry |= {"paramType": "BOOLEAN", "defaultValue": "false"}
    elif option.nargs == "+":
        entry["helpText"] += " (separated by commas)"
    elif option.choices is not None:
        values = [{"value": str(value), "label": str(value)} for value in option.choices]
        entry |= {"paramType": "ENUM", "enumOptions": values}
    elif option.type in (int, float) or name in NUMBERS:
        entry |= {"paramType": "NUMBER"}
    if name in PATTERNS:
        entry["regexes"] = [PATTERNS[name]]
    if option.default not in (None, False, []):
        entry["defaultValue"] = str(option.default)
    return entry


def specification(image: str) -> dict[str, Any]:
    """The object that a launch names: the image, which workers run too, and the metadata."""
    return {
        "image": image,
        "sdkInfo": {"language": "PYTHON"},
        "metadata": metadata(),
        "defaultEnvironment": ENVIRONMENT | {"sdkContainerImage": image},
    }


def launch_body(
    preset: Preset, settings: Mapping[str, str], values: Mapping[str, str]
) -> dict[str, Any]:
    """What is posted to `flexTemplates:launch`.

    Parameters
    ----------
    preset
        Of the workers.
    settings
        Where to run: Terraform's output `settings`.
    values
        The template's parameters.
    """
    wanted = dict(word.removeprefix("--").split("=", 1) for word in preset.options())
    ours = {name: wanted.pop(name) for name in options() if name in wanted}
    parameters = {"store": settings["store"], **ours, **values}
    return {
        "launchParameter": {
            "jobName": job_name(parameters["store"], int(parameters["year"])),
            "containerSpecGcsPath": settings["template"],
            "parameters": parameters,
            "environment": {
                "machineType": wanted.pop("machine_type"),
                "diskSizeGb": int(wanted.pop("disk_size_gb")),
                "maxWorkers": int(settings["max_workers"]),
                "serviceAccountEmail": settings["worker_account"],
                "subnetwork": settings["subnetwork"],
                "ipConfiguration": "WORKER_IP_PRIVATE",
                "tempLocation": f"{settings['scratch']}/temp",
                "stagingLocation": f"{settings['scratch']}/staging",
                "additionalExperiments": [wanted.pop("experiments")],
                "additionalPipelineOptions": [
                    "sdk_location=container",
                    *(f"{name}={value}" for name, value in wanted.items()),
                ],
                "additionalUserLabels": {"app": "tessera-mosaic", "year": parameters["year"]},
            },
        }
    }


def check_values(values: Mapping[str, str], parser: argparse.ArgumentParser) -> None:
    """End in one line on parameters that the template does not have, lacks or would refuse."""
    known = {entry["name"]: entry for entry in metadata()["parameters"]}
    if unknown := values.keys() - known.keys():
        parser.error(f"the template has no parameter {', '.join(sorted(unknown))}")
    needed = {name for name, entry in known.items() if not entry["isOptional"]} - {"store"}
    if missing := needed - values.keys():
        parser.error(f"the template needs {', '.join(sorted(missing))}")
    for name, pattern in PATTERNS.items():
        if name in values and not re.fullmatch(pattern, values[name]):
            parser.error(f"{name}={values[name]} does not look like {pattern}")


def main() -> None:
    """Write the metadata, or print the specification or the body of a launch."""
    parser = argparse.ArgumentParser(prog="python -m deploy.template", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("metadata")
    commands.add_parser("spec").add_argument("image")
    launch = commands.add_parser("launch")
    launch.add_argument("preset", choices=PRESETS)
    launch.add_argument("values", nargs="+", metavar="NAME=VALUE")
    args = parser.parse_args()
    if args.command == "metadata":
        METADATA.write_text(json.dumps(metadata(), indent=1) + "\n", encoding="utf-8")
        return
    if args.command == "spec":
        printed = specification(args.image)
    else:
        values = dict(value.partition("=")[::2] for value in args.values)
        check_values(values, parser)
        printed = launch_body(PRESETS[args.preset], json.load(sys.stdin), values)
    print(json.dumps(printed, indent=1))


if __name__ == "__main__":
    main()
