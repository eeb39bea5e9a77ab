"""`import tessera_mosaic as tm`: what it names, how it loads, and that its examples are right."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import shutil
import sys
from enum import Enum
from importlib import import_module
from pathlib import Path

import pytest

import tessera_mosaic as tm
from tests.layers import OURS, ROOT
from tools.api_page import is_error

FACE = ROOT / "pipeline" / "api"


def imported_for_type_checkers() -> set[str]:
    """Names that a type checker finds, which does not run the module."""
    tree = ast.parse((FACE / "__init__.py").read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def test_names_are_the_same_for_people_programs_and_type_checkers() -> None:
    assert sorted(tm.__all__) == tm.__all__ == dir(tm)
    assert imported_for_type_checkers() == set(tm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'open_mosiac'"):
        tm.open_mosiac  # noqa: B018


def test_no_module_has_the_name_of_what_is_public() -> None:
    """Importing `tessera_mosaic.x` would put the module in the place of the function `x`."""
    names = {path.stem for path in FACE.iterdir()} | {"pipeline", "model"}
    assert not names & set(tm.__all__)


@pytest.mark.parametrize("name", tm.__all__)
def test_what_is_public_says_what_it_takes_and_shows_how(name: str) -> None:
    value = getattr(tm, name)
    words = inspect.getdoc(value) or ""
    assert words
    if is_error(value):
        return
    if inspect.isfunction(value) or name.endswith("Request") or name in ("Encoder", "Zones"):
        assert ">>> " in words, f"{name} has no example"
    given = inspect.signature(value).parameters
    if isinstance(value, type) and issubclass(value, Enum):
        return
    parameters = {name for name in given if name != "self" and not name.startswith("_")}
    section = re.search(r"Parameters\n-+\n(.*?)(\n\n\w+\n-+\n|\Z)", words, re.DOTALL)
    named = (
        re.findall(r"^\*{0,2}(\w[\w, ]*?)(?: : .*)?$", section[1], re.MULTILINE) if section else []
    )
    told = {one.strip() for line in named for one in line.split(",")}
    assert parameters <= told, f"{name} does not say what it takes"


@pytest.mark.parametrize("name", tm.__all__)
def test_types_of_what_people_give_are_public(name: str) -> None:
    value = getattr(tm, name)
    if not (inspect.isfunction(value) or name.endswith(("Request", "Options"))):
        return
    known = vars(sys.modules[value.__module__])
    for parameter in inspect.signature(value).parameters.values():
        for word in re.findall(r"[A-Z]\w+", str(parameter.annotation)):
            ours = str(getattr(known.get(word), "__module__", "")).startswith("tessera_mosaic")
            assert not ours or word in tm.__all__, f"{name}: {parameter}"


@pytest.fixture
def beside_a_mosaic(
    archive: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A working directory with `archive/catalog.json` and a mosaic of it, `valley.zarr`."""
    (tmp_path / "archive").symlink_to(archive.parent)
    shutil.copytree(finished, tmp_path / "valley.zarr")
    monkeypatch.chdir(tmp_path)


def examples() -> list[doctest.DocTest]:
    """Those of all our modules, which know their module's names and `tm`."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    written = [module.full for module in OURS if ">>> " in module.path.read_text()]
    return [
        example
        for name in written
        for example in finder.find(import_module(name), extraglobs={"tm": tm})
        if example.examples
    ]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example(example: doctest.DocTest, beside_a_mosaic: None) -> None:
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=told.append)
    assert not runner.failures, "".join(told)
