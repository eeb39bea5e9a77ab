"""JSON from outside is bounded before it is decoded, and printable after."""

from __future__ import annotations

import json

import pytest

from tessera_mosaic.pipeline.io.foreign_json import cleaned, read_json


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"1," * 1000 + b"1]",
        b"[" + b"[]," * 600 + b"[]]",
        b"[" + b'{"":0},' * 400 + b"0]",
        b'{"type": "FeatureCollection", "features": [' + b"0," * 1000 + b"0]}",
    ],
)
def test_more_values_than_there_may_be_are_not_decoded(data: bytes) -> None:
    with pytest.raises(ValueError, match="more than 1,000 values"):
        read_json(data, 1000)
    assert read_json(data, 2000)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "utf-8"),
        ('{"a": "\x1b"}'.encode("utf-16"), "utf-8"),
        (b'{"a": "\x1b"}', "control character"),
        (b"", "Expecting value"),
        (b"9" * 5000, "digits"),
    ],
)
def test_what_is_no_json_is_said_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read_json(data)
    assert "\n" not in str(caught.value)


def test_all_texts_are_printable() -> None:
    odd = "a\x1b[31m\n\u2028\u202e\ud800\x7f\x9b"
    document = {odd: [odd, {"x": odd}], "é 東京": 1}
    shown = "a\\x1b[31m\\n\\u2028\\u202e\\ud800\\x7f\\x9b"
    for data in (json.dumps(document), json.dumps(document).replace("\\u", "\\u")):
        assert read_json(data.encode()) == {shown: [shown, {"x": shown}], "é 東京": 1}
    assert cleaned((1, odd, None)) == (1, odd, None)
    assert read_json(b'\xef\xbb\xbf{"a": "\x7f"}') == {"a": "\\x7f"}
