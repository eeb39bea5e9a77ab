import argparse
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from model.observations import Stack
from pipeline.dpixels import read_stack_directory
from pipeline.stack import stack_arguments, stack_command


def run_stack(*options: str) -> dict:
    parser = argparse.ArgumentParser()
    stack_arguments(parser)
    parser.add_argument("--json", action="store_true")
    return stack_command(parser.parse_args([*options, "--json"]))


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
def test_real_square_equals_the_reference(shared: Path, tmp_path: Path, kernel: str) -> None:
    told = run_stack(
        *("--catalog", str(shared / "data/flanders/catalog.json"), "--year", "2018"),
        *("--region", "3.0193,50.8131,3.0284,50.8188"),
        *("--kernel", kernel, "--out", str(tmp_path)),
    )
    golden = np.load(shared / f"golden/stack/stack_31UDS_2018_{kernel}.npz")
    described = json.loads((tmp_path / "stack.json").read_text())
    assert described == told
    assert described["crs"] == "EPSG:32631"
    pixel, _, west, _, _, north = described["transform"]
    assert pixel == 10
    row = round((north - golden["transform"][5]) / 10)
    col = round((golden["transform"][2] - west) / 10)
    stack = read_stack_directory(tmp_path)
    for field in fields(Stack):
        ours, theirs = getattr(stack, field.name), golden[field.name]
        if ours.ndim > 1:
            ours = ours[:, row : row + 64, col : col + 64]
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, field.name)
    assert len(told["scenes"]["used"]) + len(told["scenes"]["unused"]) == 200
