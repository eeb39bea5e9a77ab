"""Numbers, times and options in words."""

from __future__ import annotations

import copy
import io
import logging
import tomllib
from types import SimpleNamespace

import pytest

from tessera_mosaic.pipeline.console import (
    LONGEST,
    clock,
    install_hint,
    number,
    one_line,
    own_options,
    printable,
    rounded,
    set_up_logging,
    unknown_option,
)
from tessera_mosaic.pipeline.errors import BadInput, Corrupt, TesseraError, classed
from tests.layers import ROOT


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (999, "999"), (12_345, "12.3k"), (7e6, "7M"), (2e12, "2T")]
)
def test_numbers_have_three_figures_and_a_prefix(value: float, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize("extra", ["training", "s3", "dataflow"])
def test_hints_name_an_extra_of_the_checkout(extra: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert extra in settings["project"]["optional-dependencies"]
    assert f"pip install '.[{extra}]'" in install_hint(extra)


def test_nothing_tells_to_install_a_distribution_that_there_is_not() -> None:
    found = [
        str(path.relative_to(ROOT))
        for folder in ("pipeline", "model", "deploy", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".sh") and "install 'tessera-mosaic" in path.read_text()
    ]
    assert not found


def test_large_numbers_are_whole_and_small_ones_have_four_figures() -> None:
    assert (rounded(1234.5678), rounded(0.123456)) == (1235, 0.1235)


@pytest.mark.parametrize(("seconds", "said"), [(7.9, "0:07"), (123, "2:03"), (3723, "1:02:03")])
def test_seconds_as_a_clock_shows_them(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_of_an_unknown_option_the_nearest_known_is_told() -> None:
    known = own_options(SimpleNamespace(command="run", words=[], allow_host=[], max_tiles=1))
    assert known == ["--allow-host", "--max-tiles"]
    assert unknown_option("--alow-host=x", known) == (
        "unknown option --alow-host; did you mean --allow-host?"
    )
    assert unknown_option("--surprise", known) == "unknown option --surprise"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("S2A_31UDS é 東京\u00a0\u3000", "S2A_31UDS é 東京\u00a0\u3000"),
        ("\x1b]52;c;ZXZpbA==\x07", "\\x1b]52;c;ZXZpbA==\\x07"),
        ("a\nb\r\tc\x85\u2028\u2029", "a\\nb\\r\\tc\\x85\\u2028\\u2029"),
        ("\ud800 \x9b \x7f", "\\ud800 \\x9b \\x7f"),
        ("\u202eevil\u2066\u200b\ufeff", "\\u202eevil\\u2066\\u200b\\ufeff"),
        ("\U000e0041\ue000", "\\U000e0041\\ue000"),
    ],
)
def test_what_is_obeyed_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode()


def test_messages_are_one_line_whoever_made_them() -> None:
    said = "RuntimeError:\n  in forward\n\x1b[31m~~~~ <--- HERE\x1b[0m\n"
    line = "RuntimeError: in forward \\x1b[31m~~~~ <--- HERE\\x1b[0m"
    assert one_line(said) == line
    assert len(one_line("x " * 10**6)) == LONGEST
    for error in (TesseraError(said), BadInput(said), Corrupt(said), Corrupt(said, "S2", "B04")):
        assert line in str(error)
        assert str(copy.copy(error)) == str(error)
    assert Corrupt(said).message == line
    assert str(BadInput("no", "region", "a\n\x1b")) == "region a \\x1b: no"
    assert str(classed(ValueError(said))) == f"ValueError: {line}"


def test_log_lines_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr("sys.stderr", out)
    set_up_logging()
    logging.getLogger("rasterio").warning("%s: bad\ntag \x1b[2J", "a\nb")
    assert out.getvalue() == "WARNING rasterio: a b: bad tag \\x1b[2J\n"
