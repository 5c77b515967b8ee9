"""What is shown in a terminal: tables and progress. Plain text where there is none."""

from __future__ import annotations

import datetime
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from flor_ray.cli.saying import say
from flor_ray.records import DEFAULT_LIMITS, Limits, Outcome
from flor_ray.redaction import plain
from flor_ray.reports.progress import standing
from flor_ray.reports.text_tables import cell, render
from flor_ray.store.typed_values import text_of

if TYPE_CHECKING:
    import pandas as pd

    from flor_ray.cluster.driver import Progress as ReplayProgress
    from flor_ray.planning.replay_plan import Prepared
    from flor_ray.store.compacting.compacted_runs import ListedRun
    from flor_ray.store.pivoting.pivots import Pivot

_DIFF_STYLES = (
    ("--- ", "bold"),
    ("+++ ", "bold"),
    ("@@", "cyan"),
    ("+", "green"),
    ("-", "red"),
    ("# ", "yellow"),
)
_PLAIN_SECONDS = 2.0  # between two lines of progress where there is no terminal
_QUIET_SECONDS = 15.0  # between two of them while nothing new is answered
_MAX_ROWS = 200  # of logged values that are printed; files get all


def run_with_progress(prepared: Prepared, limits: Limits = DEFAULT_LIMITS, executor: str | None = None) -> Outcome:
    """Replay with a progress bar, or with plain lines where there is no terminal; `executor` as in `pipeline.run`."""
    from flor_ray import pipeline

    if not sys.stdout.isatty() or not prepared.costs:
        return pipeline.run(prepared, executor, _plain_progress(), limits)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    left = TextColumn("{task.fields[left]}")
    columns = (
        TextColumn("Replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows,"),
        TimeElapsedColumn(),
        left,
    )
    with Progress(*columns, console=Console()) as bar:
        task = bar.add_task("replay", total=None, left="starting workers")
        told = _News(bar.console.print)

        def tell(progress: ReplayProgress) -> None:
            bar.update(task, total=progress.wanted, completed=progress.answered, left=standing(progress))
            told.tell(progress)

        return pipeline.run(prepared, executor, tell, limits)


class _News:
    """Says once that segments have begun to take longer, or shorter, and when not as many workers are there as it was
    planned for; and of each outage of the store when it begins and when it is over."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._said: set[str] = set()
        self._away = False

    def tell(self, progress: ReplayProgress) -> None:
        for news in (progress.drift, progress.headcount):
            if news and news not in self._said:
                self._said.add(news)
                self._say(f"Note: {news}")
        if progress.away is not None and not self._away:
            self._say(f"Note: the store is away; workers keep what they have and try again. {plain(progress.away)}")
        elif progress.away is None and self._away:
            self._say("Note: the store is back.")
        self._away = progress.away is not None


def _plain_progress() -> Callable[[ReplayProgress], None]:
    told, told_at = -1, 0.0
    news = _News(say)

    def tell(progress: ReplayProgress) -> None:
        nonlocal told, told_at
        now, ends = time.monotonic(), progress.answered == progress.wanted
        patience = _PLAIN_SECONDS if progress.answered != told else _QUIET_SECONDS
        if told < 0 or (ends and told != progress.answered) or now - told_at >= patience:
            told, told_at = progress.answered, now
            say(f"Replaying: {progress.answered} of {progress.wanted} rows, {standing(progress)}")
        news.tell(progress)

    return tell


def print_frame(frame: pd.DataFrame) -> None:
    """Print a DataFrame as a table; arrays as their shape, times to the second."""
    _print_table(map(str, frame.columns), frame.itertuples(index=False))


def print_rows(columns: Sequence[str], rows: Sequence[Iterable[Any]]) -> None:
    """Print the rows of an answer: as many as a person might read. Versions are shortened."""
    ids = [index for index, name in enumerate(columns) if name == "version"]
    shown = [list(row) for row in rows[:_MAX_ROWS]]
    for row in shown:
        for index in ids:
            row[index] = str(row[index])[:8]
    _print_table(columns, shown)
    if len(rows) > len(shown):
        say(f"... and {len(rows) - len(shown)} more rows; --output FILE writes all of them.")


def print_pivot(pivot: Pivot) -> None:
    """Print logged values: as many rows as a person might read."""
    columns = list(pivot.columns)
    project, version = columns.index("project"), columns.index("version")
    rows = []
    for row in pivot.rows(_MAX_ROWS):
        row[version] = str(row[version])[:8]
        rows.append([*row[:project], *row[project + 1 :]])
    _print_table([*columns[:project], *columns[project + 1 :]], rows)
    if pivot.length > len(rows):
        say(f"... and {pivot.length - len(rows)} more rows; --csv FILE writes all of them.")


def write_csv(frame: pd.DataFrame, path: str) -> None:
    """Write a DataFrame as CSV, whatever its values are."""
    shown = frame.copy(deep=False)
    for column in frame:
        if frame[column].dtype == object:
            shown[column] = frame[column].map(_text, na_action="ignore")
    shown.to_csv(path, index=False, errors="backslashreplace")


def _text(value: object) -> object:
    return value if isinstance(value, bool | float) else text_of(value, str)


def print_versions(experiments: Sequence[ListedRun]) -> None:
    """Print recorded versions, oldest first."""
    columns = ["version", "run", "timestamp", "script", "status", "epochs", "seconds", "args"]
    rows = [
        [
            e.version[:8],
            e.run,
            datetime.datetime.fromtimestamp(e.started, datetime.UTC),
            e.script,
            e.status.value,
            e.epochs,
            "" if e.ended is None else f"{e.ended - e.started:.1f}",
            ", ".join(f"{name}={text_of(value, str)}" for name, value in e.args.items()),
        ]
        for e in experiments
    ]
    if any(e.error for e in experiments):
        columns.append("error")
        rows = [[*row, e.error or ""] for row, e in zip(rows, experiments, strict=True)]
    _print_table(columns, rows)


def _print_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    cells = [[cell(value) for value in row] for row in rows]
    say(render(columns, cells, width(), whole=("version", "timestamp")))


def print_diff(text: str) -> None:
    """Print a unified diff: coloured in a terminal, byte for byte elsewhere."""
    if not sys.stdout.isatty():
        click.echo(text.encode("utf-8", "surrogateescape"), nl=False)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    for line in text.split("\n"):
        style = next((style for start, style in _DIFF_STYLES if line.startswith(start)), "")
        shown = line.encode("utf-8", "surrogateescape").decode("utf-8", "replace").rstrip("\r")
        console.print(Text(plain(shown), style=style))


def width() -> int:
    """Columns for a table."""
    return max(80, _terminal_width())


def _terminal_width() -> int:
    return shutil.get_terminal_size((118, 24)).columns
