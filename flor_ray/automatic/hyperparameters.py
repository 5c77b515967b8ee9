"""Configurations, in whatever form a script keeps them, as flat names and plain values. No session here.

{"model": {"width": 64}, "sizes": (3, 5)}   ->   model.width = 64   sizes = [3, 5]
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from flor_ray.errors import UsageError

_TEXT_CHARACTERS = 500  # of an object that is neither a number nor a text: enough to tell it from another one


def flatten(config: object) -> dict[str, object]:
    """Names and values of a configuration; what is nested has names with dots.

    Numbers, texts, bools and None stay; lists, tuples and sets become lists, enums their values, classes and functions
    their names; of any other object it is the text.

    Raises:
        UsageError: it is not a dict, dataclass instance, argparse.Namespace, OmegaConf DictConfig or pydantic model.
    """
    fields = _fields(config)
    if fields is None:
        raise UsageError(
            f"flor.autolog cannot take hyper-parameters from {type(config).__name__} {_text(config)!r}. It takes "
            "dicts, dataclass instances, argparse.Namespace, OmegaConf DictConfig and pydantic models; for a single "
            'value use flor.arg("name", value).'
        )
    return dict(_flat("", fields))


def _flat(prefix: str, fields: Mapping[Any, object]) -> Iterator[tuple[str, object]]:
    for key, value in fields.items():
        nested = _fields(value)
        if nested:
            yield from _flat(f"{prefix}{key}.", nested)
        else:
            yield f"{prefix}{key}", _plain(value)


def _fields(value: object) -> Mapping[Any, object] | None:
    """What a configuration holds; None if it is a value."""
    if isinstance(value, Mapping):
        return _resolved(value)
    if isinstance(value, argparse.Namespace):
        return vars(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: getattr(value, field.name) for field in dataclasses.fields(value) if hasattr(value, field.name)
        }
    if hasattr(type(value), "model_fields") and hasattr(value, "model_dump"):  # pydantic
        dumped: dict[str, object] = value.model_dump()
        return dumped
    return _resolved(value) if type(value).__module__.startswith("omegaconf.") else None


def _resolved(value: object) -> Mapping[Any, object] | None:
    """An OmegaConf DictConfig with its interpolations resolved; any other mapping as it is."""
    if type(value).__module__.startswith("omegaconf."):
        from omegaconf import OmegaConf

        value = OmegaConf.to_container(value, resolve=True)
    return value if isinstance(value, Mapping) else None


def _plain(value: object) -> object:
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | range):
        return [_plain(element) for element in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(element) for element in value), key=repr)
    fields = _fields(value)
    if fields is not None:
        return {str(key): _plain(element) for key, element in fields.items()}
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a number of numpy or torch
        return value.item()
    return _text(value)


def _text(value: object) -> str:
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if (
        isinstance(value, PurePath)
        or type(value).__repr__ is not object.__repr__
        or type(value).__str__ is not object.__str__
    ):
        return str(value)[:_TEXT_CHARACTERS]
    return (
        f"{type(value).__module__}.{type(value).__qualname__}"  # the default text is an address, another one each run
    )
