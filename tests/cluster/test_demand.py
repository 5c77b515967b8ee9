"""How many workers of which kind a replay counts on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.cluster import room
from flor_ray.cluster.demand import (
    ENDLESS,
    Growth,
    Headcount,
    NodeGroup,
    crew,
    groups_of_file,
    groups_told,
    more,
    sentences,
)
from flor_ray.cluster.room import NodeResources
from flor_ray.errors import UsageError
from flor_ray.records import ANY_SHAPE, Crew, WorkerShape

GB = 10**9


def node(
    name: str = "n", gpus: float = 0, cpus: float = 8, kind: str = "", free: dict[str, float] | None = None
) -> NodeResources:
    typed = {f"accelerator_type:{kind}": 1.0} if kind else {}
    return NodeResources(
        name, {"GPU": gpus, "CPU": cpus, "memory": 64 * GB, **typed}, {room.TYPE_LABEL: kind}, free=free
    )


HEAD = replace(node("head", cpus=2), head=True)
GPU_NODE = NodeResources("gpu", {"CPU": 4, "GPU": 1}, labels={room.GROUP_LABEL: "gpu"})
FAKE = {
    "max_workers": 2,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 2}, "max_workers": 0},
        "gpu": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 8},
    },
}


def one(count: int, **with_: object) -> Crew:
    return Crew(WorkerShape(1, 0), ("",) * count, **with_)  # type: ignore[arg-type]


def test_what_nobody_holds_is_counted_on_and_of_what_is_held_the_plan_tells() -> None:
    assert crew(ANY_SHAPE, [node(gpus=2), node()]) == one(2)
    half = node(gpus=2, free={"GPU": 1.5, "CPU": 8})
    assert crew(ANY_SHAPE, [half]) == one(1, others=1)
    assert crew(ANY_SHAPE, [half], workers=2) == one(1, others=1, most=2)
    assert crew(WorkerShape(gpus=0.5), [half]).counted == 3
    assert sentences(crew(ANY_SHAPE, [half])) == [
        "Others hold what 1 further worker would need: it counts on 1 worker, and takes what is given back while it "
        "runs."
    ]
    assert sentences(crew(ANY_SHAPE, [node(gpus=2)])) == []


def test_where_others_hold_all_the_replay_waits_for_it_and_says_so() -> None:
    busy = crew(ANY_SHAPE, [node(gpus=2, free={"CPU": 8})])
    assert (busy.counted, busy.held, busy.shape) == (2, ("", ""), WorkerShape(1, 0))
    assert sentences(busy) == [
        "It counts on 2 workers with 1 GPU each. Others hold all that they need: the replay begins when the first of "
        "it is given back."
    ]
    assert crew(ANY_SHAPE, [node(gpus=2, free={})], workers=1).counted == 1


def test_a_worker_with_a_gpu_holds_no_cpu_unless_it_is_to() -> None:
    few = node(gpus=16, cpus=2)
    assert crew(ANY_SHAPE, [few]).counted == 16
    assert crew(WorkerShape(cpus=1), [few]).counted == 2
    assert crew(WorkerShape(memory_bytes=16 * GB), [few]).counted == 4
    assert crew(ANY_SHAPE, [replace(few, free={"GPU": 16.0})]).counted == 16  # others hold its CPUs


def test_a_node_that_is_being_taken_away_has_no_room() -> None:
    assert crew(ANY_SHAPE, [node(gpus=2), replace(node(gpus=4), leaving=True)]).counted == 2


def test_a_cluster_without_gpus_that_would_start_some_is_planned_for_gpus() -> None:
    growth = Growth(groups_of_file(FAKE, [HEAD]))
    assert growth.groups == (NodeGroup(GPU_NODE, 2),)
    found = crew(ANY_SHAPE, [HEAD], growth)
    assert found == Crew(WorkerShape(1, 0), coming=("", ""))
    assert sentences(found) == [
        "It counts on 2 workers with 1 GPU each: all of them come on nodes that the cluster starts for them."
    ]
    assert crew(WorkerShape(gpus=0.5), [HEAD], growth).counted == 4
    assert crew(WorkerShape(gpus=0), [HEAD], growth).counted == 2 + 2 * 4
    assert crew(ANY_SHAPE, [HEAD], growth, workers=1).counted == 1
    with pytest.raises(UsageError, match="3 workers were asked for, but the cluster has 2 GPUs"):
        crew(ANY_SHAPE, [HEAD], growth, workers=3)
    with pytest.raises(UsageError, match="no node of the cluster has that"):
        crew(WorkerShape(gpus=2), [HEAD], growth)


def test_nodes_of_a_group_that_are_there_are_not_started_again() -> None:
    there = replace(GPU_NODE, labels={})  # nodes do not always say of which group they are
    growth = Growth(groups_of_file(FAKE, [HEAD, there]))
    assert crew(ANY_SHAPE, [HEAD, there], growth) == one(1, coming=("",))
    assert sentences(crew(ANY_SHAPE, [HEAD, there], growth)) == [
        "It counts on 2 workers with 1 GPU each: there is room for 1 worker, and others come on nodes that the cluster "
        "starts for them."
    ]
    both = [HEAD, there, replace(GPU_NODE, name="other")]
    assert crew(ANY_SHAPE, both, Growth(groups_of_file(FAKE, both))) == one(2)


def test_what_a_file_may_leave_out_is_as_ray_takes_it() -> None:
    plain = {"available_node_types": {"gpu": {"resources": {"GPU": 1}}}, "head_node_type": "head"}
    assert groups_of_file(plain, []) == (
        NodeGroup(NodeResources("gpu", {"GPU": 1.0}, labels={room.GROUP_LABEL: "gpu"}), 2),
    )
    typed = {"max_workers": 9, "available_node_types": {"a": {"labels": {room.TYPE_LABEL: "A100"}}, "b": None}}
    assert groups_of_file(typed, []) == (
        NodeGroup(NodeResources("a", {}, {room.TYPE_LABEL: "A100", room.GROUP_LABEL: "a"}), 9),
    )
    assert groups_of_file({"available_node_types": ["gpu"]}, []) == ()
    assert groups_of_file({}, []) == ()


def test_what_the_cluster_tells_itself_is_kept_within_its_limits() -> None:
    kinds = {"a": ({"GPU": 8.0, "CPU": 64.0}, 4), "b": ({"CPU": 16.0}, ENDLESS)}
    a, b = (NodeResources(name, kinds[name][0], {room.GROUP_LABEL: name}) for name in "ab")
    assert groups_told(kinds, {}, [HEAD]) == (NodeGroup(a, 4), NodeGroup(b, ENDLESS))
    assert groups_told(kinds, {"GPU": 20}, [HEAD]) == (NodeGroup(a, 2), NodeGroup(b, ENDLESS))
    assert groups_told(kinds, {"CPU": 98}, [HEAD]) == (NodeGroup(a, 1), NodeGroup(b, 2))


def test_a_cluster_that_starts_nodes_without_end_is_counted_on_for_what_is_asked_for() -> None:
    growth = Growth((NodeGroup(GPU_NODE, ENDLESS),))
    assert crew(ANY_SHAPE, [HEAD], growth).counted == 1
    assert "--workers asks for more" in sentences(crew(ANY_SHAPE, [HEAD], growth))[-1]
    assert crew(ANY_SHAPE, [HEAD], growth, workers=40).counted == 40
    assert crew(ANY_SHAPE, [GPU_NODE], growth).counted == 1
    assert len(sentences(crew(ANY_SHAPE, [HEAD], growth, workers=40))) == 1


def test_the_user_says_what_ray_does_not() -> None:
    found = crew(WorkerShape(gpus=1), [HEAD], Growth(scales_to=16))
    assert found == Crew(WorkerShape(1, 0), coming=("",) * 16)
    assert crew(WorkerShape(gpus=1), [HEAD, node(gpus=4)], Growth(scales_to=16)) == one(4, coming=("",) * 12)
    assert crew(WorkerShape(gpus=1), [HEAD, node(gpus=4)], Growth(scales_to=2)) == one(4)
    with pytest.raises(UsageError, match=r"scales_to in flor\.yaml"):
        crew(WorkerShape(gpus=1), [HEAD])


def test_a_cluster_that_has_nothing_is_waited_for() -> None:
    assert crew(ANY_SHAPE, [node(cpus=0)]) == Crew(WorkerShape(0, 1), coming=("",))
    assert crew(ANY_SHAPE, []).counted == 1


def test_each_worker_has_the_type_of_its_node() -> None:
    nodes = [node("a", 1, kind="A100"), node("t", 2, kind="T4"), node("x", 1)]
    assert crew(ANY_SHAPE, nodes).types == ("A100", "T4", "T4", "")
    assert crew(WorkerShape(gpus=0.5), nodes[:1]).types == ("A100", "A100")
    assert crew(WorkerShape(gpus=0), nodes[:1]).types == ("",) * 8


def test_shares_are_never_more_than_they_are() -> None:
    """Ray counts in ten thousandths: seven times 0.1429 would be more than a GPU."""
    for parts in range(1, 60):
        made = room.completed(WorkerShape(gpus=1 / parts), [node(gpus=1)])
        assert made.gpus is not None
        assert round(made.gpus * 10_000) * parts <= 10_000
        assert room.room(made, [node(gpus=1)]) >= parts


def test_while_it_runs_what_becomes_free_is_taken_but_no_more_than_was_wanted() -> None:
    planned = crew(ANY_SHAPE, [node(gpus=1)])
    now = [node(gpus=1, free={}), node(gpus=2)]
    assert more(planned, now, there=1, starting=0) == 2
    assert more(planned, now, there=1, starting=2) == 0
    assert more(planned, now, there=1, starting=0, spare=1) == 1
    assert more(planned, now, there=1, starting=0, spare=4) == 0
    assert more(replace(planned, most=2), now, there=1, starting=0) == 1
    assert more(replace(planned, most=1), now, there=1, starting=0) == 0


def test_fewer_or_more_than_planned_is_said_and_again_when_that_changes() -> None:
    count = Headcount(16)
    assert [count.now(0, 500.0), count.now(1, 600.0), count.now(2, 610.0)] == ["", "", ""]  # the others may come yet
    assert count.now(2, 630.0) == "Planned for 16 workers; 2 are there."
    assert count.ended() == ["Planned for 16 workers; 2 workers at most came."]
    assert count.now(16, 650.0) == "Planned for 16 workers; 16 are there."
    assert count.now(17, 670.0) == "Planned for 16 workers; 17 are there."
    assert count.now(1, 680.0) == "Planned for 16 workers; 1 is there."
    assert count.ended() == []


def test_nothing_is_said_while_as_many_are_there_as_planned() -> None:
    count = Headcount(2)
    assert {count.now(there, float(now)) for now, there in enumerate([0, 1, 1, 2, *[2] * 90])} == {""}
    assert count.ended() == []
    short = Headcount(2)  # one worker has done all before the other could come
    assert (short.now(1, 0.0), short.now(1, 5.0), short.ended()) == ("", "", [])
    assert Headcount(1).now(2, 0.0) == "Planned for 1 worker; 2 are there."


shares = st.sampled_from([1, 2, 0.5, 0.25, 1 / 3, 0.4])


@given(
    st.lists(st.tuples(st.integers(0, 8), st.floats(0, 1)), max_size=4),
    shares,
    st.none() | st.integers(1, 40),
    st.integers(0, 3),
)
def test_what_is_counted_on_is_never_more_than_is_wanted_or_than_can_be(
    gpus: list[tuple[int, float]], share: float, workers: int | None, groups: int
) -> None:
    nodes = [node(gpus=count, free={"GPU": count * part, "CPU": 8}) for count, part in gpus]
    growth = Growth((NodeGroup(GPU_NODE, groups),))
    made = room.completed(WorkerShape(gpus=share), nodes)
    most = room.room(made, nodes) + groups * room.fitting(made, GPU_NODE)
    if most < (workers or 1):
        with pytest.raises(UsageError, match=r"no node of the cluster|workers were asked for"):
            crew(WorkerShape(gpus=share), nodes, growth, workers)
        return
    found = crew(WorkerShape(gpus=share), nodes, growth, workers)
    assert 1 <= found.counted <= min(most, workers or most)
    assert found.counted == len(found.types)
    assert found.counted + found.others <= most
