"""Terraform: formatted, every attribute one that the provider has, every expression evaluated.

Google's provider cannot be had offline. `provider.json` lists the attributes of the resources used
here (`!` marks those that are required), as version 6.50 of the provider declares them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tessera_mosaic.pipeline.cli import build_parser
from tessera_mosaic.pipeline.job.beam_options import beam_options

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "terraform"
SOURCE = "\n".join(path.read_text() for path in sorted(FOLDER.glob("*.tf")))
PROVIDER = json.loads(Path(__file__).with_name("provider.json").read_text())
META = {"count", "for_each", "depends_on", "lifecycle"}


def terraform(*arguments: str, folder: Path = FOLDER) -> str:
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not installed")
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [program, f"-chdir={folder}", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_formatted() -> None:
    terraform("fmt", "-check", "-recursive")


def faults(where: str, body: dict[str, Any], known: dict[str, Any]) -> list[str]:
    """Attributes of a block that the provider does not have, and those missing that it needs."""
    names = {name.rstrip("!"): name for name in known}
    found, given = [], set()
    for key, value in body.items():
        name = key.strip('"')
        if name.startswith("__") or (name in META and name not in names):
            continue
        blocks = value if isinstance(value, list) else [value]
        if name == "dynamic":
            ((name, dynamic),) = blocks[0].items()
            name, blocks = name.strip('"'), dynamic["content"]
        given.add(name)
        if name not in names:
            found.append(f"{where} has no {name}")
        elif isinstance(known[names[name]], dict):
            for block in blocks:
                found += faults(f"{where}.{name}", block, known[names[name]])
    return found + [
        f"{where} lacks {name[:-1]}"
        for name in known
        if name.endswith("!") and name[:-1] not in given
    ]


def resources(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Type, name and body of every resource."""
    hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    return [
        (kind.strip('"'), name.strip('"'), body)
        for resource in hcl2.loads(text)["resource"]
        for kind, named in resource.items()
        for name, body in named.items()
    ]


def test_the_provider_has_every_attribute() -> None:
    every = resources(SOURCE)
    assert len(every) > 20
    assert {kind for kind, _, _ in every} == PROVIDER.keys()
    for kind, name, body in every:
        assert faults(f"{kind}.{name}", body, PROVIDER[kind]) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("retention_duration_seconds", "has no retention"), ("location  ", "lacks location")],
)
def test_a_misspelt_attribute_would_be_found(wrong: str, said: str) -> None:
    text = (FOLDER / "storage.tf").read_text().replace(wrong, "retention_period")
    found = [
        fault
        for kind, name, body in resources(text)
        for fault in faults(name, body, PROVIDER[kind])
    ]
    assert any(said in fault for fault in found)


def test_everything_referred_to_is_there() -> None:
    declared = {f"{kind}.{name}" for kind, name, _ in resources(SOURCE)}
    used = set(re.findall(r"(?<!data\.)\b(google_[a-z0-9_]+\.[a-z_]+)(?:\[|\.)", SOURCE))
    assert used
    assert used <= declared
    variables = set(re.findall(r'^variable "(\w+)"', SOURCE, re.MULTILINE))
    assert set(re.findall(r"\bvar\.(\w+)", SOURCE)) == variables


