"""Versions of several ranks: from where they can be replayed, and by how many workers."""

from __future__ import annotations

from dataclasses import replace

from flor_ray.planning.missing import Skipped
from flor_ray.planning.ranks import common_checkpoints, launch_of, terms_for, with_inputs, without
from flor_ray.planning.terms import Terms
from flor_ray.records import Checkpoint, Experiment, Gap, Launch, Point, RankRecord, Status

NONE: frozenset[str] = frozenset()


def checkpoint(
    epoch: int,
    point: Point = Point.EPOCH_END,
    key: str = "a",
    uncaptured: frozenset[str] = NONE,
    opaque: frozenset[str] = NONE,
) -> Checkpoint:
    return Checkpoint("v", "train.py", 3, epoch, point, key, 10, 0.1, uncaptured=uncaptured, opaque=opaque)


def experiment(**environment: object) -> Experiment:
    return Experiment("p", "v", None, "train.py", "", 0.0, 1.0, Status.FINISHED, environment=environment)


def test_a_checkpoint_counts_where_all_ranks_have_their_part() -> None:
    first = [checkpoint(0), checkpoint(1, Point.NESTED_EXIT), checkpoint(1), checkpoint(2), checkpoint(3)]
    others = [
        [checkpoint(0, key="b"), checkpoint(1, key="b"), checkpoint(3, key="b", uncaptured=frozenset({"rows"}))],
        [checkpoint(0), checkpoint(1), checkpoint(2), checkpoint(3, opaque=frozenset({"log"}))],
    ]
    assert common_checkpoints(first, others) == (
        checkpoint(0),
        checkpoint(1),
        checkpoint(3, uncaptured=frozenset({"rows"}), opaque=frozenset({"log"})),
    )


def test_the_input_files_of_all_ranks_are_those_of_the_version() -> None:
    one, two = {"path": "shard0.npy", "hash": "a"}, {"path": "shard1.npy", "hash": "b"}
    found = with_inputs(experiment(inputs=[one]), {1: RankRecord(1, inputs=(two, {"path": "shard0.npy", "hash": "c"}))})
    assert found.environment["inputs"] == [one, two]


def test_versions_that_cannot_be_replayed_are_left_out_with_the_reason() -> None:
    gaps = [Gap("v", ("a",), (1,)), Gap("w", ("a",), (1,)), Gap("v", ("b",), (2,))]
    assert without(gaps, {"v": "it lacks"}) == ((gaps[1],), (Skipped("v", "it lacks"),))


def test_a_worker_has_room_for_the_ranks_of_any_version_of_the_replay() -> None:
    launches = {"v": Launch(2), "w": Launch(4)}
    found, notes = terms_for(Terms(9, gpu_seconds=400.0), launches)
    assert found == Terms(2, gpu_seconds=100.0, ranks=4)
    assert notes == ("versions of up to 4 ranks are replayed by 2 groups of 4 processes",)
    assert terms_for(Terms(9), {}) == (Terms(9), ())
    few, notes = terms_for(Terms(3), launches)
    assert few == Terms(1, ranks=4)
    assert notes[0].endswith("by 1 group of 4 processes, which take 4 workers' places; there are 3")


def test_what_a_run_says_of_its_ranks_has_to_make_sense() -> None:
    assert launch_of(experiment()) is None
    assert launch_of(experiment(ranks={"size": 2, "launcher": "torchrun", "newer": 1})) == Launch(2, "torchrun")
    for wrong in ({"size": 0}, {"size": 10**9}, {"size": "2"}, [2], {}):
        try:
            launch_of(experiment(ranks=wrong))
        except ValueError:
            continue
        raise AssertionError(wrong)


def test_a_rank_keeps_nothing_that_its_first_checkpoint_has_not() -> None:
    first = [replace(checkpoint(0), bytes=7)]
    assert common_checkpoints(first, []) == tuple(first)
