"""One system: recorded, replayed at each level, compared, and run again from the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from evaluating import comparing, replays
from evaluating.comparing import Values
from evaluating.histories import LoopLevel, System
from evaluating.replays import LevelReplay
from evaluating.runs import FromStart, Runs, replace_files
from evaluating.warm_worker import WarmRay
from tests.forking import ScriptServer

Say = Callable[[str], None]
ORDER = (LoopLevel.INNER, LoopLevel.OUTER, LoopLevel.PREFIX)


@dataclass(frozen=True, slots=True)
class Picked:
    """What is measured of each system."""

    versions: int  # at most: the first, the last, and some between
    arguments: tuple[str, ...] = ()  # of scripts, beside their own


def measure(
    system: System, folder: Path, picked: Picked, server: ScriptServer, ray: WarmRay, say: Say
) -> dict[str, object]:
    """All figures of a system but what recording costs."""
    versions = [system.versions[index] for index in _spread(len(system.versions), picked.versions)]
    runs, values = Runs(system, folder, server, picked.arguments), Values()
    levels: dict[LoopLevel, LevelReplay] = {}
    starts: list[FromStart] = []
    for version in versions:
        runs.record(version)
        starts.append(runs.from_start(system.asking(version)))
        say(f"{system.name}: recorded {version.run}; from its start it takes {starts[-1].seconds:.1f} s")
    values.told += comparing.differing_defaults(runs.plain, runs.truth)
    values.wrong += len(values.told)
    replays.calibrate(runs.plain.project)
    _ask(runs, system, LoopLevel.PREFIX)
    replays.replay(
        runs.plain.project, system.names(LoopLevel.PREFIX), ray
    )  # imports what scripts import, and is not timed
    for level in ORDER:
        _ask(runs, system, level)
        levels[level] = replays.replay(runs.plain.project, system.names(level), ray)
        comparing.compare(system, level, runs.plain, runs.truth, levels[level].sentences, values)
        say(f"{system.name}: {level}: {_in_words(levels[level], starts)}")
        for sentence in levels[level].sentences:
            say(f"  {sentence}")
    for sentence in values.told:
        say(f"  WRONG OR REFUSED {sentence}")
    stored = sum(p.stat().st_size for p in (runs.plain.root / ".flor").rglob("*") if p.is_file())
    return _figures(system, values, levels, starts, stored)


def _ask(runs: Runs, system: System, level: LoopLevel) -> None:
    """The newest version gets the statements of a level, as a user adds them in the working tree."""
    replace_files(runs.plain.root, system.asking(system.versions[-1], [level]))


def _spread(count: int, most: int) -> list[int]:
    """Evenly spread places, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(index * (count - 1) / (most - 1)) for index in range(most)})


def _in_words(level: LevelReplay, starts: Sequence[FromStart]) -> str:
    seconds = sum(version.seconds for version in level.versions)
    again = sum(start.seconds for start in starts)
    kinds = ", ".join(level.operators)
    return f"{seconds:.1f} s for {len(level.versions)} versions ({kinds}), {again:.1f} s from the start"


def _figures(
    system: System, values: Values, levels: dict[LoopLevel, LevelReplay], starts: Sequence[FromStart], stored: int
) -> dict[str, object]:
    lines, logging = system.lines_added()
    again = sum(start.seconds for start in starts)
    saved = sum(start.saved_bytes for start in starts)
    return {
        "title": system.title,
        "objective": system.objective,
        "data": system.data,
        "evaluation": system.evaluation,
        "paper_size": system.paper_size,
        "versions": len(starts),
        "model_bytes": max(start.model_bytes for start in starts),
        "lines_added": lines,
        "logging_lines": logging,
        "values_compared": values.compared,
        "values_exact": values.exact,
        "values_wrong": values.wrong,
        "refused": values.refused,
        "told": values.told,
        "bytes_stored": stored,
        "bytes_saved": saved,
        "bytes_vs_torch_save": round(stored / saved, 3),
        "from_start_seconds": [round(start.seconds, 3) for start in starts],
        "levels": {level.value: _level(levels[level], again) for level in ORDER},
    }


def _level(level: LevelReplay, again: float) -> dict[str, object]:
    seconds = sum(version.seconds for version in level.versions)
    return {
        "seconds": [round(version.seconds, 3) for version in level.versions],
        "speedup": round(again / seconds, 2) if seconds else None,
        "estimate_errors_pct": [round(version.error_pct, 1) for version in level.versions],
        "estimate_error_mean_pct": round(fmean(v.error_pct for v in level.versions), 1) if level.versions else None,
        "operators": list(level.operators),
        "told": list(level.sentences),
        "makespans": {str(workers): round(found, 3) for workers, found in level.makespans.items()},
        "whole_makespans": {str(workers): round(found, 3) for workers, found in level.whole_makespans.items()},
    }
