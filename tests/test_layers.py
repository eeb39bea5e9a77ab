"""Packages import only what stands below them, as `ARCHITECTURE.md` lays them out."""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

from tests.layers import (
    COMPUTED,
    INSTALLED,
    OURS,
    ROOT,
    Arrow,
    Table,
    among,
    arrows,
    files,
    modules,
)

BELOW = """
    errors console tiling io contracts model scenes mosaic ledger imagery planning publishing
    stacks verification embedding evaluation job
"""
"""All that stands below `downstream`."""

TABLE = Table(
    packages={
        "commands": (9, f"{BELOW} downstream simulation api"),
        "cli": (9, "commands"),
        "api": (9, f"{BELOW} downstream cli"),
        "downstream": (8, re.sub("planning|embedding", "", BELOW)),
        "job": (7, "ledger mosaic tiling io contracts model"),
        "embedding": (6, "stacks scenes imagery mosaic ledger tiling io contracts model"),
        "evaluation": (6, "mosaic stacks scenes imagery tiling io contracts model"),
        "verification": (5, "publishing mosaic ledger tiling io contracts"),
        "stacks": (5, "imagery scenes tiling io model.observations"),
        "publishing": (4, "mosaic ledger tiling io contracts model.cards model.observations"),
        "imagery": (4, "scenes tiling io"),
        "planning": (
            4,
            "scenes mosaic.layout ledger tiling io model.cards model.observations model.precision",
        ),
        "scenes": (3, "tiling io model.observations"),
        "mosaic": (3, "tiling io contracts"),
        "ledger": (3, "tiling io contracts"),
        "simulation": (3, "io model"),
        "tiling": (2, ""),
        "contracts": (2, ""),
        "io": (2, ""),
        # Messages are made of what the console can show.
        "errors": (1, "console"),
        "bounds": (2, ""),
        "console": (0, ""),
        "model": (1, ""),
        "pipeline": (1, ""),
    },
    inside={
        "model": {
            "encoder": "engine networks sizes checkpoints cards statistics observations "
            "quantize cores",
            "engine": "networks precision sizes statistics observations quantize cores",
            "networks": "sizes cores",
            "checkpoints": "networks sizes cores",
            "cards": "sizes statistics cores",
            "data": "cards",
            "pretrain": "networks sizes checkpoints cards statistics observations quantize "
            "probes cores",
            "probes": "cores",
            "heads": "sealed_tensors cores",
            "locations": "checkpoints cores",
            "similarity": "cores",
            "fields": "sealed_tensors cores",
            "adapters": "cores",
        },
    },
    open_to_all="errors bounds console pipeline model.cores",
    importers={
        "commands": "commands cli",
        "cli": "api.__main__",
        "api": "commands",
        "simulation": "commands.demo_steps commands.demo_map",
    },
    never={
        "model": "apache_beam fsspec gcsfs pyogrio rasterio requests s3fs xarray zarr",
        "model.cards": "torch",
        "model.precision": "torch",
        "model.sizes": "torch",
        "model.statistics": "torch",
        "ledger": "apache_beam torch",
        "planning": "apache_beam torch",
        "embedding": "apache_beam",
    },
    users={
        "apache_beam": "job",
        # Beam's classes of options are declared and checked by parsers.
        "argparse": "commands cli job.beam_options",
        "print": "commands cli console",
        # Its table of lazy names is what it imports for type checkers: see `test_api`.
        COMPUTED: "api",
    },
)

LONGEST = 400
"""Lines that a module may have."""

SAYING = 3
"""Lines at least in which a package tells what it answers and in which order to read it."""

ASIDE = (("commands", "api"), ("cli", "commands"), ("api", "cli"))
"""Arrows of the table within a layer."""

ARROWS = arrows(OURS, OURS)


def forbidden(found: list[Arrow]) -> set[str]:
    return {str(arrow) for arrow in found if not TABLE.allows(arrow)}


def test_no_package_imports_what_the_table_does_not_allow() -> None:
    assert forbidden(ARROWS) == set()


def test_the_table_itself_points_down_and_names_every_package() -> None:
    for name, (layer, may) in TABLE.packages.items():
        for imported in may.split():
            below = TABLE.packages[imported.partition(".")[0]][0]
            assert below < layer or (name, imported) in ASIDE, (name, imported)
    assert {module.full for module in OURS if TABLE.line_of(module.name) is None} == set()


