"""What the scopes around a loop had drawn anew when the script began (`flor_ray.analysis.chance`), as places of state.

run = f"runs/{uuid4()}"; args.out = run     small values are kept whole, mentioned in the loop or not
folder = tempfile.TemporaryDirectory()      of what is none, the texts and paths among its attributes
"""

from __future__ import annotations

import argparse
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import PurePath
from typing import Any
from uuid import UUID

from flor_ray.analysis.chance import drawn_names, is_device
from flor_ray.state import frames, stateful
from flor_ray.state.pickling import Findable, pickles
from flor_ray.state.reachable import ReachedPlace
from flor_ray.state.selection import CODE, DRAWN, LoopFrame

_MOST_BYTES = 64 << 10
_MOST_HOLDERS = 100  # objects whose attributes are kept
_TEXTS = (str, PurePath)
_PLAIN = (int, float, complex, bytes, UUID, date, timedelta, *_TEXTS)
_HOLDING = (list, tuple, set, frozenset, dict, argparse.Namespace, types.SimpleNamespace)


def drawn_places(scope: LoopFrame, text: str, is_users: Callable[[Any], bool]) -> Iterator[ReachedPlace]:
    """Those of the scope that a loop stands in. `text` is that of its file."""
    names = drawn_names(text)
    bound = scope.names.bound | scope.names.added  # kept as the loop's own
    there = frames.read(scope.frame, names.names - bound) if names.names else {}
    found = {name: value for name, value in there.items() if names.keeps(name, value)}
    kept = {name for name, value in found.items() if _is_small(value, is_users)}
    if kept:
        yield ReachedPlace(
            f"{scope.slot}{DRAWN}",
            lambda: frames.read(scope.frame, kept),
            lambda values, remove: frames.write(scope.frame, values),
            keeps_atoms=True,
        )
    others = [name for name, value in found.items() if name not in kept and _holds_texts(value)]
    for name in sorted(others)[:_MOST_HOLDERS]:
        yield _texts_place(f"{scope.slot}.{name}{DRAWN}", vars(found[name]))


def _is_small(value: Any, is_users: Callable[[Any], bool]) -> bool:
    if isinstance(value, _PLAIN):
        return not isinstance(value, str | bytes) or len(value) <= _MOST_BYTES
    if stateful.is_anchor(value) or not (isinstance(value, _HOLDING) or is_users(type(value))):
        return False
    return not isinstance(value, CODE) and not pickles(value, Findable(is_users=is_users), {}, _MOST_BYTES)


def _holds_texts(value: Any) -> bool:
    is_code = isinstance(value, (*CODE, types.ModuleType)) or stateful.is_anchor(value) or stateful.is_data(value)
    return not is_code and any(map(_is_text, getattr(value, "__dict__", {}).values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, _TEXTS) and not is_device(value)


def _texts_place(key: str, attributes: dict[str, Any]) -> ReachedPlace:
    def write(values: Mapping[str, Any], remove: Iterable[str]) -> None:
        attributes.update(values)

    return ReachedPlace(
        key, lambda: {name: each for name, each in attributes.items() if _is_text(each)}, write, keeps_atoms=True
    )
