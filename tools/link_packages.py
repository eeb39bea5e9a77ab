"""The tree as it is installed, made of links: what type checkers and a second checkout import.

    python tools/link_packages.py build/links

`build/links/tessera_mosaic` then has `pipeline/api` as its face, and `pipeline` and `model` in it.
Kernels are built in their place, where there is a compiler.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def link_packages(folder: Path) -> None:
    """Make the folder anew."""
    face = folder / "tessera_mosaic"
    shutil.rmtree(folder, ignore_errors=True)
    (face / "pipeline").mkdir(parents=True)
    (face / "model").symlink_to(ROOT / "model")
    for path in (ROOT / "pipeline" / "api").iterdir():
        (face / path.name).symlink_to(path)
    for path in (ROOT / "pipeline").iterdir():
        if path.name not in ("api", "__pycache__"):
            (face / "pipeline" / path.name).symlink_to(path)


if __name__ == "__main__":
    link_packages(Path(sys.argv[1]))
    with contextlib.suppress(ImportError):
        from build_kernels import build_kernels

        build_kernels()
