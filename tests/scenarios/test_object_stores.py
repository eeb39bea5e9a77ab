"""The same mosaic on disk, on a fake Google Cloud Storage and on a fake S3."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr.storage

from tessera_mosaic.pipeline.commands.verify import verify_command
from tessera_mosaic.pipeline.io.storage import Storage
from tessera_mosaic.pipeline.mosaic.datasets import dequantize, open_mosaic
from tessera_mosaic.pipeline.mosaic.layout import Layout
from tessera_mosaic.pipeline.mosaic.store import create_store, read_mosaic
from tessera_mosaic.pipeline.planning.quantities import NOTES
from tessera_mosaic.pipeline.publishing.publish import publish_mosaic
from tests import jobs
from tests.fakes.environment import forget_file_systems
from tests.fakes.gcs import State
from tests.samples import SIDE, TILES, YEARS, Sample, identity, part, pixels, write_sample


@pytest.fixture(scope="module")
def sample(remote: Storage) -> Sample:
    return write_sample(Storage(f"{remote.url}/sample"))


def digests(storage: Storage) -> dict[str, str]:
    """Of all objects but the records, which tell the time."""
    keys = [key for key in storage.list("") if not key.startswith("records/")]
    return {key: hashlib.sha256(storage.read(key)).hexdigest() for key in keys}


def test_the_same_bytes_everywhere(sample: Sample, tmp_path: Path) -> None:
    local = write_sample(Storage(str(tmp_path)))
    assert digests(sample.mosaic.storage) == digests(local.mosaic.storage)
    assert read_mosaic(sample.mosaic.storage).years == local.mosaic.years


def test_a_finished_tile_is_verified_and_published(remote: Storage) -> None:
    storage = Storage(f"{remote.url}/published")
    mosaic = write_sample(storage, TILES[:1], [2018]).mosaic
    assert publish_mosaic(mosaic.storage).painted == 1
    args = argparse.Namespace(store=storage.url, year=None, json=True, store_patience=60)
    assert verify_command(args)["problems"] == []
    key = mosaic.keys(TILES[0], 2018)[-1]
    whole = storage.read(key)
    for damaged in (whole[:100], whole + b"1"):
        storage.write(key, damaged)
        assert [problem["problem"] for problem in verify_command(args)["problems"]] == ["size"]


def test_readers_read_the_same(sample: Sample) -> None:
    storage, tile = sample.mosaic.storage, TILES[1]
    put, at = sample.tiles[tile, YEARS[0]], tile.window
    rows, cols = slice(at.row, at.row + SIDE), slice(at.col, at.col + SIDE)
    step = sample.mosaic.step(YEARS[0])
    assert np.array_equal(sample.mosaic.read(tile, YEARS[0]).codes, put.codes)

    remote = zarr.storage.FsspecStore.from_url(storage.url, read_only=True)
    group = zarr.open_group(remote, mode="r")
    assert np.array_equal(group["utm31/scales"][step, rows, cols], put.scales, equal_nan=True)
    codes = group["utm31/embeddings"][step, :, rows, cols]
    assert np.array_equal(np.moveaxis(codes, 0, -1), put.codes)

    zone = open_mosaic(storage.url)[31].isel(time=step, y=rows, x=cols)
    values = dequantize(zone, 16)
    expected = (
        put.codes[..., :16] * np.where(np.isfinite(put.scales), put.scales, np.nan)[..., None]
    )
    assert np.array_equal(values, np.moveaxis(expected, -1, 0), equal_nan=True)


def test_tensorstore_reads_the_same(sample: Sample, request: pytest.FixtureRequest) -> None:
    bucket, _, path = sample.mosaic.storage.url.partition("://")[2].partition("/")
    path = f"{path}/utm31/embeddings/"
    if sample.mosaic.storage.url.startswith("gs"):
        place = {"driver": "gcs", "bucket": bucket, "path": path}
    else:
        endpoint = {"endpoint": request.getfixturevalue("s3"), "aws_region": "us-east-1"}
        place = {"driver": "s3", "bucket": bucket, "path": path, **endpoint}
    store = tensorstore.open({"driver": "zarr3", "kvstore": place}, read=True).result()
    at = TILES[0].window
    step = sample.mosaic.step(YEARS[0])
    window = store[step][:, at.row : at.row + SIDE, at.col : at.col + SIDE].read().result()
    assert np.array_equal(np.moveaxis(window, 0, -1), sample.tiles[TILES[0], YEARS[0]].codes)


NOTED = (["begun"], ["tiles"])
"""Where a tile has a note while it is worked on, and its record."""

OBJECTS = {f"storage.objects.{what}" for what in ("get", "list", "create", "delete")}
"""What `SECURITY.md` says that a job needs, on the mosaic's prefix alone."""


