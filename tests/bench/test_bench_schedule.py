"""The bench of scheduling simulates the released traces: they are read as they are, and become replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.reports import simulations
from tests.bench_modules import bench_module

HEADER = "model,run,prep_seconds,epoch,epoch_seconds,eval_seconds\n"


@pytest.fixture(scope="module")
def released() -> Any:
    return bench_module("scheduling.released")


def test_the_released_traces_are_read(released: Any) -> None:
    runs = released.read()
    assert len(runs) == 222
    assert sum(len(run.epoch_seconds) for run in runs) == 1511
    assert runs[0] == released.Trace("resnet152", "1", 20.502, (545.689, 531.218), 1076.913)
    assert None in {run.eval_seconds for run in runs}


def test_a_run_of_which_an_epoch_is_missing_is_no_trace(
    released: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(released, "FILE", tmp_path / "t.csv")
    released.FILE.write_text(HEADER + "m,1,1,1,5,\nm,1,1,3,5,\n")
    with pytest.raises(ValueError, match="epoch 3 of m 1 should be 2"):
        released.read()


def test_runs_are_replicated_evenly_and_by_seed(released: Any) -> None:
    runs = released.read()[:3]
    many = released.replicated(runs, 8, seed=1)
    assert len(many) == 8
    assert {many.count(run) for run in runs} == {2, 3}
    assert many == released.replicated(runs, 8, seed=1)
    assert len(released.replicated(runs, 2)) == 2


def test_a_run_becomes_one_segment_that_can_be_cut_at_every_epoch(released: Any) -> None:
    trace = released.Trace("m", "1", 5.0, (30.0, 20.0, 10.0))
    traced = released.replay([trace], checkpoint_bytes=10**9, read_bytes_per_second=1e9)
    whole = Segment("m-00000", 1, 3, Operator.DP_I, restore=0, names=("hindsight",))
    assert traced.costs == (SegmentCost(whole, 5.0, 61.0, read_seconds=1.0, read_bytes=10**9),)
    assert list(traced.cutting.points(whole)) == [2, 3]
    pieces = traced.cutting.cut(whole, (2, 3))
    assert [traced.cutting.cost(piece).run_seconds for piece in pieces] == [31.0, 21.0, 11.0]
    assert list(traced.cutting.points(pieces[1])) == []
    assert traced.epochs == 3


def test_without_trouble_their_replay_takes_what_is_planned(released: Any) -> None:
    traced = released.replay(released.read())
    rows = simulations.simulated(simulations.SimulatedWork(traced.costs, traced.cutting), [1, 4, 16]).rows
    assert [row.workers for row in rows] == [1, 4, 16]
    for row in rows:
        assert 1.0 - 1e-9 <= row.ratio <= 1.02
        assert (row.clones, row.failures, row.extra_gpu_percent) == (0, 0, 0.0)
