"""Each class of error says its own answer, and bad input says to whom it speaks."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

import pytest

from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.errors import (
    FAULTS,
    Altered,
    BadInput,
    Corrupt,
    DeviceError,
    ExitCode,
    Expired,
    Fault,
    NoScenes,
    OutOfMemory,
    SceneError,
    Stopped,
    StoreUnavailable,
    TesseraError,
    Throttled,
    TooSlow,
    Untrusted,
    chosen,
    classed,
)

SHARING = (Altered, StoreUnavailable, TooSlow)
"""Classes that records do not tell from the one above them: what to do is the same."""


def below(kind: type[TesseraError]) -> Iterator[type[TesseraError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


CLASSES = [kind for kind in below(TesseraError) if kind.__module__ == TesseraError.__module__]


def test_records_tell_every_class_from_the_others() -> None:
    kinds = Counter(kind.kind for kind in CLASSES if kind not in SHARING)
    assert set(kinds.values()) == {1}
    assert set(FAULTS) == set(kinds)


def test_bad_input_alone_ends_a_command_with_exit_code_2() -> None:
    ending = {kind for kind in CLASSES if kind.exit_code is ExitCode.BAD_INPUT}
    assert ending == {*below(BadInput), Altered}
    others = {kind.exit_code for kind in CLASSES if kind is not Stopped}
    assert others == {ExitCode.BAD_INPUT, ExitCode.FAILED}


def test_another_device_might_do_where_a_device_is_at_fault() -> None:
    assert {kind for kind, fault in FAULTS.items() if fault is Fault.DEVICE} == {
        DeviceError.kind,
        OutOfMemory.kind,
    }


def test_a_scene_that_its_provider_still_has_is_not_lost() -> None:
    lost = {kind for kind in CLASSES if kind.loses_scene}
    assert lost == (set(below(SceneError)) & set(CLASSES)) - {Expired, Throttled, Untrusted}


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (Corrupt("what came", "a", "B04"), "corrupt", "a B04: what came"),
        (BadInput("choose 1", "tile", 0), "bad-input", "tile 0: choose 1"),
        (MemoryError(), "out-of-memory", "MemoryError"),
        (KeyError("who"), "internal", "KeyError: 'who'"),
        (OSError(28, "No space left", "/tmp/x"), "store-full", "/tmp/x: No space left"),
    ],
)
def test_whatever_is_raised_has_a_class(raised: Exception, kind: str, message: str) -> None:
    for error in (classed(raised), pickle.loads(pickle.dumps(classed(raised)))):  # noqa: S301
        assert (error.kind, str(error)) == (kind, message)


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
