"""flor.yaml: what it may hold, as a pydantic model drawn from `settings.KEYS`; and reading it, with words for what is
wrong in it. The pydantic door and the YAML door; imported only where there is such a file."""

from __future__ import annotations

import difflib
import functools
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError
from pydantic import create_model as make

from flor_ray import settings
from flor_ray.errors import UsageError
from flor_ray.settings import FILE, KEYS, SettingKind, Settings

_BY_PATH = {key.path: key for key in KEYS}


def _some_text(kind: SettingKind) -> Any:
    """A text that reads as one of this kind."""

    def read_as(text: str) -> object:
        try:
            return kind.read(text)
        except UsageError as error:
            raise ValueError(str(error)) from None

    return Annotated[StrictStr, AfterValidator(read_as)]


def _list_of(form: str) -> Any:
    """One word of a form, or more."""
    return Annotated[tuple[Annotated[StrictStr, Field(pattern=f"^{form}$")], ...], Field(min_length=1)]


_NUMBER = Annotated[StrictInt | StrictFloat, Field(gt=0, allow_inf_nan=False)]
_WORDS = Annotated[StrictStr, Field(min_length=1)]
_TYPES: Mapping[str, Any] = {
    settings.TEXT.name: _some_text(settings.TEXT),
    settings.COUNT.name: Annotated[StrictInt, Field(ge=1)],
    settings.NUMBER.name: Annotated[StrictInt, Field(ge=0)],
    settings.AMOUNT.name: Annotated[StrictInt | StrictFloat, Field(ge=0, allow_inf_nan=False)],
    settings.SPAN.name: _some_text(settings.SPAN) | _NUMBER,
    settings.LIMIT.name: _some_text(settings.LIMIT) | _NUMBER,
    settings.SIZE.name: _some_text(settings.SIZE) | Annotated[StrictInt, Field(gt=0)],
    settings.ENVIRONMENT.name: Literal[settings.ENVIRONMENTS],
    settings.PICKLE.name: Literal[settings.PICKLES],
    settings.SHARE.name: Annotated[StrictInt, Field(ge=0)]
    | Annotated[StrictFloat, Field(ge=0, le=1)]
    | _some_text(settings.SHARE),
    settings.SOME.name: Annotated[StrictInt, Field(ge=1)]
    | Annotated[StrictFloat, Field(gt=0, le=1)]
    | _some_text(settings.SOME),
    settings.TYPES.name: _list_of(settings.TYPE_NAME),
    settings.LABELS.name: dict[
        Annotated[StrictStr, Field(pattern=f"^{settings.LABEL_NAME}$")],
        Annotated[StrictStr, Field(pattern=f"^{settings.TYPE_NAME}$")],
    ],
    settings.NAMES.name: _list_of(settings.VARIABLE_NAME),
    settings.MAP.name: dict[_WORDS, _WORDS],
}


_MAPS = (settings.MAP, settings.LABELS)


@functools.cache
def model() -> type[BaseModel]:
    """What flor.yaml may hold."""
    config = ConfigDict(frozen=True, extra="forbid")
    plain: dict[str, Any] = {}
    grouped: dict[str, dict[str, Any]] = {}
    for path, key in _BY_PATH.items():
        described = Field(default=None, description=f"{key.meaning} Default: {key.default}.")
        group, _, name = path.rpartition(".")
        (grouped.setdefault(group, {}) if group else plain)[name] = (_TYPES[key.kind.name] | None, described)
    for group, members in grouped.items():
        inner = make(group, __config__=config, **members)
        plain[group] = (inner | None, Field(default=None, description=f"{', '.join(members)}, of each segment."))
    return make("FlorYaml", __config__=config, **plain)


def schema() -> dict[str, Any]:
    """A JSON Schema of flor.yaml, for editors."""
    drawn = model().model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | drawn | {"title": FILE}


