"""Frozen values as JSON, and back: what a file holds is checked against the fields of a dataclass. msgspec's door.

    value ─ to_plain ─> dicts and lists ─ json.dumps ─> text ─ json.loads ─> dicts and lists ─ from_plain ─> value
          ─ to_row ───> a list, of the fields without their names: for what there are many of ─ from_row ────>

Fields that a file has and the dataclass has not are ignored (a newer release wrote it), those that it lacks have their
defaults. The text is left to Python's json, since msgspec's JSON has no NaN and no infinities: it writes null for
them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_plain(value: object) -> Any:
    """A dataclass, and all that is in it, as dicts, sequences, strings and numbers.

    Raises:
        TypeError: something in it is none of these.
    """
    return msgspec.to_builtins(value)


def from_plain(plain: object, kind: type[T]) -> T:
    """The value of which `to_plain` made this.

    Raises:
        ValueError: it is none of that kind; the message names the field.
    """
    return msgspec.convert(plain, kind)


def from_json(text: bytes, kind: type[T]) -> T:
    """The value in a JSON text without NaN and infinities, in one step: for texts that are long.

    Raises:
        ValueError: it is no JSON, or none of that kind; the message names the field.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def to_row(value: Any) -> list[Any]:
    """The fields of a dataclass, in order; those that are dataclasses stay as they are."""
    return [getattr(value, field.name) for field in fields(value)]


def from_row(row: Sequence[object], kind: type[T]) -> T:
    """The dataclass of which `to_row` made this. Fields are added at a dataclass's end, so that rows stay readable.

    Raises:
        ValueError: it is none of that kind; the message names the field.
    """
    return from_plain(named(row, kind), kind)


def named(row: Sequence[object], kind: type) -> dict[str, object]:
    """What `to_row` made of a dataclass, as `to_plain` would have: `from_plain` reads what it is part of at once."""
    return dict(zip(_names(kind), row, strict=False))


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
