"""What is told to people: the plan before a replay, the summary and the problems after it. Values in, text out."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from flor_ray.prepared import Prepared
from flor_ray.records import Operator, Outcome, Segment
from flor_ray.results import mismatch_json

if TYPE_CHECKING:
    import pandas as pd


_WIDTH = 118  # of tables where there is no terminal


def duration(seconds: float) -> str:
    """1.2 s, 3 min 20 s, 5 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def explain(prepared: Prepared) -> str:
    """The plan as a table: what runs for each version and how long, then the makespan and what will not be answered."""
    lines = []
    if prepared.costs:
        lines.append(render(*_plan_table(prepared)))
        schedule, used = prepared.schedule, sum(1 for assignment in prepared.schedule.assignments if assignment)
        lines.append(
            f"Estimated time: {duration(schedule.makespan_seconds)} on {used} worker{'s' if used != 1 else ''} "
            f"(no schedule can be faster than {duration(schedule.lower_bound_seconds)}); "
            f"{duration(prepared.work_seconds)} of worker time."
        )
    else:
        lines.append(f"Nothing to replay for {', '.join(prepared.names)}.")
    lines += [f"Note: {note}" for note in prepared.notes]
    lines += [f"Not replayed: version {s.version[:8]}: {s.reason}" for s in prepared.skipped]
    lines += [f"Refused: version {version[:8]}, {name}: {reason}" for version, name, reason in prepared.refusals]
    return "\n".join(lines)


def _plan_table(prepared: Prepared) -> tuple[list[str], list[list[str]]]:
    rows = []
    for version, experiment in prepared.experiments.items():
        costs = sorted((c for c in prepared.costs if c.segment.version == version), key=lambda c: c.segment)
        if not costs:
            continue
        epochs = ", ".join(dict.fromkeys(_span(cost.segment) for cost in costs))
        operators = ", ".join(dict.fromkeys(_operator(cost.segment) for cost in costs))
        run = sum(cost.run_seconds for cost in costs)
        unknown = "" if all(cost.known for cost in costs) else "?"
        rows.append(
            [
                version[:8],
                experiment.run,
                ", ".join(dict.fromkeys(name for cost in costs for name in cost.segment.names)),
                epochs,
                operators,
                f"{costs[0].setup_seconds:.1f}",
                f"{run:.1f}{unknown}",
            ]
        )
    return ["version", "run", "features", "epochs", "operator", "set-up s", "run s"], rows


def problems(prepared: Prepared, outcome: Outcome) -> list[str]:
    """Sentences for everything that a user must know about a replay: one per version and problem."""
    found = [f"version {v[:8]}: {name} was not replayed: {reason}" for v, name, reason in prepared.refusals]
    found += [f"version {skipped.version[:8]}: {skipped.reason}" for skipped in prepared.skipped]
    found += [f"version {segment.version[:8]}, {_span(segment)}: {error}" for segment, error in outcome.failures]
    for report in outcome.reports:
        version = f"version {report.segment.version[:8]}: "
        found += [version + warning for warning in report.warnings]
        if report.mismatch is not None:
            found.append(version + describe_mismatch(mismatch_json(report.mismatch)))
    return list(dict.fromkeys(found))


def summary(prepared: Prepared, outcome: Outcome) -> pd.DataFrame:
    """One row per version that was to be replayed, in the order in which they were recorded."""
    import pandas as pd

    failed = {segment.version for segment, _ in outcome.failures}
    planned = {cost.segment.version for cost in prepared.costs}
    rows = []
    for version, experiment in prepared.experiments.items():
        if version not in planned:
            continue
        done = [report for report in outcome.reports if report.segment.version == version]
        seconds = sum(report.setup_seconds + report.run_seconds for report in done)
        diverged = any(report.mismatch is not None for report in done)
        state = "failed" if version in failed else "diverged" if diverged else "replayed"
        started = pd.Timestamp(experiment.started, unit="s", tz="UTC")
        count = sum(report.rows for report in done)
        rows.append((experiment.project, experiment.run, started, version, seconds, count, state))
    columns = ["project", "run", "timestamp", "version", "seconds", "rows", "outcome"]
    return pd.DataFrame(rows, columns=columns)


def describe_mismatch(mismatch: Mapping[str, object]) -> str:
    """What a mismatch means to the reader of a DataFrame, from its form in a replay's report."""
    place = ", ".join(f"{part} {mismatch[part]}" for part in ("epoch", "step") if mismatch[part] is not None)
    return (
        f"its replay computed {mismatch['name']}{f' ({place})' if place else ''} as {mismatch['replayed']}, and "
        f"{mismatch['recorded']} was recorded: replayed values of this version may not be those of the original run"
    )


def render(columns: Iterable[str], rows: Iterable[Iterable[str]], width: int = _WIDTH) -> str:
    """A plain text table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, width=width, color_system=None, highlight=False, markup=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _span(segment: Segment) -> str:
    if segment.operator is Operator.DP_I:
        return f"{segment.first}-{segment.last}" if segment.first != segment.last else str(segment.first)
    return "outside the loop" if segment.operator is Operator.DP else "all"


def _operator(segment: Segment) -> str:
    return f"{segment.operator} {segment.variant}" if segment.operator is Operator.DP_I else segment.operator.value
