"""A replay that is asked for on the page, and its plan as plain data: what would run, for how long, and what would not.

ReplayAsked ── pipeline.prepare, explained ──> Explanation ──> plan (what the page shows)
            └─ arguments ──> flor-ray replay ...              (`launches` starts it)
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from flor_ray import asked_terms, pipeline, running, settings
from flor_ray.errors import UsageError
from flor_ray.patching.patching import Fate, Finding
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import parse_budget, parse_first
from flor_ray.reports import placements, timelines
from flor_ray.reports import plans as reports
from flor_ray.reports.forecasts import ForecastRow
from flor_ray.reports.plans import Explanation
from flor_ray.settings import Loaded
from flor_ray.ui import cells
from flor_ray.ui.opened import Opened
from flor_ray.ui.replays.stints import stint_row
from flor_ray.wording import operator_in_words, span

_EXECUTORS = ("", "ray", "local")
_MOST_NAMES = 50
_MOST_SEGMENTS = 500  # that are listed one by one; the totals count all
_planning = threading.Lock()  # the cluster to join is a variable of the whole process


@dataclass(frozen=True, slots=True)
class ReplayAsked:
    """What a replay is asked for, as it was written; "" and None: as settings have it."""

    names: tuple[str, ...]
    where: str = ""
    budget: str = ""  # worker time, such as "2h"
    deadline: str = ""
    first: str = ""  # what is answered first, such as "peak:accuracy,end"
    workers: int | None = None
    executor: str = ""  # "ray", "local"; "": what suits
    again: bool = False

    def expect_sound(self) -> None:
        """Raises UsageError for what no replay can be asked for."""
        if not self.names or not all(self.names):
            raise UsageError("Name at least one feature.")
        if len(self.names) > _MOST_NAMES:
            raise UsageError(
                f"{len(self.names)} features are more than one replay is asked for here: name {_MOST_NAMES}."
            )
        if self.executor not in _EXECUTORS:
            raise UsageError(f"executor={self.executor!r}: give 'ray', 'local', or nothing.")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} workers replay nothing: give 1 or more.")
        parse_budget(self.budget or None, self.deadline or None)
        if self.first:
            parse_first(self.first)

    def arguments(self) -> list[str]:
        """Those of `flor-ray replay`."""
        said = {"--where": self.where, "--budget": self.budget, "--deadline": self.deadline, "--first": self.first}
        found = [f"{option}={text}" for option, text in said.items() if text]
        found += [f"--workers={self.workers}"] if self.workers is not None else []
        found += [f"--{self.executor}"] if self.executor else []
        return [*found, *(["--again"] if self.again else []), "--", *dict.fromkeys(self.names)]


def plan(opened: Opened, asked: ReplayAsked) -> dict[str, Any]:
    """What a replay would run and what it should take. Runs nothing.

    Raises:
        FlorError: it cannot be asked for so.
    """
    asked.expect_sound()
    loaded = loaded_for(opened, asked)
    with _planning, asked_terms.on_cluster(loaded):
        executor = asked.executor or None
        terms = asked_terms.terms_of(loaded, asked.first or None, executor)
        env = asked_terms.environment_of(loaded)
        prepared = pipeline.prepare(opened.project, asked.names, asked.where or None, terms, asked.again, env=env)
        place = running.place(prepared, executor) if prepared.costs else None
        explanation = pipeline.explained(prepared, place)
    return {
        **_figures(explanation),
        "place": cells.readable(place.why) if place is not None else "",
        "executor": place.executor if place is not None else "",
        "empty": prepared.is_empty,
        "remarks": [cells.readable(line) for line in reports.remarks(prepared)],
        "refused": [
            {"version": version, "run": _run(prepared, version), "name": cells.readable(name), "reason": _read(reason)}
            for version, name, reason in prepared.refusals
        ],
        "skipped": [{"version": one.version, "reason": cells.readable(one.reason)} for one in prepared.skipped],
        "known": len(prepared.known),
        "patches": patches(prepared),
    }


def loaded_for(opened: Opened, asked: ReplayAsked) -> Loaded:
    """Settings, with what is asked for."""
    return settings.load(
        opened.path,
        store=opened.project.store.url,
        project=opened.project.name,
        workers=asked.workers,
        budget=asked.budget or None,
        deadline=asked.deadline or None,
    )


def _figures(explanation: Explanation) -> dict[str, Any]:
    prepared, totals = explanation.prepared, explanation.totals
    if not prepared.costs:
        return {"segments": [], "versions": [], "totals": None, "figures": [], "stints": []}
    schedule = prepared.schedule
    return {
        "segments": [_segment(row) for row in sorted(explanation.rows, key=lambda r: -r.seconds)[:_MOST_SEGMENTS]],
        "segment_count": len(explanation.rows),
        "versions": [_segment(row) for row in explanation.versions],
        "totals": {name: getattr(totals, name) for name in type(totals).__slots__} | {"hours": explanation.basis.hours},
        "figures": reports.figures(totals, explanation.basis),
        "stints": [stint_row(one) for one in timelines.planned(schedule, prepared.names).stints],
        "workers": prepared.workers,
    }


def _segment(row: ForecastRow) -> dict[str, Any]:
    """A segment, or all of a version."""
    return {
        "version": row.version,
        "run": cells.readable(row.run),
        "features": [cells.readable(name) for name in row.features],
        "regions": list(row.regions),
        "operator": ", ".join(dict.fromkeys(operator_in_words(cost.segment) for cost in row.costs)),
        "epochs": ", ".join(dict.fromkeys(span(cost.segment) for cost in row.costs)),
        "pieces": len(row.costs),
        "worker": row.stints[0].worker,
        "begin": row.stints[0].began,
        "setup": row.setup_seconds,
        "seconds": row.seconds,
        "low": row.low_seconds,
        "high": row.high_seconds,
        "read_bytes": row.read_bytes,
        "known": row.known,
    }


def patches(prepared: Prepared) -> list[dict[str, Any]]:
    """What is put into versions' code, as diffs; versions with the same share one."""
    groups: dict[tuple[str, str], list[str]] = {}
    for version, patched in prepared.patched.items():
        if patched.findings:
            key = placements.diff_of(patched), repr(patched.findings)
            groups.setdefault(key, []).append(version)
    found = []
    for (diff, _), versions in groups.items():
        findings = [finding_row(finding) for finding in prepared.patched[versions[0]].findings]
        if diff or any(one["outcome"] == Fate.REFUSED for one in findings):
            runs = [_run(prepared, version) for version in versions]
            found.append({"versions": versions, "runs": runs, "diff": _read(diff), "findings": findings})
    return found


def finding_row(finding: Finding) -> dict[str, Any]:
    """Where a statement stands in a version, or why it does not."""
    return {
        "name": cells.readable(finding.name),
        "outcome": finding.fate.value,
        "path": _read(finding.path or ""),
        "line": finding.line,
        "best_guess": finding.best_guess,
        "after": finding.after,
        "confidence": finding.confidence,
        "doubtful": finding.is_doubtful,
        "why": _read(placements.why(finding)),
    }


def _run(prepared: Prepared, version: str) -> str:
    return cells.readable(prepared.experiments[version].run)


def _read(text: str) -> str:
    """A text of files, in which lines stay lines."""
    return "\n".join(map(cells.readable, text.split("\n")))
