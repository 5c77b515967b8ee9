"""The simulator keeps what must be kept, does the same thing twice, and is exact where nothing disturbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.planning import segmenting
from flor_ray.records import Ending, Operator, Segment, SegmentCost, SegmentReport
from flor_ray.scheduler.jobs import first_run
from flor_ray.scheduler.messages import EstimateCorrected
from flor_ray.scheduler.packing import Schedule, pack
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.simulate import Simulation, simulate
from flor_ray.scheduler.world import SharedStorage, Truth, World


def price(segment: Segment) -> SegmentCost:
    return SegmentCost(segment, 2.0, 10.0 * (segment.last - first_run(segment) + 1), read_seconds=0.0)


CUTTING = Cutting(lambda s: range(s.first + 1, s.last + 1), segmenting.cut, price)
WILD = World(
    latency_seconds=0.01,
    start_seconds=3.0,
    noise=0.3,
    segment_noise=0.2,
    straggler_share=0.3,
    failures_per_hour=20.0,
    replacement_seconds=10.0,
)
FAULTY = replace(WILD, drains_per_hour=20.0, drain_seconds=20.0, unheard_share=0.1, failing_share=0.1)


COMMITTING = replace(WILD, latency_seconds=0.0, straggler_share=0.0, commit_seconds=30.0)


def costs(*epochs: int) -> list[SegmentCost]:
    return [price(Segment(f"v{n}", 1, last, Operator.DP_I, restore=0)) for n, last in enumerate(epochs)]


def check(simulation: Simulation, of: Sequence[SegmentCost]) -> None:
    """No worker does two things at a time, and each row was done once, apart from what was done twice at full cost."""
    workers = {stint.worker for stint in simulation.stints}
    for worker in workers:
        own = [stint for stint in simulation.stints if stint.worker == worker]
        assert all(before.ended <= after.began + 1e-9 for before, after in pairwise(own))
    busy = sum(stint.ended - stint.began for stint in simulation.stints)
    assert simulation.busy_seconds == pytest.approx(busy)
    rows = {(s.segment.version, e) for s in simulation.stints if s.ending is Ending.DONE for e in epochs_of(s.segment)}
    wanted = {(cost.segment.version, epoch) for cost in of for epoch in epochs_of(cost.segment)}
    assert rows <= wanted
    assert rows == wanted or simulation.given_up


def epochs_of(segment: Segment) -> range:
    return range(segment.first, segment.last + 1)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.integers(1, 6))
def test_without_disturbance_a_schedule_takes_exactly_what_it_should(epochs: list[int], workers: int) -> None:
    given = costs(*epochs)
    schedule = pack(given, workers)
    simulation = simulate(schedule, workers)
    assert simulation.makespan_seconds == pytest.approx(schedule.makespan_seconds)
    assert simulation.wasted_seconds == simulation.clones == simulation.failures == 0
    check(simulation, given)
    freely = simulate(schedule, workers, CUTTING)
    assert freely.makespan_seconds <= schedule.makespan_seconds + 1e-6
    check(freely, given)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=20),
    st.integers(1, 6),
    st.integers(0, 99),
    st.sampled_from([WILD, FAULTY]),
)
def test_in_any_world_all_is_done_and_the_same_seed_gives_the_same(
    epochs: list[int], workers: int, seed: int, world: World
) -> None:
    given = costs(*epochs)
    schedule = pack(given, workers)
    first, again = (simulate(schedule, workers, CUTTING, price, world, seed) for _ in range(2))
    assert first == again
    check(first, given)
    assert first.makespan_seconds >= 3.0
    assert 0 <= first.wasted_seconds <= first.busy_seconds


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 25), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(0, 99),
    st.sampled_from((1, 4, 50)),
)
def test_a_lost_worker_costs_no_more_than_what_was_not_committed_and_one_epoch(
    epochs: list[int], workers: int, seed: int, border: int
) -> None:
    given = costs(*epochs)
    cutting = replace(CUTTING, points=lambda s: range(s.first + 1, s.last + 1, border))
    first, again = (simulate(pack(given, workers), workers, cutting, price, COMMITTING, seed) for _ in range(2))
    assert first == again
    check(first, given)
    true = Truth(given, CUTTING, price, COMMITTING, seed)
    longest = {c.segment.version: max(seconds for _, seconds in true.run(c.segment).epochs) for c in given}
    done: set[tuple[str, int]] = set()
    for stint in sorted(first.stints, key=lambda stint: stint.ended):
        of, places = stint.segment, {(stint.segment.version, e) for e in epochs_of(stint.segment)}
        if stint.ending is Ending.LOST and border == 1:
            assert stint.ended - stint.began <= stint.setup_seconds + 30.0 + longest[of.version] + 1e-6
        if stint.ending is Ending.DONE and not first.clones:
            assert not places & done
            done |= places


def test_a_long_segment_commits_every_thirty_seconds_and_what_is_left_goes_on_elsewhere() -> None:
    given = costs(40)
    world = World(failures_per_hour=8, replacement_seconds=5, commit_seconds=30.0)
    parts = simulate(pack(given, 1), 1, CUTTING, world=world, seed=1)
    whole = simulate(pack(given, 1), 1, CUTTING, world=replace(world, commit_seconds=float("inf")), seed=1)
    assert parts.failures >= 1
    assert parts.given_up == 0
    assert parts.wasted_seconds <= parts.failures * (2.0 + 30.0 + 10.0)
    assert whole.given_up or whole.wasted_seconds > parts.wasted_seconds
    check(parts, given)


def test_a_worker_may_be_gone_before_anybody_has_heard_that_it_is_there() -> None:
    given = costs(3, 2)
    world = World(latency_seconds=5.0, failures_per_hour=200.0, replacement_seconds=1.0, commit_seconds=1.0)
    for seed in range(20):
        found = simulate(pack(given, 2), 2, CUTTING, world=world, seed=seed, attempts=100)
        check(found, given)


def test_without_failures_committing_changes_nothing_but_the_number_of_stints() -> None:
    given = costs(12, 7, 30)
    schedule = pack(given, 2)
    whole, parts = (simulate(schedule, 2, world=World(commit_seconds=s)) for s in (float("inf"), 1e9))
    assert whole == parts
    committing = simulate(schedule, 2, replace(CUTTING, points=lambda s: ()), world=World(commit_seconds=30.0))
    assert committing.makespan_seconds == pytest.approx(whole.makespan_seconds)
    assert len(committing.stints) == 4 + 3 + 10
    assert committing.wasted_seconds == 0
    assert sum(stint.rows for stint in committing.stints) == 12 + 7 + 30


def test_what_was_not_heard_of_and_what_died_is_run_again_and_drained_workers_leave_in_order() -> None:
    given = costs(*[4] * 30)
    schedule = pack(given, 3)

    def simulated(world: World) -> Simulation:
        found = simulate(schedule, 3, CUTTING, price, world, seed=1, attempts=9)
        check(found, given)
        assert found.given_up == 0
        return found

    unheard = simulated(World(unheard_share=0.2, replacement_seconds=1.0))
    done = [stint.segment for stint in unheard.stints if stint.ending is Ending.DONE]
    assert unheard.failures > 0
    assert len(done) > len(set(done))  # rows are written twice, in one file
    failing = simulated(World(failing_share=0.2))
    assert failing.failures == 0
    assert Ending.FAILED in {stint.ending for stint in failing.stints}
    drained = simulated(World(drains_per_hour=60.0, drain_seconds=60.0, replacement_seconds=1.0))
    assert drained.failures > 0
    assert {stint.ending for stint in drained.stints} == {Ending.DONE}  # they had the time to leave in order


def test_another_seed_gives_another_simulation() -> None:
    schedule = pack(costs(*range(1, 10)), 3)
    makespans = {simulate(schedule, 3, CUTTING, price, World(noise=0.2), seed).makespan_seconds for seed in range(5)}
    assert len(makespans) == 5


def test_more_latency_slower_workers_and_slower_storage_never_help() -> None:
    read = [replace(c, run_seconds=c.run_seconds + 1, read_seconds=1.0, read_bytes=10**9) for c in costs(*[8] * 12)]
    schedule = pack(read, 4)

    def makespan(world: World) -> float:
        return simulate(schedule, 4, world=world).makespan_seconds

    perfect = makespan(World())
    assert perfect == pytest.approx(schedule.makespan_seconds)
    assert perfect < makespan(World(latency_seconds=0.5)) < makespan(World(latency_seconds=2.0))
    assert (
        perfect < makespan(World(straggler_share=0.25)) <= makespan(World(straggler_share=0.25, straggler_slowness=20))
    )
    shared = makespan(World(bandwidth_bytes_per_second=1e9))
    assert perfect < shared < makespan(World(bandwidth_bytes_per_second=2e8))
    assert makespan(World(bandwidth_bytes_per_second=1e12, reader_bytes_per_second=1e9)) == pytest.approx(perfect)
    assert makespan(World(start_seconds=7)) == pytest.approx(perfect + 7)


def test_an_idle_worker_takes_what_is_left_of_an_underestimated_segment_at_the_end_of_an_epoch() -> None:
    given = costs(8, 8)

    def truth(segment: Segment) -> SegmentCost:
        return replace(price(segment), run_seconds=price(segment).run_seconds * (2 if segment.version == "v0" else 1))

    schedule = Schedule(tuple((cost,) for cost in given), 82.0, 82.0)
    alone = simulate(schedule, 2, truth=truth)
    helped = simulate(schedule, 2, CUTTING, truth)
    assert helped.steals >= 1
    assert helped.makespan_seconds < 0.8 * alone.makespan_seconds == pytest.approx(0.8 * 162.0)
    assert helped.wasted_seconds == 0
    check(helped, given)
    pieces = sorted(stint.segment for stint in helped.stints if stint.segment.version == "v0")
    assert [piece.first for piece in pieces[1:]] == [piece.last + 1 for piece in pieces[:-1]]


def test_a_straggler_costs_little_when_others_take_what_it_has() -> None:
    given = costs(*[10] * 40)
    schedule = pack(given, 20)
    world = World(straggler_share=0.05)
    alone = simulate(schedule, 20, world=world)
    helped = simulate(schedule, 20, CUTTING, world=world)
    assert alone.makespan_seconds >= 1.5 * schedule.makespan_seconds
    assert helped.makespan_seconds < 1.25 * schedule.makespan_seconds
    assert helped.extra_share <= 0.05


def test_lost_workers_are_replaced_and_a_world_without_workers_is_an_error() -> None:
    given = costs(*[5] * 12)
    simulation = simulate(pack(given, 4), 4, CUTTING, world=World(failures_per_hour=60, replacement_seconds=5), seed=3)
    assert simulation.failures > 0
    assert {s.ending for s in simulation.stints} >= {Ending.DONE, Ending.LOST}
    check(simulation, given)
    with pytest.raises(ValueError, match="all workers have failed"):
        simulate(pack(given, 1), 1, world=World(failures_per_hour=3600, replacement_seconds=float("inf")))


def test_what_is_learned_on_the_way_changes_the_estimates_of_what_follows() -> None:
    given = costs(*[2] * 6)
    learned: list[SegmentReport] = []

    def learn(report: SegmentReport) -> EstimateCorrected:
        learned.append(report)
        return EstimateCorrected(tuple(replace(c, run_seconds=3 * c.run_seconds) for c in given))

    def truth(segment: Segment) -> SegmentCost:
        return replace(price(segment), run_seconds=3 * price(segment).run_seconds)

    simulation = simulate(pack(given, 1), 1, truth=truth, learn=learn)
    assert len(learned) == 5  # of the last one nothing more can be learned
    assert [round(stint.estimated_seconds) for stint in simulation.stints] == [22, 66, 62, 62, 62, 62]


def test_the_speed_of_known_worker_classes_is_planned_with() -> None:
    given = costs(*[4] * 6)
    world = World(kinds={"old": 2.0})
    simulation = simulate(pack(given, 2), ["", "old"], CUTTING, world=world)
    assert simulation.makespan_seconds < 0.75 * simulate(pack(given, 1), 1).makespan_seconds
    assert {stint.kind for stint in simulation.stints} == {"", "old"}


def test_a_world_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="noise is -1; it must be at least 0"):
        World(noise=-1)
    with pytest.raises(ValueError, match="bandwidth_bytes_per_second is 0; it must be positive"):
        World(bandwidth_bytes_per_second=0)
    with pytest.raises(ValueError, match="at most 1"):
        World(straggler_share=2)
    with pytest.raises(ValueError, match="at least one"):
        simulate(pack(costs(1), 1), 0)


def test_readers_share_the_storage_evenly_up_to_what_one_can_get() -> None:
    storage: SharedStorage[str] = SharedStorage(World(bandwidth_bytes_per_second=100, reader_bytes_per_second=80))
    storage.begin("a", 80, now=0.0)
    assert storage.next_done(0.0) == (1.0, "a")
    storage.begin("b", 50, now=0.5)
    assert storage.next_done(0.5) == (0.5 + 40 / 50, "a")
    storage.stop("a", 0.75)
    assert storage.next_done(0.75) == (0.75 + 37.5 / 80, "b")


def test_the_truth_of_a_piece_is_its_share_of_the_wholes() -> None:
    whole = costs(8)[0]
    truth = Truth([whole], CUTTING, None, World(noise=0.3), seed=1)
    head, tail = segmenting.cut(whole.segment, (5,))
    seconds = [truth.cost(part).run_seconds for part in (whole.segment, head, tail)]
    assert seconds[0] == pytest.approx(seconds[1] + seconds[2])
    assert seconds[0] != pytest.approx(80.0)
