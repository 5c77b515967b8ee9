"""The dispatcher survives any interleaving: each row is answered once, and what nobody should do twice is done once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flor_ray.planning import segmenting
from flor_ray.records import LackingFile, Operator, Segment, SegmentCost, SegmentReport
from flor_ray.scheduler.dispatch import BadTransition, Dispatcher
from flor_ray.scheduler.jobs import SegmentState, WorkerState, first_run
from flor_ray.scheduler.messages import (
    Cancel,
    EpochBegun,
    EstimateCorrected,
    Event,
    Fetch,
    Finished,
    GiveUp,
    Instruction,
    NoOtherNode,
    OthersAtWork,
    Retire,
    Run,
    SecondTry,
    Seek,
    SegmentAdvanced,
    SegmentCancelled,
    SegmentDone,
    SegmentFailed,
    SegmentNotHere,
    SegmentShortened,
    SegmentSlow,
    SegmentTaken,
    Shorten,
    WorkerDraining,
    WorkerJoined,
    WorkerLost,
)
from flor_ray.scheduler.packing import Schedule, pack
from flor_ray.scheduler.problem import Cutting, Slot
from flor_ray.scheduler.sharing import SegmentPart, Sifted, Whose

EPOCH_SECONDS, SETUP_SECONDS = 10.0, 1.0


def price(segment: Segment) -> SegmentCost:
    return SegmentCost(segment, SETUP_SECONDS, EPOCH_SECONDS * (segment.last - first_run(segment) + 1))


def segment(version: str, first: int, last: int) -> Segment:
    return Segment(version, first, last, Operator.DP_I, restore=first - 1)


def cost(version: str, first: int, last: int | None = None) -> SegmentCost:
    return price(segment(version, first, last or first))


CUTTING = Cutting(lambda s: range(s.first + 1, s.last + 1), segmenting.cut, price)


def schedule(*assignments: list[SegmentCost]) -> Schedule:
    return Schedule(tuple(map(tuple, assignments)), 0.0, 0.0)


def done(worker: str, ended: Segment, seconds: float | None = None) -> SegmentDone:
    run_seconds = price(ended).run_seconds if seconds is None else seconds
    return SegmentDone(worker, SegmentReport(ended, 1, SETUP_SECONDS, run_seconds))


def advanced(worker: str, part: Segment, seconds: float | None = None) -> SegmentAdvanced:
    return SegmentAdvanced(worker, done(worker, part, seconds).report)


def told(instructions: tuple[Instruction, ...]) -> list[object]:
    """Instructions without their estimates."""
    return [(i.worker, i.segment) if isinstance(i, Run) else i for i in instructions]


def two(*queues: list[SegmentCost], max_attempts: int = 3, cutting: Cutting = CUTTING) -> Dispatcher:
    """Workers x and y have joined for their queues."""
    d = Dispatcher(schedule(*queues), cutting, max_attempts)
    for number, worker in enumerate("xy"):
        d.handle(WorkerJoined(worker, slot=number), 0)
    return d


def cloned(of: SegmentCost | None = None, max_attempts: int = 3) -> Dispatcher:
    """x takes long over A1, or what is given, and y runs it, too. (Clones may take 5 % of what is planned.)"""
    of = of or A1
    d = two([of], [B1, MUCH], max_attempts=max_attempts, cutting=replace(CUTTING, points=lambda s: ()))
    d.handle(done("y", B1.segment), 11)
    d.handle(done("y", MUCH.segment), 401)
    assert d.running == {"x": of.segment, "y": of.segment}
    return d


A1, A2, A3 = (cost("a", epoch) for epoch in (1, 2, 3))
B1, B2 = (cost("b", epoch) for epoch in (1, 2))
LONG, PAIR, TRIO = cost("a", 1, 8), cost("a", 1, 2), cost("a", 1, 3)
MUCH = replace(cost("b", 2), run_seconds=690.0)
HEAD, TAIL = segment("a", 1, 4), segment("a", 5, 8)


# --- stories ----------------------------------------------------------------------------------------------------------


def test_workers_run_their_queues_in_order_and_are_kept_while_others_might_need_them() -> None:
    d = Dispatcher(schedule([A1, A2], [B1]))
    assert d.handle(WorkerJoined("x"), 0) == (Run("x", A1.segment, 22.0, 11.0),)
    assert told(d.handle(WorkerJoined("y"), 0)) == [("y", B1.segment)]
    assert told(d.handle(done("x", A1.segment), 11)) == [("x", A2.segment)]
    assert told(d.handle(done("y", B1.segment), 11)) == []
    assert told(d.handle(done("x", A2.segment), 21)) == [Retire("x"), Retire("y"), Finished()]
    assert d.finished
    assert set(d.segments.values()) == {SegmentState.DONE}
    assert d.workers == {"x": WorkerState.RETIRED, "y": WorkerState.RETIRED}


def test_what_takes_long_to_read_is_fetched_while_the_segment_before_it_runs() -> None:
    read = replace(A2, read_seconds=0.2)
    d = Dispatcher(schedule([A1, read, A3], [B1]))
    assert told(d.handle(WorkerJoined("x"), 0)) == [("x", A1.segment), Fetch("x", A2.segment)]
    assert told(d.handle(WorkerJoined("y"), 0)) == [("y", B1.segment)]
    assert told(d.handle(done("x", A1.segment), 11)) == [("x", A2.segment)]  # what follows takes no time to read


def test_of_idle_workers_that_would_end_together_one_helps_whose_machine_has_read_the_states() -> None:
    first, second = (SegmentCost(segment("a", epoch, epoch), 5.0, 0.05) for epoch in (1, 2))
    d = Dispatcher(schedule([first, second], [], []))
    for slot, (worker, node) in enumerate([("x", "n1"), ("y", "n2"), ("z", "n1")]):
        d.handle(WorkerJoined(worker, slot=slot, node=node), 0)
    assert d.running == {"x": first.segment}  # to set it up takes longer than both segments
    longer = EstimateCorrected((replace(second, run_seconds=50.0),))
    assert told(d.handle(longer, 1)) == [("z", second.segment)]


def test_an_empty_schedule_is_finished_from_the_start_and_says_so_once() -> None:
    d = Dispatcher(schedule([]))
    assert d.finished
    assert not d.stranded
    assert d.handle(WorkerJoined("x"), 0) == (Retire("x"), Finished())
    assert d.handle(WorkerJoined("y"), 0) == (Retire("y"),)


def test_one_worker_runs_the_queues_of_all_the_longest_first() -> None:
    d = Dispatcher(schedule([A1], [B1, B2]))
    assert told(d.handle(WorkerJoined("x"), 0)) == [("x", B1.segment)]
    assert told(d.handle(done("x", B1.segment), 11)) == [("x", B2.segment)]
    assert told(d.handle(done("x", B2.segment), 21)) == [("x", A1.segment)]


def test_of_equal_rank_versions_with_long_stretches_run_first_and_ranks_come_before_that() -> None:
    long = SegmentCost(segment("b", 1, 1), 1.0, 50.0)
    assert told(Dispatcher(schedule([A1, long])).handle(WorkerJoined("x"), 0)) == [("x", long.segment)]
    ranked = schedule([replace(A1, rank=1.0), replace(long, rank=2.0)])
    assert told(Dispatcher(ranked).handle(WorkerJoined("x"), 0)) == [("x", A1.segment)]


def test_a_worker_takes_a_queue_that_was_made_for_its_speed() -> None:
    made = replace(schedule([A1, A2], [B1]), slots=(Slot(slowness=1.0), Slot(slowness=3.0)))
    d = Dispatcher(made, slowness={"old": 3.0})
    assert told(d.handle(WorkerJoined("x", "old"), 0)) == [("x", B1.segment)]
    d = Dispatcher(made)
    assert told(d.handle(WorkerJoined("x", slot=1), 0)) == [("x", B1.segment)]


def test_an_idle_worker_takes_the_last_segment_of_the_latest_worker() -> None:
    d = Dispatcher(schedule([A1, A2, A3], [B1]))
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    assert told(d.handle(done("y", B1.segment), 11)) == [("y", A3.segment)]


def test_an_idle_worker_waits_when_taking_a_segment_does_not_pay_for_its_set_up() -> None:
    dear = [replace(c, setup_seconds=100.0) for c in (A1, A2)]
    d = Dispatcher(schedule(dear, [B1]))
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    assert d.handle(done("y", B1.segment), 11) == ()
    assert d.workers["y"] is WorkerState.IDLE


def test_an_idle_worker_asks_for_half_of_a_running_segment_and_gets_it_when_the_owner_has_answered() -> None:
    d = Dispatcher(schedule([LONG]), CUTTING)
    assert told(d.handle(WorkerJoined("x"), 0)) == [("x", LONG.segment)]
    assert d.handle(WorkerJoined("y"), 0) == (Shorten("x", LONG.segment, 4),)
    assert d.handle(WorkerJoined("z"), 0) == ()  # it is not asked twice at a time
    assert told(d.handle(SegmentShortened("x", LONG.segment, 4), 0))[0] == ("y", TAIL)
    assert d.running == {"x": HEAD, "y": TAIL}


def test_a_worker_that_was_further_than_thought_keeps_what_it_has_begun() -> None:
    d = Dispatcher(schedule([LONG]), CUTTING)
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    assert told(d.handle(SegmentShortened("x", LONG.segment, 6), 1)) == [("y", segment("a", 7, 8))]


def test_an_answer_between_borders_is_warmed_up_from_the_border_before_it() -> None:
    d = Dispatcher(schedule([LONG]), replace(CUTTING, points=lambda s: [e for e in (3, 5, 7) if s.first < e <= s.last]))
    d.handle(WorkerJoined("x"), 0)
    assert d.handle(WorkerJoined("y"), 0) == (Shorten("x", LONG.segment, 4),)
    assert told(d.handle(SegmentShortened("x", LONG.segment, 5), 1)) == [
        ("y", replace(segment("a", 6, 8), restore=4)),
    ]


def test_a_segment_that_is_done_before_the_question_comes_leaves_nothing_to_take() -> None:
    d = Dispatcher(schedule([LONG]), CUTTING)
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    assert d.handle(done("x", LONG.segment), 81)[-1] == Finished()
    assert d.handle(SegmentShortened("x", LONG.segment, 8), 82) == ()
    with pytest.raises(BadTransition, match="nobody has asked"):
        d.handle(SegmentShortened("x", LONG.segment, 8), 83)


def test_a_segment_that_ends_short_before_its_answer_came_counts_as_the_answer() -> None:
    d = Dispatcher(schedule([LONG]), CUTTING)
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    assert ("y", TAIL) in told(d.handle(done("x", HEAD), 41))
    assert d.handle(SegmentShortened("x", LONG.segment, 4), 42) == ()


def test_an_owner_that_is_lost_while_it_is_asked_leaves_all_of_its_segment() -> None:
    d = Dispatcher(schedule([LONG]), CUTTING)
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    assert told(d.handle(WorkerLost("x"), 1)) == [("y", LONG.segment)]
    assert d.handle(SegmentShortened("x", LONG.segment, 4), 2) == ()


def test_a_tail_whose_taker_is_gone_waits_for_anybody() -> None:
    d = Dispatcher(schedule([LONG]), CUTTING)
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    d.handle(WorkerLost("y"), 1)
    assert d.handle(SegmentShortened("x", LONG.segment, 4), 2) == ()
    assert d.segments == {HEAD: SegmentState.RUNNING, TAIL: SegmentState.WAITING}
    assert told(d.handle(done("x", HEAD), 41)) == [("x", TAIL)]


def test_a_straggler_is_cloned_when_nothing_else_waits_and_the_first_result_counts() -> None:
    d = cloned()
    assert d.handle(done("y", A1.segment), 412) == (Cancel("x", A1.segment), Retire("y"), Finished())
    assert d.workers["x"] is WorkerState.LEAVING
    assert d.handle(SegmentCancelled("x", A1.segment), 413) == (Retire("x"),)


def test_a_clone_that_comes_second_is_told_to_leave_and_may_be_done_instead() -> None:
    d = cloned()
    assert d.handle(done("x", A1.segment), 405)[0] == Cancel("y", A1.segment)
    assert d.handle(done("y", A1.segment), 406) == (Retire("y"),)
    assert d.standing(406).rows_answered == 3
    assert d.handle(SegmentCancelled("y", A1.segment), 407) == ()


def test_no_attempt_is_counted_for_a_clone_and_a_lost_original_goes_on_in_its_clone() -> None:
    d = cloned(max_attempts=1)
    assert d.handle(WorkerLost("x"), 402) == ()
    assert d.running == {"y": A1.segment}
    error = "worker y was lost while it ran this; 1 attempts were made"
    assert d.handle(WorkerLost("y"), 403) == (GiveUp(A1.segment, error), Finished())


def test_a_draining_worker_ends_at_the_next_border_and_leaves_its_queue() -> None:
    d = Dispatcher(schedule([LONG, replace(B1, run_seconds=5.0)]), CUTTING)
    d.handle(WorkerJoined("x"), 0)
    d.handle(EpochBegun("x", LONG.segment, 2), 11)
    assert d.handle(WorkerDraining("x"), 12) == (Shorten("x", LONG.segment, 2),)
    assert d.handle(SegmentShortened("x", LONG.segment, 2), 12) == ()
    assert d.stranded
    assert d.handle(done("x", segment("a", 1, 2)), 21) == (Retire("x"),)
    assert {s for s, state in d.segments.items() if state is SegmentState.WAITING} == {segment("a", 3, 8), B1.segment}
    assert told(d.handle(WorkerJoined("y"), 30)) == [("y", segment("a", 3, 8))]


def test_a_slow_worker_leaves_what_it_would_not_end_in_time_to_others() -> None:
    d = two([A1, A2, A3], [cost("b", e) for e in range(1, 8)])
    for epoch in range(1, 5):
        d.handle(done("y", segment("b", epoch, epoch)), 1 + 10 * epoch)
    assert told(d.handle(done("x", A1.segment, seconds=41.0), 42)) == []
    assert d.workers["x"] is WorkerState.IDLE
    d.handle(WorkerLost("y"), 43)
    assert set(d.running) == {"x"}  # better late than never


def test_a_slow_worker_is_asked_to_end_in_time_before_anybody_is_idle() -> None:
    d = two([LONG], [cost("b", e) for e in range(1, 10)])
    d.handle(EpochBegun("x", LONG.segment, 1), 1)
    for epoch in range(1, 4):
        d.handle(done("y", segment("b", epoch, epoch)), 1 + 10 * epoch)
    assert d.handle(EpochBegun("x", LONG.segment, 2), 41) == (Shorten("x", LONG.segment, 2),)
    assert d.handle(SegmentShortened("x", LONG.segment, 2), 41) == ()
    assert d.segments[segment("a", 3, 8)] is SegmentState.WAITING


def test_a_lost_workers_segment_runs_first_where_its_queue_goes() -> None:
    d = Dispatcher(schedule([A1, A2], [B1]))
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    assert d.handle(WorkerLost("x"), 1) == ()
    assert told(d.handle(done("y", B1.segment), 11)) == [("y", A1.segment)]
    assert told(d.handle(done("y", A1.segment), 22)) == [("y", A2.segment)]
    assert d.handle(WorkerLost("x"), 23) == ()


def test_losing_all_workers_strands_the_replay_until_one_joins() -> None:
    d = Dispatcher(schedule([A1]))
    assert d.stranded
    d.handle(WorkerJoined("x"), 0)
    assert not d.stranded
    assert d.handle(WorkerLost("x"), 1) == ()
    assert d.stranded
    assert told(d.handle(WorkerJoined("x"), 2)) == [("x", A1.segment)]


def test_a_failure_that_may_pass_is_tried_again_after_the_others() -> None:
    d = Dispatcher(schedule([A1, A2]), max_attempts=2)
    d.handle(WorkerJoined("x"), 0)
    failed = SegmentFailed("x", A1.segment, "out of memory", retryable=True)
    assert told(d.handle(failed, 1)) == [("x", A2.segment)]
    assert told(d.handle(done("x", A2.segment), 12)) == [("x", A1.segment)]
    assert d.handle(failed, 13) == (GiveUp(A1.segment, "out of memory"), Retire("x"), Finished())


def test_what_hung_is_tried_once_more_by_another_worker() -> None:
    d = two([A1, A2], [B1, B2], max_attempts=5)
    hung = SegmentFailed("x", A1.segment, "hangs", True, SecondTry.ELSEWHERE)
    assert told(d.handle(hung, 1)) == [("x", A2.segment)]
    assert told(d.handle(done("x", A2.segment), 12)) == [("x", B2.segment)]  # and not what it hung at
    assert told(d.handle(done("y", B1.segment), 13)) == [("y", A1.segment)]
    assert d.handle(replace(hung, worker="y"), 14) == (GiveUp(A1.segment, "hangs"),)


def test_a_worker_that_is_alone_tries_again_itself_what_hung() -> None:
    d = Dispatcher(schedule([A1, A2]))
    d.handle(WorkerJoined("x"), 0)
    hung = SegmentFailed("x", A1.segment, "hangs", True, SecondTry.ELSEWHERE)
    assert told(d.handle(hung, 1)) == [("x", A2.segment)]
    assert told(d.handle(done("x", A2.segment), 12)) == [("x", A1.segment)]


def test_what_lacked_memory_is_tried_once_more_when_its_node_is_quiet() -> None:
    much = replace(cost("b", 2), run_seconds=390.0)
    d = two([A1], [B1, much], max_attempts=5)
    lacked = SegmentFailed("x", A1.segment, "memory", True, SecondTry.ALONE)
    assert told(d.handle(lacked, 1)) == [("x", much.segment)]
    assert told(d.handle(done("y", B1.segment), 11)) == []
    assert told(d.handle(WorkerJoined("z", node="n1"), 12)) == [("z", A1.segment)]  # a node of its own
    assert told(d.handle(replace(lacked, worker="z"), 13)) == [GiveUp(A1.segment, "memory"), Retire("z")]


def test_nothing_begins_beside_what_has_to_be_alone() -> None:
    d = Dispatcher(schedule([LONG], [B1, B2]))
    d.handle(WorkerJoined("x", slot=0), 0)
    lacked = SegmentFailed("x", LONG.segment, "memory", True, SecondTry.ALONE)
    assert told(d.handle(lacked, 1)) == [("x", LONG.segment)]  # the longest, and nothing else runs
    assert d.handle(WorkerJoined("y", slot=1), 2) == ()
    assert told(d.handle(WorkerJoined("z", node="n1"), 3)) == [("z", B1.segment)]
    assert told(d.handle(done("x", LONG.segment), 82)) == [("x", B2.segment)]


def test_no_attempt_is_counted_while_the_store_is_away() -> None:
    d = Dispatcher(schedule([A1]), max_attempts=1)
    d.handle(WorkerJoined("x"), 0)
    for number in range(5):
        away = SegmentFailed("x", A1.segment, "the store is away", retryable=True, counts=False)
        assert told(d.handle(away, 600.0 * (number + 1))) == [("x", A1.segment)]
    assert told(d.handle(done("x", A1.segment), 4000)) == [Retire("x"), Finished()]


def test_a_script_that_raises_is_given_up_at_once_and_its_other_segments_are_tried() -> None:
    d = Dispatcher(schedule([A1, A2]))
    d.handle(WorkerJoined("x"), 0)
    assert told(d.handle(SegmentFailed("x", A1.segment, "NameError", retryable=False), 1)) == [
        GiveUp(A1.segment, "NameError"),
        ("x", A2.segment),
    ]


def left(dispatcher: Dispatcher, now: float) -> float:
    """Seconds until the last worker ends, if nothing takes longer than estimated; of one if none is there."""
    standing = dispatcher.standing(now)
    ends = [lane.step - lane.taken + lane.after for lane in standing.lanes]
    return max([*ends, (sum(ends) + standing.waiting_seconds) / max(1, len(ends))])


def test_corrected_estimates_hold_for_pieces_too_and_foreign_ones_are_ignored() -> None:
    d = Dispatcher(schedule([LONG]), CUTTING)
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    d.handle(SegmentShortened("x", LONG.segment, 4), 0)
    assert left(d, 0) == pytest.approx(41)
    d.handle(EstimateCorrected((replace(LONG, run_seconds=160.0), cost("z", 1))), 0)
    assert left(d, 0) == pytest.approx(81)
    d.handle(EstimateCorrected(slowness={"": 2.0}), 0)
    assert left(d, 0) == pytest.approx(162)
    assert set(d.segments) == {HEAD, TAIL}


def test_the_standing_counts_the_rows_of_a_cut_segment_one_by_one() -> None:
    outside = SegmentCost(Segment("a", 0, 0, Operator.DP, suffix=True), 1.0, 2.0)
    d = Dispatcher(schedule([LONG, outside]), CUTTING)
    assert left(d, 0) == pytest.approx(83.0)
    d.handle(WorkerJoined("x"), 0)
    d.handle(EpochBegun("x", LONG.segment, 4), 31)
    d.handle(WorkerDraining("x"), 31)
    d.handle(SegmentShortened("x", LONG.segment, 4), 31)
    d.handle(done("x", HEAD), 41)
    standing = d.standing(50)
    assert (standing.rows_answered, standing.rows) == (4, 9)
    assert left(d, 50) == pytest.approx(44.0)


def test_a_version_is_set_up_again_after_its_suffix_ended_the_process() -> None:
    suffix = SegmentCost(Segment("a", 0, 0, Operator.DP, suffix=True), 1.0, 200.0)
    d = Dispatcher(schedule([suffix, A1, A2]))
    d.handle(WorkerJoined("x"), 0)
    d.handle(done("x", suffix.segment, 200.0), 201)
    assert left(d, 201) == 1.0 + 10.0 + 10.0


def test_a_segment_needs_at_least_one_attempt() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Dispatcher(schedule([A1]), max_attempts=0)


def test_what_a_lost_worker_has_answered_is_done_and_only_the_rest_runs_again() -> None:
    d = two([LONG], [B1])
    assert told(d.handle(advanced("x", segment("a", 1, 2)), 21)) == []
    assert told(d.handle(advanced("x", segment("a", 3, 3)), 31)) == []
    assert d.running["x"] == segment("a", 4, 8)
    assert (d.standing(31).rows_answered, d.standing(31).rows) == (3, 9)
    assert told(d.handle(WorkerLost("x"), 35)) == []
    assert told(d.handle(done("y", B1.segment), 36)) == [("y", segment("a", 4, 8))]
    assert told(d.handle(done("y", segment("a", 4, 8)), 80)) == [Retire("y"), Finished()]
    assert d.segments == dict.fromkeys(
        [segment("a", 1, 2), segment("a", 3, 3), segment("a", 4, 8), B1.segment], SegmentState.DONE
    )


def test_the_rest_of_a_lost_segment_begins_with_the_nearest_state_before_it() -> None:
    d = two([LONG], cutting=replace(CUTTING, points=lambda s: [p for p in (3, 6) if s.first < p <= s.last]))
    d.handle(WorkerLost("y"), 0)
    d.handle(advanced("x", segment("a", 1, 4)), 41)
    d.handle(WorkerLost("x"), 45)
    assert told(d.handle(WorkerJoined("z"), 50)) == [("z", replace(segment("a", 5, 8), restore=2))]


def test_whoever_has_answered_a_part_has_all_attempts_again() -> None:
    d = two([LONG], max_attempts=2)
    d.handle(WorkerLost("y"), 0)
    for number, last in enumerate((2, 4, 6)):
        worker = "x" if not number else f"w{number}"
        d.handle(advanced(worker, segment("a", last - 1, last)), last * 10)
        d.handle(WorkerLost(worker), last * 10 + 5)
        assert told(d.handle(WorkerJoined(f"w{number + 1}"), last * 10 + 6)) == [
            (f"w{number + 1}", segment("a", last + 1, 8))
        ]
    given_up, finished = d.handle(WorkerLost("w3"), 90)
    assert isinstance(given_up, GiveUp)
    assert (given_up.segment, finished) == (segment("a", 7, 8), Finished())


def test_a_part_is_answered_in_its_turn_or_refused() -> None:
    d = two([LONG])
    for wrong in (segment("a", 2, 3), LONG.segment, segment("b", 1, 2), replace(segment("a", 1, 2), restore=None)):
        with pytest.raises(BadTransition, match="epoch 1 of"):
            d.handle(advanced("x", wrong), 1)
    d.handle(advanced("x", segment("a", 1, 2)), 21)
    for wrong in (segment("a", 1, 8), segment("a", 4, 8)):
        with pytest.raises(BadTransition, match="has to answer epoch 3 next"):
            d.handle(done("x", wrong), 80)


def test_a_tail_is_asked_of_a_segment_by_the_name_that_its_worker_knows() -> None:
    d = Dispatcher(schedule([LONG]), CUTTING)
    d.handle(WorkerJoined("x"), 0)
    d.handle(advanced("x", segment("a", 1, 2)), 21)
    assert told(d.handle(WorkerJoined("y"), 22)) == [Shorten("x", LONG.segment, 5)]
    d.handle(advanced("x", segment("a", 3, 6)), 61)  # it was further than thought
    assert told(d.handle(SegmentShortened("x", LONG.segment, 7), 61)) == [("y", segment("a", 8, 8))]
    assert told(d.handle(done("x", segment("a", 7, 7)), 72)) == []
    assert told(d.handle(done("y", segment("a", 8, 8)), 73)) == [Retire("x"), Retire("y"), Finished()]


def test_of_two_clones_each_answers_from_where_it_began_and_what_is_answered_twice_counts_once() -> None:
    d = cloned(TRIO)
    d.handle(advanced("x", segment("a", 1, 1)), 405)
    assert d.running == dict.fromkeys("xy", replace(segment("a", 2, 3), restore=0))
    d.handle(advanced("y", segment("a", 1, 1)), 411)  # old news
    d.handle(advanced("y", segment("a", 2, 2)), 412)
    assert d.running == dict.fromkeys("xy", replace(segment("a", 3, 3), restore=0))
    assert told(d.handle(done("x", segment("a", 2, 3)), 420)) == [Cancel("y", TRIO.segment), Retire("x"), Finished()]
    assert d.standing(420).rows_answered == d.standing(420).rows
    assert told(d.handle(SegmentCancelled("y", TRIO.segment), 421)) == [Retire("y")]


def test_a_clone_that_is_done_first_ends_a_segment_that_was_answered_in_part() -> None:
    d = cloned(TRIO)
    d.handle(advanced("x", segment("a", 1, 2)), 405)
    assert told(d.handle(done("y", TRIO.segment), 410)) == [Cancel("x", TRIO.segment), Retire("y"), Finished()]
    assert told(d.handle(done("x", segment("a", 3, 3)), 411)) == [Retire("x")]
    assert set(d.segments) >= {segment("a", 1, 2), replace(segment("a", 3, 3), restore=0)}


# --- the table --------------------------------------------------------------------------------------------------------


def prepared(state: WorkerState | None) -> tuple[Dispatcher, Segment]:
    """A dispatcher whose worker x is in that state, and the segment that x runs or last ran."""
    d = Dispatcher(schedule([LONG], [cost("b", 1, 40)]), CUTTING)
    if state is None:
        return d, LONG.segment
    d.handle(WorkerJoined("x", slot=0), 0)
    if state is WorkerState.BUSY:
        return d, LONG.segment
    if state is WorkerState.DRAINING:
        d.handle(EpochBegun("x", LONG.segment, 2), 1)
        d.handle(WorkerDraining("x"), 1)
        d.handle(SegmentShortened("x", LONG.segment, 2), 1)
        return d, segment("a", 1, 2)
    if state is WorkerState.LOST:
        d.handle(WorkerLost("x"), 1)
    if state is WorkerState.RETIRED:
        d.handle(WorkerDraining("x"), 1)
        d.handle(SegmentShortened("x", LONG.segment, 1), 1)
        d.handle(done("x", segment("a", 1, 1)), 11)
    if state is WorkerState.IDLE:
        d = Dispatcher(schedule([A1], [B1]), CUTTING)
        d.handle(WorkerJoined("x"), 0)
        d.handle(WorkerJoined("y"), 0)
        d.handle(done("x", A1.segment), 11)
        return d, A1.segment
    if state is WorkerState.LEAVING:
        d = cloned(PAIR)
        d.handle(done("y", PAIR.segment), 422)
        return d, PAIR.segment
    return d, LONG.segment


I, B, L, D, R, X = (WorkerState[n] for n in ("IDLE", "BUSY", "LEAVING", "DRAINING", "RETIRED", "LOST"))  # noqa: E741
TABLE = {  # what the worker is in afterwards, from unknown, IDLE, BUSY, LEAVING, DRAINING, RETIRED, LOST; None: bad
    "WorkerJoined": (B, None, None, None, None, B, B),  # a segment waits, so IDLE becomes BUSY at once
    "WorkerDraining": (None, R, D, L, D, R, X),
    "WorkerLost": (None, X, X, X, X, X, X),
    "EpochBegun": (None, I, B, L, D, R, X),
    "SegmentAdvanced": (None, None, B, L, D, None, None),
    "SegmentSlow": (None, I, B, L, D, R, X),
    "SegmentDone": (None, None, B, R, R, None, None),
    "SegmentFailed": (None, None, B, R, R, None, None),
    "SegmentTaken": (None, None, B, R, R, None, None),
    "SegmentShortened": (None, None, None, None, None, None, X),
    "SegmentCancelled": (None, None, None, R, None, None, X),
}
STATES = (None, I, B, L, D, R, X)


def event_of(kind: str, concerned: Segment) -> Event:
    match kind:
        case "WorkerJoined":
            return WorkerJoined("x")
        case "WorkerDraining":
            return WorkerDraining("x")
        case "WorkerLost":
            return WorkerLost("x")
        case "EpochBegun":
            return EpochBegun("x", concerned, 1)
        case "SegmentSlow":
            return SegmentSlow("x", concerned)
        case "SegmentAdvanced":
            return advanced("x", replace(concerned, last=1))
        case "SegmentDone":
            return done("x", concerned)
        case "SegmentFailed":
            return SegmentFailed("x", concerned, "no", retryable=True)
        case "SegmentTaken":
            return SegmentTaken("x", concerned, (SegmentPart(concerned.last, Whose.THEIRS),))
        case "SegmentShortened":
            return SegmentShortened("x", concerned, concerned.last)
        case _:
            return SegmentCancelled("x", concerned)


@pytest.mark.parametrize("kind", TABLE)
@pytest.mark.parametrize("number", range(len(STATES)))
def test_every_cell_of_the_table(kind: str, number: int) -> None:
    d, concerned = prepared(STATES[number])
    assert d.workers.get("x") is STATES[number]
    expected, before = TABLE[kind][number], d.segments
    if expected is None:
        with pytest.raises(BadTransition) as caught:
            d.handle(event_of(kind, concerned), 500)
        assert caught.value.event == event_of(kind, concerned)
        assert (d.segments, d.workers.get("x")) == (before, STATES[number])
    else:
        d.handle(event_of(kind, concerned), 500)
        assert d.workers["x"] is expected


def test_what_does_not_fit_what_a_worker_runs_is_refused_with_the_history() -> None:
    d = Dispatcher(schedule([A1, A2]), CUTTING)
    joined = d.handle(WorkerJoined("x"), 0)
    for event in (done("x", A2.segment), SegmentFailed("x", B1.segment, "no", True), done("x", segment("a", 1, 2))):
        with pytest.raises(BadTransition, match="the worker runs") as caught:
            d.handle(event, 1)
        assert caught.value.history == (WorkerJoined("x"), *joined)
    d = Dispatcher(schedule([LONG]), CUTTING)
    d.handle(WorkerJoined("x"), 0)
    d.handle(WorkerJoined("y"), 0)
    with pytest.raises(BadTransition, match="after epoch 4 or later"):
        d.handle(SegmentShortened("x", LONG.segment, 3), 1)


NOWHERE = (LackingFile("data.csv"),)
OTHER = (LackingFile("data.csv", differs=True),)


def on_nodes(queues: list[list[SegmentCost]], *nodes: str) -> Dispatcher:
    """Workers x, y and z have joined for their queues, on these nodes."""
    d = Dispatcher(schedule(*queues), CUTTING)
    for number, node in enumerate(nodes):
        d.handle(WorkerJoined("xyz"[number], slot=number, node=node), 0)
    return d


def test_what_a_node_has_no_data_for_runs_on_another_one_and_no_attempt_is_counted() -> None:
    d = on_nodes([[A1, A2], [B1]], "one", "two")
    assert told(d.handle(SegmentNotHere("x", A1.segment, NOWHERE), 1)) == []
    assert told(d.handle(done("y", B1.segment), 11)) == [("y", A2.segment)]
    assert told(d.handle(done("y", A2.segment), 21)) == [("y", A1.segment)]
    assert d.handle(SegmentFailed("y", A1.segment, "killed", True), 22) == (Run("y", A1.segment, 22.0, 11.0),)
    assert d.running == {"y": A1.segment}


def test_a_worker_of_a_node_is_not_asked_again_what_another_one_of_it_has_said() -> None:
    d = on_nodes([[A1, A2], [A3, B1], [B2]], "one", "one", "two")
    assert told(d.handle(SegmentNotHere("x", A1.segment, NOWHERE), 1)) == [("x", B1.segment)]
    assert told(d.handle(SegmentNotHere("y", A3.segment, NOWHERE), 1)) == []
    assert told(d.handle(done("z", B2.segment), 11)) == [("z", A2.segment)]


def test_where_no_worker_has_the_data_one_is_sought_elsewhere() -> None:
    d = on_nodes([[A1, A2]], "one")
    assert d.handle(SegmentNotHere("x", A1.segment, NOWHERE), 1) == (Seek("a", 2, frozenset({"one"})),)
    assert told(d.handle(WorkerJoined("y", node="one"), 2)) == [Seek("a", 2, frozenset({"one"}))]
    assert told(d.handle(WorkerJoined("z", node="two"), 3)) in ([("z", A1.segment)], [("z", A2.segment)])


def test_data_that_no_node_has_are_named_and_other_versions_are_answered() -> None:
    d = on_nodes([[A1, B1, A2]], "one")
    seek = Seek("a", 2, frozenset({"one"}))
    assert told(d.handle(SegmentNotHere("x", A1.segment, NOWHERE), 1)) == [("x", B1.segment), seek]
    given_up = d.handle(NoOtherNode("a"), 2)
    error = "data.csv: not on any node"
    assert set(given_up) == {GiveUp(A1.segment, error, NOWHERE), GiveUp(A2.segment, error, NOWHERE)}
    assert told(d.handle(done("x", B1.segment), 11)) == [Retire("x"), Finished()]


def test_other_data_than_were_read_are_used_only_where_no_node_has_those() -> None:
    d = on_nodes([[A1], [B1]], "one", "two")
    assert told(d.handle(SegmentNotHere("x", A1.segment, OTHER), 1)) == []
    assert told(d.handle(done("y", B1.segment), 11)) == [("y", A1.segment)]
    assert told(d.handle(SegmentNotHere("y", A1.segment, NOWHERE), 12)) == [Seek("a", 1, frozenset({"one", "two"}))]
    assert d.handle(NoOtherNode("a"), 13) == (Run("x", A1.segment, 22.0, 11.0, as_it_is=True),)
    assert d.handle(SegmentNotHere("x", A1.segment, NOWHERE), 14)[:1] == (Seek("a", 1, frozenset({"one", "two"})),)
    assert told(d.handle(NoOtherNode("a"), 15))[0] == GiveUp(A1.segment, "data.csv: not on any node", NOWHERE)


def test_other_data_are_not_used_where_those_that_were_read_are_at_hand() -> None:
    d = on_nodes([[A1]], "one")
    at_hand = (replace(OTHER[0], at_hand=True),)
    assert told(d.handle(SegmentNotHere("x", A1.segment, at_hand), 1)) == [Seek("a", 1, frozenset({"one"}))]
    assert told(d.handle(NoOtherNode("a"), 2))[0] == GiveUp(A1.segment, "data.csv: not on any node", at_hand)


# --- any order of events ----------------------------------------------------------------------------------------------


class Shell:
    """Performs instructions like a cluster would, and checks them against what it has seen itself."""

    def __init__(self, dispatcher: Dispatcher, lacking: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.dispatcher = dispatcher
        self.lacking = lacking  # versions' first letters and nodes: "c" has other data there, others have none
        self.nodes: dict[str, str] = {}
        self.as_it_is: set[str] = set()  # workers
        self.said: set[tuple[str, str]] = set()  # versions and nodes: that it is not there
        self.sought: Seek | None = None
        self.flying: dict[str, Segment] = {}  # as it is at the worker
        self.since: dict[str, int] = {}  # the first epoch of it that is not answered
        self.doubled: set[str] = set()  # workers that run, or have run, what another one runs too
        self.answers: dict[str, list[Event]] = {}  # that are on their way
        self.leaving: set[str] = set()
        self.answered: dict[tuple[str, int], int] = {}
        self.given_up: set[tuple[str, int]] = set()
        self.takes = 0  # of the next segment that begins, by other replays, as `parts` has it; 0: nothing
        self.taken: list[str] = []  # workers whose segment is not begun
        self.present: list[str] = []
        self.draining: set[str] = set()
        self.harmed: dict[SecondTry, set[tuple[str, int]]] = {}  # places
        self.hung_at: dict[tuple[str, int], str] = {}
        self.joined = self.finishes = 0
        self.now = 0.0

    def tell(self, event: Event) -> None:
        for instruction in self.dispatcher.handle(event, self.now):
            self.perform(instruction)
        assert set(self.dispatcher.running) == set(self.flying)
        if self.taken:
            worker = self.taken.pop()
            run = self.flying.pop(worker)
            parts = self.parts(run, tuple(range(run.first + 1, run.last + 1)), self.takes)
            self.takes = 0
            self.tell(SegmentTaken(worker, run, parts))
            return
        assert self.dispatcher.finished == (self.finishes == 1)
        standing = self.dispatcher.standing(self.now)
        assert all(lane.step >= 0 and lane.after >= 0 for lane in standing.lanes)
        assert standing.rows_answered == len(self.answered)
        self.check_overlaps()

    def check_overlaps(self) -> None:
        """Who writes an epoch that another worker writes too runs the identical segment."""
        running = self.dispatcher.running
        for one in running.values():
            for other in running.values():
                if one.version == other.version and one != other:
                    assert one.last < other.first or other.last < one.first

    def perform(self, instruction: Instruction) -> None:
        assert not self.finishes
        match instruction:
            case Run(worker=worker, segment=run):
                assert worker in self.present
                assert worker not in self.flying
                assert not self.places(run) & set(self.answered)
                assert (run.version, self.nodes[worker]) not in self.said or instruction.as_it_is
                self.as_it_is.discard(worker)
                if instruction.as_it_is:
                    self.as_it_is.add(worker)
                self.expect_elsewhere(worker, run)
                clones = {other for other, one in self.flying.items() if self.places(one) & self.places(run)}
                self.doubled.discard(worker)
                self.doubled |= {worker, *clones} if clones else set()
                self.flying[worker], self.since[worker] = run, run.first
                self.expect_alone()
                if self.takes and not clones and not self.taken:
                    self.taken.append(worker)
            case Seek(nodes=nodes):
                assert self.sought is None
                assert nodes >= {self.nodes[w] for w in self.dispatcher.running if w not in self.draining}
                self.sought = instruction
            case Shorten(worker=worker, segment=asked, last=last):
                assert self.flying[worker] == asked
                left = min(asked.last, last + (self.joined + int(self.now)) % 3)  # sometimes it was further
                if worker in self.taken:  # it does not run it
                    left = asked.last
                self.flying[worker] = replace(asked, last=left)
                self.answers.setdefault(worker, []).append(SegmentShortened(worker, asked, left))
            case Cancel(worker=worker):
                assert worker in self.flying
                self.leaving.add(worker)
            case GiveUp(segment=lost):
                self.given_up |= self.places(lost)
            case Retire(worker=worker):
                assert worker not in self.flying
                self.present.remove(worker)
                self.answers.pop(worker, None)
            case Finished():
                self.finishes += 1

    def places(self, of: Segment) -> set[tuple[str, int]]:
        return {(of.version, epoch) for epoch in range(of.first, of.last + 1)}

    def parts(self, of: Segment, points: tuple[int, ...], number: int) -> tuple[SegmentPart, ...]:
        """What other replays do of a segment; what they have done is answered."""
        lasts = [point - 1 for point in points] + [of.last]
        kinds = [list(Whose)[(number + at) // 2 % 3] for at in range(len(lasts))]
        first = of.first
        for last, whose in zip(lasts, kinds, strict=True):
            if whose is Whose.ANSWERED:
                self.answered |= dict.fromkeys(((of.version, epoch) for epoch in range(first, last + 1)), 0)
            first = last + 1
        return tuple(map(SegmentPart, lasts, kinds))

    def others(self, number: int) -> None:
        open_ = [s for state in (SegmentState.WAITING, SegmentState.ELSEWHERE) for s in self.open(state)]
        sifted = [Sifted(one, self.parts(one, tuple(points), number + at)) for at, (one, points) in enumerate(open_)]
        self.tell(OthersAtWork(tuple(sifted)))

    def others_end(self) -> None:
        left = [Sifted(one, (SegmentPart(one.last, Whose.ANSWERED),)) for one, _ in self.open(SegmentState.ELSEWHERE)]
        self.answered |= dict.fromkeys((place for one in left for place in self.places(one.segment)), 0)
        self.tell(OthersAtWork(tuple(left)))

    def open(self, state: SegmentState) -> list[tuple[Segment, Sequence[int]]]:
        return self.dispatcher.open_segments(state)

    def join(self) -> None:
        self.joined += 1
        others = [node for node in NODES if self.sought is None or node not in self.sought.nodes]
        if not others:
            self.no_other_node()
            return
        worker = f"w{self.joined}"
        self.present.append(worker)
        self.nodes[worker] = others[self.joined % len(others)]
        self.sought = None
        self.tell(WorkerJoined(worker, node=self.nodes[worker]))

    def no_other_node(self) -> None:
        assert self.sought is not None
        version, self.sought = self.sought.version, None
        self.tell(NoOtherNode(version))

    def finish(self, worker: str, seconds: float) -> None:
        ended = self.flying.pop(worker)
        node, kind = self.nodes[worker], ended.version[0]
        if (kind, node) in self.lacking and not (worker in self.as_it_is and kind == "c"):
            self.leaving.discard(worker)
            self.said.add((ended.version, node))
            self.tell(SegmentNotHere(worker, ended, (LackingFile("data", differs=kind == "c"),)))
            return
        part = self.answer_part(worker, ended, ended.last)
        self.leaving.discard(worker)
        self.doubled.discard(worker)
        self.tell(done(worker, part, seconds))

    def advance(self, worker: str, number: int, seconds: float) -> None:
        run, since = self.flying[worker], self.since[worker]
        if since < run.last:
            part = self.answer_part(worker, run, since + number % (run.last - since))
            self.since[worker] = part.last + 1
            self.tell(advanced(worker, part, seconds))

    def answer_part(self, worker: str, run: Segment, last: int) -> Segment:
        part = run.part(self.since[worker], last)
        if worker not in self.leaving:
            again = self.places(part) & set(self.answered)
            assert not again or worker in self.doubled
            self.answered |= dict.fromkeys(self.places(part), 1)
        return part

    def fail(self, worker: str, retryable: bool, second: SecondTry | None = None) -> None:
        failed = self.flying.pop(worker)
        is_clone = worker in self.leaving or any(self.places(run) & self.places(failed) for run in self.flying.values())
        if second is not None and not is_clone:
            self.harmed.setdefault(second, set()).update(self.places(failed))
            if second is SecondTry.ELSEWHERE:
                self.hung_at |= dict.fromkeys(self.places(failed), worker)
        self.leaving.discard(worker)
        self.tell(SegmentFailed(worker, failed, "failed", retryable, second))

    def expect_alone(self) -> None:
        """What lacked memory runs without company on its node."""
        for worker, run in self.flying.items():
            if self.places(run) & self.harmed.get(SecondTry.ALONE, set()):
                assert [w for w in self.flying if self.nodes[w] == self.nodes[worker]] == [worker]

    def expect_elsewhere(self, worker: str, run: Segment) -> None:
        """What hung runs on another node, or else on another worker, if there is one that has its data."""
        places = self.places(run) & self.hung_at.keys()
        others = [w for w in self.dispatcher_present() if (run.version, self.nodes[w]) not in self.said]
        for hung in {self.hung_at[place] for place in places}:
            if any(self.nodes[other] != self.nodes[hung] for other in others if other != hung):
                assert self.nodes[worker] != self.nodes[hung]
            elif any(other != hung for other in others):
                assert worker != hung

    def dispatcher_present(self) -> list[str]:
        gone = (WorkerState.DRAINING, WorkerState.RETIRED, WorkerState.LOST)
        states = self.dispatcher.workers
        return [w for w in self.present if w in states and states[w] not in gone and w not in self.draining]

    def cancelled(self, worker: str) -> None:
        self.leaving.discard(worker)
        self.tell(SegmentCancelled(worker, self.flying.pop(worker)))

    def lose(self, worker: str) -> None:
        self.present.remove(worker)
        self.flying.pop(worker, None)
        self.leaving.discard(worker)
        self.answers.pop(worker, None)
        self.tell(WorkerLost(worker))

    def answer(self, worker: str) -> None:
        answers = self.answers[worker]
        event = answers.pop(0)
        if not answers:
            del self.answers[worker]
        self.tell(event)

    def act(self, action: str, number: int) -> None:
        def choose(among: list[str]) -> str | None:
            return sorted(among)[number % len(among)] if among else None

        self.now += number * 3.7
        flying = choose(list(self.flying))
        if action == "join":
            self.join()
        elif action == "lose" and (worker := choose(self.present)):
            self.lose(worker)
        elif action == "drain" and (worker := choose(self.present)):
            self.draining.add(worker)
            self.tell(WorkerDraining(worker))
        elif action == "answer" and (worker := choose(list(self.answers))):
            self.answer(worker)
        elif action == "nowhere" and self.sought is not None:
            self.no_other_node()
        elif action == "others":
            self.others(number)
        elif action == "taken":
            self.takes = number
        elif flying is None:
            return
        elif action == "cancelled" and flying in self.leaving:
            self.cancelled(flying)
        elif action == "done":
            self.finish(flying, 1.0 + number * 20)
        elif action == "part":
            self.advance(flying, number, 1.0 + number * 20)
        elif action in ("fail", "raise"):
            self.fail(flying, retryable=action == "fail")
        elif action in SECOND:
            self.fail(flying, retryable=True, second=SECOND[action])
        elif action == "epoch":
            run = self.flying[flying]
            self.tell(EpochBegun(flying, run, run.first + number % (run.last - run.first + 1)))
        elif action == "slow":
            self.tell(SegmentSlow(flying, self.flying[flying]))
        elif action == "correct":
            costs = tuple(replace(price(s), run_seconds=number * 7.0) for s in self.dispatcher.segments)
            self.tell(EstimateCorrected(costs, {"": 1.0 + number / 5}))


NODES = ("n0", "n1", "n2")
SECOND = {"hang": SecondTry.ELSEWHERE, "oom": SecondTry.ALONE}
ACTIONS = [
    *("nowhere", "others", "taken"),
    *("join", "done", "done", "fail", "raise", "lose", "drain", "hang", "oom"),
    *("answer", "answer", "epoch", "epoch", "slow", "cancelled", "correct", "part", "part"),
]


def test_what_another_replay_runs_is_waited_for_and_taken_back_when_it_is_left() -> None:
    d = two([A1, A2, A3], [B1])
    d.handle(OthersAtWork((Sifted(A3.segment, (SegmentPart(3, Whose.THEIRS),)),)), 1)
    assert d.segments[A3.segment] is SegmentState.ELSEWHERE
    assert told(d.handle(done("x", A1.segment), 11)) == [("x", A2.segment)]
    assert told(d.handle(done("y", B1.segment), 11)) == []  # kept: the other one may leave it
    assert told(d.handle(OthersAtWork((Sifted(A3.segment, (SegmentPart(3, Whose.OURS),)),)), 12)) == [("y", A3.segment)]
    d.handle(done("x", A2.segment), 21)
    assert Finished() in d.handle(done("y", A3.segment), 22)


def test_a_replay_ends_when_others_have_done_what_it_waits_for() -> None:
    d = two([LONG], [B1])
    d.handle(done("y", B1.segment), 11)
    taken = SegmentTaken("x", LONG.segment, (SegmentPart(4, Whose.THEIRS), SegmentPart(8, Whose.ANSWERED)))
    assert told(d.handle(taken, 11)) == [Retire("y")]  # one segment may come back
    assert d.segments == {HEAD: SegmentState.ELSEWHERE, TAIL: SegmentState.DONE, B1.segment: SegmentState.DONE}
    assert d.standing(12).elsewhere == 1
    for worker in "xy":
        d.handle(WorkerLost(worker), 12)
    assert not d.stranded
    assert d.handle(OthersAtWork((Sifted(HEAD, (SegmentPart(4, Whose.ANSWERED),)),)), 13) == (Finished(),)
    assert d.standing(13).rows_answered == 9


def test_what_is_upcoming_is_the_head_of_each_queue() -> None:
    d = Dispatcher(schedule([A1, A2, A3], [B1, B2]))
    assert [one for one, _ in d.upcoming(0, 9)] == [A1.segment, B1.segment]
    assert [one for one, _ in d.upcoming(10, 9)] == [A1.segment, A2.segment, B1.segment, B2.segment]
    assert [one for one, _ in d.upcoming(100, 2)] == [A1.segment, A2.segment, B1.segment, B2.segment]


@example(  # the answer to a question of a segment's first attempt comes in its second, when it has been asked again
    [("a", 1), ("a", 1), ("a", 2), ("a", 2)],
    1,
    [("join", 0), ("join", 0), ("join", 0), ("join", 0), ("join", 1), ("fail", 1), ("answer", 0)],
    frozenset(),
)
@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=6),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), max_size=80),
    st.frozensets(st.tuples(st.sampled_from("bc"), st.sampled_from(NODES)), max_size=6),
)
def test_every_row_is_answered_once_or_given_up_whatever_happens(
    runs: list[tuple[str, int]], workers: int, actions: list[tuple[str, int]], lacking: frozenset[tuple[str, str]]
) -> None:
    costs = [cost(f"{version}{number}", 1, last) for number, (version, last) in enumerate(runs)]
    shell = Shell(Dispatcher(pack(costs, workers), CUTTING), lacking)
    carry_out(shell, costs, actions)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4)), min_size=3, max_size=6),
    st.integers(2, 5),
    st.lists(st.tuples(st.sampled_from(["hang", "oom", "done", "join", "lose"]), st.integers(0, 9)), max_size=40),
)
def test_what_hung_runs_elsewhere_and_what_lacked_memory_alone(
    runs: list[tuple[str, int]], workers: int, actions: list[tuple[str, int]]
) -> None:
    """Shell.expect_alone and Shell.expect_elsewhere look at each Run."""
    costs = [cost(f"{version}{number}", 1, last) for number, (version, last) in enumerate(runs)]
    joins = [("join", 0)] * workers
    carry_out(Shell(Dispatcher(pack(costs, workers), CUTTING, max_attempts=4)), costs, [*joins, *actions])


def carry_out(shell: Shell, costs: list[SegmentCost], actions: list[tuple[str, int]]) -> None:
    for action, number in actions:
        if shell.finishes:
            break
        shell.act(action, number)
    for _ in range(1000):  # from here on all goes well
        if shell.finishes:
            break
        shell.now += 5.0
        if shell.leaving:
            shell.cancelled(min(shell.leaving))
        elif shell.flying:
            shell.finish(min(shell.flying), 10.0)
        elif shell.open(SegmentState.ELSEWHERE):
            shell.others_end()
        else:
            assert shell.dispatcher.stranded or shell.sought or not costs
            shell.join()
    assert shell.finishes == 1
    assert set(shell.answered) | shell.given_up == {place for c in costs for place in shell.places(c.segment)}
    assert not set(shell.answered) & shell.given_up
    assert set(shell.dispatcher.segments.values()) <= {SegmentState.DONE, SegmentState.GIVEN_UP}
    for worker in sorted(shell.flying):  # clones that have lost
        shell.leaving.discard(worker)
        shell.dispatcher.handle(SegmentCancelled(worker, shell.flying[worker]), shell.now)
    assert all(state in (WorkerState.RETIRED, WorkerState.LOST) for state in shell.dispatcher.workers.values())
