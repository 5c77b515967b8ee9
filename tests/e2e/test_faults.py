"""A few of the faults of bench/clustering/faults.py, which says what a run has to leave; `make soak` does hundreds."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from tests.bench_modules import bench_module


@pytest.mark.timeout(400)
def test_a_replay_with_faults_leaves_the_table_of_one_without_byte_for_byte() -> None:
    # They connect to a Ray of their own, and this process may be connected to the one that tests share.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        wrong, summary, happened = apart.submit(_some_faults).result()
    assert wrong == []
    assert summary["fault_runs_identical"] == 27
    assert summary["duplicate_rows"] == 0
    assert summary["fault_segments_least"] >= 100
    assert happened >= {"worker", "driver", "company", "store", "node"}


def _some_faults() -> tuple[list[str], dict[str, Any], set[str]]:
    """What is wrong, the figures, and which faults happened on real workers."""
    faults = bench_module("clustering.faults")
    found = faults.soak(faults.Runs(simulated=20, processes=4, ray=3), seed=1, quick=True)
    real = (one for kind in ("processes", "ray") for one in found.verdicts[kind])
    return found.wrong, found.summary, {what for one in real for what in one.what.split(", ")}
