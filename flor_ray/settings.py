"""What a project's questions are asked with where nothing else is said: settings, of flor.yaml and other sources.

    defaults  <  flor.yaml  <  environment variables  <  options of a command, arguments in Python

`load` is the one place where these meet. In a variable or an option, `none` takes back a number, a span or a size that
a weaker source sets. flor.yaml is found upward from where the project is looked for, up to the folder of the git
repository. What a file may hold is drawn from `KEYS` by `settings_file`, which is imported where there is such a file:
elsewhere, recording does not wait for it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from flor_ray.errors import UsageError
from flor_ray.wording import parse_bytes, parse_seconds

FILE = "flor.yaml"
NO_LIMIT = "none"  # of time for a segment
ENVIRONMENTS = ("current", "recorded")
DEFAULT = "default"  # where a setting is from that nobody has set
PICKLES = ("refuse", "allow")
TYPE_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"  # what Ray takes as the value of a label
LABEL_NAME = rf"([A-Za-z0-9][A-Za-z0-9.-]{{0,252}}/)?{TYPE_NAME}"  # and as its key
VARIABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_NONE = "none"


@dataclass(frozen=True, slots=True)
class SettingKind:
    """What may stand for a setting."""

    name: str
    words: str
    read: Callable[[str], object]  # a text, as an environment variable has it; UsageError or ValueError for no such


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError("it is less than 1")
    return number


def _number(text: str) -> int:
    if (number := int(text)) < 0:
        raise ValueError("it is less than 0")
    return number


def _amount(text: str) -> float:
    number = float(text)
    if not (number >= 0 and math.isfinite(number)):
        raise ValueError("it is less than 0, or endless")
    return number


def _some(text: str) -> float:
    number = _fraction(text)
    if not (number > 0 and math.isfinite(number)):
        raise ValueError("it is nothing, or endless")
    return _whole_or_part(number)


def _share(text: str) -> float:
    number = _fraction(text)
    if not (number >= 0 and math.isfinite(number)):
        raise ValueError("it is less than 0, or endless")
    return _whole_or_part(number)


def _fraction(text: str) -> float:
    above, slash, below = text.partition("/")
    return int(above) / _count(below) if slash else float(text)


def _whole_or_part(number: float) -> float:
    if number > 1 and number % 1:
        raise ValueError("it is more than 1, and not whole")
    return number


def _span(text: str) -> float | str:
    try:
        return _seconds(float(text))
    except ValueError:
        _seconds(parse_seconds(text))
        return text


def _limit(text: str) -> float | str:
    return text if text == NO_LIMIT else _span(text)


def _seconds(seconds: float) -> float:
    if not (seconds > 0 and math.isfinite(seconds)):
        raise UsageError("it leaves no time")
    return seconds


def _size(text: str) -> str:
    if not parse_bytes(text, "size") > 0:
        raise ValueError("it leaves no memory")
    return text


def _environment(text: str) -> str:
    if text not in ENVIRONMENTS:
        raise ValueError("it is neither")
    return text


def _pickles(text: str) -> str:
    if text not in PICKLES:
        raise ValueError("it is neither")
    return text


def _names(text: str) -> tuple[str, ...]:
    """Names of variables, with commas between."""
    return _listed(text, VARIABLE_NAME)


def _types(text: str) -> tuple[str, ...]:
    """Types of accelerators, with commas between."""
    return _listed(text, TYPE_NAME)


def _listed(text: str, form: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words or not all(re.fullmatch(form, word) for word in words):
        raise ValueError("one of them is no name")
    return words


def _labels(text: str) -> dict[str, str]:
    found = _map(text)
    if not all(re.fullmatch(LABEL_NAME, name) and re.fullmatch(TYPE_NAME, value) for name, value in found.items()):
        raise ValueError("one of them is no label")
    return found


def _map(text: str) -> dict[str, str]:
    found = {}
    for pair in text.split(","):
        path, equals, place = (part.strip() for part in pair.partition("="))
        if not (path and equals and place):
            raise ValueError("it is no pair")
        found[path] = place
    return found


TEXT = SettingKind("text", "a text", _text)
COUNT = SettingKind("count", "a whole number of 1 or more", _count)
NUMBER = SettingKind("number", "a whole number of 0 or more", _number)
AMOUNT = SettingKind("amount", "a number of 0 or more", _amount)
SPAN = SettingKind("span", "a span of time such as 90s, 10m or 2h, or a number of seconds", _span)
LIMIT = SettingKind("limit", "a span of time such as 90s, 10m or 2h, or a number of seconds, or none", _limit)
SIZE = SettingKind("size", "a size such as 8GB, or a number of bytes", _size)
ENVIRONMENT = SettingKind("environment", " or ".join(ENVIRONMENTS), _environment)
PICKLE = SettingKind("pickles", " or ".join(PICKLES), _pickles)
SHARE = SettingKind("share", "a whole number of 0 or more, or a part of 1 such as 0.5 or 1/3", _share)
SOME = SettingKind("some", "a whole number of 1 or more, or a part of 1 such as 0.5 or 1/3", _some)
TYPES = SettingKind("types", "a list of types as Ray calls them, such as A100", _types)
LABELS = SettingKind("labels", "pairs of a label and its value, as in market-type=on-demand", _labels)
NAMES = SettingKind("names", "a list of names of environment variables, never of their values", _names)
MAP = SettingKind("map", "pairs of a recorded path and where it is, as in data=/mnt/data", _map)


def _setting(kind: SettingKind, meaning: str, default: str, key: str = "", variable: str = "") -> Any:
    about = {"kind": kind, "meaning": meaning, "default": default, "key": key, "variable": variable}
    return field(default=None, metadata=about)


@dataclass(frozen=True, slots=True)
class Settings:
    """A project's settings, as they were written; None: the default."""

    store: str | None = _setting(
        TEXT,
        "URL or folder of the store; a relative folder in flor.yaml is meant from there.",
        ".flor in the project's folder",
    )
    project: str | None = _setting(
        TEXT,
        "Name of the project in the store.",
        "the git repository's name, or the store's only project",
    )
    address: str | None = _setting(
        TEXT,
        "Address of the Ray cluster's head node, as in 10.0.0.1:6379.",
        "a cluster that runs here, or one that is started",
        variable="RAY_ADDRESS",
    )
    workers: int | None = _setting(
        COUNT, "How many workers replay.", "one per GPU, or one per CPU, of those that nobody else holds"
    )
    scales_to: int | None = _setting(
        COUNT,
        "To how many workers the cluster grows when they are wanted, where Ray does not say it.",
        "what its autoscaler's file says, if that is on this machine",
    )
    gpus: float | None = _setting(
        SHARE,
        "GPUs that each worker on a cluster gets; with 1/2, two workers share one.",
        "1, or 0 where the cluster has none",
    )
    cpus: float | None = _setting(
        SOME, "CPUs that each worker on a cluster gets.", "1, or with a GPU none that are counted"
    )
    memory: int | str | None = _setting(
        SIZE, "Memory that each worker on a cluster gets, as Ray counts it; it ends nothing.", "none that is counted"
    )
    accelerators: tuple[str, ...] | None = _setting(
        TYPES, "Types of GPU, as Ray calls them, of which a worker's is one.", "any"
    )
    labels: Mapping[str, str] | None = _setting(
        LABELS, "Labels, as Ray calls them, that the nodes of workers on a cluster have.", "any"
    )
    time_limit: float | str | None = _setting(
        LIMIT,
        "Time that one segment may take, set-up included; none, where it may hang for good.",
        "far more than its epochs should take",
        key="limits.time",
    )
    memory_limit: int | str | None = _setting(
        SIZE,
        "Memory that the processes of one segment may hold together.",
        "90 % of the machine's",
        key="limits.memory",
    )
    retries: int | None = _setting(NUMBER, "Further attempts at a segment whose worker or process was killed.", "2")
    commit: float | str | None = _setting(
        SPAN, "Time after which a running segment writes what it has answered, at the end of an epoch.", "30s"
    )
    outage: float | str | None = _setting(
        SPAN, "Time for which workers keep what they have and try again while the store is away.", "10m"
    )
    wait: float | str | None = _setting(
        SPAN, "Time that a replay waits while it has no worker, such as for nodes that a cluster starts.", "30m"
    )
    budget: float | str | None = _setting(
        SPAN, "Time of all workers together that one replay may spend; what fits into it is replayed.", "none"
    )
    deadline: float | str | None = _setting(
        SPAN, "Time in which one replay is to end; what fits into it is replayed.", "none"
    )
    price: float | None = _setting(AMOUNT, "Cost of one worker-hour, for estimates.", "none")
    data: Mapping[str, str] | None = _setting(
        MAP,
        "Where data that runs have read are on the workers' machines: for a recorded path, or a folder above it, a "
        "path or a URL there; or none, where the script does without.",
        "where they were recorded",
    )
    environment: str | None = _setting(
        ENVIRONMENT,
        "Packages to replay with: those that are installed, or those that a version was recorded with.",
        ENVIRONMENTS[0],
    )
    pickles: str | None = _setting(
        PICKLE,
        "Whether readers load logged values that are pickled: for a store whose writers are trusted.",
        PICKLES[0],
        variable="FLOR_PICKLES",
    )
    secrets: tuple[str, ...] | None = _setting(
        NAMES,
        "Names of variables that replayed scripts need, such as AWS_SECRET_ACCESS_KEY; their values are in no file.",
        "none",
    )


