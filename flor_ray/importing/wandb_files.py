"""The `.wandb` files of wandb's runs: history, configuration, summary, and how a run ended.

    history     each row's items at its `_step`, with its `_timestamp`; nested keys joined by dots
    config      arguments, and values outside the loop
    summary     values outside the loop, where they are not what the history ends with

Several files of one run follow one another by the second in which they were begun: the run was resumed, and the newest
value of a step is taken.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flor_ray import redaction
from flor_ray.errors import SourceUnreadable
from flor_ray.importing import leveldb_log, wire
from flor_ray.importing.found_runs import LARGEST_RECORD, FoundRun, RunContents, parsed
from flor_ray.importing.leveldb_log import LogDamage
from flor_ray.importing.wire import EIGHT, LENGTH, VARINT, Field
from flor_ray.records import Status
from flor_ray.wording import counted, printable, size

SUFFIX = ".wandb"
_HISTORY, _SUMMARY, _CONFIG, _STATS, _RUN, _EXIT, _OUTPUT = 2, 3, 5, 7, 17, 18, 13
_OWN = "_wandb"  # what wandb notes of itself, in config and summary
_PLACES = ("_step", "_timestamp", "_runtime")  # of a row of the history: they are not values, but say where it belongs
_ABOUT = {2: "entity", 3: "project", 6: "group", 7: "job_type", 9: "notes", 12: "sweep", 13: "host"}
_NO_JSON = object()


@dataclass(frozen=True, slots=True, order=True)
class RunPart:
    """A file of a run, which may have several."""

    started: float  # unix seconds
    path: str
    project: str
    run: str


def runs_of(parts: Iterable[RunPart]) -> list[FoundRun]:
    """The runs that these are the parts of."""
    by_run: dict[tuple[str, str], list[RunPart]] = {}
    for part in sorted(parts):
        by_run.setdefault((part.project, part.run), []).append(part)

    def found(key: tuple[str, str], files: tuple[str, ...]) -> FoundRun:
        return FoundRun("wandb", files[0], key, lambda: _read(files), files)

    return [found(key, tuple(part.path for part in of)) for key, of in by_run.items()]


def part_of(path: str) -> RunPart:
    """Of which run a file is. Raises SourceUnreadable if it does not say so."""
    with open(path, "rb") as file:
        if file.read(len(leveldb_log.HEADER)) != leveldb_log.HEADER:
            raise SourceUnreadable(f"{path} is no file of a wandb run: it does not begin as they do.")
        for number, record in enumerate(leveldb_log.log_records(file, LogDamage())):
            try:
                run = wire.only(wire.fields(record), _RUN, LENGTH)
                if isinstance(run, bytes):
                    said = wire.fields(run)
                    started = _seconds(wire.only(said, 17, LENGTH)) or 0.0
                    return RunPart(started, path, _text(said, 3), _text(said, 1))
            except ValueError:
                continue
            if number > _RECORDS_BEFORE_RUN:
                break
    raise SourceUnreadable(
        f"{path} does not say of which run it is, so its values belong nowhere. The run may have just begun."
    )


_RECORDS_BEFORE_RUN = 1000


def _read(paths: Sequence[str]) -> RunContents:
    found = RunContents(status=Status.FAILED, error=_NO_END)
    last: dict[str, object] = {}
    summary: dict[str, object] = {}
    for number, path in enumerate(paths):
        found.log.part = number
        found.status, found.error, found.is_going_on = Status.FAILED, _NO_END, True
        damage, unreadable = LogDamage(), 0
        with open(path, "rb") as file:
            for record in leveldb_log.log_records(file, damage):
                try:
                    _record(wire.fields(record), found, last, summary)
                except (ValueError, TypeError, OverflowError):
                    unreadable += 1
        _tell(found, path, damage, unreadable)
    found.args, in_summary = _without_media(found.args, found.left_out), Counter[str]()
    for name, value in _without_media(summary, in_summary).items():
        if name not in last or not _equal(last[name], value):
            found.log.add(name, redaction.hide(name, value), found.ended or 0.0)
    if in_summary:
        found.left_out["media of the summary"] += in_summary.total()
    return found


_NO_END = "wandb's file does not say how it ended"


def _tell(found: RunContents, path: str, damage: LogDamage, unreadable: int) -> None:
    if damage.records or unreadable:
        many = counted(damage.records + unreadable, "record")
        lost = f" ({size(damage.bytes)})" if damage.bytes else ""
        found.notes.append(f"{path}: {many} torn or damaged, and left out{lost}.")
    if damage.large:
        found.notes.append(
            f"{path}: {counted(damage.large, 'record')} larger than {size(LARGEST_RECORD)}, and left out."
        )


def _equal(one: object, other: object) -> bool:
    return json.dumps(one) == json.dumps(other)  # NaN too


def _record(record: list[Field], found: RunContents, last: dict[str, object], summary: dict[str, object]) -> None:
    for number, kind, value in record:
        if kind != LENGTH or not isinstance(value, bytes):
            continue
        if number == _HISTORY:
            _history(wire.fields(value), found, last)
        elif number == _SUMMARY:
            _update(wire.fields(value), summary)
        elif number == _CONFIG:
            _update(wire.fields(value), found.args)
        elif number == _RUN:
            _run(wire.fields(value), found, summary)
        elif number == _EXIT:
            _exit(wire.fields(value), found)
        elif number == _STATS:
            found.left_out["rows of system metrics"] += 1
            if (moment := _seconds(wire.only(wire.fields(value), 2, LENGTH))) is not None:
                found.seen(moment)
        elif number == _OUTPUT:
            found.left_out["lines of output"] += 1


def _run(run: list[Field], found: RunContents, summary: dict[str, object]) -> None:
    for number, name in _ABOUT.items():
        if said := _text(run, number):
            found.about[name] = redaction.redacted(said)
    tags = [printable(wire.text(value)) for n, _, value in run if n == 10 and isinstance(value, bytes)]
    if tags:
        found.about["tags"] = tags
    found.about["run_id"] = _text(run, 1)
    found.name = _text(run, 8) or _text(run, 1)
    if (started := _seconds(wire.only(run, 17, LENGTH))) is not None:
        found.seen(started)
    for number, into in ((4, found.args), (5, summary)):
        held = wire.only(run, number, LENGTH)
        if isinstance(held, bytes):
            _update(wire.fields(held), into)


def _exit(said: list[Field], found: RunContents) -> None:
    code = wire.signed(wire.only(said, 1, VARINT) or 0)  # type: ignore[arg-type]
    found.is_going_on = False
    found.status = Status.FINISHED if code == 0 else Status.FAILED
    found.error = None if code == 0 else f"it ended with exit code {code}"


def _history(row: list[Field], found: RunContents, last: dict[str, object]) -> None:
    values: dict[str, object] = {}
    step: object = None
    for number, kind, value in row:
        if number == 1 and kind == LENGTH:
            names, of = _item(wire.fields(value))  # type: ignore[arg-type]
            if of is _NO_JSON:
                found.left_out["values that are no JSON"] += 1
            else:
                _flattened(".".join(names), of, values)
        elif number == 2 and kind == LENGTH:
            step = wire.signed(wire.only(wire.fields(value), 1, VARINT) or 0)  # type: ignore[arg-type]
    step = values.get("_step", step)
    timestamp = values.get("_timestamp")
    when = float(timestamp) if isinstance(timestamp, int | float) else found.ended or 0.0
    found.seen(when)
    if not isinstance(step, int) or isinstance(step, bool):
        found.left_out["rows of the history without a step"] += 1
        return
    for name, item in _without_media(values, found.left_out).items():
        if name not in _PLACES:
            last[name] = item
            found.log.add(name, redaction.hide(name, item), when, 1, step)


def _flattened(name: str, value: object, into: dict[str, object]) -> None:
    """A value by its name; those of a mapping by theirs, joined by dots."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _flattened(f"{name}.{key}", item, into)
    else:
        into[printable(name)] = value


