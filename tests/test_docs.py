"""The pages: links lead somewhere, and terms are explained where they are first met."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layers import FOLDERS, ROOT
from tools import api_page, cli_page

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "deploy" / "README.md"]

TERMS = {
    "README.md": "block card d-pixel lattice mosaic record scene shard stack tile",
    "docs/encoders.md": "block",
    "docs/operator.md": "depth record shard tile",
    "docs/planet.md": "margin",
    "docs/pretraining.md": "d-pixel",
    "docs/runners.md": "block tile",
}
"""Words that a page explains by a link into the glossary."""


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as links have them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", TERMS)
def test_terms_are_explained_where_they_are_first_met(name: str) -> None:
    linked = re.findall(r"\]\(\S*glossary\.md#([\w-]+)\)", (ROOT / name).read_text())
    assert set(TERMS[name].split()) <= set(linked)


def test_the_page_of_the_api_is_what_the_docstrings_say() -> None:
    assert api_page.PAGE.read_text() == api_page.page(), "run python tools/api_page.py"


def test_the_page_of_the_commands_is_what_the_parsers_say() -> None:
    assert cli_page.PAGE.read_text() == cli_page.page(), "run python tools/cli_page.py"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    told = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=told, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    for page in ("index", "tutorial", "cli", "howto/qgis", "ARCHITECTURE", "deploy/index"):
        assert (tmp_path / f"{page}.html").exists()
