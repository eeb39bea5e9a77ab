"""What mkdocs does beyond `docs/`: pages that lie elsewhere become pages of the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]

OUTSIDE = ("ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "CITATION.cff", "deploy/README.md")
"""Files of the repository that the site has beside those of `docs/`."""

LINK = re.compile(r"(\]\()((?:\.\./)*)([^)\s:#]+)([^)\s]*\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of `docs/`."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its links as they have to be where `docs/` is the root of the site."""
    here = page.file.src_uri
    written = here if here in OUTSIDE else f"docs/{here}"

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(written), link[2] + link[3]))
        place = target.removeprefix("docs/") if target.startswith("docs/") else target
        return link[1] + posixpath.relpath(place, posixpath.dirname(here) or ".") + link[4]

    return LINK.sub(moved, markdown)
