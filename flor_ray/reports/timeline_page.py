"""The timeline of a replay as text for a terminal, and as a page with a Gantt chart. Values in, text out."""

from __future__ import annotations

from collections.abc import Iterable

from flor_ray.records import Ending, Stint
from flor_ray.reports import html, timelines
from flor_ray.reports.timelines import Timeline
from flor_ray.wording import duration, operator_in_words, place, span

_LINES = 40  # workers that have a line of their own; more are shown in groups
_TABLE_ROWS = 2000  # of stints on a page; tooltips have all
_LEAST_CELLS = 20  # of a line, however narrow the terminal is
_SETUP, _RUN, _IDLE, _FAILED, _DROPPED = "=", "#", ".", "x", "/"
_LEGEND = f"{_SETUP} set-up   {_RUN} run   {_IDLE} idle   {_FAILED} failed or lost   {_DROPPED} cancelled"

LISTING = ("replay", "features", "workers", "segments", "seconds", "utilisation")


def text(timeline: Timeline, width: int = 118) -> str:
    """A line per worker, or per group of them where there are many, under an axis; then the figures in sentences."""
    lines = [_headline(timeline)]
    if timeline.stints:
        lines += ["", *_chart(timeline, width), "", *figures(timeline)]
    return "\n".join(lines)


def listing(kept: Iterable[Timeline]) -> list[list[str]]:
    """For each: replay, features, workers, segments, time, utilisation. The columns are `LISTING`."""
    rows = []
    for timeline in kept:
        ended = f"{timeline.makespan_seconds:.1f}{'' if timeline.complete else ' (stopped)'}"
        done = sum(stint.ending is Ending.DONE for stint in timeline.stints)
        share = _percent(timelines.use(timeline).busy_seconds, timeline.makespan_seconds * timeline.worker_count)
        rows.append([timeline.origin, ", ".join(timeline.names), str(timeline.worker_count), str(done), ended, share])
    return rows


def figures(timeline: Timeline) -> list[str]:
    """What a timeline comes to, in sentences."""
    makespan, planned_for, spent = timeline.makespan_seconds, timeline.planned_makespan_seconds, timelines.use(timeline)
    took = f"It {'would take' if not timeline.origin else 'took' if timeline.complete else 'was stopped after'}"
    first = f"{took} {duration(makespan)}"
    if timeline.origin and planned_for > 0:
        first += f"; {duration(planned_for)} had been estimated"
        first += f" ({makespan / planned_for - 1:+.0%})" if timeline.complete else ""
    total = makespan * timeline.worker_count
    found = [
        f"{first}.",
        f"Worker time: {duration(spent.busy_seconds)} busy ({_percent(spent.busy_seconds, total)}), of it "
        f"{duration(spent.setup_seconds)} set-up; {duration(spent.idle_seconds)} idle; "
        f"{duration(spent.wasted_seconds)} wasted on {spent.wasted_stints} failed, lost or cancelled "
        f"attempt{'' if spent.wasted_stints == 1 else 's'}.",
    ]
    gap = timelines.longest_gap(timeline)
    if gap is not None:
        found.append(
            f"Longest idle time: {duration(gap.seconds)} of {gap.worker}, from {html.clock(gap.began)} to "
            f"{html.clock(gap.ended)}: {gap.why}."
        )
    unused = timeline.worker_count - len(timeline.lanes())
    if unused > 0:
        found.append(f"{unused} worker{' has' if unused == 1 else 's have'} run nothing.")
    return found


def _headline(timeline: Timeline) -> str:
    count = timeline.worker_count
    where = f"{', '.join(timeline.names)} on {count} worker{'' if count == 1 else 's'}"
    head = f"Replay {timeline.origin}: {where}" if timeline.origin else f"Plan: {where}"
    return head if timeline.stints else f"{head}. Nothing has run."