@dataclass(frozen=True, slots=True)
class Key:
    """A setting: how it is called in flor.yaml, in the environment and here, and what it means."""

    name: str  # of the field of Settings, and of the argument in Python
    path: str  # in flor.yaml: limits.time is `time` below `limits`
    variable: str
    kind: SettingKind
    meaning: str
    default: str  # in words


def _keys() -> tuple[Key, ...]:
    found = []
    for one in fields(Settings):
        about, variable = one.metadata, f"FLOR_RAY_{one.name.upper()}"
        path, variable = about["key"] or one.name, about["variable"] or variable
        found.append(Key(one.name, path, variable, about["kind"], about["meaning"], about["default"]))
    return tuple(found)


KEYS = _keys()
_TAKEN_BACK = {
    key.name
    for key in KEYS
    if key.kind in (COUNT, NUMBER, AMOUNT, SPAN, LIMIT, SIZE, SHARE, SOME, TYPES, LABELS, NAMES, MAP)
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each is from."""

    settings: Settings
    folder: str  # that of flor.yaml, else the one where the project is looked for
    file: str | None  # path of flor.yaml
    origins: Mapping[str, str]  # by field of Settings: "flor.yaml, line 3", the name of a variable, or "given"

    def origin(self, key: Key) -> str:
        return self.origins.get(key.name, DEFAULT)


def load(path: str = ".", variables: Mapping[str, str] = os.environ, **given: object) -> Loaded:
    """The settings for a project that is looked for from `path` on. `given` are those that come with a question, by
    field of Settings; None is not given.

    Raises:
        UsageError: flor.yaml cannot be read, or a setting is not what it should be; the message says where.
    """
    file = find(path)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is not None:
        from flor_ray import settings_file

        for name, (value, line) in settings_file.read(file).items():
            values[name], origins[name] = value, f"{FILE}, line {line}"
        if "store" in values:
            values["store"] = _from(file.parent, values["store"])
        if "data" in values:
            values["data"] = _places(file.parent, values["data"])
    for key in KEYS:
        text = variables.get(key.variable, "").strip()
        if text:
            values[key.name], origins[key.name] = _read(key, text), key.variable
            if key.kind is MAP and values[key.name] is not None:
                values[key.name] = _places(Path(), values[key.name])
    kinds = {key.name: key.kind for key in KEYS}
    for name, value in given.items():
        if value is not None:
            values[name], origins[name] = None if value == _NONE and name in _TAKEN_BACK else value, "given"
            if kinds[name] is SHARE and values[name] is not None:
                values[name] = _read_given(name, SHARE, f"{value}")
            if kinds[name] is MAP and isinstance(value, Mapping):
                values[name] = _places(Path(), value)
    folder = Path(path).absolute() if file is None else file.parent
    return Loaded(Settings(**values), str(folder), None if file is None else str(file), origins)


def find(path: str = ".") -> Path | None:
    """flor.yaml in a folder or above it, not beyond the folder of a git repository."""
    start = Path(path).absolute()
    for folder in (start, *start.parents):
        if os.path.lexists(folder / FILE):
            return folder / FILE
        if os.path.lexists(folder / ".git"):
            break
    return None


def _from(folder: Path, store: str) -> str:
    return store if "://" in store else os.path.abspath(folder / Path(store).expanduser())


def _read_given(name: str, kind: SettingKind, text: str) -> object:
    try:
        return kind.read(text)
    except (UsageError, ValueError):
        raise UsageError(f"{name} should be {kind.words}; it is {text}.") from None


def _places(folder: Path, data: Mapping[str, str]) -> dict[str, str]:
    """A data map whose relative places are meant from a folder; `~` is the home of whoever looks there."""
    return {
        path: place if place == _NONE or "://" in place or place.startswith("~") else os.path.abspath(folder / place)
        for path, place in data.items()
    }


def _read(key: Key, text: str) -> object:
    if text == _NONE and key.name in _TAKEN_BACK:
        return None
    try:
        return key.kind.read(text)
    except (UsageError, ValueError):
        # Values of secrets may stand where their names should.
        what = key.variable if key.kind is NAMES else f"{key.variable}={text!r}: {key.path}"
        raise UsageError(f"{what} should be {key.kind.words}.") from None
