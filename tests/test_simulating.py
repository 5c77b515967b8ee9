"""Traces of real runs become replays, and replays are simulated on any number of workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from flor_ray import simulating, traces
from flor_ray.errors import UsageError
from flor_ray.records import EpochTimes, Operator, Profile, Segment, SegmentCost
from flor_ray.scheduler.calibration import CostModel
from flor_ray.scheduler.costs import RecordedVersion
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.world import World

TRACES = Path(__file__).parent / "cases" / "traces" / "flordb_runs.csv"
HEADER = "model,run,prep_seconds,epoch,epoch_seconds,eval_seconds\n"


def test_the_released_traces_are_read() -> None:
    runs = traces.read(TRACES)
    assert len(runs) == 222
    assert sum(len(run.epoch_seconds) for run in runs) == 1511
    assert runs[0] == traces.Trace("resnet152", "1", 20.502, (545.689, 531.218), 1076.913)
    assert None in {run.eval_seconds for run in runs}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model,run\n", "has no column prep_seconds, epoch, epoch_seconds, eval_seconds"),
        (HEADER, "has no runs"),
        (HEADER + "m,1,1,2,5,\n", "line 2: epoch 2 of m 1 should be 1"),
        (HEADER + "m,1,1,1,fast,\n", "line 2: epoch_seconds is 'fast', and should be seconds"),
        (HEADER + "m,1,-1,1,5,\n", "line 2: prep_seconds is '-1'"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        traces.read(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="cannot be read"):
        traces.read(tmp_path / "none.csv")


def test_runs_are_replicated_evenly_and_by_seed() -> None:
    runs = traces.read(TRACES)[:3]
    many = traces.replicated(runs, 8, seed=1)
    assert len(many) == 8
    assert {many.count(run) for run in runs} == {2, 3}
    assert many == traces.replicated(runs, 8, seed=1)
    assert len(traces.replicated(runs, 2)) == 2


def test_a_run_becomes_one_segment_that_can_be_cut_at_every_epoch() -> None:
    trace = traces.Trace("m", "1", 5.0, (30.0, 20.0, 10.0))
    traced = traces.replay([trace], checkpoint_bytes=10**9, read_bytes_per_second=1e9)
    whole = Segment("m-00000", 1, 3, Operator.DP_I, restore=0, names=("hindsight",))
    assert traced.costs == (SegmentCost(whole, 5.0, 61.0, read_seconds=1.0, read_bytes=10**9),)
    assert list(traced.cutting.points(whole)) == [2, 3]
    pieces = traced.cutting.cut(whole, (2, 3))
    assert [traced.cutting.cost(piece).run_seconds for piece in pieces] == [31.0, 21.0, 11.0]
    assert list(traced.cutting.points(pieces[1])) == []
    assert traced.epochs == 3


def test_a_replay_of_traces_is_simulated_as_a_table_and_a_frame() -> None:
    work = simulating.of_traces(TRACES, versions=40)
    result = simulating.simulated(work, [4, 1], World(noise=0.2, straggler_share=0.25, latency_seconds=0.01), seed=1)
    assert [row.workers for row in result.rows] == [1, 4]
    assert result == simulating.simulated(work, [4, 1], World(noise=0.2, straggler_share=0.25, latency_seconds=0.01), 1)
    frame = result.to_frame()
    assert list(frame.columns)[:4] == ["workers", "makespan_seconds", "lower_bound_seconds", "ratio"]
    assert frame.ratio.tolist() == [row.ratio for row in result.rows]
    assert set(result.stints) == {1, 4}
    lines = str(result).splitlines()
    assert lines[0] == "40 segments, simulated"
    assert lines[1].split()[:3] == ["workers", "makespan", "s"]
    assert len({len(line) for line in lines[1:]}) == 1


def test_without_trouble_a_simulation_takes_what_is_planned() -> None:
    work = simulating.of_traces(TRACES)
    for row in simulating.simulated(work, [1, 4, 16]).rows:
        assert 1.0 - 1e-9 <= row.ratio <= 1.02
        assert (row.clones, row.failures, row.extra_gpu_percent) == (0, 0, 0.0)


def test_estimates_of_a_store_learn_while_its_replay_is_simulated() -> None:
    profile = Profile(2.0, tuple(EpochTimes(epoch, 0.0, 10.0, 0.0) for epoch in range(1, 5)))
    model = CostModel({f"v{n}": RecordedVersion(profile) for n in range(6)})
    segments = [Segment(version, 1, 4, Operator.DP_I, restore=0) for version in model.recorded]
    work = simulating.Work(tuple(map(model.cost, segments)), Cutting(cost=model.cost), model)
    (row,) = simulating.simulated(work, [2], World(noise=0.1)).rows
    assert 0.9 < row.ratio < 1.2


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(UsageError, match="workers is 0"):
        simulating.simulated(simulating.of_traces(TRACES, 1), [0])
    with pytest.raises(UsageError, match="versions is 0"):
        simulating.of_traces(TRACES, 0)
    lonely = World(failures_per_hour=3600.0, replacement_seconds=float("inf"))
    with pytest.raises(UsageError, match="all workers have failed"):
        simulating.simulated(simulating.of_traces(TRACES, 5), [2], lonely)
