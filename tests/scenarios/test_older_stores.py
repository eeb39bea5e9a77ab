"""What an earlier version left resumes, verifies and publishes with this one.

`fixtures/` holds a mosaic of twelve tiles whose run was killed after five, and a folder of d-pixels
of the same land, made by the last version before the modules stood in packages.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests import jobs

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def older(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as it was when they were made: the archive beside them, named from there."""
    for name in ("store_killed", "samples"):
        with tarfile.open(FIXTURES / f"{name}.tar.xz") as packed:
            packed.extractall(tmp_path, filter="data")
    (tmp_path / "archive").symlink_to(archive.parent)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_killed_run_goes_on_and_what_was_made_stays(older: Path, run: jobs.Run) -> None:
    store = Path("store")
    made = {path: path.read_bytes() for path in store.glob("utm31/*/c/*/**/*") if path.is_file()}
    assert len(made) >= 5 * 5
    words = jobs.options(Path("archive/catalog.json"), store)
    code, result = run(*words)
    assert (code, result["done"], result["tiles_kept"]) == (0, 12, 5)
    assert [path for path, data in made.items() if path.read_bytes() != data] == []
    # The mosaic keeps the compression that it was begun with, also in the tiles that were missing.
    nodes = json.loads(Path("store/zarr.json").read_text())["consolidated_metadata"]["metadata"]
    assert {level for path, node in nodes.items() for level in compression_levels(node)} == {1}
    suspicious = {"border", "constant", "histogram"}
    code, found = run("verify", "--store=store")
    assert {problem["problem"] for problem in found["problems"]} <= suspicious
    code, published = run("publish", "--store=store")
    assert (code, published["tiles"]) == (0, 12)
    assert run("status", "--store=store")[1]["done"] == 12
    assert run(*words)[1]["pixels"] == 0


def compression_levels(node: dict) -> list[int]:
    """Levels that the metadata of an array names, of its own codecs and of those of its shards."""
    codecs = [codec["configuration"] for codec in node.get("codecs", ()) if len(codec) > 1]
    inner = [each for of in codecs for each in of.get("codecs", ()) if len(each) > 1]
    return [
        of["clevel"] for of in (*codecs, *(c["configuration"] for c in inner)) if "clevel" in of
    ]


def test_a_folder_of_d_pixels_goes_on_and_what_was_drawn_stays(older: Path, run: jobs.Run) -> None:
    drawn = {path: path.read_bytes() for path in Path("samples/d-pixels").glob("*")}
    before = json.loads(Path("samples/index.json").read_text())
    for path in sorted(drawn)[:4]:
        path.unlink()
    words = [
        *("sample", "--catalog=archive/catalog.json", f"--region={jobs.REGION}"),
        *(f"--year={jobs.YEAR}", "--out=samples", f"--tile={jobs.SIDE}", "--fraction=0.05"),
    ]
    code, result = run(*words)
    assert (code, result["done"], result["files"]) == (0, 12, 12)
    assert {path: path.read_bytes() for path in drawn} == drawn
    assert json.loads(Path("samples/index.json").read_text()) == before | {"format": 1}
    code, again = run(*words)
    assert (code, again["tiles_kept"], again["pixels"]) == (0, 12, result["pixels"])
    assert run("verify", "--store=samples")[1]["problems"] == []
    assert run("status", "--store=samples")[1]["done"] == 12
