"""MLflow's runs, from its folders (mlruns) and from its SQLite files.

    params, tags    values outside the loop, with the types that Python would print so; MLflow has texts only
    metrics         each value at its step, as a float
    mlflow.* tags   what is known of the run

In SQLite MLflow keeps NaN as 0 with a flag, and infinities as the greatest float: they are what they were again.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import sys
from collections.abc import Mapping

from flor_ray import redaction
from flor_ray.errors import SourceUnreadable
from flor_ray.importing import databases
from flor_ray.importing.found_runs import FoundRun, RunContents, from_text
from flor_ray.records import Status
from flor_ray.wording import counted, printable

TABLES = {
    "runs": frozenset({"run_uuid", "status", "start_time", "end_time", "lifecycle_stage", "experiment_id"}),
    "metrics": frozenset({"key", "value", "timestamp", "run_uuid", "step", "is_nan"}),
    "params": frozenset({"key", "value", "run_uuid"}),
}
_META = "meta.yaml"
_LARGEST_TEXT = 1 << 20  # bytes of meta.yaml, of a parameter or a tag
_STATUSES = ("", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")  # by MLflow's numbers
_OWN_TAGS = "mlflow."


def _ends(found: RunContents, status: object, start: object, end: object) -> None:
    """What MLflow says of a run's beginning and end, in milliseconds."""
    said = _STATUSES[status] if isinstance(status, int) and 0 < status < len(_STATUSES) else str(status)
    for moment in (start, end):
        if isinstance(moment, int):
            found.seen(moment / 1000)
    found.is_going_on = said in ("RUNNING", "SCHEDULED")
    if said != "FINISHED":
        found.status = Status.FAILED
        found.error = (
            f"MLflow has it as {said.lower()}" if not found.is_going_on else "MLflow does not say how it ended"
        )


def _add(found: RunContents, key: str, value: float, milliseconds: int, step: int) -> None:
    found.seen(milliseconds / 1000)
    found.log.add(printable(key), value, milliseconds / 1000, 1, step)


def _add_texts(found: RunContents, params: dict[str, str], tags: dict[str, str]) -> None:
    """Parameters and tags. A run's name is a tag, too."""
    found.args |= {printable(key): from_text(text) for key, text in sorted(params.items())}
    for key, text in sorted(tags.items()):
        name = printable(key)
        if not name.startswith(_OWN_TAGS):
            found.log.add(f"tags.{name}", redaction.hide(name, printable(text)), found.started or 0.0)
        elif name == "mlflow.runName":
            found.name = found.name or printable(text)
        elif len(text) <= _LONGEST_ABOUT:
            found.about[name] = redaction.hide(name, printable(text))
        else:
            found.left_out["long tags of MLflow itself"] += 1


_LONGEST_ABOUT = 1000  # characters; models' and datasets' descriptions are longer


# --- folders --------------------------------------------------------------------------------------------------------


def is_run(folder: str) -> bool:
    """Whether a folder is one that MLflow keeps a run in."""
    return os.path.isfile(os.path.join(folder, _META)) and any(
        os.path.isdir(os.path.join(folder, part))
        for part in ("metrics", "params")  # experiments have tags, too
    )


def run_of(folder: str) -> FoundRun | None:
    """The run in a folder; None if MLflow has it as deleted, or it is a model. Raises SourceUnreadable if meta.yaml
    does not say which run it is."""
    meta = _meta(folder)
    if "model_id" in meta:
        return None
    run = str(meta.get("run_id") or meta.get("run_uuid") or "")
    if not run:
        raise SourceUnreadable(f"{folder}/{_META} does not say which run this is.")
    if meta.get("lifecycle_stage", "active") != "active":
        return None
    return FoundRun("mlflow", folder, (run,), lambda: _read_folder(folder, meta), tuple(_files(folder, "metrics")))


def _meta(folder: str) -> dict[str, str | int | float | bool | None]:
    from flor_ray import settings_file  # and pydantic, which who has no such folder need not import

    path = os.path.join(folder, _META)
    try:
        return settings_file.flat(_text(path))
    except (OSError, ValueError) as error:
        raise SourceUnreadable(f"{path} does not describe a run of MLflow: {error}.") from error


def _text(path: str) -> str:
    with open(path, "rb") as file:
        data = file.read(_LARGEST_TEXT + 1)
    if len(data) > _LARGEST_TEXT:
        raise ValueError(f"it is longer than {_LARGEST_TEXT} bytes")
    return data.decode("utf-8", "backslashreplace")


def _files(folder: str, part: str) -> list[str]:
    root = os.path.join(folder, part)
    return sorted(os.path.join(at, name) for at, _, names in os.walk(root) for name in names)


