"""The five tables of the paper (its Table 2) as Arrow tables: only those that a statement names, and of them only what
it names where that costs more than a listing.

    table           paper            columns here                                             other names
    experiments     p, v, a, n       project, version, args (JSON), script, run, status, ...  filename
    source_code     v, n, v̂, t       version, filename, parent, text, ...                     versionid
    checkpoints     p, v, n, l, i,   project, version, filename, line, epoch, key, ...        lineno, iteration, val
                    y, x
    object_store    n, b             key, bytes, blob                                         name
    log_records     p, v, g, e, s,   project, version, level, epoch, step, name, value, ...   loglevel, val
                    m, x

Every table that has `project` and `version` is known by `projectid` and `versionid` too. The other names are there when
a statement uses one; `SELECT *` has none of them. `text` and `blob` are read from S for the rows that show them, and
not before. A row of C that says why an epoch has no checkpoint is none, and no row here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flor_ray.records import Experiment
from flor_ray.relational.contents import Contents
from flor_ray.relational.naming import quoted
from flor_ray.relational.schema import Relation
from flor_ray.store import typed_json
from flor_ray.store.pivoting import arrow_columns
from flor_ray.store.pivoting.arrow_columns import made, texts, times
from flor_ray.store.store import Store

TEXT_OF, BYTES_OF = "source_text", "object_bytes"  # the lazy functions: key in S -> text, bytes

_VALUE = (
    'CASE "type" WHEN \'float\' THEN CAST("number" AS VARCHAR) WHEN \'int\' THEN CAST("integer" AS VARCHAR) '
    "WHEN 'bool' THEN CAST(\"integer\" <> 0 AS VARCHAR) WHEN 'none' THEN NULL ELSE \"text\" END"
)
_EVERYWHERE = {"projectid": "project", "versionid": "version"}
_ALIASES: Mapping[str, Mapping[str, str]] = {
    "experiments": {"filename": "script"},
    "source_code": {},
    "checkpoints": {"lineno": "line", "iteration": "epoch", "val": "key"},
    "object_store": {"name": "key"},
    "log_records": {"loglevel": "level", "val": "value"},
}
NAMES = tuple(_ALIASES)


@dataclass(frozen=True, slots=True)
class WantedRows:
    """What a statement asks of a table."""

    experiments: tuple[Experiment, ...]
    names: frozenset[str] | None = None  # that may be those of columns, in lower case; None: all

    def wants(self, column: str) -> bool:
        """Whether a statement may name this column."""
        return self.names is None or column.lower() in self.names


def contents(store: Store, project: str, name: str, wanted: WantedRows) -> Contents:
    """One of NAMES."""
    aliases = {
        alias: column
        for alias, column in {**_EVERYWHERE, **_ALIASES[name]}.items()
        if wanted.names and alias in wanted.names
    }
    if wanted.names is not None:
        wanted = replace(wanted, names=wanted.names | set(aliases.values()))
    arrays, shown = _READERS[name](store, project, wanted)
    shown = {column: quoted(column) for column in arrays} | shown
    shown = {column: expression for column, expression in shown.items() if column not in _RAW.get(name, ())}
    shown |= {alias: shown[column] for alias, column in aliases.items() if column in shown and alias not in shown}
    return Contents(Relation(name, tuple(shown)), arrow_columns.table(arrays), shown)


Made = tuple[dict[str, Any], dict[str, str]]  # arrays, and what is shown instead of some of them


def _experiments(store: Store, project: str, wanted: WantedRows) -> Made:
    every = wanted.experiments

    def of(column: str, kind: Callable[[Sequence[Any]], Any], value: Callable[[Experiment], Any]) -> dict[str, Any]:
        return {column: kind([value(e) for e in every])} if wanted.wants(column) or column in _CHEAP else {}

    arrays = {
        **of("project", texts, lambda e: e.project),
        **of("version", texts, lambda e: e.version),
        **of("parent", texts, lambda e: e.parent),
        **of("run", texts, lambda e: e.run),
        **of("script", texts, lambda e: e.script),
        **of("status", texts, lambda e: e.status.value),
        **of("started", times, lambda e: e.started),
        **of("ended", times, lambda e: e.ended),
        **of("args", texts, lambda e: _json(e.args)),
        **of("argv", lambda values: made("list", values), lambda e: e.argv),
        **of("main_loop", texts, lambda e: e.main_loop),
        **of("nested_loop", texts, lambda e: e.nested_loop),
        **of("epochs", lambda values: made("int64", values), lambda e: e.epochs),
        **of("setup_seconds", lambda values: made("double", values), lambda e: e.profile.setup_seconds),
        **of(
            "epoch_seconds", lambda values: made("double", values), lambda e: sum(t.seconds for t in e.profile.epochs)
        ),
        **of("suffix_seconds", lambda values: made("double", values), lambda e: e.profile.suffix_seconds),
        **of("profile", texts, lambda e: _json(typed_json.to_plain(e.profile))),
        **of("environment", texts, lambda e: _json(e.environment)),
        **of("error", texts, lambda e: e.error),
    }
    return arrays, {c: f"CAST({quoted(c)} AS JSON)" for c in ("args", "profile", "environment") if c in arrays}


_CHEAP = frozenset({"project", "version"})  # so that every table has a column


def _source_code(store: Store, project: str, wanted: WantedRows) -> Made:
    rows = [(e.version, row) for e in wanted.experiments for row in store.source_rows(project, e.version)]
    arrays = {
        "project": texts([project] * len(rows)),
        "version": texts([version for version, _ in rows]),
        "filename": texts([row["filename"].decode("utf-8", "backslashreplace") for _, row in rows]),
        **{column: texts([row[column] for _, row in rows]) for column in ("parent", "oid", "mode", "key")},
    }
    return arrays, {"text": f'{TEXT_OF}("key")'}


def _checkpoints(store: Store, project: str, wanted: WantedRows) -> Made:
    rows = [c for e in wanted.experiments for c in store.checkpoints(project, e.version)]
    arrays = {
        "project": texts([project] * len(rows)),
        **{column: texts([getattr(c, column) for c in rows]) for column in ("version", "filename")},
        "line": made("int64", [c.line for c in rows]),
        "epoch": made("int64", [c.epoch for c in rows]),
        "point": texts([c.point.value for c in rows]),
        "type": texts(["manifest"] * len(rows)),  # what the key is of; it refers to the objects of the state
        "key": texts([c.key for c in rows]),
        "bytes": made("int64", [c.bytes for c in rows]),
        **{column: made("double", [getattr(c, column) for c in rows]) for column in ("seconds", "background_seconds")},
        **{c: made("list", [sorted(getattr(row, c)) for row in rows]) for c in ("captured", "uncaptured", "opaque")},
        "why": texts([c.why for c in rows]),
    }
    return arrays, {}


def _object_store(store: Store, project: str, wanted: WantedRows) -> Made:
    infos = sorted(store.objects.infos().items())
    arrays = {
        "key": texts([key for key, _ in infos]),
        "bytes": made("int64", [info.bytes for _, info in infos]),
        "modified": times([info.modified for _, info in infos]),
    }
    return arrays, {"blob": f'{BYTES_OF}("key")'}


def _log_records(store: Store, project: str, wanted: WantedRows) -> Made:
    logs = arrow_columns.readable(store.logs(project, None, [e.version for e in wanted.experiments]))
    arrays = {column: logs[column] for column in logs.schema.names}
    shown = {"value": _VALUE, "timestamp": 'to_timestamp("timestamp")'}
    return arrays, shown


_RAW: Mapping[str, Collection[str]] = {"log_records": ("number", "integer", "text")}
_READERS: Mapping[str, Callable[[Store, str, WantedRows], Made]] = {
    "experiments": _experiments,
    "source_code": _source_code,
    "checkpoints": _checkpoints,
    "object_store": _object_store,
    "log_records": _log_records,
}


def _json(value: object) -> str:
    return json.dumps(value, default=str)
