"""Random statements in random worlds, until one has an answer that is not that of full acquisition.

Part of `make soak`; alone: `python -m tests.relational.soak --examples 2000`. The first that is wrong is made as small
as it can be and printed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter

import duckdb
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st

from tests.examples import no_constants
from tests.relational.acquiring import acquire, connection, holds_if_redrawn
from tests.relational.grammar import statements
from tests.relational.worlds import COLUMNS, HINDSIGHT, World

_SETTINGS = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False)


class Judge:
    """Acquires statements, and counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._database = connection()

    def __call__(self, text: str, number: int) -> str:
        """What is wrong with the answer in the world with this number; nothing: it is right."""
        world = World(number)
        world.make(self._database, world.had | world.gaps(HINDSIGHT), COLUMNS)
        try:
            self._database.execute(text).fetchall()
        except duckdb.Error:
            assume(False)  # a query for one value finds several, or DuckDB cannot do it
        result = acquire(self._database, text, world)
        self.counts.update(statements=1, gaps=len(result.gaps), filled=len(result.filled), rounds=result.rounds)
        self.counts["fallbacks"] += bool(result.fallback)
        if not result.is_right:
            self.counts["wrong"] += 1
            return f"answers {result.answer}, and with everything acquired {result.truth}"
        if not holds_if_redrawn(self._database, text, world, result, number + 1):
            self.counts["wrong"] += 1
            return "has another answer if the gaps that are left are redrawn"
        return ""

    @property
    def summary(self) -> dict[str, float]:
        """The figures of the JSON line."""
        share = self.counts["filled"] / max(self.counts["gaps"], 1)
        found = {"statements": self.counts["statements"], "statements_wrong": self.counts["wrong"]}
        return found | {"share_filled": round(share, 4), "fallbacks": self.counts["fallbacks"]}


def soak(examples: int, number: int | None, judge: Judge) -> None:
    """Draw statements and judge them. Raises AssertionError for one that is wrong, as small as could be found.

    `number` starts another sequence of statements; without one it is always the same sequence.
    """

    @settings(_SETTINGS, max_examples=examples, derandomize=number is None)
    @given(statements(), st.integers(0, 40))
    def checked(text: str, world: int) -> None:
        problem = judge(text, world)
        assert not problem, f"in world {world}\n{text}\n{problem}"

    with no_constants():
        (checked if number is None else seed(number)(checked))()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=2000, help="how many statements (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of another sequence of statements (default: 0)")
    options = parser.parse_args()
    started, judge = time.process_time(), Judge()
    try:
        soak(options.examples, options.seed, judge)
    except AssertionError as wrong:
        sys.stdout.write(f"{wrong}\n")
    sys.stdout.write(json.dumps(judge.summary | {"cpu_seconds": round(time.process_time() - started, 1)}) + "\n")
    return int(judge.counts["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
