"""Fakes of object stores, with the variables by which the clients of this process find them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import fsspec
import pytest

from tessera_mosaic.pipeline.io.file_systems import file_system
from tests.fakes.gcs import GCSFS_ENVIRONMENT, State, fake_gcs
from tests.fakes.s3 import S3_ENVIRONMENT, fake_s3


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
    file_system.cache_clear()
