"""The dispatcher survives any interleaving: each segment ends once, and nobody runs two at a time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.records import Operator, Segment, SegmentCost, SegmentReport
from flor_ray.scheduler.dispatch import (
    BadTransition,
    Dispatcher,
    Event,
    Finished,
    GiveUp,
    Instruction,
    Retire,
    Run,
    SegmentDone,
    SegmentFailed,
    SegmentState,
    WorkerJoined,
    WorkerLost,
    WorkerState,
)
from flor_ray.scheduler.packing import Schedule, lower_bound, pack


def cost(version: str, first: int, run_seconds: float = 10.0, setup_seconds: float = 1.0) -> SegmentCost:
    return SegmentCost(Segment(version, first, first, Operator.DP_I, restore=first - 1), setup_seconds, run_seconds)


def schedule(*assignments: list[SegmentCost]) -> Schedule:
    """As given: the dispatcher does not care whether it is a good one."""
    costs = [c for assignment in assignments for c in assignment]
    return Schedule(tuple(map(tuple, assignments)), 0.0, lower_bound(costs, len(assignments)))


def done(worker: str, segment: Segment) -> SegmentDone:
    return SegmentDone(worker, SegmentReport(segment, rows=1, setup_seconds=0.0, run_seconds=1.0))


A1, A2, A3 = (cost("a", epoch) for epoch in (1, 2, 3))
B1, B2 = (cost("b", epoch) for epoch in (1, 2))


def test_workers_run_their_queues_in_order_and_retire_when_nothing_waits() -> None:
    d = Dispatcher(schedule([A1, A2], [B1]))
    assert d.handle(WorkerJoined("x")) == (Run("x", A1.segment),)
    assert d.handle(WorkerJoined("y")) == (Run("y", B1.segment),)
    assert d.handle(done("x", A1.segment)) == (Run("x", A2.segment),)
    assert d.handle(done("y", B1.segment)) == (Retire("y"),)
    assert d.handle(done("x", A2.segment)) == (Retire("x"), Finished())
    assert d.finished
    assert set(d.segments.values()) == {SegmentState.DONE}
    assert d.workers == {"x": WorkerState.RETIRED, "y": WorkerState.RETIRED}


def test_an_empty_schedule_is_finished_from_the_start_and_says_so_once() -> None:
    d = Dispatcher(schedule([]))
    assert d.finished
    assert not d.stranded
    assert d.handle(WorkerJoined("x")) == (Retire("x"), Finished())
    assert d.handle(WorkerJoined("y")) == (Retire("y"),)


def test_one_worker_runs_the_queues_of_all_the_longest_first() -> None:
    d = Dispatcher(schedule([A1], [B1, B2]))
    assert d.handle(WorkerJoined("x")) == (Run("x", B1.segment),)
    assert d.handle(done("x", B1.segment)) == (Run("x", B2.segment),)
    assert d.handle(done("x", B2.segment)) == (Run("x", A1.segment),)


def test_an_idle_worker_takes_the_last_segment_of_the_latest_worker() -> None:
    d = Dispatcher(schedule([A1, A2, A3], [B1]))
    d.handle(WorkerJoined("x"))
    d.handle(WorkerJoined("y"))
    assert d.handle(done("y", B1.segment)) == (Run("y", A3.segment),)


def test_an_idle_worker_waits_when_taking_a_segment_does_not_pay_for_its_set_up() -> None:
    dear = [cost("a", epoch, run_seconds=10.0, setup_seconds=100.0) for epoch in (1, 2)]
    d = Dispatcher(schedule(dear, [B1]))
    d.handle(WorkerJoined("x"))
    d.handle(WorkerJoined("y"))
    assert d.handle(done("y", B1.segment)) == ()
    assert d.workers["y"] is WorkerState.IDLE
    assert d.handle(done("x", dear[0].segment)) == (Run("x", dear[1].segment), Retire("y"))


def test_a_lost_workers_segment_runs_first_where_its_queue_goes() -> None:
    d = Dispatcher(schedule([A1, A2], [B1]))
    d.handle(WorkerJoined("x"))
    d.handle(WorkerJoined("y"))
    assert d.handle(WorkerLost("x")) == ()
    assert d.handle(done("y", B1.segment)) == (Run("y", A1.segment),)
    assert d.handle(done("y", A1.segment)) == (Run("y", A2.segment),)
    assert d.handle(WorkerLost("x")) == ()


def test_an_idle_worker_takes_a_lost_ones_queue_at_once() -> None:
    dear = [cost("a", epoch, setup_seconds=100.0) for epoch in (1, 2)]
    d = Dispatcher(schedule(dear, [B1]))
    d.handle(WorkerJoined("x"))
    d.handle(WorkerJoined("y"))
    d.handle(done("y", B1.segment))
    assert d.handle(WorkerLost("x")) == (Run("y", dear[0].segment),)


def test_losing_all_workers_strands_the_replay_until_one_joins() -> None:
    d = Dispatcher(schedule([A1]))
    assert d.stranded
    d.handle(WorkerJoined("x"))
    assert not d.stranded
    assert d.handle(WorkerLost("x")) == ()
    assert d.stranded
    assert d.handle(WorkerJoined("x")) == (Run("x", A1.segment),)


def test_a_segment_that_loses_every_worker_is_given_up_after_some_attempts() -> None:
    d = Dispatcher(schedule([A1]), max_attempts=2)
    d.handle(WorkerJoined("x"))
    d.handle(WorkerLost("x"))
    d.handle(WorkerJoined("y"))
    error = "worker y was lost while it ran this; 2 attempts were made"
    assert d.handle(WorkerLost("y")) == (GiveUp(A1.segment, error), Finished())


def test_a_failure_that_may_pass_is_tried_again_after_the_others() -> None:
    d = Dispatcher(schedule([A1, A2]), max_attempts=2)
    d.handle(WorkerJoined("x"))
    assert d.handle(SegmentFailed("x", A1.segment, "out of memory", retryable=True)) == (Run("x", A2.segment),)
    assert d.handle(done("x", A2.segment)) == (Run("x", A1.segment),)
    assert d.handle(SegmentFailed("x", A1.segment, "out of memory", retryable=True)) == (
        GiveUp(A1.segment, "out of memory"),
        Retire("x"),
        Finished(),
    )


def test_a_script_that_raises_is_given_up_at_once_and_its_other_segments_are_tried() -> None:
    d = Dispatcher(schedule([A1, A2]))
    d.handle(WorkerJoined("x"))
    assert d.handle(SegmentFailed("x", A1.segment, "NameError", retryable=False)) == (
        GiveUp(A1.segment, "NameError"),
        Run("x", A2.segment),
    )


def test_what_cannot_have_happened_is_refused_with_the_history_and_changes_nothing() -> None:
    d = Dispatcher(schedule([A1, A2]))
    with pytest.raises(BadTransition, match="the worker is unknown"):
        d.handle(WorkerLost("x"))
    d.handle(WorkerJoined("x"))
    for event, words in (
        (WorkerJoined("x"), "the worker is busy"),
        (done("y", A1.segment), "the worker is unknown"),
        (done("x", A2.segment), "the worker runs"),
        (SegmentFailed("x", B1.segment, "no", True), "the worker runs"),
    ):
        with pytest.raises(BadTransition, match=words) as caught:
            d.handle(event)
        assert caught.value.event == event
        assert caught.value.history == (WorkerJoined("x"), Run("x", A1.segment))
    assert d.running == {"x": A1.segment}


def test_a_segment_needs_at_least_one_attempt() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Dispatcher(schedule([A1]), max_attempts=0)


def test_the_remaining_seconds_shrink_as_segments_end() -> None:
    d = Dispatcher(schedule([A1, A2], [B1]))
    assert d.remaining_seconds() == 32.0
    d.handle(WorkerJoined("x"))
    assert d.remaining_seconds() == 5.5 + 10.0 + 11.0
    d.handle(WorkerJoined("y"))
    assert d.remaining_seconds() == 15.5
    assert d.remaining_seconds({"x": 3.0, "y": 3.0}) == 18.0
    d.handle(done("x", A1.segment))
    assert d.remaining_seconds({"x": 0.0, "y": 99.0}) == 10.0
    assert d.seconds_by_state() == {
        SegmentState.WAITING: 0.0,
        SegmentState.RUNNING: 20.0,
        SegmentState.DONE: 10.0,
        SegmentState.GIVEN_UP: 0.0,
    }


def test_revised_costs_change_the_remaining_seconds_and_foreign_ones_are_ignored() -> None:
    d = Dispatcher(schedule([A1]))
    d.revise([cost("a", 1, run_seconds=50.0), cost("z", 1)])
    assert d.remaining_seconds() == 51.0
    assert set(d.segments) == {A1.segment}


def test_a_version_is_set_up_again_after_its_suffix_ended_the_process() -> None:
    suffix = SegmentCost(Segment("a", 0, 0, Operator.DP, suffix=True), 1.0, 2.0)
    d = Dispatcher(schedule([suffix, A1, A2]))
    d.handle(WorkerJoined("x"))
    d.handle(done("x", suffix.segment))
    assert d.remaining_seconds({"x": 0.0}) == 1.0 + 10.0 + 10.0


class Shell:
    """Performs instructions like a cluster would, and checks them against what it has seen itself."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.flying: dict[str, Segment] = {}
        self.ended: list[Segment] = []
        self.present: list[str] = []
        self.joined = 0
        self.finishes = 0

    def tell(self, event: Event) -> None:
        if isinstance(event, WorkerLost):
            self.present.remove(event.worker)
            self.flying.pop(event.worker, None)
        elif isinstance(event, SegmentDone):
            self.ended.append(self.flying.pop(event.worker))
        elif isinstance(event, SegmentFailed):
            del self.flying[event.worker]
        for instruction in self.dispatcher.handle(event):
            self.perform(instruction)
        assert self.dispatcher.running == self.flying
        assert self.dispatcher.remaining_seconds() >= 0
        assert self.dispatcher.finished == (self.finishes == 1)

    def perform(self, instruction: Instruction) -> None:
        assert not self.finishes
        if isinstance(instruction, Run):
            assert instruction.worker in self.present
            assert instruction.worker not in self.flying
            assert instruction.segment not in self.flying.values()
            assert instruction.segment not in self.ended
            self.flying[instruction.worker] = instruction.segment
        elif isinstance(instruction, GiveUp):
            self.ended.append(instruction.segment)
        elif isinstance(instruction, Retire):
            assert instruction.worker not in self.flying
            self.present.remove(instruction.worker)
        else:
            self.finishes += 1

    def join(self) -> None:
        self.joined += 1
        self.present.append(f"w{self.joined}")
        self.tell(WorkerJoined(self.present[-1]))


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["join", "done", "fail", "raise", "lose"]), st.integers(0, 9)), max_size=40
)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50)), max_size=12),
    st.integers(1, 4),
    st.sampled_from([0.0, 1.0, 40.0]),
    ACTIONS,
)
def test_every_segment_ends_exactly_once_whatever_happens(
    runs: list[tuple[str, float]], workers: int, setup_seconds: float, actions: list[tuple[str, int]]
) -> None:
    costs = [cost(version, number, run, setup_seconds) for number, (version, run) in enumerate(runs, start=1)]
    shell = Shell(Dispatcher(pack(costs, workers)))
    for action, number in actions:
        if shell.finishes:
            break
        if action == "join":
            shell.join()
        elif action == "lose" and shell.present:
            shell.tell(WorkerLost(shell.present[number % len(shell.present)]))
        elif action in ("done", "fail", "raise") and shell.flying:
            worker = sorted(shell.flying)[number % len(shell.flying)]
            segment = shell.flying[worker]
            failed = SegmentFailed(worker, segment, "failed", retryable=action == "fail")
            shell.tell(done(worker, segment) if action == "done" else failed)
    while not shell.finishes:  # from here on all goes well
        if shell.flying:
            worker = min(shell.flying)
            shell.tell(done(worker, shell.flying[worker]))
        else:
            assert shell.dispatcher.stranded or not costs
            shell.join()
    assert sorted(shell.ended) == sorted(c.segment for c in costs)
    assert shell.present == []
    assert set(shell.dispatcher.segments.values()) <= {SegmentState.DONE, SegmentState.GIVEN_UP}
