"""Make docs/api.md from the docstrings of what `tessera_mosaic` names.

python tools/api_page.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import tessera_mosaic as tm

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"

HEAD = """# From Python

<!-- Made from the docstrings by `python tools/api_page.py`. -->

```python
import tessera_mosaic as tm
```

gives all that stands on this page. Nothing is loaded before it is used. The words are explained in
the [glossary](glossary.md). Arrays are described by their shape, type and unit; `...` in a shape
stands for any axes before. The examples are run as tests, in a folder with the catalogue of a small
archive, `archive/catalog.json`, and a mosaic that was made from it, `valley.zarr`.
"""

WIDTH = 88
"""Columns up to which a signature stands on one line."""

NAMED = ("Parameters", "Attributes", "Returns", "Yields", "Raises")
"""Sections that are lists of names with what they mean."""


def page() -> str:
    """The whole page."""
    public = {name: getattr(tm, name) for name in tm.__all__}
    errors = {name: value for name, value in public.items() if is_error(value)}
    others = {name: value for name, value in public.items() if name not in errors}
    functions = {name: value for name, value in others.items() if inspect.isfunction(value)}
    classes = {name: value for name, value in others.items() if name not in functions}
    parts = [HEAD, "## Functions\n", *(entry(name, functions[name]) for name in functions)]
    parts += ["## Classes\n", *(described_class(name, classes[name]) for name in classes)]
    return "\n".join([*parts, "## Errors\n", table_of_errors(errors)])


def is_error(value: Any) -> bool:
    """Whether a public name is a class of errors."""
    return isinstance(value, type) and issubclass(value, Exception)


def described_class(name: str, value: type) -> str:
    """A class, and below it what its objects can do; of an enumeration what there is to choose."""
    if issubclass(value, Enum):
        words = inspect.cleandoc(value.__doc__ or "")
        return (
            f"### {name}\n\n{words}\n\n"
            + "\n".join(f"- `{name}.{member.name}`: `{member.value}`" for member in value)
            + "\n"
        )
    parts = [entry(name, value)]
    for inner, member in vars(value).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if not inner.startswith("_") and inspect.isfunction(function) and function.__doc__:
            is_property = isinstance(member, property)
            parts.append(entry(f"{name}.{inner}", function, "####", is_property))
    return "\n".join(parts)


def entry(name: str, value: Any, level: str = "###", is_property: bool = False) -> str:
    """A heading, the signature and the docstring."""
    signature = name if is_property else signature_of(name, value)
    words = markdown(inspect.cleandoc(value.__doc__ or ""))
    return f"{level} {name}\n\n```python\n{signature}\n```\n\n{words}\n"


def signature_of(name: str, value: Any) -> str:
    """How something is called, with types and defaults."""
    signature = inspect.signature(value)
    given = [
        taken(parameter)
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls") and not parameter.name.startswith("_")
    ]
    annotation = signature.return_annotation
    returned = (
        "" if isinstance(value, type) or annotation is inspect.Signature.empty else annotation
    )
    end = f") -> {returned}" if returned else ")"
    line = f"{name}({', '.join(given)}{end}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {parameter}," for parameter in given), end])


def taken(parameter: inspect.Parameter) -> str:
    """A parameter with its type, and its default; `...` where that is made anew each time."""
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    words = f"{stars}{parameter.name}: {parameter.annotation}"
    if parameter.default is parameter.empty:
        return words
    told = repr(parameter.default)
    return f"{words} = {'...' if told.startswith('<') else told}"


def markdown(words: str) -> str:
    """A numpy docstring as Markdown."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", words, flags=re.MULTILINE)
    out = [parts[0].strip()]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        text = body.strip("\n")
        if title == "Examples":
            out.append(f"```python\n{text.strip()}\n```")
        elif title in NAMED:
            out.append(f"*{title}*\n\n" + "\n".join(listed(text)))
        else:
            out.append(f"*{title}*\n\n{text}")
    return "\n\n".join(out)


def listed(text: str) -> Iterator[str]:
    """The names of a section, each with its indented explanation, as a Markdown list."""
    for name, meaning in re.findall(r"^(\S.*)\n?((?:^(?:[ ]{4}.*)?\n?)*)", text, re.MULTILINE):
        said = " ".join(meaning.split())
        yield f"- `{name}`: {said}" if said else f"- {name}"


def table_of_errors(errors: dict[str, Any]) -> str:
    """Classes of errors, each with its own answer."""
    rows = [
        "| class | is a | name in records | tile tried | fault of | exit code | means |",
        "| --- | --- | --- | ---: | --- | ---: | --- |",
    ]
    for name, value in errors.items():
        first = " ".join(inspect.cleandoc(value.__doc__ or "").partition("\n\n")[0].split())
        rows.append(
            f"| `{name}` | `{value.__base__.__name__}` | `{value.kind}` | {value.tries} "
            f"| {value.fault.value} | {int(value.exit_code)} | {first} |"
        )
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
