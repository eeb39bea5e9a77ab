"""From labels to a map, on real embeddings: how right it is, and that its bytes do not depend on
who made it. Jobs that are killed are in `scenarios/test_killed_makers.py`."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream.head_file import read_head
from tessera_mosaic.pipeline.downstream.map_layout import NO_DATA, UNKNOWN
from tessera_mosaic.pipeline.downstream.map_pixels import MapPixels
from tessera_mosaic.pipeline.downstream.map_store import open_map
from tessera_mosaic.pipeline.errors import BadInput
from tests import caldor, jobs
from tests.pipeline.downstream.maps import COL, ROW, label


@dataclass(frozen=True)
class Burn:
    """A square that burned: its mosaic, its labels, a head for its west half and its map.

    Parameters
    ----------
    folder
        Where all of it lies.
    truth : bool (64, 64)
        Which pixels burned.
    trained
        What `train --json` told.
    """

    folder: Path
    truth: NDArray[np.bool_]
    trained: dict[str, Any]

    def words(self, out: str, *more: str, year: int = 2022) -> list[str]:
        """Words of a command that maps the square."""
        return [
            *("map", f"--store={self.folder / 'mosaic.zarr'}", f"--head={self.folder / 'b.head'}"),
            *(f"--region={self.folder / 'square.geojson'}", f"--year={year}"),
            *(f"--out={self.folder / out}", *more),
        ]

    def f1(self, out: str, year: int = 2022) -> float:
        """F1 of the burned pixels of the east half, whose labels the head never saw."""
        found = open_map(str(self.folder / out)).read_window(caldor.SQUARE, year)[:, 32:]
        said, truth = found == 0, self.truth[:, 32:]
        return float(2 * (said & truth).sum() / (said.sum() + truth.sum()))


@pytest.fixture(scope="module")
def burn(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Burn:
    folder = tmp_path_factory.mktemp("burn")
    caldor.mosaic(shared, folder / "mosaic.zarr", (2022, 2023))
    caldor.labels(shared, folder / "west.csv")
    caldor.region(folder / "square.geojson")
    ended = jobs.run_process(
        [
            *("train", f"--store={folder / 'mosaic.zarr'}", f"--labels={folder / 'west.csv'}"),
            *("--year=2022", f"--out={folder / 'b.head'}", "--json"),
        ]
    )
    assert ended.code == 0, ended.error
    made = Burn(folder, caldor.burned(shared), ended.result)
    assert main([*made.words("map"), "--probabilities", "--unknown=99.9"]) == 0
    return made


@pytest.fixture
def refused(burn: Burn, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `map`, which is refused in one line: the line."""

    def run(*more: str, year: int = 2022) -> str:
        capsys.readouterr()
        assert main([*burn.words("refused", *more, year=year)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert not (burn.folder / "refused").exists()
        return said

    return run


def test_the_east_is_mapped_by_labels_of_the_west(burn: Burn) -> None:
    assert burn.f1("map") >= 0.85
    scores = burn.trained["scores"]
    by = {each["folds"]: each for each in scores["folds"]}
    assert by["block"]["macro_f1"][0] < by["random"]["macro_f1"][0]
    # Points are groups of one pixel each, and blocks of 500 m would be too few.
    assert scores["trusted"] == "block"
    assert by["block"]["metres"] < 500
    assert burn.trained["pixels"] == 2048
    assert burn.trained["labels"][0]["neighbour_alike"] > 0.9


def test_a_map_tells_what_people_and_programs_need(burn: Burn) -> None:
    made = open_map(str(burn.folder / "map"))
    classes = made.read_window(caldor.SQUARE, 2022)
    chance = made.read_window(caldor.SQUARE, 2022, "probability")
    known = classes < UNKNOWN
    assert [each.name for each in made.layout.classes] == ["burned", "unburned"]
    of_class = np.take_along_axis(chance, np.minimum(classes, 1)[None], axis=0)[0]
    np.testing.assert_array_equal(of_class[known], chance.max(axis=0)[known])
    confidence = made.read_window(caldor.SQUARE, 2022, "confidence")
    np.testing.assert_array_equal(confidence[known], chance.max(axis=0)[known])
    quality = made.read_window(caldor.SQUARE, 2022, "quality")
    assert (quality[0] > 0).all()
    assert (quality[3][classes == UNKNOWN]).min() > np.percentile(quality[3][known], 50)
    report = json.loads((burn.folder / "map/report-2022.json").read_text())
    assert sum(row["pixels"] for row in report["counts"]) == 4096
    # The square lies by the central meridian's side where the ground is a little larger.
    metres = sum(row["square_metres"] for row in report["counts"])
    assert metres == pytest.approx(409_600, rel=0.005)
    assert metres != 409_600
    page = (burn.folder / "map/report-2022.html").read_text()
    assert "not estimates of areas" in page
    assert 'src="http' not in page


def test_gis_finds_names_and_colours(burn: Burn) -> None:
    with rasterio.open(burn.folder / "map/utm10-2022.vrt") as file:
        found = file.read(1)
        assert file.nodata == NO_DATA
        assert file.crs.to_epsg() == 32610
        assert file.colormap(1)[0][:3] == (230, 159, 0)
    expected = open_map(str(burn.folder / "map")).read_window(caldor.SQUARE, 2022)
    mapped = found[found != NO_DATA]
    assert np.bincount(mapped).tolist() == np.bincount(expected.ravel()).tolist()
    tile = next(iter(sorted((burn.folder / "map/cog").glob("*.tif"))))
    with rasterio.open(tile) as file:
        assert file.tags()["CLASS_0"] == "burned"
        assert file.colormap(1)[1][:3] == (86, 180, 233)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert "<Category>unburned</Category>" in Path(f"{tile}.aux.xml").read_text()
    collection = json.loads((burn.folder / "map/stac/collection.json").read_text())
    classes = collection["item_assets"]["map"]["bands"][0]["classification:classes"]
    assert classes[1] == {
        "value": 1,
        "name": "unburned",
        "title": "unburned",
        "color_hint": "56B4E9",
    }


def test_a_map_has_the_same_bytes_whoever_makes_it(burn: Burn) -> None:
    expected = jobs.contents(burn.folder / "map")
    options = ["--probabilities", "--unknown=99.9"]
    two = [*options, "--workers=2"]
    portable = [*options, "--runner=PortableRunner", "--job_endpoint=embed"]
    portable.append("--environment_type=LOOPBACK")
    for out, words in (("two", two), ("portable", portable)):
        ended = jobs.run_process(burn.words(out, *words))
        assert ended.code == 0, ended.error
        assert same(jobs.contents(burn.folder / out), expected, out), out
        shutil.rmtree(burn.folder / out)


def test_training_pixels_are_no_reference(burn: Burn) -> None:
    pixels = MapPixels(str(burn.folder / "map"))
    rows, cols = (of.ravel() for of in np.mgrid[0:64, 0:64])
    zones = np.full(4096, caldor.SQUARE.zone)
    trained = pixels.trained_on(zones, rows + caldor.SQUARE.row, cols + caldor.SQUARE.col)
    assert pixels.tells_training
    np.testing.assert_array_equal(trained, cols < 32)


def test_areas_come_from_pixels_that_the_head_never_saw(burn: Burn, tmp_path: Path) -> None:
    made = shutil.copytree(burn.folder / "map", tmp_path / "map")
    blind = shutil.copytree(made, tmp_path / "blind")
    (blind / "head.safetensors").unlink()

    def name(zone: int, row: int, col: int) -> str:
        at = row + ROW - caldor.SQUARE.row, col + COL - caldor.SQUARE.col
        return "burned" if burn.truth[at] else "unburned"

    sample = tmp_path / "to_label.csv"
    drawn = tm.points(tm.PointsRequest(str(made), str(sample), 80, year=2022)).points
    assert (drawn.col - caldor.SQUARE.col >= 32).all()
    label(sample, name)
    found = tm.areas(tm.AreasRequest(str(made), str(sample)))
    assert found.classes[0].area.low < burn.truth.sum() / 100 < found.classes[0].area.high
    assert any("trained on 2,048 pixels" in note for note in found.notes)
    told = json.loads((made / "report-2022.json").read_text())
    assert told["areas"]["classes"] == found.to_json()["classes"]
    assert "How much there is" in (made / "report-2022.html").read_text()

    other = tmp_path / "other.csv"
    tm.points(tm.PointsRequest(str(blind), str(other), 80, year=2022))
    label(other, name)
    with pytest.raises(BadInput, match=r"the map.s head was trained on .* of the points"):
        tm.areas(tm.AreasRequest(str(made), str(other)))


def same(found: dict[str, Any], expected: dict[str, Any], name: str) -> bool:
    """Whether two maps hold the same, but for the place that the collection is named after."""
    theirs, ours = (
        {key: value for key, value in of.items() if not key.startswith(("stac/", "report"))}
        for of in (expected, found)
    )
    return ours == theirs


def test_a_map_is_verified_and_mended(
    burn: Burn, run: jobs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = burn.folder / "copy"
    shutil.copytree(burn.folder / "map", copy)
    code, told = run("status", f"--store={copy}")
    assert code == 0
    assert told["done"] == told["planned"] == len(caldor.tiles())
    assert main(["status", f"--store={copy}"]) == 0
    assert "4,096 pixels mapped" in capsys.readouterr().out
    broken = next(iter(sorted((copy / "utm10/class/c").rglob("*/*/*"))))
    broken.write_bytes(broken.read_bytes()[:-1] + b"x")
    code, told = run("verify", f"--store={copy}")
    assert code == 3
    assert [each["problem"] for each in told["problems"]] == ["checksum"]
    tile = told["problems"][0]["tile"]
    words = ["--probabilities", "--unknown=99.9", "--overwrite", tile]
    assert run(*burn.words("copy", *words))[0] == 0
    assert run("verify", f"--store={copy}")[0] == 0


def test_another_year_is_refused_unless_its_shift_is_taken_out(
    burn: Burn, refused: Callable[..., str]
) -> None:
    assert "--match-years: without it 2023 is not mapped: the head was trained on 2022" in refused(
        year=2023
    )
    assert main(burn.words("matched", "--match-years", year=2023)) == 0
    matched = burn.f1("matched", 2023)
    assert matched >= 0.77
    told = open_map(str(burn.folder / "matched"))
    assert told.matched == {2023: 2022}
    report = json.loads((burn.folder / "matched/report-2023.json").read_text())
    assert report["matched_to_year"] == 2022
    assert "mean shift to 2023" in " ".join(report["notes"])
    # The same head on the same embeddings as they are, as if nobody had asked for the year.
    head = read_head(str(burn.folder / "b.head")).head
    assert unmatched(burn, head) <= matched - 0.1
    lone = burn.folder / "lone.zarr"
    shutil.copytree(burn.folder / "mosaic.zarr", lone)
    shutil.rmtree(lone / "utm10/embeddings/c/5")
    assert "no ground of the region in both 2022 and 2023" in refused(
        "--match-years", f"--store={lone}", year=2023
    )


def unmatched(burn: Burn, head: Any) -> float:
    """F1 of the head on the embeddings of 2023."""
    from tessera_mosaic.model.heads.scoring import scorer_of
    from tessera_mosaic.pipeline.mosaic.store import mosaic_at

    held = mosaic_at(str(burn.folder / "mosaic.zarr")).read_window(caldor.SQUARE, 2023)
    codes = np.ascontiguousarray(held.codes.reshape(-1, head.dims).T)
    said = scorer_of(head)(codes, held.scales.ravel()).outputs.argmax(axis=0).reshape(64, 64) == 0
    said, truth = said[:, 32:], burn.truth[:, 32:]
    return float(2 * (said & truth).sum() / (said.sum() + truth.sum()))


def test_a_head_that_does_not_belong_is_refused_in_one_line(
    burn: Burn, shared: Path, refused: Callable[..., str]
) -> None:
    other = burn.folder / "other.zarr"
    caldor.mosaic(shared, other, (2022,), model="tessera-v2")
    assert "the head rests on embeddings of tessera-v1.1" in refused(f"--store={other}")
    data = (burn.folder / "b.head").read_bytes()
    bad = burn.folder / "bad.head"
    bad.write_bytes(data[:-9] + bytes([data[-9] ^ 4]) + data[-8:])
    assert "it is not as it was written" in refused(f"--head={bad}")
    bad.write_bytes(pickle.dumps({"weight": [1.0]}))
    assert "it is a pickle" in refused(f"--head={bad}")
    assert "there is no such file" in refused(f"--head={burn.folder / 'none.head'}")
    assert "has no embeddings of 2022 there" in refused("--region=-120.3,38.7,-120.29,38.71")
    assert "choose a percentile" in refused("--unknown=101")
    # Another map's place is refused, too, and left as it is.
    before = jobs.contents(burn.folder / "map")
    assert main(burn.words("map")) == 2
    assert jobs.contents(burn.folder / "map") == before


def test_values_are_mapped_with_their_uncertainty(burn: Burn) -> None:
    lon, lat = caldor.centres()
    some = (of[::3, ::3].flat for of in (lon, lat, burn.truth))
    rows = [f"{x:.8f},{y:.8f},{100 * t:.1f}" for x, y, t in zip(*some, strict=True)]
    path = burn.folder / "values.csv"
    path.write_text("\n".join(["lon,lat,cover", *rows]) + "\n")
    head = burn.folder / "v.head"
    words = [f"--store={burn.folder / 'mosaic.zarr'}", f"--labels={path}", "--year=2022"]
    words += ["--task=value", "--field=cover", "--unit=percent", f"--out={head}"]
    assert main(["train", *words]) == 0
    assert main(burn.words("values", f"--head={head}", "--no-quality")) == 0
    made = open_map(str(burn.folder / "values"))
    value = made.read_window(caldor.SQUARE, 2022, "value")
    error = made.read_window(caldor.SQUARE, 2022, "uncertainty")
    assert np.corrcoef(value.ravel(), burn.truth.ravel())[0, 1] > 0.75
    assert (error > read_head(str(head)).head.error * 0.999).all()
    assert made.layout.unit == "percent"
