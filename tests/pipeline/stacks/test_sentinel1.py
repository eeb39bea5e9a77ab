import json
from pathlib import Path

import numpy as np

from tessera_mosaic.pipeline.stacks.sentinel1 import PassMosaic, code_backscatter


def test_coding_equals_the_reference_vectors(shared: Path) -> None:
    golden = json.loads((shared / "golden/s1_db.json").read_text())
    power = np.array(golden["linear"])
    assert code_backscatter(power).tolist() == golden["float64_input"]
    coded = code_backscatter(power.astype(np.float32))
    assert coded.tolist() == golden["float32_value_float64_computation"]


def test_what_is_no_power_is_no_data() -> None:
    power = np.array([0.0, -1.0, np.nan, np.inf, -np.inf, 10**-2.5, 1e9], np.float32)
    assert code_backscatter(power).tolist() == [0, 0, 0, 0, 0, 0, 32767]


def joined(layers: list[np.ndarray], rule: str) -> list:
    mosaic = PassMosaic(layers[0].shape, rule)
    for layer in layers:
        mosaic.add(layer)
    return mosaic.codes.tolist()


def test_overlapping_scenes_of_a_pass() -> None:
    first = np.array([[1, 0, 3], [0, 0, 6]], np.int16)
    second = np.array([[9, 8, 7], [0, 5, 5]], np.int16)
    assert joined([first, second], "first") == [[1, 8, 3], [0, 5, 6]]
    assert joined([first, second], "mean") == [[5, 8, 5], [0, 5, 5]]


def test_a_pass_is_full_when_no_scene_can_change_it() -> None:
    mosaic = PassMosaic((1, 2), "first")
    assert mosaic.add(np.array([[5, 0]], np.int16))
    assert not mosaic.add(np.array([[7, 0]], np.int16))
    assert not mosaic.is_full
    assert mosaic.add(np.array([[0, 3]], np.int16))
    assert mosaic.is_full
