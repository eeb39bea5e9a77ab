"""What our modules import, read from their source, and whether a table of layers allows it.

Names here are those of `ARCHITECTURE.md`: `job.graph` is `tessera_mosaic.pipeline.job.graph`,
`model.cards` is `tessera_mosaic.model.cards`, `api.x` is `tessera_mosaic.x`, and `pipeline` alone
is `pipeline/__init__.py`, which holds the version.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FOLDERS = ("benchmarks", "deploy", "docs", "model", "pipeline", "tests", "tools")

INSTALLED = {
    "pipeline/api": "tessera_mosaic",
    "pipeline": "tessera_mosaic.pipeline",
    "model": "tessera_mosaic.model",
}
"""Folders of the repository by what they are installed as; the first that holds a file counts."""

COMPUTED = "(computed)"
"""What an arrow points at where the source does not tell a name."""


@dataclass(frozen=True)
class Module:
    """A module of a tree.

    Parameters
    ----------
    path
        The file.
    full
        The name that it is imported by.
    tree
        The parsed source.
    """

    path: Path
    full: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """The name that the table knows it by."""
        return short(self.full)

    @property
    def package(self) -> str:
        """The package that its relative imports start from."""
        return self.full if self.path.name == "__init__.py" else self.full.rpartition(".")[0]


@dataclass(frozen=True, order=True)
class Arrow:
    """An import of one of our modules.

    Parameters
    ----------
    importer, imported
        Names of modules.
    foreign
        Whether what is imported is not ours, and named in full.
    by_name
        Whether a function imports it, by a string.
    """

    importer: str
    imported: str
    foreign: bool = False
    by_name: bool = False

    def __str__(self) -> str:
        return f"{self.importer} -> {self.imported}"


@dataclass(frozen=True)
class Table:
    """Which arrows are allowed. Names of modules, parted by blanks, mean all that is in them too.

    Parameters
    ----------
    packages
        The layer of each package, counted from the ground up, and what it may import of ours.
    inside
        What each package may import that has rules between its own modules.
    open_to_all
        What all above the first layer may import.
    importers
        For what of ours only some may import: who may.
    never
        Packages of others that a module does not import.
    users
        For packages of others that only some may import: who may.
    """

    packages: Mapping[str, tuple[int, str]]
    inside: Mapping[str, Mapping[str, str]]
    open_to_all: str
    importers: Mapping[str, str]
    never: Mapping[str, str]
    users: Mapping[str, str]

    def allows(self, arrow: Arrow) -> bool:
        """Whether an arrow may stand."""
        if arrow.foreign:
            return self._allows_foreign(arrow)
        importer, imported = (self.line_of(name) for name in (arrow.importer, arrow.imported))
        if importer is None or imported is None:
            return False
        if importer == imported:
            return self._allows_inside(importer, arrow)
        if not among(arrow.importer, self.importers.get(imported, arrow.importer)):
            return False
        if imported == "commands" and not arrow.by_name:
            return False
        layer, may = self.packages[importer]
        return among(arrow.imported, may) or (layer > 1 and among(arrow.imported, self.open_to_all))

    def _allows_foreign(self, arrow: Arrow) -> bool:
        never = (names for name, names in self.never.items() if among(arrow.importer, name))
        users = self.users.get(arrow.imported.partition(".")[0], arrow.importer)
        return among(arrow.importer, users) and not any(
            among(arrow.imported, names) for names in never
        )

    def _allows_inside(self, package: str, arrow: Arrow) -> bool:
        rules = self.inside.get(package)
        importer, imported = (
            name.removeprefix(f"{package}.").partition(".")[0]
            for name in (arrow.importer, arrow.imported)
        )
        return rules is None or importer == imported or imported in rules.get(importer, "").split()

    def line_of(self, name: str) -> str | None:
        """The line of the table that a module belongs to; None for what is not ours."""
        package = name.partition(".")[0]
        return package if package in self.packages else None


def among(name: str, names: str) -> bool:
    """Whether a module is one of those named, or in one of them."""
    return any(name == given or name.startswith(f"{given}.") for given in names.split())


def short(full: str) -> str:
    """The name that the table knows a module of ours by."""
    _, *parts = full.split(".")
    if parts[:1] == ["pipeline"] and len(parts) > 1:
        return ".".join(parts[1:])
    return ".".join(parts if parts[:1] in (["pipeline"], ["model"]) else ("api", *parts))


def modules(root: Path, folders: Mapping[str, str] = INSTALLED) -> list[Module]:
    """All modules of a tree that lie below some folders."""
    found: dict[Path, Module] = {}
    for folder, name in folders.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            full = ".".join((name, *parts)).removesuffix(".__init__")
            tree = ast.parse(path.read_text(), str(path))
            found.setdefault(path, Module(path, full, tree))
    return list(found.values())


def files(*folders: str) -> list[str]:
    """Names of all that people put into the repository's folders, or into some of them."""
    return [
        str(path.relative_to(ROOT))
        for folder in folders or FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    ]


def arrows(importers: list[Module], all_modules: list[Module]) -> list[Arrow]:
    """What modules import, wherever in them it stands, once each; `print` counts as imported."""
    known = {module.full for module in all_modules}
    return sorted({arrow for module in importers for arrow in _arrows(module, known)})


def _arrows(module: Module, known: set[str]) -> Iterator[Arrow]:
    strings = {"__name__": module.full, "__package__": module.package} | {
        target.id: node.value.value
        for node in module.tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (_arrow(module, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), module.package)
            for inner in (f"{source}.{alias.name}" for alias in node.names):
                yield _arrow(module, inner if inner in known else source)
        elif isinstance(node, ast.Name) and node.id == "print":
            yield _arrow(module, node.id)
        elif isinstance(node, ast.Call) and node.args and _called(node):
            told = _told(node.args[0], strings)
            yield _arrow(module, resolve_name(told or COMPUTED, module.package), by_name=True)


def _arrow(module: Module, full: str, by_name: bool = False) -> Arrow:
    foreign = full.partition(".")[0] != "tessera_mosaic"
    return Arrow(module.name, full if foreign else short(full), foreign, by_name)


def _called(node: ast.Call) -> bool:
    """Whether a call imports what it is given."""
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name in ("import_module", "__import__")


def _told(node: ast.expr, strings: Mapping[str, str]) -> str:
    """As much of a module's name as the source tells, in whole names."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return strings.get(node.id, "")
    told = ""
    for part in node.values if isinstance(node, ast.JoinedStr) else ():
        text = _told(part.value if isinstance(part, ast.FormattedValue) else part, strings)
        if not text:
            return told.rpartition(".")[0]
        told += text
    return told


OURS = modules(ROOT)
"""Our modules, as they are in this tree."""