def _without_media(values: dict[str, object], left_out: Counter[str]) -> dict[str, object]:
    """Values without what describes media, which are files beside the run's. It has a type by which wandb knows it."""
    media = {name.removesuffix(_TYPE): str(value) for name, value in values.items() if name.endswith(_TYPE)}
    if not media:
        return values
    left_out.update(_MEDIA.get(kind, "files and media") for kind in media.values())
    inside = tuple(f"{name}." for name in media)
    return {name: value for name, value in values.items() if not name.startswith(inside)}


_TYPE = "._type"


_MEDIA = {"histogram": "histograms", "image-file": "images", "images/separated": "images", "table-file": "tables"}


def _update(said: list[Field], into: dict[str, object]) -> None:
    """Config or summary, as a record changes it. Keys of what is nested are joined by dots."""
    for number, kind, value in said:
        if number in (1, 2) and kind == LENGTH:
            names, of = _item(wire.fields(value))  # type: ignore[arg-type]
            name = ".".join(names)
            for known in [known for known in into if known == name or known.startswith(f"{name}.")]:
                del into[known]
            if number == 1 and names and names[0] != _OWN and name not in _PLACES and of is not _NO_JSON:
                _flattened(name, of, into)


def _item(item: list[Field]) -> tuple[list[str], object]:
    """The name of an item, in parts, and its value; _NO_JSON if that is none."""
    names: list[str] = []
    found: object = None
    for number, kind, value in item:
        if number in (1, 2) and isinstance(value, bytes):
            names.append(wire.text(value))
        elif number in (8, 16) and isinstance(value, bytes):
            try:
                found = parsed(value)
            except ValueError:
                found = _NO_JSON
        elif number == 4 and kind == VARINT:
            found = bool(value)
        elif number == 5 and kind == VARINT:
            found = wire.zigzag(value)  # type: ignore[arg-type]
        elif number == 6 and kind == EIGHT:
            found = wire.double(value)  # type: ignore[arg-type]
        elif number == 7 and isinstance(value, bytes):
            found = wire.text(value)
    return names, found


def _text(said: list[Field], number: int) -> str:
    value = wire.only(said, number, LENGTH)
    return printable(wire.text(value)) if isinstance(value, bytes) else ""


def _seconds(timestamp: bytes | int | None) -> float | None:
    """A google.protobuf.Timestamp."""
    if not isinstance(timestamp, bytes):
        return None
    said = wire.fields(timestamp)
    seconds, nanos = wire.only(said, 1, VARINT) or 0, wire.only(said, 2, VARINT) or 0
    return wire.signed(seconds) + wire.signed(nanos) / 1e9  # type: ignore[arg-type]
