"""Asks a propagation the questions, times the answers with cold caches, and adds up what they are worth."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flor_ray.propagation import propagate
from propagating.cases import Answer, Case, Propagator, Score
from propagating.scoring import keeps_bytes, parses, score

CONFIDENT = 0.9  # from here on at most 0.5 % of the placements may be wrong (issue 4)
BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # of the reliability figure: narrow where most answers are


@dataclass(frozen=True, slots=True)
class Result:
    """What a system answered to a case, and what that is worth."""

    case: Case
    system: str
    answer: Answer
    score: Score
    ms: float
    cpu_ms: (
        float  # of this process: what `ms` would be on a machine that does nothing else, if no other process is used
    )
    keeps_bytes: bool
    parses: bool

    @property
    def is_right(self) -> bool:
        return self.score in (Score.EXACT, Score.EQUIVALENT, Score.DECLINED)

    @property
    def is_dropped(self) -> bool:
        """Whether it was said to be there already and is not. That counts as wrong: nobody is told."""
        return self.answer.present and self.case.expected is not None


def ours(newer: str, older: str, line: int) -> Answer:
    """flor_ray.propagation as a Propagator."""
    result = propagate(newer, older, [line])
    if result.refused or not result.placed:
        refusal = result.refused[0] if result.refused else None
        return Answer(None, refusal.confidence if refusal else 0.0, refusal.reason if refusal else "")
    placed = result.placed[0]
    return Answer(None if placed.present else result.source, placed.confidence, placed.why, placed.present)


def clear_caches() -> None:
    """Forget what flor_ray.propagation remembers of sources, so that every pair is read anew."""
    for name, module in list(sys.modules.items()):
        if name.startswith("flor_ray.propagation"):
            for value in vars(module).values():
                clear: Callable[[], None] | None = getattr(value, "cache_clear", None)
                if clear is not None and not isinstance(value, type):
                    clear()


def ask(system: str, propagator: Propagator, case: Case) -> Result:
    clear_caches()
    started, cpu_started = time.perf_counter(), time.process_time()
    answer = propagator(case.newer, case.older, case.line)
    ms, cpu_ms = 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - cpu_started)
    kept = answer.source is None or keeps_bytes(case.older, answer.source)
    whole = answer.source is None or parses(answer.source)
    return Result(case, system, answer, score(case, answer), ms, cpu_ms, kept, whole)


# --- adding up ----------------------------------------------------------------------------------------------------

Row = dict[str, float | None]
"""Numbers of a group of results; None where nothing was asked."""


def totals(results: Sequence[Result]) -> Row:
    """The numbers by which propagations are compared.

    Those up to `dropped_pct` are of the statements to insert, the dropped ones among the wrong; `decline_right_pct` is
    of the statements that were there already or cannot be had.
    """
    insert = [r for r in results if r.case.expected is not None]
    decline = [r for r in results if r.case.expected is None]
    placed = [r for r in results if r.answer.source is not None]
    sure = [r for r in placed if r.answer.confidence >= CONFIDENT]
    right = (Score.EXACT, Score.EQUIVALENT)
    times, cpu = sorted(r.ms for r in results), sorted(r.cpu_ms for r in results)
    return {
        "n": len(results),
        "n_insert": len(insert),
        "exact_pct": share(insert, lambda r: r.score is Score.EXACT),
        "equivalent_pct": share(insert, lambda r: r.score in right),
        "wrong_pct": share(insert, lambda r: r.score is Score.WRONG),
        "refused_pct": share(insert, lambda r: r.score is Score.REFUSED),
        "dropped_pct": share(insert, lambda r: r.is_dropped),
        "n_decline": len(decline),
        "decline_right_pct": share(decline, lambda r: r.is_right),
        "bytes_kept_pct": share(placed, lambda r: r.keeps_bytes),
        "parses_pct": share(placed, lambda r: r.parses),
        "confident": len(sure),
        "confident_wrong_pct": share(sure, lambda r: not r.is_right),
        "ms_median": round(statistics.median(times), 2) if times else None,
        "ms_p99": round(percentile(times, 0.99), 2) if times else None,
        "cpu_ms_median": round(statistics.median(cpu), 2) if cpu else None,
        "cpu_ms_p99": round(percentile(cpu, 0.99), 2) if cpu else None,
    }


def share(results: Sequence[Result], chosen: Callable[[Result], bool]) -> float | None:
    """Per cent."""
    return round(100 * sum(map(chosen, results)) / len(results), 2) if results else None


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The value that this fraction of the ordered values does not exceed."""
    return ordered[min(int(fraction * len(ordered)), len(ordered) - 1)]


def groups(cases: Iterable[Case]) -> dict[str, Callable[[Case], bool]]:
    """The rows of the table: strata, distances, and how hard the cases are."""
    found = list(cases)
    strata = sorted({case.stratum for case in found}, key=_STRATA.index)
    distances = sorted({case.distance for case in found if case.stratum == "history"})
    rows: dict[str, Callable[[Case], bool]] = {}
    for distance in distances:
        rows[f"history, distance {distance}"] = lambda c, d=distance: c.stratum == "history" and c.distance == d  # type: ignore[misc]
    for stratum in strata:
        if stratum in ("history", "insert"):
            rows[f"{stratum}, easy"] = lambda c, s=stratum: c.stratum == s and not c.hard  # type: ignore[misc]
            rows[f"{stratum}, hard"] = lambda c, s=stratum: c.stratum == s and c.hard  # type: ignore[misc]
        else:
            rows[stratum] = lambda c, s=stratum: c.stratum == s  # type: ignore[misc]
    rows["all hard to insert"] = lambda c: c.hard and c.expected is not None
    rows["all"] = lambda c: True
    return rows


_STRATA = ("history", "insert", "renamed", "genuine", "present", "absent")


@dataclass(frozen=True, slots=True)
class Bin:
    """Placements whose confidence is from `least` to below the next bin's, and how many of them are wrong."""

    least: float
    placed: int
    wrong: int
    confidence: float  # their mean


def reliability(results: Sequence[Result]) -> list[Bin]:
    placed = [r for r in results if r.answer.source is not None]
    bins = []
    for at, least in enumerate(BINS):
        below = BINS[at + 1] if at + 1 < len(BINS) else float("inf")
        inside = [r for r in placed if least <= r.answer.confidence < below]
        mean = round(statistics.fmean(r.answer.confidence for r in inside), 4) if inside else 0.0
        bins.append(Bin(least, len(inside), sum(not r.is_right for r in inside), mean))
    return bins
