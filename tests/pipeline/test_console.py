"""Numbers, times and options in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tessera_mosaic.pipeline.console import clock, number, own_options, rounded, unknown_option


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (999, "999"), (12_345, "12.3k"), (7e6, "7M"), (2e12, "2T")]
)
def test_numbers_have_three_figures_and_a_prefix(value: float, said: str) -> None:
    assert number(value) == said


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
