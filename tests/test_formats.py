"""What a later version wrote in a later format is refused; what names none is of the first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.embedding.sample_index import SampleIndex, read_index, write_index
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.keys import INDEX
from tests.small_demo import SmallDemo

NAMES = {"mosaic.zarr": ("tessera_mosaic:format",), "crops.zarr": ("tessera_mosaic:map", "version")}
"""Where the version of a format stands among the attributes of the root, by store of the demo."""

READERS = {
    "mosaic.zarr": ["status", "--store"],
    "crops.zarr": ["suggest", "--n=5", "--spacing=160", "--out=next.geojson", "--map"],
}
"""Commands that read them."""


@pytest.mark.parametrize("name", NAMES)
def test_a_store_of_a_later_format_is_refused(
    small_demo: SmallDemo, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = json.loads((small_demo.folder / name / "zarr.json").read_text())
    *above, last = NAMES[name]
    place = root["attributes"]
    for step in above:
        place = place[step]
    assert place[last] == 1
    place[last] = 2
    (tmp_path / "zarr.json").write_text(json.dumps(root))
    assert main([*READERS[name], str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "has format 2, and this version reads up to 1: update tessera-mosaic" in told
    assert told.count("\n") == 1


def test_so_is_a_folder_of_d_pixels(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    index = SampleIndex({"a.npz": 3}, {})
    write_index(storage, index)
    told = json.loads((tmp_path / INDEX).read_text())
    assert told.pop("format") == 1
    (tmp_path / INDEX).write_text(json.dumps(told))
    assert read_index(storage) == index
    (tmp_path / INDEX).write_text(json.dumps(told | {"format": 2}))
    with pytest.raises(BadInput, match="has format 2, and this version reads up to 1"):
        read_index(storage)
    (tmp_path / INDEX).write_text("[]")
    with pytest.raises(BadInput, match="is damaged"):
        read_index(storage)
