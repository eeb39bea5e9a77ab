"""Fakes of object stores, with the variables by which the clients of this process find them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import fsspec
import pytest

from tessera_mosaic.pipeline.io.file_systems import open_files
from tests.fakes.gcs import GCSFS_ENVIRONMENT, State, fake_gcs
from tests.fakes.s3 import S3_ENVIRONMENT, fake_s3
from tests.fakes.servers import KEY, SECRET


@contextmanager
def gcs_here() -> Iterator[State]:
    """Run a Google Cloud Storage that everything in this process speaks to: its state."""
    with fake_gcs() as (address, state):
        places = {"STORAGE_EMULATOR_HOST": address, "TENSORSTORE_GCS_HTTP_URL": address}
        with _variables("gs", {**GCSFS_ENVIRONMENT, **places}):
            yield state


@contextmanager
def s3_here(bucket: str) -> Iterator[str]:
    """Run an S3 with one bucket that everything in this process speaks to: its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with (
        fake_s3(bucket) as address,
        _variables("s3", {**S3_ENVIRONMENT, "AWS_ENDPOINT_URL": address}),
    ):
        yield address


@contextmanager
def store_at(scheme: str, port: int) -> Iterator[None]:
    """Let everything in this process find the stores of a scheme at a port of this machine."""
    address = f"http://127.0.0.1:{port}"
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    none = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), "/nonexistent")
    values = {
        "s3": {**S3_ENVIRONMENT, **keys, **none, "AWS_ENDPOINT_URL": address},
        "gs": {**GCSFS_ENVIRONMENT, "STORAGE_EMULATOR_HOST": address},
    }
    with _variables(scheme, values[scheme]):
        yield


@contextmanager
def object_store_here(scheme: str) -> Iterator[str]:
    """Run a store of a scheme, `gs` or `s3`, for everything in this process: a bucket's address."""
    with gcs_here() if scheme == "gs" else s3_here("bucket"):
        yield f"{scheme}://bucket"


@contextmanager
def _variables(scheme: str, values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment that the file systems of a scheme are opened by."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        forget_file_systems(scheme)
        yield
    forget_file_systems(scheme)


def forget_file_systems(scheme: str) -> None:
    """Close the file systems of a scheme, so that the next is opened by the environment of then."""
    fsspec.get_filesystem_class(scheme).clear_instance_cache()
    open_files.cache_clear()
