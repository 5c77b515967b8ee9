"""Several processes, one answer: what is said when all ranks have answered, and when one has not."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import replace
from multiprocessing.connection import Connection

import pytest

from flor_ray.errors import ProcessKilled, RestoreFailed
from flor_ray.records import Launch, Level, LogRecord, Mismatch, Operator, Point, Segment, Value
from flor_ray.replaying.process import ScriptError
from flor_ray.replaying.rank_group import Answer, Member, RankEnded, RankGroup, merged
from flor_ray.replaying.rank_places import layouts, variables
from flor_ray.replaying.results import SegmentResult

SEGMENT = Segment("v", 1, 2, Operator.DP_I)


def result(value: float, segment: Segment = SEGMENT) -> SegmentResult:
    record = LogRecord(Level.OUTER, 1, None, "loss", 0, Value("float", number=value), 0.0)
    return SegmentResult(segment, (record,), 1.0, 2.0, ("a note",), states_compared=2, read_bytes=10)


def test_rank_0_answers_and_the_others_go_with_it() -> None:
    mismatch = Mismatch("net.weight", 2, None, "1", "2")
    other = replace(result(2.0), state_mismatch=mismatch, warnings=("a note", "its own"))
    found = merged({1: other, 0: result(1.0)}, 2)
    assert found == replace(
        result(1.0),
        warnings=("a note", "rank 1: its own"),
        states_compared=4,
        state_mismatch=replace(mismatch, name="net.weight of rank 1"),
        read_bytes=20,
        others={1: other.records},
    )


def test_of_errors_the_first_is_told_with_its_rank() -> None:
    answers: dict[int, Answer] = {
        0: ScriptError("RuntimeError: Connection closed by peer", "trace 0", 10.2),
        1: ScriptError("ValueError: no such label", "trace 1", 10.1),
    }
    assert merged(answers, 2) == ScriptError("Rank 1 of 2: ValueError: no such label", "trace 1", 10.1)


def test_a_rank_that_was_killed_goes_before_what_that_does_to_others() -> None:
    killed = RankEnded(-9, 11.0)
    assert merged({0: ScriptError("RuntimeError: Connection closed by peer", "", 10.0), 1: killed}, 2) is killed


def test_a_rank_that_ended_by_itself_is_an_error_of_the_script() -> None:
    assert merged({1: RankEnded(3, 1.0)}, 2) == ScriptError("Rank 1 of 2 ended with exit status 3.", "")


def test_a_state_that_cannot_be_put_back_in_one_rank_sends_all_further_back() -> None:
    refused = RestoreFailed(2, Point.EPOCH_END, "another shape")
    assert merged({0: ScriptError("RuntimeError: Connection closed", "", 1.0), 1: refused}, 2) is refused


def test_ranks_that_ran_other_epochs_are_no_answer() -> None:
    found = merged({0: result(1.0), 1: result(1.0, replace(SEGMENT, last=1))}, 2)
    assert isinstance(found, ScriptError)
    assert "Rank 1 of 2 ended the segment after epoch 1, and rank 0 after epoch 2" in found.message


def group(size: int) -> tuple[RankGroup, list[Connection]]:
    pairs = [multiprocessing.Pipe() for _ in range(size)]
    return RankGroup([Member(rank, ours, None) for rank, (ours, _) in enumerate(pairs)]), [each for _, each in pairs]


def test_a_group_answers_when_all_have() -> None:
    ranks, ends = group(3)
    ranks.send(SEGMENT)
    assert [end.recv() for end in ends] == [SEGMENT] * 3
    for end in ends[:2]:
        end.send(result(1.0))
    assert not ranks.poll(0.05)
    ends[2].send(result(3.0))
    assert ranks.poll(1.0)
    answer = ranks.recv()
    assert isinstance(answer, SegmentResult)
    assert [records[0].value.number for records in answer.others.values()] == [1.0, 3.0]


def test_one_that_fails_does_not_wait_for_those_that_wait_for_it() -> None:
    ranks, ends = group(3)
    ranks.send(SEGMENT)
    ends[1].send(ScriptError("ValueError: no such label", "", time.time()))
    began = time.monotonic()
    while not ranks.poll(0.2):
        assert time.monotonic() - began < 10
    answer = ranks.recv()
    assert isinstance(answer, ScriptError)
    assert answer.message == "Rank 1 of 3: ValueError: no such label"
    assert ends[0].recv() == SEGMENT
    with pytest.raises(EOFError):  # its machine hears that by its connection
        ends[0].recv()


def test_one_whose_machine_is_gone_is_lost_and_may_be_tried_again() -> None:
    ranks, ends = group(2)
    ranks.send(SEGMENT)
    ends[1].close()
    began = time.monotonic()
    while not ranks.poll(0.2):
        assert time.monotonic() - began < 10
    with pytest.raises(ProcessKilled, match=r"Rank 1 of 2 was lost with its machine or worker\."):
        ranks.recv()


def test_a_rank_without_a_gpu_has_the_local_rank_that_it_was_recorded_with() -> None:
    launch = Launch(4, "torchrun", local_size=2)
    found = variables(launch, 3, (4,), "127.0.0.1", 1234, gpus=False)
    assert {name: found[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")} == {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "1",
    }
    on_gpus = variables(launch, 3, (3, 1), "10.0.0.1", 1234, gpus=True)
    assert [on_gpus[name] for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")] == ["0", "1", "1"]
    assert [on_gpus[name] for name in ("MASTER_ADDR", "MASTER_PORT")] == ["10.0.0.1", "1234"]


@pytest.mark.parametrize(
    ("size", "slots", "expected"),
    [
        (2, [4, 1], [(2,), (2,)]),
        (2, [1, 1, 1], [(1, 1)]),
        (4, [3, 3], [(3, 1)]),
        (4, [6, 3, 3], [(4,), (3, 1), (2, 2)][:3]),
        (8, [3, 2], []),
        (2, [], []),
    ],
)
def test_groups_lie_on_as_few_machines_as_can_be(size: int, slots: list[int], expected: list[tuple[int, ...]]) -> None:
    found = layouts(size, slots)
    assert found == expected
    assert all(sum(layout) == size for layout in found)
    assert len(found) == sum(slots) // size
