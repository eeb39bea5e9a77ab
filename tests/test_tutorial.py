"""The page that goes from a valley to a crop map does what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.cli import COMMANDS, main
from tests.layers import ROOT
from tests.small_demo import SmallDemo

PAGE = ROOT / "docs" / "maps.md"


def commands() -> list[list[str]]:
    """The words of the page's commands, without the program's name."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("tessera-mosaic ")]


def test_the_tutorial_goes_from_a_valley_to_a_crop_map(
    small_demo: SmallDemo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small_demo.folder.parent)
    (first, *_), *others = commands()
    assert first == small_demo.folder.name == "demo"
    for words in others:
        assert words[0] in COMMANDS
        assert main(words) == 0, words
    told = capsys.readouterr().out
    assert "<- trust this" in told
    assert "not estimates of areas" in told
    for made in ("report-2024.html", "utm31-2024.vrt", "stac/collection.json", "utm31/quality"):
        assert (Path("crops.zarr") / made).exists()
