"""Whether a text with our calls in it is the text without them, and nothing else: the proof of each proposal. Pure."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from flor_ray.analysis.source import Source
from flor_ray.records import PACKAGES


def differs_by_our_calls_only(before: Source, after: Source) -> bool:
    """Whether taking out what calls us gives the same program: the same tree, positions apart."""
    assert before.tree is not None
    if after.tree is None:
        return False
    return _without(before) == _without(after)


def _without(source: Source) -> str:
    assert source.tree is not None
    return ast.dump(_Plain(source).plain(source.tree))


class _Plain:
    """Makes a copy without calls of ours: the tree that it reads is shared, and stays."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def plain(self, node: ast.AST) -> ast.AST:
        found = self._source.call_at(node)
        if (
            found is not None
            and found.function in ("loop", "arg")
            and isinstance(node, ast.Call)
            and len(node.args) == 2
        ):
            return self.plain(node.args[1])
        copied = type(node)()
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(copied, name, self._all(value))
            else:
                setattr(copied, name, self.plain(value) if isinstance(value, ast.AST) else value)
        return copied

    def _all(self, values: Sequence[object]) -> list[object]:
        kept: list[object] = []
        for each in values:
            if not isinstance(each, ast.AST):
                kept.append(each)
            elif (
                isinstance(each, ast.Expr) and self._source.function_of(each.value) in ("checkpointing", "autolog")
            ) or (isinstance(each, ast.Import) and all(alias.name in PACKAGES for alias in each.names)):
                continue
            elif isinstance(each, ast.With) and self._source.is_iteration(each) and len(each.items) == 1:
                kept += self._all(each.body)
            else:
                kept.append(self.plain(each))
        return kept
