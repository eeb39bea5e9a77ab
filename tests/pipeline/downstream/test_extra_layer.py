"""Numbers of another source beside embeddings: heads that take them, and maps that need them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

import tessera_mosaic as tm
from tessera_mosaic.pipeline.cli import main
from tessera_mosaic.pipeline.downstream.head_file import check_mosaic, read_head
from tessera_mosaic.pipeline.downstream.map_layout import NO_DATA
from tessera_mosaic.pipeline.downstream.map_store import open_map
from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.identity import adopted_identity
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store, mosaic_at
from tessera_mosaic.pipeline.tiling.lattice import Tile, to_lonlat

YEAR, SIDE, DIMS = 2021, 64, 8
EVERY = 4
"""Every fourth row and column is labelled."""
TILE = Tile(33, 6000, 512, SIDE)


def land() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Elevation in blocks of 4 px, and the class of each pixel, which is what lies above 500 m."""
    chance = np.random.default_rng(7)
    coarse = chance.uniform(0, 1000, (SIDE // 4, SIDE // 4)).astype(np.float32)
    height = coarse.repeat(4, axis=0).repeat(4, axis=1)
    return height, (height > 500).astype(np.int64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mosaic whose embeddings hint at the class, labels, and rasters that tell it or do not."""
    folder = tmp_path_factory.mktemp("extra")
    chance, (height, classes) = np.random.default_rng(8), land()
    identity = adopted_identity("somebody", "arrays", nearest=False, margin=0)
    made = create_store(
        Storage(str(folder / "mosaic")), Layout(SIDE, DIMS), identity, [YEAR], [TILE.zone]
    )
    codes = chance.normal(0, 30, (SIDE, SIDE, DIMS)) + 8 * (2 * classes - 1)[..., None]
    with made.writer(TILE, YEAR) as writer:
        scales = np.full((SIDE, SIDE), 0.02, np.float32)
        counts = np.full((SIDE, SIDE), 9, np.uint16)
        whole = np.clip(np.rint(codes), -127, 127).astype(np.int8)
        writer.put(TILE.window, whole, scales, dict.fromkeys(made.layout.observed, counts))
        writer.close()
    window = TILE.window
    rows, cols = (of.ravel() for of in np.mgrid[0:SIDE:EVERY, 0:SIDE:EVERY])
    lon, lat = to_lonlat(TILE.zone).transform(
        window.west + 10 * (cols + 0.5), window.north - 10 * (rows + 0.5)
    )
    names = np.array(["low", "high"])[classes[rows, cols]]
    lines = [f"{x:.8f},{y:.8f},{n}" for x, y, n in zip(lon, lat, names, strict=True)]
    (folder / "labels.csv").write_text("\n".join(["lon,lat,label", *lines]) + "\n")
    noise = chance.normal(size=(SIDE, SIDE)).astype(np.float32)
    hole = height.copy()
    hole[:, :6] = -9999
    for name, bands in {
        "dem": {"noise": noise, "elevation": height},
        "hole": {"elevation": hole, "noise": noise},
        "noise": {"noise": noise},
    }.items():
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", width=SIDE, height=SIDE, count=len(bands),
            dtype="float32", crs=window.crs, transform=Affine(*window.transform), nodata=-9999,
        ) as file:  # fmt: skip
            for number, (band, values) in enumerate(bands.items(), 1):
                file.write(values, number)
                file.set_band_description(number, band)
    west, south, east, north = lon.min(), lat.min(), lon.max(), lat.max()
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    (folder / "all.json").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return folder


def trained(folder: Path, name: str, extra: str) -> tm.Trained:
    labels, out = str(folder / "labels.csv"), str(folder / name)
    return tm.train(
        tm.TrainRequest(str(folder / "mosaic"), labels, YEAR, out, extra=(str(folder / extra),))
    )


def words(folder: Path, head: str, out: str, *more: str) -> list[str]:
    options = {"store": "mosaic", "head": head, "region": "all.json", "out": out}
    paths = [f"--{name}={folder / file}" for name, file in options.items()]
    return ["map", *paths, f"--year={YEAR}", *more]


def test_a_head_that_takes_them_maps_with_them_and_is_refused_without(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = trained(folder, "both.head", "dem.tif")
    assert found.extra is not None
    assert found.extra.helps
    head = read_head(str(folder / "both.head")).head
    assert head.extra == ("noise", "elevation")
    assert (head.dims, head.inputs, head.space.means.shape[1]) == (DIMS, DIMS + 2, DIMS)

    def refused(*more: str) -> str:
        capsys.readouterr()
        assert main(words(folder, "both.head", "none", *more)) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert not (folder / "none").exists()
        return said

    assert "--extra: the head takes noise, elevation beside the embeddings" in refused()
    assert "it has the bands noise, and the head takes" in refused(
        f"--extra={folder / 'noise.tif'}"
    )
    with pytest.raises(BadInput, match=r"takes noise, elevation .* only `map` can give"):
        check_mosaic(head, mosaic_at(str(folder / "mosaic")))

    # Bands are found by their names, and what lacks them has no data.
    assert main(words(folder, "both.head", "map", f"--extra={folder / 'hole.tif'}")) == 0
    made = open_map(str(folder / "map"))
    classes, truth = made.read_window(TILE.window, YEAR), land()[1]
    assert (classes[:, :6] == NO_DATA).all()
    assert (made.read_window(TILE.window, YEAR, "quality")[3][:, :6] == 65_535).all()
    names = np.array([each.name for each in made.layout.classes])[classes[:, 6:]]
    assert (names == np.array(["low", "high"])[truth[:, 6:]]).mean() > 0.95
    assert main(words(folder, "both.head", "map", f"--extra={folder / 'dem.tif'}")) == 2
    assert "extra" in capsys.readouterr().err

    drawn = tm.points(tm.PointsRequest(str(folder / "map"), str(folder / "points.csv"), 50)).points
    assert len(drawn) == 50
    assert (drawn.col - TILE.window.col >= 6).all()
    labelled = (drawn.row % EVERY == 0) & (drawn.col % EVERY == 0)
    assert not labelled.any(), "a point on a training pixel"


def test_a_head_that_gains_nothing_is_of_the_embeddings_alone(folder: Path) -> None:
    found = trained(folder, "plain.head", "noise.tif")
    assert found.extra is not None
    assert not found.extra.helps
    assert read_head(str(folder / "plain.head")).head.extra == ()
    request = tm.MapRequest(
        str(folder / "mosaic"), str(folder / "plain.head"), str(folder / "all.json"), YEAR,
        str(folder / "no"), extra=str(folder / "noise.tif"),
    )  # fmt: skip
    with pytest.raises(BadInput, match="takes nothing beside the embeddings"):
        tm.map(request)


def test_few_labels_with_numbers_are_refused(folder: Path) -> None:
    path = folder / "few.csv"
    path.write_text("\n".join(["lon,lat,rain", *(f"15.{n},50.1,{n}" for n in range(60))]) + "\n")
    with pytest.raises(BadInput, match="it has nothing of 2021 at any of the 256 points"):
        trained(folder, "no.head", "few.csv")