def read(path: Path) -> dict[str, tuple[Any, int]]:
    """What a file sets: by field of Settings, the value and its line.

    Raises:
        UsageError: it cannot be read, is no YAML, or holds what is no setting; the message says in which line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        plain = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}{_where(error)} is no YAML that can be read: {_problem(error)}.") from None
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise UsageError(f"{path} holds no settings, which are written as in `store: s3://bucket/flor`.")
    lines: dict[str, int] = {}
    mistakes = _lines(root, "", lines)
    held: dict[str, Any] = {}
    if not mistakes:
        try:
            held = model().model_validate(plain).model_dump()
        except ValidationError as error:
            mistakes = _mistakes(error, lines)
    if mistakes:
        told = [f"line {line}: {sentence}" for line, sentence in sorted(mistakes)]
        raise UsageError(f"{path}, " + "\n  ".join(told))
    found = {}
    for path_, key in _BY_PATH.items():
        group, _, name = path_.rpartition(".")
        value = ((held[group] or {}) if group else held).get(name)
        if value is not None:
            found[key.name] = (value, lines.get(path_, 1))  # 1: by a merge key
    return found


def flat(data: str) -> dict[str, str | int | float | bool | None]:
    """The entries of a YAML mapping that are no mappings or lists themselves, as other programs describe their runs.

    Raises:
        ValueError: it is no YAML, or no mapping.
    """
    kinds = (str, int, float, bool, type(None))
    return {key: value for key, value in tree(data).items() if isinstance(value, kinds)}


def tree(data: str) -> dict[str, object]:
    """A YAML mapping as it stands, as another program's settings are written; of its keys those that are texts.

    Raises:
        ValueError: it is no YAML, or no mapping.
    """
    try:
        plain = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no YAML that can be read: {_problem(error)}") from None
    if not isinstance(plain, dict):
        raise ValueError("it is no mapping")
    return {key: value for key, value in plain.items() if isinstance(key, str)}


def text(chosen: Settings) -> str:
    """A file that sets the same."""
    held: dict[str, Any] = {}
    for path, key in _BY_PATH.items():
        value = getattr(chosen, key.name)
        if value is not None:
            group, _, name = path.rpartition(".")
            (held.setdefault(group, {}) if group else held)[name] = list(value) if isinstance(value, tuple) else value
    return str(yaml.safe_dump(held, sort_keys=False, allow_unicode=True))


def _lines(node: Any, above: str, lines: dict[str, int]) -> list[tuple[int, str]]:
    """Note the line of each key, and answer those that stand there twice."""
    twice = []
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        path, line = f"{above}{_word(name.value)}", name.start_mark.line + 1
        if path in lines:
            twice.append((line, f"{path} was set in line {lines[path]} already."))
        lines[path] = line
        twice += [] if above else _lines(value, f"{path}.", lines)  # no setting is deeper
    return twice


def _mistakes(error: ValidationError, lines: Mapping[str, int]) -> list[tuple[int, str]]:
    """Line and words of each mistake, one per key."""
    found: dict[str, str] = {}
    for one in error.errors(include_url=False):
        words = [_word(part) for part in one["loc"]]
        path = next((".".join(words[:n]) for n in (2, 1) if ".".join(words[:n]) in lines), ".".join(words))
        if one["type"] in ("extra_forbidden", "invalid_key"):
            found[path] = _unknown(path)
        elif words[0] in _BY_PATH and len(words) > 1 and _BY_PATH[words[0]].kind in _MAPS:
            wanted = _BY_PATH[words[0]].kind.words
            found[path] = f"{words[0]} should be {wanted}; {words[1]} has {_shown(one['input'])}."
        elif path in _BY_PATH:
            kind = _BY_PATH[path].kind
            seen = "what it holds is not shown here" if kind is settings.NAMES else f"it is {_shown(one['input'])}"
            found[path] = f"{path} should be {kind.words}; {seen}."
        else:
            members = ", ".join(each for each in _BY_PATH if each.startswith(f"{path}."))
            found[path] = f"{path} should hold settings of its own ({members}); it is {_shown(one['input'])}."
    return [(lines.get(path, 1), sentence) for path, sentence in found.items()]


def _unknown(path: str) -> str:
    group, _, name = path.rpartition(".")
    if path in _BY_PATH:  # in one line
        return f"{path} is written in two lines: `{group}:`, and `{name}:` below it, further in."
    close = difflib.get_close_matches(path, _BY_PATH, n=1) or difflib.get_close_matches(
        name, [known.rpartition(".")[2] for known in _BY_PATH], n=1
    )
    whole = [key.path for key in KEYS if key.name == path or (close and f".{key.path}".endswith(f".{close[0]}"))]
    hint = f"Did you mean {whole[0]}? " if whole else ""
    return f"{path} is no setting. {hint}Settings are {', '.join(sorted(_BY_PATH))}."


def _word(key: object) -> str:
    """A key, as it can be printed."""
    return key if isinstance(key, str) and key.isprintable() else _shown(key)


def _shown(value: object) -> str:
    """A value, in short: a few aliases of YAML may stand for very much."""
    short = reprlib.Repr()
    short.maxstring, short.maxother, short.maxlevel = 60, 60, 2
    return short.repr(value)


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f", line {mark.line + 1},"


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).strip().splitlines()[0] or type(error).__name__


def rows_of(path: str) -> list[dict[str, object]]:
    """What a YAML file lists: a mapping each.

    Raises:
        UsageError: it lists something else.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            plain = yaml.safe_load(file)
        except (yaml.YAMLError, RecursionError) as error:
            raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(plain, list) or not all(isinstance(row, dict) for row in plain):
        raise UsageError(f"{path} should list runs, each with commit, command and checkpoints.")
    return [{str(key): value for key, value in row.items()} for row in plain]
