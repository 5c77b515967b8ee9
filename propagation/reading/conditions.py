"""What is known where a branch runs: whether that can be true of two branches at once, or is true of one if of others.

    if rank == 0:      rank == 0
    elif last:         not rank == 0, last
    else:              not rank == 0, not last

Only what contradicts by its form is seen: a condition and its negation, whatever they are of. `x` and `x is None` count
as such, too, as do `a < b` and `a > b`.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Lookup
from itertools import takewhile

from flor_ray.propagation.reading.tree import Node

_ASKING = frozenset({"if_statement", "elif_clause"})
# What an operator says of its operands, and whether it says yes or no.
_OPERATORS = {"==": ("==", True), "!=": ("==", False), "is": ("==", True), "is not": ("==", False)}
_OPERATORS |= {"in": ("in", True), "not in": ("in", False)}
_OPERATORS |= {"<": ("<", True), "<=": ("<", True), ">": ("<", False), ">=": ("<", False)}
_CONSTANTS = {"none": False, "false": False, "true": True}

_Fact = tuple[Node, bool]
"""A condition, and whether it holds."""


def contradict(newer: Node, older: Node, names: Lookup[str, str]) -> bool:
    """Whether two branches (`if`, `elif`, `else`) of two versions never run in the same case, by what they ask.

    `names` says what newer variables are called in the older version. A flag of another name may mean the opposite:
    `not no_cuda` is what `cuda` is.
    """
    there = dict(_told(*fact, {}) for fact in _facts(older))
    return any(there.get(what, holds) != holds for what, holds in (_told(*fact, names) for fact in _facts(newer)))


def follows(branch: Node, others: Iterable[Node]) -> bool:
    """Whether a branch runs wherever these branches of another version do: they ask for all that it does, literally."""
    known = {(_said(node, {}), holds) for other in others for node, holds in _facts(other)}
    asked = {(_said(node, {}), holds) for node, holds in _facts(branch) if not _has_parts(node, holds)}
    return bool(asked) and asked <= known


def _facts(branch: Node) -> list[_Fact]:
    """What is known where the body of a branch runs; nothing of what is no branch."""
    asked = [(branch, True)] if branch.kind in _ASKING else []
    above = branch.parent
    if branch.kind in ("elif_clause", "else_clause") and above is not None and above.kind == "if_statement":
        before = takewhile(lambda each: each is not branch, above.children)
        asked += [(each, False) for each in (above, *before) if each.kind in _ASKING]
    facts = [_plain(condition, holds) for each, holds in asked if (condition := each.child("condition")) is not None]
    for node, holds in facts:
        if _has_parts(node, holds):
            facts += [_plain(part, holds) for part in node.children]  # which the loop comes to, too
    return facts


def _has_parts(node: Node, holds: bool) -> bool:
    """Whether a fact consists of others: that `a and b` holds, or that `a or b` does not."""
    return node.kind == "boolean_operator" and node.label == ("and" if holds else "or")


def _plain(node: Node, holds: bool) -> _Fact:
    """A condition without its parentheses and its `not`."""
    while node.children and node.kind in ("parenthesized_expression", "not_operator"):
        holds ^= node.kind == "not_operator"
        node = node.children[-1]
    return node, holds


def _told(node: Node, holds: bool, names: Lookup[str, str]) -> tuple[tuple[str, ...], bool]:
    """What a condition is of, and whether it says yes or no."""
    base, agrees = _OPERATORS.get(node.label, ("", True)) if node.kind == "comparison_operator" else ("", True)
    if not base or len(node.children) != 2:
        return _said(node, {}), holds
    left, right = node.children
    if base == "==" and right.kind in _CONSTANTS:
        return _told(*_plain(left, holds == (agrees == _CONSTANTS[right.kind])), names)
    return (base, *_said(left, names), *_said(right, names)), holds == agrees


def _said(node: Node, names: Lookup[str, str]) -> tuple[str, ...]:
    """A subtree as words, in preorder, with the names of the older version."""
    found, todo = list[str](), [node]
    while todo:
        each = todo.pop()
        label = names.get(each.label, each.label) if each.kind == "identifier" else each.label
        found.append(f"{each.kind} {len(each.children)} {label}")
        todo += reversed(each.children)
    return tuple(found)
