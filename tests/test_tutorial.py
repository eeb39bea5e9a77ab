"""The pages and the notebook that go from a valley to a crop map do what they say."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tessera_mosaic.pipeline.cli import COMMANDS, build_parser, main, with_values
from tests.layers import ROOT
from tests.small_demo import SmallDemo

DOCS = ROOT / "docs"
HOW_TOS = ("own-catalogue", "qgis")
"""Pages of which every command runs on the demo's archive."""


def commands(page: Path) -> list[list[str]]:
    """The words of a page's commands, without the program's name."""
    lines = "".join(fenced(page, "")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("tessera-mosaic ")]


def fenced(page: Path, language: str) -> list[str]:
    """A page's blocks of code of a language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in blocks if name == language]


def run(page: Path) -> None:
    """Run all of a page's commands but the demo, which is there."""
    for words in commands(page):
        assert words[0] in COMMANDS
        if words != ["demo"]:
            assert main(words) == 0, words


@pytest.fixture
def beside_the_demo(small_demo: SmallDemo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of who has just made the demo."""
    assert small_demo.folder.name == "demo"
    monkeypatch.chdir(small_demo.folder.parent)
    return small_demo.folder.parent


def test_the_tutorial_goes_from_a_valley_to_a_crop_map(
    beside_the_demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = DOCS / "tutorial.md"
    run(page)
    told = capsys.readouterr().out
    assert "4 of 4 tiles done, 0 failed, 0 missing" in told
    assert "<- trust this" in told
    for made in ("valley.png", "valley.tif", "valley.zarr/report.html", "crops.zarr/utm31/class"):
        assert (beside_the_demo / made).exists()
    (program,) = fenced(page, "python")
    exec(compile(program, page.name, "exec"), {})
    assert "('band', 'y', 'x') 128" in capsys.readouterr().out


def test_the_page_on_maps_makes_one(
    beside_the_demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(DOCS / "maps.md")
    told = capsys.readouterr().out
    assert "<- trust this" in told
    assert "not estimates of areas" in told
    for made in ("report-2024.html", "utm31-2024.vrt", "stac/collection.json", "utm31/quality"):
        assert (beside_the_demo / "crops.zarr" / made).exists()


@pytest.mark.parametrize("name", HOW_TOS)
def test_how_tos_on_the_demo_run(beside_the_demo: Path, name: str) -> None:
    run(DOCS / "howto" / f"{name}.md")


@pytest.mark.parametrize("page", sorted(DOCS.glob("howto/*.md")), ids=lambda page: page.stem)
def test_commands_of_how_tos_have_these_options(page: Path) -> None:
    for words in commands(page):
        _, rest = build_parser(words[0]).parse_known_args(with_values(words))
        assert rest == [], words


def test_the_notebook_goes_the_same_way(beside_the_demo: Path) -> None:
    notebook = nbformat.read(DOCS / "tutorial.ipynb", 4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    client = NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(beside_the_demo)}}
    )
    client.execute(env=os.environ | {"PATH": path_with_this_python()})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    told = [output["data"]["text/plain"] for output in outputs if "data" in output]
    assert told[0].startswith("(4, 0,")
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1


def path_with_this_python() -> str:
    """The search path, with the programs of this environment first."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"
