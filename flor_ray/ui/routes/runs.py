"""What the page of runs asks for: rows, and the columns that there are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from flor_ray.ui import cells
from flor_ray.ui.routes.answering import answer
from flor_ray.ui.runs.run_columns import TIMES, ColumnNames
from flor_ray.ui.runs.run_questions import MOST_ROWS, RunQuestion
from flor_ray.ui.runs.table import RunsTable

router = APIRouter()
_FEW_RUNS = 2000  # of which features are shown at once; of more, whose values take a while to read, when asked for
_SHOWN = ("run", "version", "status", "started", "seconds", "epochs")
_MOST_SHOWN = 14  # columns, where none are chosen


def runs_of(request: Request) -> RunsTable:
    """The table of runs of this server."""
    found: RunsTable = request.app.state.runs
    return found


Runs = Annotated[RunsTable, Depends(runs_of)]


@router.get("/runs")
def rows(
    table: Runs,
    columns: Annotated[list[str] | None, Query()] = None,
    where: str = "",
    sort: Annotated[list[str] | None, Query()] = None,
    first: Annotated[int, Query(ge=0)] = 0,
    count: Annotated[int, Query(ge=0, le=MOST_ROWS)] = 100,
) -> Response:
    """Rows of the table; without `columns`, of those that are shown where none are chosen."""
    snapshot, names = table.names()
    shown = tuple(columns) if columns else default_columns(names, len(snapshot.runs), bool(snapshot.verdicts))
    question = RunQuestion(shown, where, tuple(sort) if sort else ("-started",), first, count)
    page = table.page(question)
    described = [
        {"name": name, "shown": cells.readable(name), "kind": names.kind(name), "time": name in TIMES} for name in shown
    ]
    return answer(
        {
            "snapshot": page.snapshot,
            "total": page.total,
            "every": page.every,
            "first": first,
            "columns": described,
            "rows": page.rows,
        }
    )


def default_columns(names: ColumnNames, runs: int, were_replayed: bool) -> tuple[str, ...]:
    """Those that are shown where none are chosen."""
    found = [*_SHOWN, *(["verdict"] if were_replayed else []), *names.arguments]
    if runs <= _FEW_RUNS:
        logged = set(names.arguments.values())
        found += [c for c, (name, which) in names.features.items() if which == "last" and name not in logged]
    return tuple(found[:_MOST_SHOWN])


@router.get("/runs/columns")
def columns(table: Runs) -> Response:
    """All columns, and of those that the newest code logs how much is answered."""
    snapshot, names = table.names()
    _, shares = table.shares()
    return answer(
        {
            "snapshot": snapshot.number,
            "columns": [{"name": name, "shown": cells.readable(name), "kind": names.kind(name)} for name in names.all],
            "virtual": [
                {
                    "column": one.column,
                    "name": one.name,
                    "shown": cells.readable(one.name),
                    "levels": one.levels,
                    "at": [cells.readable(place) for place in one.at],
                    "answered": one.answered,
                    "places": one.places,
                    "exact": one.is_exact,
                }
                for one in shares
            ],
        }
    )
