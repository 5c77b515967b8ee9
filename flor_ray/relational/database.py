"""Statements are run here, on what was recorded, in a database that reaches nothing else. The only importer of duckdb.

    with opened(project, statement, experiments, levels, gaps) as database:
        database.relations      what the statement names, with its gaps: for `needs`
        database.features       column -> the feature whose values it has
        database.arrow(text)    an Arrow table; also `rows`, `batches`
        database.notes          what readers of its columns should know

Only the relations and the features that the statement names are built, of the versions and epochs that it can look at;
what costs more than a listing is read when a row shows it. The names of `Relation` are those of the database: of two
columns that differ in case only, each has a name of ours there. Give statements through `inner` before they are taken
apart, then nobody need know; results have the columns' own names again.

The sandbox: no file, no network, no extension, no variable of Python and no setting can be reached, memory, threads and
disk are bounded, and a statement that runs too long ends with Ctrl-C. Statements of other kinds than SELECT, and
functions that reach outside or into the process, are refused here as well as where statements are parsed.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Collection, Generator, Mapping
from types import TracebackType
from typing import Any, Protocol, TypeVar

import duckdb

from flor_ray import processes
from flor_ray.errors import BadStatement, StoreError
from flor_ray.records import Experiment
from flor_ray.relational import casing, sandbox, tables, views
from flor_ray.relational.contents import Contents
from flor_ray.relational.macros import MACROS
from flor_ray.relational.naming import folded, literal, quoted
from flor_ray.relational.schema import Relation
from flor_ray.relational.tables import WantedRows
from flor_ray.relational.views import Asked, EpochBound, Gaps, Views
from flor_ray.store.project import Project
from flor_ray.store.store import Store

T = TypeVar("T")

RELATIONS = (*tables.NAMES, *views.DEPTHS)

_MOST_THREADS = 8
_MEMORY_SHARE = 0.5  # of what this process may have
_INTERRUPTED_SECONDS = 0.1  # until a statement is told again that it is to end: it may not have begun
_MISSING = re.compile(r'column (?:named )?"((?:[^"]|"")*)"')
_ADVICE = "Ask with one SELECT over the tables and views that there are."


class ReadStatement(Protocol):
    """What is known of a statement before it runs: `statements.Statement`."""

    @property
    def relations(self) -> tuple[str, ...]: ...
    @property
    def columns(self) -> frozenset[str]: ...
    @property
    def star(self) -> bool: ...
    @property
    def filters(self) -> Mapping[str, tuple[Any, ...]]: ...


def opened(
    project: Project,
    statement: ReadStatement,
    experiments: tuple[Experiment, ...],
    levels: Mapping[str, Collection[str]],
    gaps: Gaps,
    repeating: Collection[str] = (),
) -> Database:
    """The database that answers one statement; close it, or use it as a context.

    Args:
        levels: of features that can be asked for, with or without values, the levels at which they are logged; none:
            only a run can tell. Of those that have values it need not be said.
        gaps: of features, the places that nobody has answered.
        repeating: those of which one place may have several values, or which bring a loop of their own: their gaps may
            add rows.
    """
    names = None if statement.star else statement.columns
    wanted = {
        name: [e for e in experiments if _may_be(e, statement.filters.get(name, ()))] for name in statement.relations
    }
    bounds = {
        name: tuple(EpochBound(f.operator, f.values) for f in filters if f.column == "epoch")
        for name, filters in statement.filters.items()
    }
    versions = {name: frozenset(e.version for e in some) for name, some in wanted.items()}
    pivoted = frozenset().union(*(some for name, some in versions.items() if name in views.DEPTHS))
    asked = Asked(
        tuple(e for e in experiments if e.version in pivoted),
        names,
        levels,
        gaps,
        repeating,
        versions,
        bounds,
    )
    known = Views(project.store, project.name, asked)
    found = []
    for name in statement.relations:
        if name in views.DEPTHS:
            found.append(known.view(name))
        else:
            found.append(tables.contents(project.store, project.name, name, WantedRows(tuple(wanted[name]), names)))
    return Database(project.store, found, known.elsewhere() if pivoted else {})


def _may_be(experiment: Experiment, filters: Collection[Any]) -> bool:
    """Whether rows of an experiment can satisfy these filters."""
    values: Mapping[str, str] = {"version": experiment.version, "run": experiment.run}
    return all(_holds(f, values[f.column]) for f in filters if f.column in values)


def _holds(one: Any, value: str) -> bool:
    if one.operator == "=":
        return value in one.values
    (bound,) = one.values
    return bool({"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[one.operator])


class Database:
    """Relations in SQL, and nothing else."""

    def __init__(
        self, store: Store, contents: Collection[Contents], elsewhere: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.relations: Mapping[str, Relation] = {one.relation.name: one.relation for one in contents}
        self.features: Mapping[str, str] = {column: name for one in contents for column, name in one.features.items()}
        self.notes: tuple[str, ...] = tuple(dict.fromkeys(note for one in contents for note in one.notes))
        self._inner = {name: inner for one in contents for name, inner in one.inner.items()}
        self._shown = {inner: name for name, inner in self._inner.items()}
        self._elsewhere = elsewhere or {}  # folded columns -> the views that have them
        self._folder = tempfile.TemporaryDirectory(prefix=processes.folder_prefix("sql"), ignore_cleanup_errors=True)
        self._connection = _connected(self._folder.name)
        try:
            self._fill(store, contents)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the database. It may be closed before."""
        self._connection.close()
        self._folder.cleanup()

    # --- what is in it ------------------------------------------------------------------------------------------------

    def _fill(self, store: Store, contents: Collection[Contents]) -> None:
        if not {"source_code", "object_store"}.isdisjoint(self.relations):
            self._connection.create_function(tables.TEXT_OF, _text_of(store), ["VARCHAR"], "VARCHAR")
            self._connection.create_function(tables.BYTES_OF, store.objects.get, ["VARCHAR"], "BLOB")
        for macro in MACROS:
            self._connection.execute(macro.sql)
        self._connection.execute("SET TimeZone = 'UTC'; SET lock_configuration = true")
        for number, one in enumerate(contents):
            table = f"rows {number}"
            self._connection.register(table, one.table)
            shown = {column: self._readable(table, expression) for column, expression in one.shown.items()}
            listed = ", ".join(f"{expression} AS {quoted(column)}" for column, expression in shown.items())
            where = f" WHERE {one.where}" if one.where else ""
            relation = one.relation
            self._connection.execute(
                f"CREATE VIEW {quoted(relation.name)} AS SELECT {listed} FROM {quoted(table)}{where}"
            )
            if relation.flagged:
                flags = dict.fromkeys([*relation.flags.values(), *([relation.opens] if relation.opens else [])])
                listed += "".join(f", {quoted(flag)}" for flag in flags)
                self._connection.execute(
                    f"CREATE VIEW {quoted(relation.flagged)} AS SELECT {listed} FROM {quoted(table)}"
                )

    def _readable(self, table: str, expression: str) -> str:
        """The expression for a column of JSON, without it where DuckDB does not take all of its texts for that."""
        start, end = "CAST(", " AS JSON)"
        if not (expression.startswith(start) and expression.endswith(end)):
            return expression
        column = expression[len(start) : -len(end)]
        test = f"SELECT count(*) FROM {quoted(table)} WHERE {column} IS NOT NULL AND NOT json_valid({column})"
        return column if self._one(test) else expression

    def _one(self, text: str) -> Any:
        """The only value of a statement of ours."""
        ((value,),) = self._connection.execute(text).fetchall()
        return value

    # --- questions ----------------------------------------------------------------------------------------------------

    def inner(self, text: str) -> str:
        """A statement with the names that columns have in the database.

        Raises:
            BadStatement: it names one of several columns whose names differ in case only, and does not say which.
        """
        return casing.inner_text(text, _words(text), self._inner) if self._inner else text

    def arrow(self, text: str) -> Any:
        """The rows of a statement as an Arrow table.

        Raises:
            BadStatement: it is not one SELECT, it cannot be run, or it reaches outside.
            KeyboardInterrupt: Ctrl-C has ended it.
        """
        relation = self._relation(text)
        names = [self._shown.get(name, name) for name in relation.columns]
        found = self._guarded(relation.to_arrow_table)
        return found.rename_columns(names)

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """The rows of a statement as Python values. Errors are those of `arrow`."""
        relation = self._relation(text)
        found: list[tuple[Any, ...]] = self._guarded(relation.fetchall)
        return found

    def batches(self, text: str, rows: int = 100_000) -> Generator[Any, None, None]:
        """The rows of a statement as Arrow record batches of at most so many rows. Until all are read, or the iterator
        is closed, nothing else can be asked. Errors are those of `arrow`."""
        relation = self._relation(text)
        names = [self._shown.get(name, name) for name in relation.columns]
        reader = self._guarded(lambda: relation.to_arrow_reader(rows))
        while (batch := self._guarded(lambda: next(reader, None))) is not None:
            yield batch.rename_columns(names)

    def interrupt(self) -> None:
        """End what runs, from another thread: its question raises BadStatement."""
        self._connection.interrupt()

    def _relation(self, text: str) -> Any:
        text = self.inner(text)
        self._expect_harmless(text)
        return self._guarded(lambda: self._connection.sql(text))

    def _guarded(self, do: Callable[[], T]) -> T:
        """Run something of DuckDB's so that Ctrl-C ends it, which it only sometimes sees by itself."""
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(do())
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
                errors.append(error)
            finally:
                done.set()

        done = threading.Event()  # a thread that was joined with Ctrl-C passes for ended
        threading.Thread(target=run, name="flor-ray-sql", daemon=True).start()
        try:
            done.wait()
        except BaseException:
            while not done.is_set():
                self._connection.interrupt()
                done.wait(_INTERRUPTED_SECONDS)
            raise
        if errors:
            raise self._explained(errors[0]) from errors[0]
        return results[0]

    def _explained(self, error: BaseException) -> BaseException:
        """What the user is told instead of an error of DuckDB's."""
        said = str(error).partition("\n")[0]
        said = said.partition(" Error: ")[2].strip() or said
        if isinstance(error, duckdb.OutOfMemoryException):
            return StoreError(f"The statement needs more memory than it may have: {said}. Ask for less at once.")
        if isinstance(error, duckdb.InvalidInputException) and "Python exception" in said:
            return StoreError(f"A column could not be read: {said}")
        if not isinstance(error, duckdb.Error):
            return error
        advice = _ADVICE
        for name in _MISSING.findall(said):
            if views_of := self._elsewhere.get(folded(name)):
                advice = f"{name} is a column of {' and '.join(views_of)}."
        return BadStatement(said, advice)

    # --- the sandbox --------------------------------------------------------------------------------------------------

    def _expect_harmless(self, text: str) -> None:
        """DuckDB's own parser has the last word on what a statement is and what it calls."""
        try:
            statements = self._connection.extract_statements(text)
        except duckdb.Error as error:
            raise self._explained(error) from error
        kinds = [statement.type.name for statement in statements]
        if len(kinds) != 1 or kinds[0] not in ("SELECT", "MULTI"):
            seen = f"it is {' and '.join(kinds) or 'empty'}" if len(kinds) < 2 else f"these are {len(kinds)} statements"
            raise BadStatement(seen, _ADVICE)
        if kinds[0] == "MULTI":  # PIVOT, which DuckDB runs as several statements, and does not describe
            return self._expect_known_functions(text)
        tree = json.loads(self._one(f"SELECT json_serialize_sql({literal(text)}::VARCHAR)"))
        if tree.get("error") or len(tree["statements"]) != 1:
            raise BadStatement(f"DuckDB does not describe it ({tree.get('error_message', 'no reason')})", _ADVICE)
        own = {*self.relations, *(relation.flagged for relation in self.relations.values())}
        sandbox.expect_harmless(tree["statements"], own)
        return None

    def _expect_known_functions(self, text: str) -> None:
        asked = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro')"
        makers = frozenset(name for (name,) in self._connection.execute(asked).fetchall())
        sandbox.expect_harmless_words((word.name for word in _words(text)), makers)


def _connected(folder: str) -> Any:
    memory = int(processes.machine_bytes() * _MEMORY_SHARE)
    config: dict[str, Any] = {
        **sandbox.SETTINGS,
        "temp_directory": folder,
        "memory_limit": f"{max(memory >> 20, 256)}MB",
        "threads": str(min(_MOST_THREADS, os.cpu_count() or 1)),
    }
    return duckdb.connect(":memory:", config=config)


def _words(text: str) -> list[casing.Word]:
    tokens = duckdb.tokenize(text)
    return list(casing.words(text, [(start, kind.name in ("identifier", "keyword")) for start, kind in tokens]))


def _text_of(store: Store) -> Callable[[str], str]:
    def text_of(key: str) -> str:
        return store.objects.get(key).decode("utf-8", "backslashreplace")

    return text_of
