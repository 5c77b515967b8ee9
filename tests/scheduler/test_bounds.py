"""The bound is what small cases that can be worked out by hand say, and never more than that."""

from __future__ import annotations

import pytest

from flor_ray.scheduler.bounds import Demand, average, least_makespan
from flor_ray.scheduler.problem import Slot


def least(workers: int, *versions: tuple[float, list[float]]) -> float:
    return least_makespan([Demand(setup, sorted(sizes)) for setup, sizes in versions], [Slot()] * workers)


def test_it_is_the_average_or_the_largest_job_where_nothing_else_is_in_the_way() -> None:
    assert least(2, (0.0, [3.0, 2.0]), (1.0, [4.0])) == 5.0
    assert least(2, (1.0, [9.0]), (1.0, [1.0])) == 10.0
    assert least(3) == 0.0


def test_equal_jobs_are_counted() -> None:
    assert least(4, *((0.0, [10.0]) for _ in range(9))) == pytest.approx(30.0)  # some worker has three
    assert least(2, (0.0, [10.0] * 3)) == pytest.approx(20.0)


def test_a_dear_set_up_takes_a_worker_of_its_own() -> None:
    assert least(3, (50.0, [5.0, 5.0]), (50.0, [5.0, 5.0]), (50.0, [5.0, 5.0])) == 60.0
    assert least(3, *((50.0, [1.0]) for _ in range(4))) == pytest.approx(102.0)


def test_a_version_that_is_longer_than_a_worker_needs_more_set_ups() -> None:
    assert least(4, (10.0, [1.0] * 80)) == pytest.approx(30.0)
    assert least(4, (10.0, [1.0] * 10)) == pytest.approx(13.0)


def test_a_worker_that_is_through_with_one_version_pays_for_another() -> None:
    versions = [(20.0, [1.0] * 100)] * 20
    assert least(16, *versions) == pytest.approx(165.0)  # 125 s of runs, two set-ups


def test_further_pieces_pay_a_restore() -> None:
    demand = Demand(0.0, [5.0] * 4, pieces=1, restore_seconds=1.0)
    assert least_makespan([demand], [Slot()] * 2) == pytest.approx(10.5)


def test_workers_that_are_late_or_slow_share_what_is_left_for_them() -> None:
    slots = [Slot(), Slot(slowness=2.0), Slot(ready_seconds=3.0), Slot(ready_seconds=50.0)]
    assert average(9.5, slots) == 5.0
    assert least_makespan([Demand(0.0, [1.0] * 9)], slots) == pytest.approx(5.0)
    assert least_makespan([Demand(0.0, [0.0])], [Slot(ready_seconds=7.0)]) == 7.0


def test_seconds_as_small_as_can_be_end_the_search() -> None:
    for seconds in (5e-324, 1e-320, 1e-310):
        bound = least(1, (0.0, [seconds, 2 * seconds]))
        assert bound <= 3 * seconds
