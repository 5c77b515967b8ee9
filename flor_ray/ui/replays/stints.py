"""What workers do and did, as rows for a chart: the timeline of a replay, planned, live or afterwards. Pure."""

from __future__ import annotations

import itertools
from typing import Any

from flor_ray.records import RunningStint, Stint
from flor_ray.reports import timeline_page, timelines
from flor_ray.reports.timelines import Timeline
from flor_ray.store.project import Project
from flor_ray.ui import cells
from flor_ray.wording import operator_in_words, span

_LISTED = 100  # timelines


def stint_row(one: Stint) -> dict[str, Any]:
    """What one worker did from one moment to another."""
    return {
        "worker": cells.readable(one.worker),
        "version": one.segment.version,
        "epochs": span(one.segment),
        "operator": operator_in_words(one.segment),
        "began": one.began,
        "ended": one.ended,
        "ending": one.ending.value,
        "setup": one.setup_seconds,
        "estimated": one.estimated_seconds,
        "rows": one.rows,
    }


def open_row(one: RunningStint) -> dict[str, Any]:
    """What a worker is at."""
    return {
        "worker": cells.readable(one.worker),
        "version": one.segment.version,
        "epochs": span(one.segment),
        "operator": operator_in_words(one.segment),
        "began": one.began,
        "estimated": one.estimated_seconds,
        "epoch": one.epoch,
    }


def timeline(one: Timeline) -> dict[str, Any]:
    """A replay that is over, with what its time went to."""
    spent = timelines.use(one)
    return {
        "id": one.origin,
        "names": [cells.readable(name) for name in one.names],
        "workers": one.worker_count,
        "seconds": one.makespan_seconds,
        "planned_seconds": one.planned_makespan_seconds,
        "bound_seconds": one.bound_seconds,
        "complete": one.complete,
        "runs": {version: cells.readable(run) for version, run in one.runs.items()},
        "stints": [stint_row(stint) for stints in one.lanes().values() for stint in stints],
        "figures": [cells.readable(line) for line in timeline_page.figures(one)] if one.stints else [],
        "use": {
            "busy": spent.busy_seconds,
            "setup": spent.setup_seconds,
            "wasted": spent.wasted_seconds,
            "idle": spent.idle_seconds,
        },
    }


def listing(project: Project) -> list[dict[str, Any]]:
    """Replays that have a timeline, newest first. Raises StoreError if the store cannot be read."""
    found = []
    for one in itertools.islice(timelines.every(project.store.files, project.name), _LISTED):
        row = timeline(one)
        found.append({name: row[name] for name in row if name not in ("stints", "figures", "runs")})
    return found
