"""What a replay would run and cost, in words: as text, as a DataFrame and as a page. Runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from flor_ray.cluster import demand
from flor_ray.planning.replay_plan import Prepared
from flor_ray.records import Operator, Segment
from flor_ray.reports import forecasts, html, marked_tables, replays, timeline_page, timelines
from flor_ray.reports.forecasts import Basis, ForecastRow, Totals
from flor_ray.reports.text_tables import render
from flor_ray.scheduler import tradeoff
from flor_ray.scheduler.tradeoff import TradeOff
from flor_ray.wording import counted, duration, operator_in_words, size, some_versions, span

if TYPE_CHECKING:
    import pandas as pd

_VERSIONS = 20  # rows of a table in a terminal; of more, the most expensive ones are shown
_TABLE_ROWS = 2000  # of segments on a page
_PARTS = 3  # of a list in a table's cell


@dataclass(frozen=True)
class Explanation:
    """What a replay would do and cost. `print` it; `to_frame` and `to_html` give more; `prepared` holds the values."""

    prepared: Prepared
    basis: Basis = field(default_factory=Basis)

    def __str__(self) -> str:
        return text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return fragment(self)

    @cached_property
    def rows(self) -> list[ForecastRow]:
        """One per segment, in the order of the schedule."""
        prepared = self.prepared
        regions = {(v, name): str(r) for v, patch in prepared.patched.items() for name, r in patch.regions.items()}
        return forecasts.segment_rows(prepared.schedule, self.runs, regions, prepared.names, self.basis.interval)

    @cached_property
    def versions(self) -> list[ForecastRow]:
        """One per version, in the order in which they were recorded."""
        return forecasts.version_rows(self.rows, self.prepared.experiments, self.basis.interval)

    @cached_property
    def totals(self) -> Totals:
        return forecasts.totals(self.rows, self.prepared.schedule, self.basis)

    @cached_property
    def tradeoff(self) -> tuple[TradeOff, ...]:
        """Makespan and worker time on 1, 2, 3, ... workers; a schedule is made for each, which may take seconds."""
        return tradeoff.tradeoff(self.basis.costs, self.basis.cutting, at_hand=max(1, self.prepared.workers))

    @property
    def runs(self) -> dict[str, str]:
        """Names of the runs that have one, by version."""
        return {version: e.run for version, e in self.prepared.experiments.items() if e.run}

    def to_frame(self) -> pd.DataFrame:
        """One row per segment: version, run, features, region, operator, variant, first_epoch, last_epoch, worker,
        begin_seconds (when it should begin), setup_seconds (0 where the version has been set up on that worker),
        run_seconds, gpu_seconds (both; worker time, whatever the worker runs on), low_seconds and high_seconds (their
        interval, nine of ten cases), read_bytes, known (False: a stand-in, nothing was measured).

        `attrs` has the totals: segments, workers, makespan_seconds with its interval, lower_bound_seconds, gpu_seconds
        with its interval, read_bytes and price.
        """
        import pandas as pd

        frame = pd.DataFrame([_frame_row(row) for row in self.rows], columns=list(_COLUMNS))
        frame.attrs = {name: getattr(self.totals, name) for name in Totals.__slots__}
        return frame.astype({name: kind for name, kind in _COLUMNS.items() if kind})

    def to_html(self) -> str:
        """A self-contained page: the figures, a row per version, the trade-off, the planned schedule, the segments."""
        return page(self)


_COLUMNS = {
    "version": "",
    "run": "",
    "features": "",
    "region": "",
    "operator": "",
    "variant": "",
    "first_epoch": "int64",
    "last_epoch": "int64",
    "worker": "",
    "begin_seconds": "float64",
    "setup_seconds": "float64",
    "run_seconds": "float64",
    "gpu_seconds": "float64",
    "low_seconds": "float64",
    "high_seconds": "float64",
    "read_bytes": "int64",
    "known": "bool",
}


def _frame_row(row: ForecastRow) -> tuple[object, ...]:
    segment, stint = row.costs[0].segment, row.stints[0]
    words = (row.version, row.run, ", ".join(row.features), ", ".join(row.regions), segment.operator.value)
    variant = segment.variant.value if segment.operator is Operator.DP_I else ""
    place = (segment.first, segment.last, stint.worker, stint.began)
    seconds = (row.setup_seconds, row.run_seconds, row.seconds, row.low_seconds, row.high_seconds)
    return (*words, variant, *place, *seconds, row.read_bytes, row.known)


# --- text -------------------------------------------------------------------------------------------------------------


def text(explanation: Explanation) -> str:
    """The plan as a table: what runs for each version and how long, then the makespan and what will not be answered."""
    prepared = explanation.prepared
    lines = []
    if prepared.costs:
        shown = explanation.versions
        if len(shown) > _VERSIONS:
            shown = sorted(shown, key=lambda row: -row.seconds)[:_VERSIONS]
        lines.append(render(*_version_table(shown)))
        if rest := len(explanation.versions) - len(shown):
            left = sum(row.seconds for row in explanation.versions) - sum(row.seconds for row in shown)
            lines.append(
                f"... and {counted(rest, 'version')} more, {duration(left)} of worker time together; these are the "
                "most expensive. --csv FILE and --html FILE show all."
            )
        lines += [*figures(explanation.totals, explanation.basis), *demand.sentences(prepared.terms.crew)]
    elif prepared.is_empty:
        lines.append(f"Nothing to replay for {', '.join(prepared.names)}.")
    else:
        lines.append(f"Nothing has to run for {', '.join(prepared.names)}.")
    return "\n".join([*lines, *remarks(prepared)])


def figures(totals: Totals, basis: Basis) -> list[str]:
    """What a plan comes to, in sentences."""
    found = [
        f"Estimated time: {duration(totals.makespan_seconds)} on {counted(totals.workers, 'worker')} "
        f"(no schedule can be faster than {duration(totals.lower_bound_seconds)}); "
        f"{duration(totals.gpu_seconds)} of worker time."
    ]
    if totals.ready_seconds:
        found.append(f"About {duration(totals.ready_seconds)} of it pass before workers run.")
    if totals.makespan_high_seconds > totals.makespan_low_seconds:
        found.append(
            f"In nine of ten cases: {_between(totals.makespan_low_seconds, totals.makespan_high_seconds)}, with "
            f"{_between(totals.gpu_low_seconds, totals.gpu_high_seconds)} of worker time."
        )
    if basis.calibrated is False:
        found.append(
            f"No replay {f'on {basis.kind} ' if basis.kind else ''}has been measured yet: this rests on the recorded "
            "seconds alone."
        )
    if totals.read_bytes:
        found.append(f"Checkpoints to read: {size(totals.read_bytes)}.")
    if totals.price is not None:
        hours = f"{totals.gpu_seconds / 3600:.3g} {basis.hours}"
        found.append(f"Price: {totals.price:.2f} ({hours} at {basis.price_per_gpu_hour:g}).")
    return found


def remarks(prepared: Prepared) -> list[str]:
    """What is answered without running, what is in doubt, and what will not be answered."""
    lines = [f"Note: {note}" for note in [*_known(prepared), *prepared.notes]]
    lines += [f"Note: {sentence}" for sentence in replays.doubtful_places(prepared)]
    lines += [f"Not replayed: version {s.version[:8]}: {s.reason}" for s in prepared.skipped]
    lines += [f"Refused: {versions}, {name}: {reason}" for versions, name, reason in replays.refusals(prepared)]
    return [*lines, *replays.hints(prepared)]


def tradeoff_text(rows: Sequence[TradeOff], at_hand: int, basis: Basis) -> str:
    """The trade-off as a table, with the knee and the workers at hand marked, and what the knee is."""
    if not rows:
        return "Nothing has to run, on however many workers."
    columns, cells = _tradeoff_table(rows, at_hand, basis)
    return f"{render(columns, cells)}\n{_knee(rows)}"


def _known(prepared: Prepared) -> list[str]:
    """What is answered without running anything."""
    known: dict[tuple[str, str], list[str]] = {}
    for answer in prepared.known:
        known.setdefault((answer.name, answer.why), []).append(answer.version)
    return [
        f"{name} of {some_versions(versions)} is known without running: {why}"
        for (name, why), versions in known.items()
    ]


# --- tables -----------------------------------------------------------------------------------------------------------


def _version_table(rows: Sequence[ForecastRow]) -> tuple[list[str], list[list[str]]]:
    """Columns of which nothing is known in any row are left out."""
    unsure = any(row.high_seconds > row.low_seconds for row in rows)
    reads = any(row.read_bytes for row in rows)
    columns = ["version", "run", "features", "region", "epochs", "operator", "pieces", "set-up s", "run s"]
    columns += ["all s"] * unsure + ["reads"] * reads
    cells = []
    for row in rows:
        line = [row.version[:8], row.run, _some(row.features), _some(row.regions), _spans(row)]
        line.append(_some(dict.fromkeys(operator_in_words(c.segment) for c in row.costs)))
        line += [str(len(row.costs)), f"{row.setup_seconds:.1f}", f"{row.run_seconds:.1f}{'' if row.known else '?'}"]
        line += [f"{row.low_seconds:.1f}-{row.high_seconds:.1f}"] * unsure + [size(row.read_bytes)] * reads
        cells.append(line)
    return columns, cells


def _tradeoff_table(rows: Sequence[TradeOff], at_hand: int, basis: Basis) -> tuple[list[str], list[list[str]]]:
    price = basis.price_per_gpu_hour
    priced = price is not None
    columns = ["workers", "time", "at best", basis.hours, "speed-up", "efficiency", *["price"] * priced, ""]
    cells = []
    for row in rows:
        line = [str(row.workers), duration(row.makespan_seconds), duration(row.lower_bound_seconds)]
        line += [f"{row.gpu_seconds / 3600:.3g}", f"{row.efficiency * row.workers:.1f}", f"{row.efficiency:.0%}"]
        if price is not None:
            line.append(f"{row.gpu_seconds / 3600 * price:.2f}")
        marks = [*["knee"] * row.is_knee, *["at hand"] * (row.workers == at_hand)]
        cells.append([*line, ", ".join(marks)])
    return columns, cells


def _knee(rows: Sequence[TradeOff]) -> str:
    knee = next(row for row in rows if row.is_knee)
    if knee is rows[-1]:
        return "All of these workers are worth having: none of them gains less than half of the average before it."
    return (
        f"The knee is at {counted(knee.workers, 'worker')}: beyond it, one more gains less than half of what those "
        "before it have gained on average."
    )


def _spans(row: ForecastRow) -> str:
    """Epochs of all segments; pieces that follow each other are one."""
    joined: list[tuple[Segment, int]] = []  # first segment, last epoch
    for segment in (c.segment for c in row.costs):
        follows = joined and segment.operator is Operator.DP_I and segment.first == joined[-1][1] + 1
        if follows and joined[-1][0].operator is Operator.DP_I:
            joined[-1] = joined[-1][0], segment.last
        else:
            joined.append((segment, segment.last))
    words = (f"{first.first}-{last}" if last > first.last else span(first) for first, last in joined)
    return _some(dict.fromkeys(words))


def _some(words: Sequence[str] | dict[str, None]) -> str:
    found = list(words)
    return ", ".join(found if len(found) <= _PARTS else [*found[:_PARTS], f"... ({len(found)})"])


def _between(low: float, high: float) -> str:
    return f"{duration(low)} to {duration(high)}"


# --- a page -----------------------------------------------------------------------------------------------------------


def fragment(explanation: Explanation) -> str:
    """The plan as a notebook shows it: what it costs, and its versions."""
    prepared = explanation.prepared
    if not prepared.costs:
        return marked_tables.parts(html.sentences(text(explanation).splitlines()))
    figured = figures(explanation.totals, explanation.basis)
    columns, cells = _version_table(sorted(explanation.versions, key=lambda row: -row.seconds)[:_VERSIONS])
    more = len(explanation.versions) - len(cells)
    note = html.paragraph(f"... and {counted(more, 'cheaper version')}; to_frame() has all.", soft=True) if more else ""
    parts = [html.sentences(figured), html.table(columns, cells, columns[6:]), note, html.sentences(remarks(prepared))]
    return marked_tables.parts(*parts)


def page(explanation: Explanation) -> str:
    """All of it as one HTML file."""
    prepared, basis = explanation.prepared, explanation.basis
    title = f"Replay of {', '.join(prepared.names)} in {prepared.project.name}: the plan"
    if not prepared.costs:
        return html.page(title, html.sentences(text(explanation).splitlines()))
    totals = explanation.totals
    ratio = f"The schedule takes {totals.ratio:.3f} times what no schedule of these segments can beat."
    figured = [*figures(totals, basis), *demand.sentences(prepared.terms.crew), ratio]
    parts = [html.sentences(figured), html.sentences(remarks(prepared))]
    columns, cells = _version_table(sorted(explanation.versions, key=lambda row: -row.seconds))
    parts += [html.heading("Versions, the most expensive first"), html.table(columns, cells, columns[6:])]
    if explanation.tradeoff:
        parts += [html.heading("How many workers are worth having"), *_tradeoff_parts(explanation)]
    timeline = timelines.planned(prepared.schedule, prepared.names, explanation.runs)
    parts += [html.heading("The schedule, if every estimate comes true"), timeline_page.picture(timeline)]
    return html.page(title, *parts, html.heading("Segments"), _segment_table(explanation.rows))


def _tradeoff_parts(explanation: Explanation) -> list[str]:
    rows, at_hand = explanation.tradeoff, explanation.prepared.workers
    columns, cells = _tradeoff_table(rows, at_hand, explanation.basis)
    labels = [f"{counted(row.workers, 'worker')}: {duration(row.makespan_seconds)}" for row in rows]
    marked = [index for index, row in enumerate(rows) if row.is_knee]
    chart = html.curve(
        [(row.workers, row.makespan_seconds) for row in rows],
        [row.lower_bound_seconds for row in rows],
        labels,
        marked[0],
        "Time over workers, both logarithmic; dashed: no schedule can be faster; ring: the knee",
    )
    return [chart, html.table(columns, cells, columns[:-1], marked), html.paragraph(_knee(rows), soft=True)]


def _segment_table(rows: Sequence[ForecastRow]) -> str:
    columns = ["version", "run", "worker", "features", "region", "epochs", "operator"]
    columns += ["begin s", "set-up s", "run s", "low s", "high s", "reads"]
    cells = []
    for row in sorted(rows, key=lambda row: -row.seconds)[:_TABLE_ROWS]:
        line = [row.version[:8], row.run, row.stints[0].worker, ", ".join(row.features), ", ".join(row.regions)]
        line += [_spans(row), operator_in_words(row.costs[0].segment)]
        seconds = (row.stints[0].began, row.setup_seconds, row.run_seconds, row.low_seconds, row.high_seconds)
        cells.append([*line, *(f"{value:.1f}" for value in seconds), size(row.read_bytes)])
    more = len(rows) - len(cells)
    note = html.paragraph(f"... and {more} shorter ones; --csv FILE writes all.", soft=True) if more else ""
    return html.table(columns, cells, columns[7:]) + note