def test_nothing_is_asked_of_a_service_that_is_not_enabled_yet() -> None:
    hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    text = hcl2.loads(SOURCE)
    said = {f"{kind}.{name}": json.dumps(body) for kind, name, body in resources(SOURCE)}
    said |= {
        f"data.{kind}.{name}".replace('"', ""): json.dumps(body)
        for data in text["data"]
        for kind, named in data.items()
        for name, body in named.items()
    }
    asking = set(said)
    said |= {
        f"local.{name}": json.dumps(value)
        for block in text["locals"]
        for name, value in block.items()
    }
    waiting = {"google_project_service.needed"}
    for _ in said:
        waiting |= {
            name
            for name, body in said.items()
            if any(re.search(rf"(?<![\w.]){re.escape(other)}\b", body) for other in waiting)
        }
    assert asking <= waiting
    by_hand = re.findall(r"\w+\.googleapis\.com", SOURCE.partition('"needed" {')[2])[:2]
    page = (FOLDER.parents[1] / "docs" / "operator.md").read_text()
    assert f"gcloud services enable {' '.join(by_hand)}" in page


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Locals and outputs, with the name of each attribute of a resource in place of its value."""
    folder = tmp_path_factory.mktemp("terraform")
    blocks = re.findall(r"^(?:variable|locals|output)\b.*?^\}", SOURCE, re.MULTILINE | re.DOTALL)
    dashboard = re.search(r"dashboard_json = (jsonencode\(.*?^  \}\))", SOURCE, re.M | re.S)
    assert dashboard
    shown = "watched", "logged", "writes", "charts"
    blocks += [f'output "{name}" {{\n  value = local.{name}\n}}' for name in shown]
    blocks.append(f'output "dashboard" {{\n  value = {dashboard[1]}\n}}')
    text = re.sub(r"\bgoogle_[a-z0-9_]+\.[a-z_]+(?:\[0\])?\.(\w+)", r'"a-\1"', "\n".join(blocks))
    (folder / "main.tf").write_text(text)
    values = {
        "project": "a-project",
        "alert_email": "a@b",
        "model_options": ["--model=v2-large", "--weights=gs://assets/w.pt"],
    }
    (folder / "terraform.tfvars.json").write_text(json.dumps(values))
    shutil.copy(FOLDER / "workers.auto.tfvars.json", folder)
    terraform("init", "-input=false", folder=folder)
    terraform("apply", "-input=false", "-auto-approve", folder=folder)
    outputs = json.loads(terraform("output", "-json", folder=folder))
    return {name: output["value"] for name, output in outputs.items()}


def test_the_scheduled_command_is_one_that_the_program_takes(evaluated: dict[str, Any]) -> None:
    pytest.importorskip("google.cloud.dataflow", reason="needs tessera-mosaic[dataflow]")
    words = ["run", *evaluated["arguments"], "--year=2024"]
    args, rest = build_parser("run").parse_known_args(words)
    assert args.json
    options = beam_options(args.runner, args.workers, rest).get_all_options()
    assert options["runner"] == "DataflowRunner"
    assert options["use_public_ips"] is False
    assert options["region"] == "europe-west4"
    assert options["service_account_email"]


def test_alerts_and_charts_ask_for_counters_that_the_job_has(evaluated: dict[str, Any]) -> None:
    from tessera_mosaic.pipeline.ledger.metrics import MEASURES

    queries = [entry["query"] for entry in evaluated["watched"].values()]
    queries += evaluated["charts"].values()
    asked = set(re.findall(r'"metric_name"=~?"([^"]+)"', " ".join(queries)))
    assert asked == {"tiles_failed", "tiles_(done|empty|failed)", "retries_.*"}
    assert {"tiles_done", "tiles_empty", "tiles_failed"} <= MEASURES.keys()
    tiles = json.loads(evaluated["dashboard"])["mosaicLayout"]["tiles"]
    places = {(tile["xPos"], tile["yPos"]) for tile in tiles}
    assert len(places) == len(evaluated["charts"])


def test_every_alert_is_in_the_operators_page(evaluated: dict[str, Any]) -> None:
    page = (FOLDER.parents[1] / "docs" / "operator.md").read_text()
    named = set(re.findall(r"docs/operator\.md, \\\"([a-z ]+)\\\"", SOURCE))
    for alert in (*evaluated["watched"], *evaluated["logged"], *named):
        assert f"**{alert}**" in page


def test_every_class_of_a_failed_tile_is_in_the_operators_page() -> None:
    from tessera_mosaic.pipeline import errors

    classes = [
        each
        for each in vars(errors).values()
        if isinstance(each, type)
        and issubclass(each, errors.TesseraError)
        and not issubclass(each, errors.BadInput)
    ]
    # Three that only others are made of, and the two that end a command.
    kinds = {each.kind for each in classes} - {
        "error",
        "scene",
        "unavailable",
        "broken-off",
        "stopped",
    }
    assert len(kinds) > 12
    page = (FOLDER.parents[1] / "docs" / "operator.md").read_text()
    assert [kind for kind in sorted(kinds | {"internal"}) if f"`{kind}`" not in page] == []


def test_only_the_makers_write(evaluated: dict[str, Any]) -> None:
    assert {key.rsplit("-", 1)[1] for key in evaluated["writes"]} == {"mosaic", "scratch"}
    project_wide = re.search(r'"project" \{\n  for_each = \{(.*?)\n  \}', SOURCE, re.DOTALL)
    assert project_wide
    assert re.findall(r'"(roles/[\w.]+)"', project_wide[1]) == [
        "roles/dataflow.worker",
        "roles/dataflow.developer",
        "roles/logging.logWriter",
    ]
    assert "roles/owner" not in SOURCE
    assert "roles/editor" not in SOURCE
    assert not re.search(r"\.admin\b|google_service_account_key", SOURCE)


def test_secrets_have_no_values_here() -> None:
    from deploy.boot import SECRETS

    assert "secret_version" not in SOURCE
    for secret in SECRETS.values():
        assert f'"{secret}"' in SOURCE


def test_the_schedule_starts_the_job_as_it_stands() -> None:
    assert "roles/run.jobsExecutor" in SOURCE
    assert "WithOverrides" not in SOURCE
    workflow = (FOLDER / "workflow.yaml").read_text()
    assert not re.search(r"\b(params: \[input\]|overrides|args: \$|get_env\(\"ARGUMENTS)", workflow)


def test_the_public_reads_a_copy_without_records() -> None:
    named = {name: body for kind, name, body in resources(SOURCE) if "iam_member" in kind}
    public = {name for name, body in named.items() if "allUsers" in str(body)}
    assert public == {"public_mosaic"}
    assert "google_storage_bucket.public[0]" in str(named["public_mosaic"])
    script = (FOLDER.parent / "share.sh").read_text()
    excluded = re.search(r"--exclude='\^\((.*)\)/'", script)
    assert excluded
    assert excluded[1] == r"records|published|\.partial"
