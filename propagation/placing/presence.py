"""Is a feature logged already, at the equivalent place of the older version?

What counts is the feature's name and the loops and functions around the call; not how the value is computed, and never
that some similar statement is there. A call under a condition that the newer one is free of is not the same: it leaves
values out, and a second call would log some twice; that is declined.
"""

from __future__ import annotations

from flor_ray.propagation.adapting.adaptation import Declined
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.reading.conditions import follows
from flor_ray.propagation.reading.nesting import function_around, nesting_of
from flor_ray.propagation.reading.program import LogCall, Program
from flor_ray.propagation.reading.tree import LOOPS, Node

REPEATS = LOOPS | {"function_definition"}
GUARDS = frozenset({"if_statement", "elif_clause", "else_clause", "except_clause", "case_clause"})


def find_present(newer: Program, older: Program, mapping: Mapping, log: LogCall) -> int | None:
    """Line of the older call that logs the same feature at the equivalent place, None if there is none."""
    theirs = [
        other
        for other in older.logs
        if other.feature == log.feature and _same_context(newer, older, mapping, log, other)
    ]
    ours = [other for other in newer.logs if other.feature == log.feature]
    pairs: dict[LogCall, LogCall] = {}
    for mine in ours:
        for other in theirs:
            if other not in pairs.values() and _linked(newer, older, mapping, mine, other):
                pairs[mine] = other
                break
    rest = [pairs[log]] if log in pairs else [other for other in theirs if other not in pairs.values()]
    for other in rest:
        if not _extra_guards(newer, older, mapping, log, other):
            return older.written.line(other.call.node.start)
    if rest:
        line = older.written.line(rest[0].call.node.start)
        raise Declined(
            f"the older version logs it under a condition of its own, on line {line}", rest[0].statement, 0.4
        )
    return None


def _linked(newer: Program, older: Program, mapping: Mapping, mine: LogCall, other: LogCall) -> bool:
    left, right = newer.matched(mine.statement), older.matched(other.statement)
    return left is not None and right is not None and mapping.linked(left, right)


def _same_context(newer: Program, older: Program, mapping: Mapping, log: LogCall, other: LogCall) -> bool:
    left, right = _around_log(newer, log, REPEATS), _around_log(older, other, REPEATS)
    if len(left) == len(right) and all(mapping.linked(a, b) for a, b in zip(left, right, strict=True)):
        return True
    mine, theirs = _through_calls(newer, log), _through_calls(older, other)
    if mine is None or theirs is None or len(mine) != len(theirs):
        return False
    return all(mapping.linked(a, b) for a, b in zip(mine, theirs, strict=True))


def _through_calls(program: Program, log: LogCall) -> list[Node] | None:
    """The loops that a log runs in, outermost first, behind the function that nothing in the file calls, if it stands
    in one. None if nobody knows what calls it."""
    nesting, statement = nesting_of(program.tree), program.matched(log.statement)
    path = nesting.path(statement) if statement is not None else None
    if path is None:
        return None
    uncalled = function_around(path[0])
    loops = [loop for node in path for loop in nesting.loops_around(node)]
    return loops if uncalled is None else [uncalled, *loops]


def _extra_guards(newer: Program, older: Program, mapping: Mapping, log: LogCall, other: LogCall) -> bool:
    mine = _around_log(newer, log, GUARDS)
    for guard in _around_log(older, other, GUARDS):
        partner = mapping.newer_of(guard)
        if (partner is None or partner not in mine) and not follows(guard, mine):
            return True
    return False


def _around_log(program: Program, log: LogCall, kinds: frozenset[str]) -> list[Node]:
    statement = program.matched(log.statement)
    return around(statement, kinds) if statement is not None else []


def around(statement: Node, kinds: frozenset[str]) -> list[Node]:
    """Ancestors of these kinds, innermost first; what guards, only up to the innermost loop or function."""
    found: list[Node] = []
    for node in statement.ancestors():
        if node.kind in kinds:
            found.append(node)
        elif kinds >= GUARDS and node.kind in REPEATS:
            break
    return found
