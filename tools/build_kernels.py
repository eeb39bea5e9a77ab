"""Build what is C in a checkout in place, as installing the package does, if a compiler is here.

python tools/build_kernels.py
"""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path
from typing import Any

from setuptools import Distribution, Extension

ROOT = Path(__file__).resolve().parents[1]


def build_kernels() -> list[Path]:
    """Build them; the libraries that are there then."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    modules = table["tool"]["setuptools"]["ext-modules"]
    return [built for module in modules if (built := _built(module)).exists()]


def _built(module: dict[str, Any]) -> Path:
    """Build one of them; where it is then, unless it could not be built."""
    sources = [ROOT / source for source in module["sources"]]
    built = sources[0].with_name(module["name"].rpartition(".")[2] + ".abi3.so")
    if built.exists() and built.stat().st_mtime >= max(of.stat().st_mtime for of in sources):
        return built
    extension = Extension(
        built.name.partition(".")[0],
        [str(source) for source in sources],
        extra_compile_args=module["extra-compile-args"],
        py_limited_api=True,
        optional=True,
    )
    logging.disable(logging.INFO)
    command = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
    command.build_lib = str(built.parent)
    command.build_temp = str(ROOT / "build" / "kernels")
    command.ensure_finalized()
    command.run()
    return built


if __name__ == "__main__":
    build_kernels()
