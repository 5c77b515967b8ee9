"""What the bench of outages and faults must show, in its short form: real processes, and a real S3 server."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.bench_modules import BENCH


def measured(what: str) -> dict[str, Any]:
    """In a process of its own, as in the bench: clients of an S3 server are kept for as long as their process lives."""
    paths = [str(BENCH), str(BENCH.parent)]
    code = f"import json, sys; sys.path[:0] = {paths}; from clustering import outage"
    code += f"; print(json.dumps(outage.{what}(True)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.timeout(300)
def test_a_store_that_falls_silent_loses_nothing() -> None:
    found = measured("outage")
    assert found["segments_lost_to_outage"] == found["segments_run_again_after_outage"] == 0
    assert found["outage_replay_seconds"] > found["outage_seconds"]
    assert not found["outage_table_differs"]
    assert found["outage_versions_unlike_recorded"] == 0


@pytest.mark.timeout(300)
def test_a_worker_that_is_killed_loses_only_what_was_not_committed() -> None:
    found = measured("faults")
    assert found["faults"] in (1, 2)  # a worker that is killed may just have ended its last segment
    assert found["faults_segments_given_up"] == found["rows_written_twice"] == 0
    assert not found["faults_table_differs"]
    assert found["faults_versions_unlike_recorded"] == 0
