"""Small random instances against their exact optima: how good schedules are, and whether the bound holds.

The optimum comes from a method that shares nothing with the scheduler: a dynamic program over all subsets of the
segments. One worker's load for every subset is a table; the best for k workers is, for every subset, the least over all
ways to give a part of it to the k-th. Schedules are checked by a validator of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import isclose

import numpy as np

from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.bins import JobColumns
from flor_ray.scheduler.constructing import plain_lpt
from flor_ray.scheduler.packing import Schedule, pack
from flor_ray.scheduler.problem import slots_of

_INSTANCES = 600
_SETUPS = {"none": (0.0, 0.0), "small": (0.1, 2.0), "like a run": (5.0, 20.0), "dominating": (40.0, 200.0)}
_RUNS: dict[str, Callable[[random.Random], float]] = {
    "equal": lambda chance: 10.0,
    "even": lambda chance: chance.uniform(1.0, 20.0),
    "skewed": lambda chance: min(200.0, 2.0 * chance.paretovariate(0.8)),
    "two kinds": lambda chance: chance.choice((3.0, 30.0)) * chance.uniform(0.9, 1.1),
}


def measure(quick: bool, say: Callable[[str], None]) -> dict[str, object]:
    """Ratios of makespan to optimum over seeded instances; whether each is valid, above the bound and below LPT."""
    chance = random.Random(20_19)
    rows = [_row(chance, number) for number in range(_INSTANCES if quick else 3 * _INSTANCES)]
    say(
        f"{'set-ups':<12}{'instances':>10}{'mean ratio':>12}{'max ratio':>11}{'LPT mean':>10}{'LPT max':>9}{'bound':>8}"
    )
    for kind in (*_SETUPS, None):
        own = [row for of, row in rows if kind in (of, None)]
        ratios, plain, tight = (
            [row[a] / row[b] for row in own] for a, b in (("made", "best"), ("plain", "best"), ("bound", "best"))
        )
        say(
            f"{kind or 'all':<12}{len(own):>10}{np.mean(ratios):>12.4f}{max(ratios):>11.4f}"
            f"{np.mean(plain):>10.4f}{max(plain):>9.4f}{np.mean(tight):>8.4f}"
        )
    margin = 1e-9
    return {
        "exact_instances": len(rows),
        "ratio_mean": float(np.mean(ratios)),
        "ratio_max": float(max(ratios)),
        "optimal_share": float(np.mean([ratio <= 1 + margin for ratio in ratios])),
        "lpt_ratio_mean": float(np.mean(plain)),
        "lpt_ratio_max": float(max(plain)),
        "bound_tightness_mean": float(np.mean(tight)),
        "bound_tightness_min": float(min(tight)),
        "never_below_bound": all(row["bound"] <= row["best"] * (1 + margin) for _, row in rows),
        "never_worse_than_lpt": all(row["made"] <= row["plain"] * (1 + margin) for _, row in rows),
        "always_valid": True,  # an invalid one raises
    }


def _row(chance: random.Random, number: int) -> tuple[str, dict[str, float]]:
    kind = list(_SETUPS)[number % len(_SETUPS)]
    draw = list(_RUNS.values())[number // len(_SETUPS) % len(_RUNS)]
    segments, workers = chance.randint(4, 10), chance.randint(2, 4)
    versions = chance.choice((1, 2, 3, max(1, segments // 2), segments))
    setups = [chance.uniform(*_SETUPS[kind]) for _ in range(versions)]
    owners = [chance.randrange(versions) for _ in range(segments)]
    costs = [
        SegmentCost(Segment(f"v{owner}", epoch, epoch, Operator.DP_I, restore=epoch - 1), setups[owner], draw(chance))
        for epoch, owner in enumerate(owners, start=1)
    ]
    best = optimum([c.run_seconds for c in costs], owners, setups, workers)
    made, plain = pack(costs, workers), plain_lpt(JobColumns(costs), slots_of(workers)).makespan
    check(made, costs, workers)
    if min(made.makespan_seconds, plain) < best * (1 - 1e-9):
        raise RuntimeError(f"{made.makespan_seconds} s, or by LPT {plain} s, is below the optimum {best} s: {costs}")
    return kind, {
        "best": best,
        "made": made.makespan_seconds,
        "plain": plain,
        "bound": made.lower_bound_seconds,
    }


def optimum(runs: list[float], owners: list[int], setups: list[float], workers: int) -> float:
    """The least makespan, by trying all: a set is packed on k workers by giving each of its subsets to the k-th."""
    sets = np.arange(1 << len(runs))
    member = (sets[:, None] >> np.arange(len(runs))) & 1
    alone = member @ np.array(runs)
    for version, setup in enumerate(setups):
        own = [job for job, owner in enumerate(owners) if owner == version]
        if own:
            alone = alone + setup * member[:, own].any(axis=1)
    best = alone
    everything = len(sets) - 1
    for _ in range(workers - 2):
        best = _one_more(best, alone, len(runs))
    return float(np.maximum(best, alone[everything - sets]).min()) if workers > 1 else float(alone[everything])


def _one_more(best: np.ndarray, alone: np.ndarray, jobs: int) -> np.ndarray:
    """For every set the least makespan with one worker more: all pairs (set, subset), bit by bit, three per bit."""
    sets = subsets = np.zeros(1, dtype=np.int64)
    for job in range(jobs):
        bit = 1 << job
        sets = np.concatenate([sets, sets | bit, sets | bit])
        subsets = np.concatenate([subsets, subsets, subsets | bit])
    ends = np.maximum(alone[subsets], best[sets ^ subsets])
    order = np.argsort(sets, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(sets[order])) + 1])
    return np.minimum.reduceat(ends[order], starts)


def check(schedule: Schedule, costs: list[SegmentCost], workers: int) -> None:
    """An independent validator: every segment once, and the makespan is what the workers take. Raises RuntimeError."""
    if len(schedule.assignments) != workers:
        raise RuntimeError(f"{len(schedule.assignments)} assignments for {workers} workers")
    wanted = sorted((c.segment.version, c.segment.first) for c in costs)
    if wanted != sorted((c.segment.version, c.segment.first) for one in schedule.assignments for c in one):
        raise RuntimeError(f"not every segment is run once: {schedule}")
    ends = []
    for assignment in schedule.assignments:
        clock, process, left = 0.0, None, set()
        for c in assignment:
            if c.segment.version != process:
                if c.segment.version in left:
                    raise RuntimeError(f"a worker comes back to version {c.segment.version}: {schedule}")
                left.add(c.segment.version)
                process, clock = c.segment.version, clock + c.setup_seconds
            clock += c.run_seconds
        ends.append(clock)
    if not isclose(max(ends), schedule.makespan_seconds, rel_tol=1e-9):
        raise RuntimeError(f"the last worker ends at {max(ends)} s, not at {schedule.makespan_seconds} s")
