"""Whose a segment is, where several queries ask: each is somebody's, so that nothing planned is left out. And which
workers a schedule is made for."""

from __future__ import annotations

import pytest

from flor_ray.planning.scheduling import _by_share, _kind, slots
from flor_ray.planning.terms import Terms
from flor_ray.records import Crew, Gap, Operator, Profile, Segment, SegmentCost, WorkerShape
from flor_ray.scheduler.calibration import Calibration, CostModel, Learned
from flor_ray.scheduler.costs import RecordedVersion
from flor_ray.scheduler.problem import Slot

LOOP = Segment("v", 3, 5, Operator.DP_I, restore=2, names=("x",))
OUTSIDE = Segment("v", 0, 0, Operator.DP, names=("x",))
WHOLE = Segment("v", 1, 5, Operator.DP_STAR, suffix=True, names=("x",))


@pytest.mark.parametrize(
    ("segment", "gap"),
    [
        (LOOP, Gap("v", ("x",), (5,))),
        (OUTSIDE, Gap("v", ("x",), (), data_prep=True)),
        (WHOLE, Gap("v", ("x",), (), data_prep=True)),  # wanted outside the loop only, and all of it has to run
        (WHOLE, Gap("v", ("x",), (2,))),
    ],
)
def test_a_segment_that_one_of_several_queries_wants_is_run(segment: Segment, gap: Gap) -> None:
    shares = [(1.0, [gap]), (2.0, [Gap("other", ("x",), (1,))])]
    assert [cost.segment for cost in _by_share([SegmentCost(segment, 1.0, 1.0)], shares)] == [segment]


A100, T4 = "NVIDIA A100-SXM4-40GB", "Tesla T4"
KNOWN = {A100: Calibration(slowness={T4: Learned(0.25, 0.01)}), T4: Calibration()}
ONE_GPU = WorkerShape(1, 0)


def model(kind: str) -> CostModel:
    return CostModel({"v": RecordedVersion(Profile(import_seconds=10.0), kind=T4)}, KNOWN, kind)


def test_each_worker_of_a_mix_has_the_speed_of_its_class() -> None:
    crew = Crew(ONE_GPU, here=("A100", "T4", "L4", ""))
    ready = model(T4).start_seconds()
    assert ready > 0
    assert slots(model(T4), Terms(4, crew=crew)) == (Slot(0.25, ready), *[Slot(1.0, ready)] * 3)
    assert slots(model(A100), Terms(4, crew=crew))[:2] == (Slot(1.0, ready), Slot(4.0, ready))
    halves = Crew(WorkerShape(0.5, 0), here=("A100",))  # of which nothing was measured
    assert slots(model(T4), Terms(1, crew=halves)) == (Slot(1.0, ready),)


def test_workers_on_nodes_that_are_started_come_later_than_those_that_are_there() -> None:
    ready, later = model(T4).start_seconds(), model(T4).start("new nodes").value
    found = slots(model(T4), Terms(3, crew=Crew(ONE_GPU, here=("T4",), coming=("T4", ""))))
    assert [slot.ready_seconds for slot in found] == [ready, ready + later, ready + later]
    alone = slots(model(T4), Terms(2, crew=Crew(ONE_GPU, coming=("T4", ""))))  # for which all of the replay waits
    assert [slot.ready_seconds for slot in alone] == [ready, ready]


def test_without_a_crew_all_workers_are_alike() -> None:
    assert slots(model(T4), Terms(2)) == (Slot(1.0, model(T4).start_seconds()),) * 2


def test_costs_are_those_of_the_class_of_most_workers_that_was_measured() -> None:
    assert _kind(Crew(ONE_GPU, here=("T4", "A100", "A100")), KNOWN) == A100
    assert _kind(Crew(ONE_GPU, here=("L4", "L4", "T4")), KNOWN) == T4
    assert _kind(Crew(ONE_GPU, here=("L4",)), KNOWN) == _kind(Crew(ONE_GPU), KNOWN)
