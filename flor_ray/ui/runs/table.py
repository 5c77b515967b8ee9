"""The table of runs: any rows of it, filtered and sorted in SQL, of as many runs as there are.

snapshot of the listing ─> columns that are named ─> a database with one table ─> rows of a page
                           (features are read once)   (kept for the next page)
"""

from __future__ import annotations

import contextlib
import difflib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flor_ray.errors import BadStatement, FlorError
from flor_ray.relational.contents import Contents
from flor_ray.relational.database import Database
from flor_ray.relational.naming import inner_names, quoted
from flor_ray.relational.schema import Relation
from flor_ray.store import checks
from flor_ray.store.compacting.compacted_runs import ListedRun
from flor_ray.store.pivoting import arrow_columns, pivots
from flor_ray.store.typed_values import BLOB_TYPES
from flor_ray.ui import cells, notices
from flor_ray.ui.runs import run_columns, virtual
from flor_ray.ui.runs.last_values import LastValues, last_values
from flor_ray.ui.runs.run_columns import ColumnNames
from flor_ray.ui.runs.run_questions import TABLE, RunQuestion, count_statement, named, rows_statement
from flor_ray.ui.runs.virtual import AnsweredShare
from flor_ray.ui.snapshots import RunsSnapshot, Snapshots

_KEPT = 6  # tables with other columns, for who goes back and forth
_RECORDS_AT_ONCE = 1 << 24  # of all features together, of which one is read: parts of many runs cost more than memory
_MOST_SECONDS = 20.0  # that a filter may take
_CONDITION = "The filter is a condition in SQL over the columns, such as: status = 'finished' AND lr < 0.1."


@dataclass(frozen=True, slots=True)
class RunsPage:
    """Rows of the table."""

    snapshot: int  # another number: there is something new
    total: int  # runs that the filter leaves
    every: int  # all runs
    rows: list[dict[str, Any]]  # {"version", "cells", "marks": {column: verdict}, "shares": {column: [2, 5]}} each


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Table:
    """A database with some columns of a snapshot."""

    database: Database
    columns: frozenset[str]
    features: Mapping[str, LastValues]
    objects: frozenset[str]  # columns whose values lie in S
    lock: threading.Lock


