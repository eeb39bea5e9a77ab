"""Icechunk repositories over a mosaic: the same pixels, versions, and no second copy of a byte."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import icechunk
import numpy as np
import pytest
import zarr

from tessera_mosaic.pipeline.errors import BadInput
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.ledger.snapshots import read_note, warn_of_snapshots
from tessera_mosaic.pipeline.mosaic.store import read_mosaic
from tessera_mosaic.pipeline.publishing.icechunk import IcechunkRequest, publish_icechunk
from tessera_mosaic.pipeline.publishing.publish import publish, publish_mosaic
from tests.samples import (
    EQUATOR_ROW,
    SIDE,
    TILES,
    fail_tile,
    pixels,
    refresh,
    write_sample,
    write_tile,
)

NORTH, SOUTH = TILES[:2]


def session(path: Path, layout: str, **version: str) -> zarr.Group:
    """A repository as its readers open it, which have to allow where the bytes lie."""
    place = icechunk.local_filesystem_storage(str(path / layout))
    found = icechunk.Repository.open(place)
    prefixes = dict.fromkeys(found.config.virtual_chunk_containers)
    repository = icechunk.Repository.open(
        place, authorize_virtual_chunk_access=icechunk.containers_credentials(prefixes)
    )
    version = version or {"branch": "main"}
    return zarr.open_group(repository.readonly_session(**version).store, mode="r")


def repository(path: Path, layout: str) -> icechunk.Repository:
    return icechunk.Repository.open(icechunk.local_filesystem_storage(str(path / layout)))


def scales(group: zarr.Group, step: int) -> np.ndarray:
    """Scales of the northern tile in our own layout."""
    at = (
        slice(NORTH.row * SIDE, (NORTH.row + 1) * SIDE),
        slice(NORTH.col * SIDE, (NORTH.col + 1) * SIDE),
    )
    return group["utm31/scales"][step, *at]


def test_versions_of_a_mosaic_in_two_layouts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(str(tmp_path / "store"))
    mosaic = write_sample(storage, TILES[:2], [2018]).mosaic
    step = mosaic.step(2018)
    path = tmp_path / "versions"
    first = publish(storage.url, icechunk=IcechunkRequest(str(path), "first"))
    assert set(first.snapshots) == {"tessera", "dclimate"}

    ours = session(path, "tessera")
    put = pixels(NORTH, 2018)
    cols = slice(NORTH.col * SIDE, (NORTH.col + 1) * SIDE)
    rows = slice(NORTH.row * SIDE, (NORTH.row + 1) * SIDE)
    assert np.array_equal(scales(ours, step), put.scales, equal_nan=True)
    codes = ours["utm31/embeddings"][step, :, rows, cols]
    assert np.array_equal(np.moveaxis(codes, 0, -1), put.codes)
    assert np.array_equal(ours["utm31/observations_s2"][step, rows, cols], put.counts["s2"])

    theirs = session(path, "dclimate")
    for half, tile, top in (("N", NORTH, 0), ("S", SOUTH, EQUATOR_ROW)):
        put, group = pixels(tile, 2018), theirs[f"31{half}"]
        rows = slice((tile.row - top) * SIDE, (tile.row - top + 1) * SIDE)
        assert group["embeddings"].metadata.dimension_names[1:] == ("northing", "easting", "band")
        assert np.array_equal(group["embeddings"][step, rows, cols], put.codes)
        assert np.array_equal(group["scales"][step, rows, cols], put.scales, equal_nan=True)
        assert np.array_equal(
            group["s1_asc_obs_count"][step, rows, cols], put.counts["s1_ascending"]
        )
        assert group["northing"][0] == group.attrs["spatial:transform"][5] - 5
        assert list(group.attrs["years_complete"]) == [2018]
    assert theirs["31S"].attrs["proj:code"] == "EPSG:32731"

    # Nothing is new: no commit. A tag never moves, and belongs to one state.
    again = publish(storage.url, icechunk=IcechunkRequest(str(path), "first"))
    assert again.snapshots == first.snapshots
    # No byte of a shard is in the repositories.
    held = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert held < 500_000

    # A year more, and a tile that failed when it was made again.
    write_sample(storage, TILES[:1], [2019])
    fail_tile(read_mosaic(storage), SOUTH, 2018)
    publish_mosaic(storage)
    mosaic = read_mosaic(storage)
    tips = publish_icechunk(mosaic, IcechunkRequest(str(path)))
    assert tips["tessera"] != first.snapshots["tessera"]
    for layout in ("tessera", "dclimate"):
        history = list(repository(path, layout).ancestry(branch="main"))
        assert [entry.metadata["changed"] for entry in history[:2]] == [2, 2]
    latest, tagged = session(path, "tessera"), session(path, "tessera", tag="first")
    put = pixels(NORTH, 2019)
    assert np.array_equal(scales(latest, mosaic.step(2019)), put.scales, equal_nan=True)
    assert tagged["utm31/scales"].shape[0] == 2
    south = slice(SOUTH.row * SIDE, (SOUTH.row + 1) * SIDE)
    assert np.isinf(latest["utm31/scales"][step, south, cols]).all()
    with pytest.raises(BadInput, match="tags never move"):
        publish_icechunk(mosaic, IcechunkRequest(str(path), "first"))

    # Whoever makes a tile again is told first; then older snapshots cannot read it, newer ones can.
    assert read_note(storage, 2018, 31).tiles == {NORTH.name, SOUTH.name}
    with caplog.at_level(logging.WARNING):
        warn_of_snapshots(storage, 2018, [NORTH])
    assert NORTH.name in caplog.text
    assert str(path) in caplog.text
    write_tile(mosaic, NORTH, 2018, pixels(NORTH, 2020))
    for file in Path(storage.url).glob("utm31/*/c/**/*"):
        if file.is_file():
            stamp = file.stat().st_mtime + 60
            os.utime(file, (stamp, stamp))
    refresh(mosaic, 2018)
    with pytest.raises(icechunk.IcechunkError, match="changed"):
        scales(tagged, step)


@pytest.mark.parametrize(
    ("path", "release", "message"),
    [("https://example.org/x", None, "folder, or at an s3"), ("x", "a/b", "without a slash")],
)
def test_what_can_be_no_repository_is_refused(path: str, release: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        IcechunkRequest(path, release)


def test_a_repository_of_another_mosaic_and_a_store_in_memory_are_refused(
    tmp_path: Path, two: Storage
) -> None:
    publish_mosaic(two)
    with pytest.raises(BadInput, match="cannot refer to it"):
        publish_icechunk(read_mosaic(two), IcechunkRequest(str(tmp_path / "versions")))
    for name in ("one", "other"):
        write_sample(Storage(str(tmp_path / name)), TILES[:1], [2018])
    request = IcechunkRequest(str(tmp_path / "versions"))
    publish_icechunk(read_mosaic(Storage(str(tmp_path / "one"))), request)
    with pytest.raises(BadInput, match="choose another place"):
        publish_icechunk(read_mosaic(Storage(str(tmp_path / "other"))), request)
