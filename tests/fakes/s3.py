"""An S3 of one process: moto's server, and what clients need to speak to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer

S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "no_proxy": "*",
}


@contextmanager
def fake_s3(bucket: str) -> Iterator[str]:
    """A running fake with one bucket: its address, which goes into `AWS_ENDPOINT_URL`."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        client = boto3.client("s3", region_name="us-east-1", endpoint_url=address, **keys)
        client.create_bucket(Bucket=bucket)
        yield address
    finally:
        server.stop()