def _chart(timeline: Timeline, width: int) -> list[str]:
    lanes = list(timeline.lanes().items())
    size = -(-len(lanes) // _LINES)
    groups = [lanes[index : index + size] for index in range(0, len(lanes), size)]
    names = [html.short(g[0][0]) if size == 1 else f"{html.short(g[0][0])} +{len(g) - 1}" for g in groups]
    room = max(map(len, names))
    cells = max(_LEAST_CELLS, width - room - 8)
    until = timeline.makespan_seconds or 1.0
    lines = []
    for name, group in zip(names, groups, strict=True):
        busy = sum(s.ended - s.began for _, stints in group for s in stints if s.ending is Ending.DONE)
        line = _cells([stint for _, stints in group for stint in stints], len(group), until, cells)
        lines.append(f"{name:<{room}} {line} {_percent(busy, until * len(group)):>5}")
    if size > 1:
        lines.append(f"{'':{room}} (a line shows what most of its {size} workers do)")
    return [*lines, f"{'':{room}} {_axis(until, cells)}", f"{'':{room}} {_LEGEND}   right: share of busy time"]


def _cells(stints: Iterable[Stint], workers: int, until: float, cells: int) -> str:
    """What takes most of each cell's time. One worker's failures are shown however short they are."""
    seconds = [dict.fromkeys((_IDLE, _RUN, _SETUP, _DROPPED, _FAILED), 0.0) for _ in range(cells)]
    each = until / cells
    for cell in seconds:
        cell[_IDLE] = each * workers
    for stint in stints:
        for began, ended, state in _states(stint):
            for index in range(int(began / each), min(cells, int(ended / each) + 1)):
                part = min(ended, (index + 1) * each) - max(began, index * each)
                if part > 0:
                    seconds[index][state] += part
                    seconds[index][_IDLE] -= part
    if workers > 1:
        return "".join(max(cell, key=cell.__getitem__) for cell in seconds)
    return "".join(
        next((state for state in (_FAILED, _DROPPED) if cell[state] > 0), max(cell, key=cell.__getitem__))
        for cell in seconds
    )


def _states(stint: Stint) -> list[tuple[float, float, str]]:
    if stint.ending is not Ending.DONE:
        return [(stint.began, stint.ended, _DROPPED if stint.ending is Ending.CANCELLED else _FAILED)]
    ready = min(stint.ended, stint.began + stint.setup_seconds)
    return [(stint.began, ready, _SETUP), (ready, stint.ended, _RUN)]


def _axis(until: float, cells: int) -> str:
    line = ""
    for moment in html.ticks(until, cells // 12):
        place, words = round(moment / until * cells), f"|{html.clock(moment)}"
        if place >= len(line) and place + len(words) <= cells + 8:
            line = f"{line:<{place}}{words} "
    return line.rstrip()


# --- a page -----------------------------------------------------------------------------------------------------------


def page(timeline: Timeline) -> str:
    """A self-contained HTML file: figures, a Gantt chart with a tooltip per segment, and a table of them."""
    parts = [html.sentences(figures(timeline)), picture(timeline)] if timeline.stints else []
    title = _headline(timeline)
    return html.page(title, *parts, *([_stint_table(timeline)] if timeline.stints else []))


def picture(timeline: Timeline) -> str:
    """The Gantt chart alone, with what its colours mean."""
    lanes = timeline.lanes()
    numbers = {
        version: index for index, version in enumerate(dict.fromkeys(s.segment.version for s in timeline.stints))
    }
    until = timeline.makespan_seconds
    rows, bars = [], []
    for row, (worker, stints) in enumerate(lanes.items()):
        busy = sum(s.ended - s.began for s in stints if s.ending is Ending.DONE)
        rows.append((worker, _percent(busy, until)))
        for stint in stints:
            style = _STYLES.get(stint.ending) or html.colour(numbers[stint.segment.version])
            hatched = stint.setup_seconds if stint.ending is Ending.DONE else 0.0
            bars.append(html.Bar(row, stint.began, stint.ended, style, _tooltip(timeline, stint), hatched))
    marks = {"estimated": timeline.planned_makespan_seconds} if timeline.origin else {}
    legend = (
        "A colour per version; hatched: set-up; red: failed or lost; grey: cancelled, as another worker was faster; "
        "pale: idle. At the right: share of busy time. Rest the pointer on a bar to read what it is."
    )
    return html.gantt(rows, bars, until, marks) + html.paragraph(legend, soft=True)


_STYLES = {Ending.FAILED: "failed", Ending.LOST: "failed", Ending.CANCELLED: "dropped"}


def _tooltip(timeline: Timeline, stint: Stint) -> str:
    took = f"{stint.ended - stint.began:.1f} s"
    if timeline.origin and stint.estimated_seconds:
        took += f", estimated {stint.estimated_seconds:.1f} s"
    if stint.setup_seconds:
        took += f", set-up {stint.setup_seconds:.1f} s"
    ending = "" if stint.ending is Ending.DONE else f", {stint.ending}"
    return f"{place(stint.segment)}{ending}: {took}"


def _stint_table(timeline: Timeline) -> str:
    """What went wrong first, then the longest."""
    order = sorted(timeline.stints, key=lambda s: (s.ending is Ending.DONE, s.began - s.ended))
    rows = [
        [
            stint.worker,
            stint.segment.version[:8],
            timeline.runs.get(stint.segment.version, ""),
            span(stint.segment),
            operator_in_words(stint.segment),
            stint.ending.value,
            f"{stint.began:.1f}",
            f"{stint.ended - stint.began:.1f}",
            f"{stint.estimated_seconds:.1f}",
            f"{stint.setup_seconds:.1f}",
            str(stint.rows),
        ]
        for stint in order[:_TABLE_ROWS]
    ]
    columns = ["worker", "version", "run", "epochs", "operator", "ending", "began s", "took s", "estimated s"]
    columns += ["set-up s", "rows"]
    more = len(order) - len(rows)
    note = html.paragraph(f"... and {more} shorter ones; the chart's tooltips have all.", soft=True) if more else ""
    head = html.heading("Segments, what went wrong first, then the longest")
    return head + html.table(columns, rows, numbers=columns[6:]) + note


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole > 0 else "-"
