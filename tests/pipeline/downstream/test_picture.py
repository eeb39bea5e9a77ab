"""Pictures show pixels of the lattice, in the store's own colours."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream import picture as pictures
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.any_mosaic import part_of
from tessera_mosaic.pipeline.mosaic.preview_pyramid import Colours
from tessera_mosaic.pipeline.mosaic.store import write_metadata
from tessera_mosaic.pipeline.publishing.drawing import true_colour
from tessera_mosaic.pipeline.tiling.lattice import Tile, Window, lonlat_bounds
from tests import jobs
from tests.pipeline.mosaic.test_foreign import publish
from tests.samples import TILES, write_sample

REGION = "5.994,-0.003,6.004,0.006"


def drawn(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def holds(picture: np.ndarray, part: np.ndarray) -> bool:
    """Whether a part stands somewhere in a picture."""
    first = (picture == part[0, 0]).all(axis=-1)
    height, width, _ = part.shape
    return any(
        np.array_equal(picture[row : row + height, col : col + width], part)
        for row, col in np.argwhere(first)
    )


def test_embeddings_have_the_colours_of_the_store(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "a.zarr"))
    mosaic = write_sample(storage, TILES[:4], [2019]).mosaic
    weights = np.random.default_rng(0).normal(size=(3, 128)).tolist()
    colours = Colours((0.0,) * 128, tuple(map(tuple, weights)), (-200.0,) * 3, (200.0,) * 3)
    write_metadata(dataclasses.replace(mosaic, colours=colours))
    found = tm.picture(tm.PictureRequest(storage.url, tmp_path / "p.png", REGION))
    assert (found.year, found.step) == (2019, 1)
    assert [Path(file.path).name for file in found.files] == ["p-utm31.png", "p-utm32.png"]
    for file, zone in zip(found.files, (31, 32), strict=True):
        west, _, _, north = file.bounds
        window = Window(zone, (9_338_880 - north) // 10, (west - 151_840) // 10, 20, 20)
        pixels = part_of(mosaic, window, 2019)
        known = np.isfinite(pixels.scales)
        assert known[:4, :4].all()
        values = pixels.codes[:4, :4].astype(np.float32) * pixels.scales[:4, :4, None]
        painted = colours.paint(values.reshape(16, -1)).reshape(4, 4, 3).astype(int)
        # A panel of few pixels is enlarged by a whole number.
        factor = 600 // max(file.height, file.width)
        large = painted.repeat(factor, axis=0).repeat(factor, axis=1)
        assert holds(drawn(file.path), large[1:, 1:])


def test_a_large_region_shows_every_second_pixel() -> None:
    window, step = Window(31, 1000, 2000, 700, 1300), 3
    whole = np.arange(700 * 1300).reshape(window.shape)
    shown = np.full((234, 434), -1)
    for block in window.blocks(512):
        here, of_block = pictures.thinned(block, window, step)
        shown[here] = whole[block.within(window)][of_block]
    np.testing.assert_array_equal(shown, whole[::step, ::step])


def test_what_others_published_is_drawn_with_components_of_its_own(tmp_path: Path) -> None:
    publish(tmp_path / "theirs")
    [file] = tm.picture(tm.PictureRequest(str(tmp_path / "theirs"), tmp_path / "p.png")).files
    assert (file.height, file.width, file.crs) == (96, 128, "EPSG:32633")
    colours = drawn(file.path).reshape(-1, 3)
    assert (np.ptp(colours, axis=1) > 100).sum() > 10_000


def test_true_colours_come_from_a_catalogue(archive: Path, finished: Path, tmp_path: Path) -> None:
    words = ["picture", "--store", str(finished), "--catalog", str(archive)]
    window = Tile(31, 11580, 1086, 32).window
    west, south, east, north = lonlat_bounds(
        Window(31, window.row + 2, window.col + 2, 3 * 32 - 4, 4 * 32 - 4)
    )
    box = f"{west},{south},{east},{north}"
    stack = tm.read_stack(tm.StackRequest(str(archive), box, jobs.YEAR)).annual.stack
    image, known = true_colour(stack)
    assert known.all()
    assert main([*words, "--region", box, "--out", str(tmp_path / "p.png")]) == 0
    # Enlarged four times; the scale bar stands in the lower left corner.
    large = image[:40, 60:100].astype(int).repeat(4, axis=0).repeat(4, axis=1)
    assert holds(drawn(tmp_path / "p.png"), large[4:])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "p.jpg"], "--out p.jpg: a picture is a .png file"),
        (["--out", "p.png", "--region", "50,0,51,1"], "has no zone that owns ground"),
        (["--out", "p.png", "--region", "-10,-60,10,60"], "and a picture up to"),
        (["--out", "p.png", "--year", "1999"], "has no year 1999"),
        (["--out", "p.png", "--catalog", "nowhere.json"], "nowhere.json"),
    ],
)
def test_bad_input_is_one_line(
    finished: Path,
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["picture", "--store", str(finished), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
