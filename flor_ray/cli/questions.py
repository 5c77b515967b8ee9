"""The commands that answer questions: columns, query."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flor_ray.cli.options import bounds, executor_option, store_option, terms
from flor_ray.cli.saying import say
from flor_ray.errors import UsageError

if TYPE_CHECKING:
    from flor_ray.acquisition import Answered
    from flor_ray.planning.replay_plan import Prepared
    from flor_ray.records import Outcome
    from flor_ray.reports.plans import Explanation
    from flor_ray.settings import Loaded

_COLUMNS = ("name", "type", "level", "kind", "versions", "coverage", "logged at")
_PLACES = 3  # of one feature that are listed


@click.command(short_help="List every feature that can be asked for.")
@store_option
def columns(store: str | None) -> None:
    """List every feature that can be asked for, with or without values.

    These are the recorded ones, and all that the newest code logs (a saved file is enough) or any version's. The level
    is d outside of the main loop, o in it, i in the nested loop. Coverage is the share of epochs (of what is logged
    outside of the loop, of versions) that are answered; the rest is what a replay would have to fill.

    \b
    Examples:
      flor-ray columns
    """
    from flor_ray import asking
    from flor_ray.cli import progress, terminal
    from flor_ray.planning import features
    from flor_ray.reports import text_tables
    from flor_ray.store.project import Project

    with progress.counting() as tell:
        found = features.features(Project.open(store_url=store), tell)
    rows = []
    for one in found:
        name, types, levels, kind, versions = asking.row(one)
        where = ", ".join(one.logged_at[:_PLACES]) + (", ..." if len(one.logged_at) > _PLACES else "")
        source = "" if one.source in ("", "the working tree") else f" ({one.source})"
        rows.append([name, types, levels, kind, str(versions), f"{one.coverage:.0%}", where + source])
    say(text_tables.render(_COLUMNS, rows, terminal.width()))


@click.command(short_help="Ask in SQL; what the answer lacks is replayed.")
@click.argument("sql")
@click.option(
    "--acquire",
    type=click.Choice(["ask", "never", "always"]),
    default="ask",
    show_default=True,
    help="Whether values that the answer needs and lacks are replayed. Without a terminal, ask is never.",
)
@click.option("--explain", is_flag=True, help="Say what would be replayed, and why no more. Runs nothing.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="Of the answer; default: by the ending of --output, else a table.",
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it to this file."
)
@terms
@bounds
@executor_option
@store_option
def query(
    loaded: Loaded,
    sql: str,
    first: str | None,
    acquire: str,
    explain: bool,
    form: str | None,
    output: Path | None,
    on_ray: bool | None,
) -> None:
    """Answer one SELECT over what was logged, in DuckDB's SQL, and replay just what its answer needs.

    There are the tables experiments, source_code, checkpoints, object_store and log_records, and the views
    data_prep_pivot, outer_loop_pivot, inner_loop_pivot and full_pivot, in which each feature is a column
    (`flor-ray columns` lists them). Values that nobody has acquired yet are needed where they decide about the answer,
    and only there. `SELECT *` needs none.

    Exits with 1 if the answer is incomplete. Ctrl-C keeps what is finished; the same question goes on with the rest.

    \b
    Examples:
      flor-ray query "SELECT run, max(accuracy) FROM full_pivot GROUP BY run"
      flor-ray query "SELECT epoch, grad_norm FROM outer_loop_pivot WHERE accuracy < 90" --explain
      flor-ray query "SELECT version, avg(grad_norm) FROM full_pivot GROUP BY version" --acquire always --budget 2h
      flor-ray query "SELECT * FROM full_pivot" --output all.parquet
    """
    from flor_ray import asked_terms, asking, running
    from flor_ray.acquisition import Acquisition
    from flor_ray.cli import progress, terminal
    from flor_ray.store.project import Project

    form = _form(form, output)
    wanted = None if on_ray is None else "ray" if on_ray else "local"
    allowed = asked_terms.limits_of(loaded)

    def run(prepared: Prepared) -> Outcome:
        from flor_ray.reports import replays

        place = running.place(prepared, wanted)
        if place.why:
            say(place.why, err=True)
        outcome = terminal.run_with_progress(prepared, allowed, place.executor)
        for sentence in replays.problems(prepared, outcome):
            say(f"Warning: {sentence}", err=True)
        return outcome

    how = asking.how_of(loaded, first, wanted, lambda explanation: _agreed(explanation, acquire), run)
    with progress.counting() as tell:
        question = Acquisition(Project.of(loaded), sql, tell)
        found = question.explained(how) if explain or question.statement.explains else None
    if found is not None:
        _print_explained(*found)
        return
    if acquire == asking.ALWAYS or (acquire == asking.ASK and sys.stdin.isatty() and sys.stdout.isatty()):
        question.acquire(how)
    answer = question.answer()
    _give(answer, form, output)
    for sentence in answer.sentences:
        say(f"Warning: {sentence}", err=True)
    if answer.shortfalls:
        say("To acquire what is lacking, add --acquire always; --explain says what that would take.", err=True)
        raise SystemExit(1)


def _form(form: str | None, output: Path | None) -> str:
    """The format that is meant."""
    endings = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
    if form is None and output is not None:
        form = endings.get(output.suffix.lower())
        if form is None:
            raise UsageError(f"{output} does not say which format it is to have: add --format csv, json or parquet.")
    if form == "parquet" and output is None:
        raise UsageError("Parquet is no text: say with --output FILE where it is to go.")
    return form or "table"


def _agreed(explanation: Explanation, acquire: str) -> bool:
    say(str(explanation), err=True)
    return acquire == "always" or click.confirm("Replay it?", err=True)


def _print_explained(rows: list[list[str]], text: str) -> None:
    from flor_ray.cli import terminal
    from flor_ray.reports import questions, text_tables

    if rows:
        say(text_tables.render(questions.EXPLAINED, rows, terminal.width()))
    say(text)


def _give(answer: Answered, form: str, output: Path | None) -> None:
    """Print the answer, or write it to a file."""
    from flor_ray.cli import terminal
    from flor_ray.reports import exports

    columns = answer.table.column_names
    if form == "table" and output is None:
        terminal.print_rows(columns, list(_rows(answer)))
        return
    if form == "parquet":
        data = answer.parquet
    else:
        made = {"csv": exports.as_csv, "json": exports.as_json}.get(form, exports.as_csv)(columns, _rows(answer))
        data = made.encode("utf-8", "backslashreplace")
    if output is None:
        click.echo(data, nl=False)
        return
    output.write_bytes(data)
    say(f"{answer.table.num_rows} rows are in {output}.", err=True)


def _rows(answer: Answered) -> Iterator[tuple[object, ...]]:
    return zip(*(column.to_pylist() for column in answer.table.columns), strict=True)