def _read_folder(folder: str, meta: Mapping[str, str | int | float | bool | None]) -> RunContents:
    found = RunContents(name=printable(str(meta.get("run_name") or "")))
    _ends(found, meta.get("status"), meta.get("start_time"), meta.get("end_time"))
    found.about["run_id"] = str(meta.get("run_id") or meta.get("run_uuid"))
    with contextlib.suppress(SourceUnreadable):  # a copy of one run's folder is without
        found.about["experiment"] = str(_meta(os.path.dirname(folder)).get("name"))
    for path in _files(folder, "metrics"):
        _read_metric(path, os.path.relpath(path, os.path.join(folder, "metrics")).replace(os.sep, "/"), found)
    _add_texts(found, _texts(folder, "params", found), _texts(folder, "tags", found))
    return found


def _texts(folder: str, part: str, found: RunContents) -> dict[str, str]:
    texts = {}
    for path in _files(folder, part):
        try:
            texts[os.path.relpath(path, os.path.join(folder, part)).replace(os.sep, "/")] = _text(path)
        except (OSError, ValueError) as error:
            found.notes.append(f"{path} is left out: {error}.")
    return texts


def _read_metric(path: str, key: str, found: RunContents) -> None:
    """Lines of a metric: milliseconds, value, and step, which older versions do not have."""
    damaged = 0
    with open(path, encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        while line := file.readline(_LONGEST_LINE):
            words = line.split()
            try:
                if not line.endswith("\n"):
                    raise ValueError("it is torn, and may have been going to say more")
                _add(found, key, float(words[1]), int(words[0]), int(words[2]) if len(words) > 2 else 0)
            except (ValueError, IndexError, OverflowError):
                damaged += 1
    if damaged:
        found.notes.append(f"{path}: {counted(damaged, 'line')} torn or damaged, and left out.")


_LONGEST_LINE = 10_000


# --- databases ------------------------------------------------------------------------------------------------------


def runs_in(path: str, connection: sqlite3.Connection) -> list[FoundRun]:
    """The runs of a database that MLflow has not as deleted."""
    with databases.damaged(path):
        rows = connection.execute(
            "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' OR lifecycle_stage IS NULL ORDER BY rowid"
        ).fetchall()

    def found(run: str) -> FoundRun:
        return FoundRun("mlflow", path, (run,), lambda: _read_rows(path, connection, run), (path,))

    return [found(str(run)) for (run,) in rows]


def _read_rows(path: str, connection: sqlite3.Connection, run: str) -> RunContents:
    found = RunContents()
    with databases.damaged(path):
        known = databases.tables_of(connection)
        about = connection.execute(
            "SELECT status, start_time, end_time, experiment_id FROM runs WHERE run_uuid = ?", (run,)
        ).fetchone()
        if about is None:
            raise SourceUnreadable(f"{path} does not say which run this is: {run!r:.60} is no text there.")
        _ends(found, *about[:3])
        if "name" in known["runs"]:
            name = connection.execute("SELECT name FROM runs WHERE run_uuid = ?", (run,)).fetchone()
            found.name = printable(str(name[0] or ""))
        found.about["run_id"] = run
        if {"experiment_id", "name"} <= known.get("experiments", frozenset()):
            rows = connection.execute("SELECT name FROM experiments WHERE experiment_id = ?", (about[3],)).fetchall()
            found.about["experiment"] = printable(str(rows[0][0])) if rows else ""
        order = "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? ORDER BY timestamp, rowid"
        for row in connection.execute(order, (run,)):
            _add_row(found, *row)
        _add_texts(found, _pairs(connection, "params", run), _pairs(connection, "tags", run) if "tags" in known else {})
    return found


def _add_row(found: RunContents, key: object, value: object, timestamp: object, step: object, is_nan: object) -> None:
    whole = isinstance(timestamp, int) and isinstance(step, int)
    if not (isinstance(key, str) and isinstance(value, float | int) and whole and abs(timestamp) < _LAST_MILLISECOND):  # type: ignore[arg-type]
        found.left_out["rows of metrics that make no sense"] += 1
        return
    number = math.nan if is_nan else float(value)
    if abs(number) == sys.float_info.max:
        number = math.copysign(math.inf, number)
    _add(found, key, number, timestamp, step)  # type: ignore[arg-type]


_LAST_MILLISECOND = 1 << 52


def _pairs(connection: sqlite3.Connection, table: str, run: str) -> dict[str, str]:
    rows = connection.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", (run,))  # one of two names
    return {str(key): str(value) for key, value in rows if value is not None}
