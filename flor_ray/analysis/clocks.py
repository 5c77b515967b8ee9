"""Which features measure the clock, and so come out differently whenever the script runs. Pure.

    began = time.time()   ->   flor.log("seconds", time.time() - began)      `seconds` does
    dt = time.time() - began   ->   flor.log("loss", model.fit(x, dt))       `loss` may or may not: it does not count

`dependence` finds all that may depend on the clock. Here it is the other way round: a feature is found only if all that
is known of it comes from the clock, because a difference in it will be excused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from flor_ray.analysis.source import dotted_name, label_of, read

# functions that read a clock, and methods of dates that do
CLOCKS = frozenset(
    ("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time", "thread_time")
)
DATES = frozenset(("now", "utcnow", "today"))
_HOLDERS = frozenset(("time", "datetime", "date", "dt"))  # modules and classes that these belong to
_MEASURES = frozenset(("elapsed_time",))  # of events of a GPU
_FUNCTIONS = frozenset(
    ("float", "int", "round", "abs", "min", "max", "sum", "str", "mean", "median", "join", "Path", "hex")
)
_ADDS = frozenset(("append", "add", "update", "push"))


@dataclass(frozen=True, slots=True)
class Origin:
    """Calls that values come from. `among`: a list or a dict comes from there if one of its items does."""

    is_one: Callable[[ast.Call], bool]
    among: bool = False


def features_that_measure(text: str) -> frozenset[str]:
    """Features that a source logs and that measure the clock wherever it may do so. None if it cannot be parsed."""
    return features_from(text, Origin(_reads_a_clock))


def features_from(text: str, origin: Origin) -> frozenset[str]:
    """Features that a source logs and that come from calls of one kind wherever it may log them."""
    source = read(text)
    names = _names_from(source.nodes, origin)
    logged: dict[str, list[bool]] = {}
    for call in (*source.calls, *source.possible):
        if call.function == "log" and call.name is not None:
            value = call.value
            logged.setdefault(call.name, []).append(value is not None and comes_from(value, names, origin))
    surely = {call.name for call in source.calls}
    return frozenset(name for name, found in logged.items() if all(found) and name in surely)


def _names_from(nodes: Iterable[ast.AST], origin: Origin) -> frozenset[str]:
    """Names that are bound to nothing but constants and what comes from such calls. Scopes are not told apart."""
    bound: dict[str, list[ast.expr]] = {}
    added: dict[str, list[ast.expr]] = {}
    others = set()
    for node in nodes:
        for name, value in _bindings(node):
            if value is None:
                others.add(name)
            else:
                bound.setdefault(name, []).append(value)
        for name, value in _additions(node):
            added.setdefault(name, []).append(value)
    names: frozenset[str] = frozenset()
    while True:
        candidates = (bound.keys() | added.keys()) - others - names
        found = {name for name in candidates if _all_come(bound.get(name, []), added.get(name, []), names, origin)}
        if not found:
            return names
        names |= found


def _all_come(values: list[ast.expr], added: list[ast.expr], names: frozenset[str], origin: Origin) -> bool:
    """Whether what a name is bound to, and what is added to that, all comes from there, but for where it begins."""
    if not all(comes_from(value, names, origin) for value in added):
        return False
    measured = [comes_from(value, names, origin) for value in values]
    begins = [bool(added) or _is_plain(value) for value in values]
    return any((*measured, *added)) and all(one or other for one, other in zip(measured, begins, strict=True))


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Names that a node binds, with what; None if that is not an expression."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _targets(target, node.value)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        yield from _targets(node.target, node.value)
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        yield from _targets(node.target, None)
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield from _targets(node.optional_vars, None)
    elif isinstance(node, ast.arg):
        yield node.arg, None


def _targets(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(target, ast.Tuple | ast.List):
        values: Iterable[ast.expr | None] = [None] * len(target.elts)
        if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
            values = value.elts
        for one, its in zip(target.elts, values, strict=True):
            yield from _targets(one, its)
    elif name := dotted_name(target.value if isinstance(target, ast.Subscript | ast.Starred) else target):
        yield name, value


def _additions(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What is added to a list or a meter: `times.append(dt)`, `meter.update(dt)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ADDS and node.args:
        name = dotted_name(node.func.value)
        if name:
            yield name, node.args[0]


def comes_from(node: ast.expr, names: frozenset[str], origin: Origin) -> bool:
    """Whether the value of an expression comes from such a call, if `names` do."""
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Attribute):
        return dotted_name(node) in names or comes_from(node.value, names, origin)
    if isinstance(node, ast.Call):
        return _call_comes_from(node, names, origin)
    if isinstance(node, ast.UnaryOp):
        return comes_from(node.operand, names, origin)
    if isinstance(node, ast.Subscript | ast.FormattedValue):
        return comes_from(node.value, names, origin)
    parts: list[ast.expr] = []  # one of them is enough
    if isinstance(node, ast.BinOp):
        parts = [node.left, node.right]
    elif isinstance(node, ast.IfExp):
        parts = [node.body, node.orelse]
    elif isinstance(node, ast.JoinedStr):
        parts = node.values
    elif origin.among and isinstance(node, ast.List | ast.Tuple | ast.Set):
        parts = node.elts
    elif origin.among and isinstance(node, ast.Dict):
        parts = node.values
    return any(comes_from(part, names, origin) for part in parts)


def _call_comes_from(call: ast.Call, names: frozenset[str], origin: Origin) -> bool:
    if origin.is_one(call):
        return True
    if label_of(call.func) in _FUNCTIONS and any(comes_from(argument, names, origin) for argument in call.args):
        return True
    return isinstance(call.func, ast.Attribute) and comes_from(call.func.value, names, origin)


def _reads_a_clock(call: ast.Call) -> bool:
    called, holder = label_of(call.func), dotted_name(call.func).split(".")[0]
    if called in _MEASURES or (called in CLOCKS and holder in _HOLDERS | {called}):
        return True
    return called in DATES and holder in _HOLDERS


def _is_plain(value: ast.expr) -> bool:
    """A begin such as 0.0, None or []."""
    return isinstance(value, ast.Constant) or (
        isinstance(value, ast.List | ast.Dict) and not any(ast.iter_child_nodes(value))
    )
