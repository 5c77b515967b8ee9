"""Rows of E as JSON, and the judgement whether a run that never said how it ended is still going. No pyarrow here."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from flor_ray import processes
from flor_ray.errors import Damaged
from flor_ray.records import EpochTimes, Experiment
from flor_ray.store import checks, typed_json, typed_values

HEARTBEAT_LIMIT_SECONDS = 90.0  # a run of another host that was silent for longer is taken for dead


def to_json(experiment: Experiment) -> bytes:
    """JSON as Python writes it: NaN and infinities are kept, other objects become what they hold or their repr."""
    profile = experiment.profile
    epochs = [typed_json.to_row(times)[: None if times.steps is not None else -1] for times in profile.epochs]
    row = {field.name: getattr(experiment, field.name) for field in fields(experiment)}
    row["args"] = {name: recorded_form(value) for name, value in experiment.args.items()}
    row["profile"] = typed_json.to_plain(replace(profile, epochs=())) | {"epochs": epochs}
    return json.dumps(row, default=_plain, indent=1).encode()


def from_json(data: bytes, where: str, project: str, version: str) -> Experiment:
    """Raises Damaged, naming `where`, if that is not a row of E which a run of this version can have written."""
    try:
        row: dict[str, Any] = checks.parsed(data)
        times = [typed_json.named(each, EpochTimes) for each in row["profile"]["epochs"]]
        found = typed_json.from_plain({**row, "profile": {**row["profile"], "epochs": times}}, Experiment)
        checks.expect_run(found, project, version)
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(
            f"{where} does not hold a recorded run ({type(error).__name__}: {error}). Restore that file from a backup, "
            "or delete it to forget the run."
        ) from error


def recorded_form(value: object) -> object:
    """What is left of the value of an argument in a row of E: what JSON can say, or its repr."""
    try:
        return json.loads(json.dumps(value, default=_plain))
    except Exception:  # noqa: BLE001 - any user's class may raise anything, and the row is about more than this value
        return typed_values.text_of(value)


def _plain(value: Any) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    item = getattr(value, "item", None)  # numpy scalars, 0-dimensional tensors
    if callable(item) and not getattr(value, "shape", ()):
        return item()
    return repr(value)


def has_crashed(experiment: Experiment, last_beat: float | None, now: float) -> bool:
    """Whether a run without an end is over: its process is gone from this host, or its heartbeat has stopped."""
    pid = experiment.environment.get("pid")
    if isinstance(pid, int) and experiment.environment.get("host") == socket.gethostname():
        return not processes.is_running(pid, experiment.environment.get("pid_started"))
    return now - (experiment.started if last_beat is None else last_beat) > HEARTBEAT_LIMIT_SECONDS


def is_over(experiment: Experiment, last_beat: float | None, now: float, silent_seconds: float) -> bool:
    """Whether a run that has crashed will not go on: its process is gone from this host, or it was silent for long."""
    known = isinstance(experiment.environment.get("pid"), int)
    if known and experiment.environment.get("host") == socket.gethostname():
        return True
    return now - (experiment.started if last_beat is None else last_beat) > silent_seconds
