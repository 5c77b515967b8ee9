"""Columns that sources name: every feature that is logged by the newest code, or by any version's. Pure.

A file that has been saved is enough: nothing needs to be committed or run. Which values there are, the store says.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from flor_ray.analysis.source import Texts
from flor_ray.patching import donors
from flor_ray.patching.patching import levels_at
from flor_ray.records import Level


@dataclass(frozen=True, slots=True)
class VirtualColumn:
    """A feature as the newest source that logs it has it."""

    name: str
    levels: frozenset[Level]  # at which its statements log; none: only a run can tell
    places: tuple[str, ...]  # where they are: "train.py:12"
    source: str  # "the working tree", or a version
    repeats: bool = True  # one place may get several values of it; False: surely at most one


@dataclass(frozen=True, slots=True)
class LoggingCode:
    """Files that may log features, and which of them are run themselves."""

    source: str  # as in `VirtualColumn`
    texts: Texts
    scripts: Sequence[str]  # the likeliest first


def virtual_columns(codes: Iterable[LoggingCode], names: Collection[str] | None = None) -> dict[str, VirtualColumn]:
    """The features that some code logs (`names`: only these), each from the first that does; codes come newest
    first. What two of them have alike is read once."""
    found: dict[str, VirtualColumn] = {}
    read: set[tuple[str, str]] = set()
    for code in codes:
        fresh = [file for file in sorted(code.texts.items()) if file not in read]
        read.update(fresh)
        logged = donors.features(dict(fresh)) if names is None else frozenset(names)
        for name in sorted(logged - found.keys()):
            places = [(path, s.line) for path, text in fresh for s in donors.statements(path, text, name)]
            if places:
                said = tuple(f"{path}:{line}" for path, line in places)
                levels = _levels(code, places)
                found[name] = VirtualColumn(name, levels, said, code.source, _repeats(code.texts, places, name, levels))
        if names is not None and all(name in found for name in names):
            break
    return found


def _levels(code: LoggingCode, places: Sequence[tuple[str, int]]) -> frozenset[Level]:
    """The levels at which these statements log; none if it is not known of one of them."""
    found: set[Level] = set()
    for path, line in places:
        script = path if path in code.scripts else next((s for s in code.scripts if s in code.texts), "")
        levels = levels_at(script, code.texts, [(path, line)])
        if not levels:
            return frozenset()
        found |= levels
    return frozenset(found)


_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_CODE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_DEPTHS = {Level.DATA_PREP: 0, Level.OUTER: 1, Level.INNER: 2}


def _repeats(texts: Texts, places: Sequence[tuple[str, int]], name: str, levels: Collection[Level]) -> bool:
    """Whether one place may get several values: all but what one statement logs that stands in no more loops than those
    of its level, and in the same function as these."""
    if len(places) != 1 or len(levels) != 1:
        return True
    try:
        tree = ast.parse(texts[places[0][0]])
    except (SyntaxError, ValueError, RecursionError):
        return True
    above = {below: node for node in ast.walk(tree) for below in ast.iter_child_nodes(node)}
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.args and _is_text(n.args[0], name)]
    if len(calls) != 1:
        return True
    depth, loops, node = _DEPTHS[next(iter(levels))], 0, above.get(calls[0])
    while node is not None:
        if isinstance(node, _LOOPS):
            loops += 1
        elif isinstance(node, _CODE) and (loops < depth or not depth):
            return True  # it may be called more than once
        node = above.get(node)
    return loops != depth


def _is_text(node: ast.expr, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text