def test_a_job_asks_for_no_more_than_its_permissions(
    gcs: State, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = jobs.options(archive, Path("store"))
    words[3] = store = "--store=gs://bucket/permitted"
    needed = {
        ("run", *words[1:]): OBJECTS,
        ("status", store): {"storage.objects.get", "storage.objects.list"},
        ("verify", store): {"storage.objects.get", "storage.objects.list"},
        ("publish", store): OBJECTS,
    }
    for command, permitted in needed.items():
        gcs.requests.clear()
        gcs.created.clear()
        # Tiles this small make `verify` suspect a border.
        assert jobs.run_here(list(command)) in (0, 3), capsys.readouterr().err
        asked = gcs.operations()
        assert {permission for permission, _, _ in asked} == permitted, command[0]
        assert {bucket for _, bucket, _ in asked} == {"bucket"}
        assert all(name.startswith("permitted/") for _, _, name in asked), command[0]
        if command[0] == "run":
            # The plan reckons with as many objects that come and go beside a tile's shard.
            made = {name for _, name in gcs.created if name.split("/")[3:4] in NOTED}
            assert len(made) == NOTES * 12
        if command[0] == "status":
            at = ("permitted/zarr.json", "permitted/map.json", "permitted/records/")
            assert [name for _, _, name in asked if not name.startswith(at)] == []


@pytest.mark.parametrize("command", ["status", "verify", "publish"])
def test_a_refusal_is_one_line(gcs: State, command: str) -> None:
    write_sample(Storage("gs://bucket/refused"), TILES[:1], [2018])
    gcs.faults.extend([403] * 100)
    try:
        ended = jobs.run_process([command, "--store=gs://bucket/refused"])
    finally:
        gcs.faults.clear()
    assert ended.code == 2
    assert "Traceback" not in ended.error
    # Google's own client warns where there are no credentials at all, as in tests.
    *_, said = ended.error.splitlines()
    assert said.startswith(f"tessera-mosaic {command}: gs://bucket/refused: ")


def test_a_bucket_that_is_not_there_is_one_line(
    s3: str, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = jobs.options(archive, Path("store"))
    words[3] = "--store=s3://no-such-bucket/store"
    assert jobs.run_here(words) == 2
    assert "s3://no-such-bucket/store: there is no such bucket" in capsys.readouterr().err
    assert jobs.run_here(["status", words[3]]) == 2


def test_missing_credentials_are_one_line(
    s3: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    forget_file_systems("s3")
    try:
        assert jobs.run_here(["status", "--store=s3://bucket/any"]) == 2
    finally:
        forget_file_systems("s3")
    [said] = capsys.readouterr().err.splitlines()
    assert "redentials" in said
    assert "profile default" in said


@pytest.mark.parametrize("faults", [[503, 429], [0], [500]], ids=["busy", "hangs up", "breaks"])
def test_a_tile_survives_a_store_that_misbehaves(gcs: State, faults: list[int]) -> None:
    storage = Storage(f"gs://bucket/faults-{len(faults)}-{faults[0]}")
    tile, put = TILES[0], pixels(TILES[0], 2018)
    mosaic = create_store(storage, Layout(SIDE), identity(), [2018], [31])
    with mosaic.writer(tile, 2018) as shard:
        shard.put(*part(put, tile, tile.window))
        gcs.faults.extend(faults)
        stored = shard.close()
    assert not gcs.faults
    assert [storage.size(entry.key) for entry in stored] == [entry.size for entry in stored]
    gcs.faults.extend(faults)
    assert np.array_equal(mosaic.read(tile, 2018).codes, put.codes)
