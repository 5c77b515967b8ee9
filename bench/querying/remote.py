"""What reading a compacted store of 30 000 runs takes from an S3 server: moto's, whose own work is not counted."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import fsspec

from querying import stores
from tests.s3_servers import Moto

_BUCKET = "flor-bench"


def measure(quick: bool) -> dict[str, float]:
    """Processor seconds of one metric of one run and of the list of all; `quick` with fewer runs."""
    runs, listed = (300, 1000) if quick else (10_000, 30_000)
    folder = Path(tempfile.mkdtemp(prefix="flor-remote-"))
    before = dict(os.environ)
    try:
        local, url = str(folder / "runs"), f"s3://{_BUCKET}/runs"
        stores.make(local, range(runs))
        stores.make(local, range(runs, listed), with_logs=False)
        stores.measured("compact", local, times=1)
        with Moto() as server:
            os.environ |= server.environment
            remote = fsspec.filesystem("s3")
            remote.mkdir(_BUCKET)
            remote.put(local, url, recursive=True)
            point, listing = stores.measured("point", url), stores.measured("list", url)
        if (point["found"], listing["found"]) != (stores.EPOCHS, listed):
            raise AssertionError(f"{point['found']} values and {listing['found']} runs found")
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "s3_point_lookup_seconds": round(point["seconds"], 3),
        "s3_list_30k_runs_seconds": round(listing["seconds"], 3),
    }
