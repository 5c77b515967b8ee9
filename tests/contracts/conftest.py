"""The three kinds of file system on which every promise of the store is tested."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest


@pytest.fixture(params=["local", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty store."""
    if request.param == "local":
        return str(tmp_path / "store")
    unique = uuid.uuid4().hex
    if request.param == "memory":
        return f"memory://{unique}"
    return f"s3://{request.getfixturevalue('bucket')}/{unique}/store"
