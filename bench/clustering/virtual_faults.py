"""Replays in virtual time, in worlds where much goes wrong: what they leave in a store has to be all rows, once."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from clustering.faulty_runs import KEPT_SECONDS, Verdict
from flor_ray.planning import segmenting
from flor_ray.records import Ending, Operator, Segment, SegmentCost, Stint
from flor_ray.scheduler.dispatch import Dispatcher
from flor_ray.scheduler.packing import Schedule, pack
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.simulate import simulate
from flor_ray.scheduler.world import Truth, World

SEGMENTS = 120
EPOCH_SECONDS = 2.0
_SETUP_SECONDS = 3.0
_ATTEMPTS = 10  # that a segment gets: of three, some of so many faults would take all, and rightly so


def price(segment: Segment) -> SegmentCost:
    return SegmentCost(segment, _SETUP_SECONDS, EPOCH_SECONDS * (segment.last - segment.first + 1), read_seconds=0.0)


CUTTING = Cutting(lambda s: range(s.first + 1, s.last + 1), segmenting.cut, price)


def verdicts(runs: int, chance: Random) -> Iterator[Verdict]:
    """Each run in a world of its own."""
    for _ in range(runs):
        yield one(world(chance), chance.randrange(2, 24), chance.randrange(1 << 30), chance)


def world(chance: Random) -> World:
    """What goes wrong there, and how often: each of it in some worlds, and in others not."""

    def some(most: float) -> float:
        return chance.choice((0.0, chance.uniform(0.0, most)))

    return World(
        latency_seconds=some(0.5),
        start_seconds=some(30.0),
        noise=some(0.3),
        segment_noise=some(0.3),
        failures_per_hour=some(12.0),
        replacement_seconds=chance.uniform(1.0, 60.0),
        drains_per_hour=some(12.0),
        drain_seconds=chance.uniform(5.0, 60.0),
        unheard_share=some(0.05),
        failing_share=some(0.05),
        commit_seconds=KEPT_SECONDS,
    )


def one(disturbed: World, workers: int, seed: int, chance: Random) -> Verdict:
    """A replay of segments of one to thirty epochs."""
    lasts = [chance.randint(1, 30) for _ in range(SEGMENTS)]
    costs = [price(Segment(f"v{n:03}", 1, last, Operator.DP_I, restore=0)) for n, last in enumerate(lasts)]
    schedule = pack(costs, workers)
    ends: list[tuple[Dispatcher, float]] = []
    found = simulate(
        schedule,
        workers,
        CUTTING,
        price,
        disturbed,
        seed,
        watch=lambda dispatcher, now: ends.append((dispatcher, now)),
        attempts=_ATTEMPTS,
    )
    standing = ends[-1][0].standing(ends[-1][1])
    wanted = rows_of(schedule)
    stored = [row for stint in found.stints if stint.ending is Ending.DONE for row in rows(stint)]
    lost = [stint.ended - stint.began for stint in found.stints if stint.ending in (Ending.LOST, Ending.FAILED)]
    told = f"{found.given_up} segments were given up" if found.given_up else ""
    if not told and set(stored) != wanted:
        told = f"{len(wanted - set(stored))} rows are lacking, and {len(set(stored) - wanted)} were not wanted"
    return Verdict(
        what=repr(disturbed),
        segments=SEGMENTS,
        identical=not told,
        duplicate_rows=max(0, standing.rows_answered - len(wanted)),
        faults=found.failures,
        seconds_redone=max(lost, default=0.0),
        told=told,
        epoch_seconds=longest_epoch(costs, disturbed, seed),
    )


def longest_epoch(costs: list[SegmentCost], disturbed: World, seed: int) -> float:
    """Seconds of it and of the set-up before it, as they really are there."""
    truth = Truth(costs, CUTTING, price, disturbed, seed)
    runs = [truth.run(cost.segment) for cost in costs]
    return max(run.setup_seconds + seconds for run in runs for _, seconds in run.epochs)


def rows(stint: Stint) -> list[tuple[str, int]]:
    return [(stint.segment.version, epoch) for epoch in range(stint.segment.first, stint.segment.last + 1)]


def rows_of(schedule: Schedule) -> set[tuple[str, int]]:
    segments = [cost.segment for assignment in schedule.assignments for cost in assignment]
    return {(s.version, epoch) for s in segments for epoch in range(s.first, s.last + 1)}
