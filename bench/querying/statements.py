"""Statements that acquire what they lack: is each answer that of full acquisition, and how much was filled for it?

The golden statements (tests/cases/sql) and random ones, in worlds whose truth is known.
"""

from __future__ import annotations

import time

from tests.relational import golden
from tests.relational.acquiring import acquire, connection, holds_if_redrawn
from tests.relational.soak import Judge, soak
from tests.relational.worlds import World


def measure(quick: bool) -> dict[str, float]:
    """How many statements were tried, how many were wrong, and which part of the named columns' gaps was filled."""
    started = time.process_time()
    judge, database = Judge(), connection()
    cases = golden.read()
    for case in cases[::4] if quick else cases:
        for seed in (0,) if quick else golden.WORLDS:
            world = World(seed)
            result = acquire(database, case.statement, world)
            right = result.is_right and holds_if_redrawn(database, case.statement, world, result, seed + 1)
            judge.counts.update(statements=1, wrong=not right, gaps=len(result.gaps), filled=len(result.filled))
    golden_share = judge.summary["share_filled"]
    try:
        soak(60 if quick else 1000, 0, judge)
    except AssertionError as wrong:
        print(wrong)
    return judge.summary | {
        "share_filled_golden": golden_share,
        "statements_cpu_seconds": round(time.process_time() - started, 1),
    }
