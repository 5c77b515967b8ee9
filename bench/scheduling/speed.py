"""Seconds to pack many segments on many workers, and how they grow with the number of segments."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import log
from statistics import median
from time import process_time

from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.bins import JobColumns
from flor_ray.scheduler.constructing import plain_lpt
from flor_ray.scheduler.packing import pack
from flor_ray.scheduler.problem import slots_of

_PER_VERSION = 10
_QUICK = [(10_000, 1_000), (20_000, 2_000)]
_ALL = ((1_000, 100), (3_000, 300), (10_000, 1_000), (30_000, 3_000), (100_000, 10_000), (100_000, 1_000))


def measure(quick: bool, say: Callable[[str], None]) -> dict[str, object]:
    """Processor seconds of `pack`, medians of interleaved repeats, and the exponent of growth at ten segments per
    worker."""
    sizes, repeats = (_QUICK, 1) if quick else (_ALL, 3)
    problems = {size: segments(size[0]) for size in sizes}
    seconds: dict[tuple[int, int], list[float]] = {size: [] for size in sizes}
    for _ in range(repeats):
        for size, costs in problems.items():
            begin = process_time()
            pack(costs, size[1])
            seconds[size].append(process_time() - begin)
    say(f"{'segments':>9}{'workers':>9}{'seconds':>9}{'ratio to bound':>16}{'LPT':>8}")
    for (number, workers), measured in seconds.items():
        costs = problems[number, workers]
        made, plain = pack(costs, workers), plain_lpt(JobColumns(costs), slots_of(workers)).makespan
        bound = made.lower_bound_seconds
        ratios = f"{made.makespan_seconds / bound:>16.4f}{plain / bound:>8.3f}"
        say(f"{number:>9}{workers:>9}{median(measured):>9.3f}{ratios}")
    alike = [size for size in sizes if size[0] == 10 * size[1] and size[0] >= 10_000]
    first, last = alike[0], alike[-1]
    exponent = log(median(seconds[last]) / median(seconds[first])) / log(last[0] / first[0])
    say(f"seconds grow as segments ** {exponent:.2f}, from {first[0]} to {last[0]}")
    return {
        "pack_seconds_10k_1k": median(seconds[10_000, 1_000]),
        "pack_seconds": {f"{number} on {workers}": median(measured) for (number, workers), measured in seconds.items()},
        "pack_growth_exponent": exponent,
    }


def segments(number: int) -> list[SegmentCost]:
    """Mixed ones, seeded: ten per version, set-ups from none to dear, short and long runs."""
    chance = random.Random(number)
    costs = []
    for version in range(number // _PER_VERSION):
        setup = chance.choice((0.5, 5.0, 20.0, 40.0))
        typical = chance.choice((0.5, 5.0, 50.0, 300.0))
        for epoch in range(1, _PER_VERSION + 1):
            segment = Segment(f"v{version:06}", epoch, epoch, Operator.DP_I, restore=epoch - 1)
            costs.append(SegmentCost(segment, setup, typical * chance.uniform(0.9, 1.6)))
    return costs
