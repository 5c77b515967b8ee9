"""The three kinds of file system on which every promise of the store is tested."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A bucket of an S3 server on this machine; the environment points every client at it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request would bury a failure's own output
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="flor")
        yield "flor"
    server.stop()


@pytest.fixture(params=["local", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty store."""
    if request.param == "local":
        return str(tmp_path / "store")
    unique = uuid.uuid4().hex
    if request.param == "memory":
        return f"memory://{unique}"
    return f"s3://{request.getfixturevalue('bucket')}/{unique}/store"