def test_the_api_imports_nothing_before_it_is_asked_for() -> None:
    face = next(module for module in OURS if module.name == "api")
    run = [node for node in face.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    loaded = replace(face, tree=ast.Module(run, []))
    assert {arrow.imported for arrow in arrows([loaded], OURS) if not arrow.foreign} == set()


def test_simulation_serves_the_demo_tests_and_benchmarks_alone() -> None:
    others = modules(ROOT, {"deploy": "deploy", "tools": "tools"})
    found = {str(arrow) for arrow in arrows(others, OURS) if among(arrow.imported, "simulation")}
    assert found == set()


def test_modules_are_short_and_say_what_they_are_for() -> None:
    silent = set()
    for module in OURS:
        assert len(module.path.read_text().splitlines()) <= LONGEST, module.path
        lines = (ast.get_docstring(module.tree) or "").splitlines()
        if len(lines) < (SAYING if module.path.name == "__init__.py" else 1):
            silent.add(module.full)
    assert silent == set()


def test_every_package_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {module.full for module in OURS if module.path.name == "__init__.py"}
    assert settings["packages"] == sorted(packages)
    assert settings["package-dir"] == {name: folder for folder, name in INSTALLED.items()}


def test_nothing_imports_ours_by_the_names_of_folders() -> None:
    imported = re.compile(
        r"\b(?:from (?:pipeline|model)(?:\.\w+)* import|import (?:pipeline|model)\b)"
        r"|-m (?:pipeline|model)\b|[\"'](?:pipeline|model)\.(?!py\b)\w+"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if path != Path(__file__) and imported.search(line)
    ]
    assert not found


def texts() -> list[Path]:
    """What people wrote in the repository, but for data."""
    endings = (".py", ".md", ".sh", ".toml", ".yaml", ".tf", "Makefile", "Dockerfile")
    names = [*files(), *(path.name for path in ROOT.iterdir() if path.is_file())]
    return [ROOT / name for name in names if name.endswith(endings)]


MADE_UP = {
    "pipeline/__init__.py": "from tessera_mosaic.pipeline.ledger import records",
    "pipeline/cli.py": """
        import importlib
        PLACE = "tessera_mosaic.pipeline.commands"
        def run(name):
            print(name)
            return importlib.import_module(f"{PLACE}.{name}")
    """,
    "pipeline/api/__init__.py": "",
    "pipeline/commands/__init__.py": "",
    "pipeline/commands/run.py": """
        import argparse
        import tessera_mosaic
        from tessera_mosaic.pipeline.simulation import archive
        from tessera_mosaic.pipeline import job
        from tessera_mosaic.pipeline.cli import main
    """,
    "pipeline/job/__init__.py": "import apache_beam",
    "pipeline/ledger/__init__.py": "",
    "pipeline/ledger/records.py": """
        from tessera_mosaic.pipeline import __version__, errors
        from . import keys
        from ..mosaic.layout import Layout
        def later():
            import torch.nn
            __import__("apache_beam.io")
    """,
    "pipeline/ledger/keys.py": """
        import argparse
        print("keys")
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from tessera_mosaic.model.cards import Card
        def later(name):
            return __import__(name)
    """,
    "pipeline/mosaic/__init__.py": "",
    "pipeline/mosaic/layout.py": "from tessera_mosaic.model.cores import usable_cores",
    "pipeline/planning/__init__.py": """
        from tessera_mosaic.pipeline.mosaic.layout import Layout
        from tessera_mosaic.pipeline.mosaic import store
        from tessera_mosaic import plan
    """,
    "model/__init__.py": "",
    "model/cores.py": "",
    "model/cards.py": "import torch",
    "model/sizes.py": "from tessera_mosaic.model.networks import Network",
    "model/networks.py": """
        from tessera_mosaic.model.sizes import Sizes
        from tessera_mosaic.pipeline.errors import BadInput
    """,
}


def test_an_arrow_that_is_not_allowed_is_found_wherever_it_stands(tmp_path: Path) -> None:
    for name, source in MADE_UP.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))
    found = modules(tmp_path)
    assert forbidden(arrows(found, found)) == {
        "pipeline -> ledger.records",
        "commands.run -> simulation",
        "commands.run -> cli",
        "ledger.records -> mosaic.layout",
        "ledger.records -> torch.nn",
        "ledger.records -> apache_beam.io",
        "ledger.keys -> argparse",
        "ledger.keys -> print",
        "ledger.keys -> model.cards",
        f"ledger.keys -> {COMPUTED}",
        "planning -> mosaic",
        "planning -> api",
        "model.cards -> torch",
        "model.sizes -> model.networks",
        "model.networks -> errors",
    }
