"""What errors say, and to whom."""

import pickle
from enum import StrEnum

import pytest

from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.errors import BadInput, NoScenes, chosen


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def test_bad_input_names_the_parameter_and_for_a_command_its_option() -> None:
    error = BadInput("choose 0 to 1", "max_failed_share", 2)
    assert str(error) == "max_failed_share 2: choose 0 to 1"
    assert error.of_option == "--max-failed-share 2: choose 0 to 1"
    assert str(BadInput("it has none", "depths")) == "depths: it has none"
    for plain in (BadInput("nothing is there"), NoScenes("nothing is there")):
        assert str(plain) == plain.of_option == "nothing is there"


def test_bad_input_travels_between_processes() -> None:
    error = BadInput("choose 0 to 1", "max_failed_share", 2)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(again), again.of_option) == (str(error), error.of_option)


def test_a_choice_is_a_member_by_its_value() -> None:
    assert chosen(Colour, "red", "colour") is Colour.RED
    with pytest.raises(BadInput, match=r"^colour green: choose one of red, blue$"):
        chosen(Colour, "green", "colour")


def test_a_command_says_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--region", "7,46,8,47", "--year", "2024", "--margin", "5000"]) == 2
    assert capsys.readouterr().err == "tessera-mosaic plan: --margin 5000: choose 0 to 1024 px\n"