class RunsTable:
    """The runs of a project. Any thread may ask."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._project, self._snapshots = snapshots.project, snapshots
        self._lock = threading.Lock()
        self._number = 0
        self._arrays: dict[str, Any] = {}  # of what runs are and of arguments, as Arrow has them
        self._features: dict[str, LastValues] = {}
        self._tables: OrderedDict[frozenset[str], _Table] = OrderedDict()
        self._names = ColumnNames({}, {})
        self._shares: dict[str, dict[str, tuple[int, int]]] = {}
        self._shared: tuple[int, list[AnsweredShare]] | None = None

    def look_ahead(self) -> None:
        """List the runs before a page asks for them."""
        with contextlib.suppress(FlorError):  # which the page's own question meets, and tells
            self.page(RunQuestion(run_columns.RUN_COLUMNS, count=1))

    def names(self) -> tuple[RunsSnapshot, ColumnNames]:
        """The columns that there are now."""
        with self._lock:
            snapshot = self._looked()
            return snapshot, self._names

    def page(self, question: RunQuestion) -> RunsPage:
        """Rows of the table.

        Raises:
            BadStatement: the filter is no condition over these columns.
            UsageError: there is no such column.
        """
        with self._lock:
            snapshot = self._looked()
            wanted = named(question, self._names.all)
            table = self._table(snapshot, wanted)
        with table.lock:
            ((total,),) = self._asked(table.database, count_statement(question))
            rows = self._asked(table.database, rows_statement(question))
        return RunsPage(
            snapshot.number, total, len(snapshot.runs), [self._row(snapshot, table, question, row) for row in rows]
        )

    def _row(self, snapshot: RunsSnapshot, table: _Table, question: RunQuestion, row: Sequence[Any]) -> dict[str, Any]:
        version, *values = row
        found = [
            {"other": "<object>"} if name in table.objects and value is not None else cells.cell(value)
            for name, value in zip(question.columns, values, strict=True)
        ]
        marks = {}
        for name in question.columns:
            feature, which = self._names.features.get(name, ("", ""))
            if which == "last" and feature in table.features and version in table.features[feature].replayed:
                marks[name] = snapshot.verdicts.get(version, "unverified")
        shares = {}
        for name in question.columns:
            feature, _ = self._names.features.get(name, ("", ""))
            if share := self._shares.get(feature, {}).get(version):
                shares[name] = share
        return {
            "version": version,
            "cells": found,
            **({"marks": marks} if marks else {}),
            **({"shares": shares} if shares else {}),
        }

    def shares(self) -> tuple[RunsSnapshot, list[AnsweredShare]]:
        """The columns of the newest code, and how much of each is answered."""
        snapshot, names = self.names()
        if self._shared is None or self._shared[0] != snapshot.number:
            found = virtual.shares_of(self._project, snapshot.runs, snapshot.virtual)
            column_of = {feature: column for column, (feature, which) in names.features.items() if which == "last"}
            self._shares = {one.name: one.by_version for one in found}
            self._shared = snapshot.number, [replace(one, column=column_of[one.name]) for one in found]
        return snapshot, self._shared[1]

    def _asked(self, database: Database, text: str) -> list[tuple[Any, ...]]:
        late = threading.Event()

        def end() -> None:
            late.set()
            database.interrupt()

        timer = threading.Timer(_MOST_SECONDS, end)
        timer.start()
        try:
            return database.rows(text)
        except BadStatement as error:
            if late.is_set():
                raise BadStatement(f"the filter took longer than {_MOST_SECONDS:.0f} s", _CONDITION) from None
            raise BadStatement(error.seen, self._hint(error.seen)) from None
        finally:
            timer.cancel()

    def _hint(self, seen: str) -> str:
        """What to write instead."""
        for word in seen.split('"')[1::2]:
            if close := difflib.get_close_matches(word, self._names.all, n=3):
                return f"Did you mean {', '.join(close)}? {_CONDITION}"
        return _CONDITION

    # --- what is kept -------------------------------------------------------------------------------------------------

    def _looked(self) -> RunsSnapshot:
        """The newest snapshot; what was kept of the one before goes."""
        snapshot = self._snapshots.latest()
        if snapshot.number != self._number:
            self._number = snapshot.number
            arguments = arguments_of(snapshot.runs)
            self._names = run_columns.names_of(arguments, snapshot.features | snapshot.virtual.keys())
            self._arrays = run_columns.arrays_of(snapshot.runs, snapshot.verdicts)
            for column, argument in self._names.arguments.items():
                self._arrays[column] = run_columns.argument_array(arguments[argument])
            self._features.clear()
            self._tables.clear()
        return snapshot

    def _table(self, snapshot: RunsSnapshot, wanted: Sequence[str]) -> _Table:
        names = frozenset(wanted)
        for kept in self._tables.values():
            if names <= kept.columns:
                self._tables.move_to_end(kept.columns)
                return kept
        made = self._made(snapshot, names)
        self._tables[made.columns] = made
        while len(self._tables) > _KEPT:
            self._tables.popitem(last=False)
        return made

    def _made(self, snapshot: RunsSnapshot, wanted: frozenset[str]) -> _Table:
        inner = inner_names(self._names.all)
        arrays = {inner.get(column, column): array for column, array in self._arrays.items()}
        shown = {column: quoted(column) for column in arrays}
        features: dict[str, LastValues] = {}
        objects, columns = set(), {*run_columns.RUN_COLUMNS, *self._names.arguments}
        for column, (feature, which) in self._names.features.items():
            if column in wanted:
                features[feature] = self._feature(snapshot, feature)
                made = run_columns.feature_array(features[feature], which)
                called = inner.get(column, column)
                arrays[called] = made.array
                shown[called] = f"CAST({quoted(called)} AS {made.sql})" if made.sql else quoted(called)
                columns.add(column)
                notices.tell([f"Column {cells.readable(column)} {made.note}."] if made.note else [])
                if which == "last" and not BLOB_TYPES.isdisjoint(features[feature].values.types):
                    objects.add(column)
        own = {column: inner[column] for column in columns if column in inner}
        contents = Contents(Relation(TABLE, tuple(shown)), arrow_columns.table(arrays), shown, inner=own)
        database = Database(self._project.store, [contents])
        found = _Table(database, frozenset(columns), features, frozenset(objects), threading.Lock())
        weakref.finalize(found, database.close)  # once no question uses it any more
        return found

    def _feature(self, snapshot: RunsSnapshot, name: str) -> LastValues:
        if name not in self._features:
            store = self._project.store
            logs = pivots.read(store, self._project.name, [name], snapshot.runs, _RECORDS_AT_ONCE).logs
            self._features[name] = last_values(logs, name, [run.version for run in snapshot.runs])
        return self._features[name]


def arguments_of(runs: Sequence[ListedRun]) -> dict[str, list[object]]:
    """By argument its values, one per run; None where a run has none."""
    found: dict[str, list[object]] = {}
    for position, args in enumerate(_parsed(runs)):
        for name, value in args.items():
            if name not in found:
                found[name] = [None] * len(runs)
            found[name][position] = value
    return found


def _parsed(runs: Sequence[ListedRun]) -> list[dict[str, object]]:
    """Each run's arguments; none of one whose are damaged, which is told."""
    with contextlib.suppress(ValueError):  # all at once: a call each takes ten times as long
        found: list[dict[str, object]] = checks.parsed(f"[{','.join(run.args_json for run in runs)}]")
        if len(found) == len(runs) and all(isinstance(args, dict) for args in found):
            return found
    found = []
    for run in runs:
        try:
            found.append(dict(run.args))
        except (ValueError, TypeError):
            notices.tell([f"The arguments of version {run.version[:8]} are damaged in the store, and are not shown."])
            found.append({})
    return found
