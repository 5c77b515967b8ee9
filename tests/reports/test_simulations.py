"""Replays are simulated on any number of workers."""

from __future__ import annotations

import pytest

from flor_ray.errors import UsageError
from flor_ray.records import EpochTimes, Operator, Profile, Segment
from flor_ray.reports import simulations
from flor_ray.scheduler.calibration import CostModel
from flor_ray.scheduler.costs import RecordedVersion
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.world import World


def work(versions: int) -> simulations.SimulatedWork:
    """Versions of four epochs, each of which takes longer than the version before it."""
    profiles = {
        f"v{number}": Profile(2.0, tuple(EpochTimes(epoch, 0.0, 10.0 + number, 0.0) for epoch in range(1, 5)))
        for number in range(versions)
    }
    model = CostModel({version: RecordedVersion(profile) for version, profile in profiles.items()})
    segments = [Segment(version, 1, 4, Operator.DP_I, restore=0) for version in profiles]
    return simulations.SimulatedWork(tuple(map(model.cost, segments)), Cutting(cost=model.cost), model)


def test_a_replay_is_simulated_as_a_table_and_a_frame() -> None:
    world = World(noise=0.2, straggler_share=0.25, latency_seconds=0.01)
    result = simulations.simulated(work(40), [4, 1], world, seed=1)
    assert [row.workers for row in result.rows] == [1, 4]
    assert result == simulations.simulated(work(40), [4, 1], world, seed=1)
    assert result != simulations.simulated(work(40), [4, 1], world, seed=2)
    frame = result.to_frame()
    assert list(frame.columns)[:4] == ["workers", "makespan_seconds", "lower_bound_seconds", "ratio"]
    assert frame.ratio.tolist() == [row.ratio for row in result.rows]
    assert set(result.stints) == {1, 4}
    lines = str(result).splitlines()
    assert lines[0] == "40 segments, simulated"
    assert lines[1].split()[:3] == ["workers", "makespan", "s"]
    assert len({len(line) for line in lines[1:]}) == 1


def test_without_trouble_a_simulation_takes_what_is_planned() -> None:
    rows = simulations.simulated(work(60), [1, 4, 16]).rows
    assert len(rows) == 3
    for row in rows:
        assert 1.0 - 1e-9 <= row.ratio <= 1.1
        assert (row.clones, row.failures, row.extra_gpu_percent) == (0, 0, 0.0)


def test_estimates_of_a_store_learn_while_its_replay_is_simulated() -> None:
    (row,) = simulations.simulated(work(6), [2], World(noise=0.1)).rows
    assert 0.9 < row.ratio < 1.2


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(UsageError, match=r"workers=\[0\]"):
        simulations.simulated(work(1), [0])
    lonely = World(failures_per_hour=3600.0, replacement_seconds=float("inf"))
    with pytest.raises(UsageError, match="all workers have failed"):
        simulations.simulated(work(5), [2], lonely)
