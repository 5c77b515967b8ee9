"""Which variables a loop carries from one iteration to the next, read in its source. Pure: text in, names out.

A checkpoint that holds only what the user listed forgets `global_step += 1` and `best = max(best, acc)`. So the loop's
source is read once (as it was when the run began), and its names are sorted into

    bound       assigned in the body: `x = ...`, `for x in`, `with ... as x`, `x += 1`, `global x` in any function
    changed     changed in place: `d[k] = v`, `obj.n += 1`, `items.append(x)`, `t.add_(1)`
    mentioned   read in the body; their values may still be changed by a function they are passed to
    live        bound or changed, and maybe read before they are assigned again, in the loop or after it, by what stands
                there or by functions that it may call
    carried     those of `live` that the next iteration may read

`flor_ray.state.frames` has how they go in and out of a frame.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import PROGRESS, Source, label_of, read
from flor_ray.analysis.uses import NAMELESS, ReadOrder, Uses, loads, targets, words


@dataclass(frozen=True, slots=True)
class LoopNames:
    """The names that a loop's body uses, by how it uses them."""

    bound: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    called: frozenset[str] = frozenset()  # receivers of method calls; whether that changes them depends on their type
    mentioned: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()
    carried: frozenset[str] = frozenset()
    cleared: frozenset[str] = frozenset()  # receivers of a zero_grad() that surely comes before any backward()
    breaks: frozenset[int] = frozenset()  # lines of its `break` statements
    has_else: bool = False  # for ... else: what runs after the loop depends on how it was left
    unknown: str = ""  # why its body cannot be known; "" if it is
    wrapped: str = ""  # an iterator around it that counts for itself, such as enumerate
    lines: range | None = None  # its lines, if a variable holds its iterator: then leaving it does not close that
    added: frozenset[str] = frozenset()  # bound only by statements that were added since it was recorded


_UNREADABLE = "its source cannot be read"


def loop_names(text: str, line: int) -> LoopNames:
    """Names of the `for` loop whose iterable is written on `line` (from 1) of a source; that line has called flor.loop.

    `bar = tqdm(flor.loop(...))` on that line stands for the next loop over `bar`.
    """
    source = read(text)
    if source.tree is None:
        return LoopNames(unknown=_UNREADABLE)
    ours = _our_loops(source, line)
    loop, scope, enclosing = _find_loop(source, line, ours)
    held = None
    if loop is None and (held := _held_iterator(source, line, ours)) is not None:
        loop, scope, enclosing = _find_loop(source, held.used, ours)
    if loop is None:
        return LoopNames(unknown="it is not written in the head of a `for` statement")
    wrapped = _wrapper(source, loop.iter, held.name if held else None, ours)
    return replace(
        _names_of(source, loop, scope, enclosing, ours),
        wrapped=wrapped or (_wrapper(source, held.value, None, ours) if held else ""),
        lines=range(loop.lineno, (loop.end_lineno or loop.lineno) + 1) if held else None,
    )


def as_recorded(now: LoopNames, then: LoopNames) -> LoopNames:
    """What a loop carried when it was recorded, and which names are bound besides by what was added since."""
    return replace(then, added=now.bound - then.bound) if now.unknown == then.unknown else now


def iteration_names(text: str, line: int) -> LoopNames:
    """Names of the loop of which `with flor.iteration(...)`, written on `line` of a source, is an iteration."""
    source = read(text)
    if source.tree is None:
        return LoopNames(unknown=_UNREADABLE)
    found, scope, enclosing = _find_around_with(source.tree, line)
    if found is None:
        return LoopNames(unknown="it is not written in a `while` loop")
    wrapped = "" if isinstance(found, ast.While) else "for"
    return replace(_names_of(source, found, scope, enclosing, _our_loops(source, line)), wrapped=wrapped)


def _our_loops(source: Source, line: int) -> Set[ast.AST]:
    """Calls of flor.loop. One has been made on this line: if none there is surely ours, it is what has its name."""
    ours = {call.node for call in source.calls if call.function == "loop"}
    if any(_spans(node, line) for node in ours):
        return ours
    calls = (node for node in source.nodes if isinstance(node, ast.Call) and _spans(node, line))
    return {*ours, *(call for call in calls if label_of(call.func) == "loop")}


_Loop = ast.For | ast.AsyncFor | ast.While


def _find_around_with(tree: ast.Module, line: int) -> tuple[_Loop | None, ast.AST, _Loop | None]:
    """The innermost loop around the `with` statement on `line`, the function or module that it stands in, and a loop
    around that."""
    pending: list[tuple[ast.AST, _Loop | None, ast.AST, _Loop | None]] = [(tree, None, tree, None)]
    while pending:
        node, loop, scope, around = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            loop, scope, around = None, node, None
        if isinstance(node, ast.With) and any(_spans(item.context_expr, line) for item in node.items):
            return loop, scope, around
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            loop, around = node, around or loop
        pending += [(child, loop, scope, around) for child in ast.iter_child_nodes(node)]
    return None, tree, None


def _spans(node: ast.expr, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _names_of(
    source: Source, loop: _Loop, scope: ast.AST, enclosing: _Loop | None, our_loops: Set[ast.AST]
) -> LoopNames:
    """What a loop carries, apart from what stands around its iterator."""
    head: ast.expr = loop.test if isinstance(loop, ast.While) else loop.iter
    uses = Uses()
    uses.visit(head if isinstance(loop, ast.While) else loop.target)
    for statement in loop.body:
        uses.visit(statement)
    shared = {name for node in source.nodes if isinstance(node, ast.Global) for name in node.names}
    ours = _names_of_our_iterators(source, our_loops)
    bound = frozenset((uses.bound | shared) - ours)
    bound_first = set() if isinstance(loop, ast.While) else targets(loop.target)
    order = ReadOrder(_read_by_functions(source, scope, loop))
    first_reads, _ = order.reads_before_writes(loop.body, bound_first)
    sure_reads, _ = replace(order, loops_run=True).reads_before_writes(loop.body, bound_first)
    read_after = order.reads(enclosing) if enclosing is not None else _read_after(scope, loop, order)
    if isinstance(loop, ast.While):
        first_reads, sure_reads = first_reads | order.reads(head), sure_reads | order.reads(head)
    live = (bound & (first_reads | read_after)) | (uses.changed - bound - ours) | shared
    return LoopNames(
        bound=bound,
        changed=frozenset(uses.changed - ours),
        called=frozenset(uses.called - ours),
        mentioned=frozenset((uses.mentioned | loads(head)) - ours),
        live=frozenset(live),
        carried=frozenset((bound & sure_reads) | (uses.changed - bound - ours) | shared),
        cleared=_cleared(loop),
        breaks=frozenset(_breaks(loop.body)),
        has_else=bool(loop.orelse),
        unknown="its body is in the code that consumes this generator" if _yields(loop) else "",
    )


def _read_by_functions(source: Source, loops_scope: ast.AST, loop: ast.AST) -> Mapping[str, frozenset[str]]:
    """Variables of the scope that a loop stands in, as functions outside of the loop read them, by these functions'
    names. Lambdas, `__call__` and the like, and functions that are passed on have none."""
    inside = set(walk(loop))
    nodes = source.nodes if loops_scope is source.tree else walk(loops_scope)
    around = [node for node in nodes if isinstance(node, ast.Call | ast.Name | ast.Attribute)]
    called = {node.func for node in around if isinstance(node, ast.Call)}
    passed = {word for word, node in _mentions(around) if node not in called and node not in inside}
    found: dict[str, set[str]] = {NAMELESS: set()}
    lead_to: dict[str, set[str]] = {NAMELESS: set()}
    for scope in source.scopes:
        function = scope.function
        if function is loops_scope or function in inside or scope.kind == "class":
            continue
        name = getattr(function, "name", NAMELESS)
        read = {each for each in scope.reads if (owner := scope.owner(each)) is not None and owner.node is loops_scope}
        mentioned = words(function)
        for key in {name, NAMELESS if name in passed or name.startswith("__") else name}:
            found.setdefault(key, set()).update(read)
            lead_to.setdefault(key, set()).update(mentioned)
    grown = True
    while grown:
        grown = False
        for name, read in found.items():
            before = len(read)
            read.update(*(found[word] for word in lead_to[name] if word in found))
            grown |= len(read) > before
    return {name: frozenset(read) for name, read in found.items() if read}


def _mentions(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for each in nodes:
        if isinstance(each, ast.Name | ast.Attribute) and isinstance(each.ctx, ast.Load):
            yield each.id if isinstance(each, ast.Name) else each.attr, each


def _read_after(scope: ast.AST, loop: ast.AST, order: ReadOrder) -> set[str]:
    """Names that may be read after a loop before they are assigned again, by what follows it in its scope."""
    found: set[str] = set()
    assigned: set[str] = set()
    for holder, part, following in _following(scope, loop):
        reads, now_assigned = order.reads_before_writes(following, assigned)
        found |= reads
        if holder is not loop:  # what a loop's own `else` assigns, a `break` leaves out
            assigned = now_assigned
        if isinstance(holder, ast.Try | ast.TryStar):
            if part == "body":
                found = found.union(*map(order.reads, holder.handlers))
            found |= order.reads_before_writes(holder.finalbody, set())[0]
            if part == "body":
                reads, assigned = order.reads_before_writes(holder.orelse, assigned)
                found |= reads
    return found


def _following(scope: ast.AST, loop: ast.AST) -> Iterator[tuple[ast.AST, str, Sequence[ast.AST]]]:
    """What comes after a loop, from the inside out: what holds it, in which part, and the rest of that part."""
    yield loop, "orelse", getattr(loop, "orelse", ())
    parents = {child: parent for parent in walk(scope) for child in ast.iter_child_nodes(parent)}
    node = loop
    while node is not scope:
        inner, node = node, parents[node]
        for part in ("body", "orelse", "finalbody"):
            statements = getattr(node, part, ())
            if isinstance(statements, list) and inner in statements:
                yield node, part, statements[statements.index(inner) + 1 :]


def _find_loop(
    source: Source, line: int, ours: Set[ast.AST]
) -> tuple[ast.For | ast.AsyncFor | None, ast.AST, ast.For | ast.AsyncFor | ast.While | None]:
    """The innermost loop whose iterable spans `line`, the function or module it stands in, and a loop around it. It is
    not that of `for x in [f(e) for e in flor.loop(...)]`, which begins when the epochs are over."""
    tree = source.tree
    assert tree is not None
    found: ast.For | ast.AsyncFor | None = None
    found_scope: ast.AST = tree
    found_around: ast.For | ast.AsyncFor | ast.While | None = None
    stack: list[tuple[ast.AST, ast.AST, ast.For | ast.AsyncFor | ast.While | None]] = [(tree, tree, None)]
    while stack:
        node, scope, around = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            scope, around = node, None
        if (
            isinstance(node, ast.For | ast.AsyncFor)
            and node.lineno <= line <= (node.iter.end_lineno or node.iter.lineno)
            and (found is None or node.lineno >= found.lineno)
            and (ours.isdisjoint(walk(node.iter)) or _holds_loop(source, node.iter, None, ours))
        ):
            found, found_scope, found_around = node, scope, around
        inside = around or node if isinstance(node, ast.For | ast.AsyncFor | ast.While) else around
        stack.extend((child, scope, inside) for child in ast.iter_child_nodes(node))
    return found, found_scope, found_around


def _yields(loop: _Loop) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for statement in loop.body for n in _own_nodes(statement))


@dataclass(frozen=True, slots=True)
class _HeldIterator:
    """`name = value`, where value is flor.loop(...) with or without something around it; `used` is the loop's line."""

    name: str
    value: ast.expr
    used: int


def _held_iterator(source: Source, line: int, ours: Set[ast.AST]) -> _HeldIterator | None:
    for node in source.nodes:
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) or node.value is None:
            continue
        if not node.lineno <= line <= (node.end_lineno or node.lineno) or not _holds_loop(
            source, node.value, None, ours
        ):
            continue
        bound = node.targets if isinstance(node, ast.Assign) else [node.target]
        if len(bound) != 1 or not isinstance(name := bound[0], ast.Name):
            continue
        uses = [
            loop.lineno
            for loop in source.nodes
            if isinstance(loop, ast.For) and loop.lineno >= line and name.id in loads(loop.iter)
        ]
        return _HeldIterator(name.id, node.value, min(uses)) if uses else None
    return None


def _names_of_our_iterators(source: Source, ours: Set[ast.AST]) -> set[str]:
    """Variables that hold flor.loop(...), or a progress bar around it: they are no state of the script."""
    found = set()
    for node in source.nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            around = isinstance(node.value, ast.Call) and _holds_loop(source, node.value, None, ours)
            bound = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in bound if around and isinstance(target, ast.Name)}
    return found


def _wrapper(source: Source, outer: ast.expr, held: str | None, ours: Set[ast.AST]) -> str:
    """What stands around flor.loop(...), or around the name that holds it, and does more than show progress."""
    if isinstance(outer, ast.GeneratorExp):
        return "generator"
    while isinstance(outer, ast.Call) and outer not in ours:
        inner = next((argument for argument in outer.args if _holds_loop(source, argument, held, ours)), None)
        name = ast.unparse(outer.func)
        if inner is None or not any(word in name.lower() for word in PROGRESS):
            return name if inner is not None else ""
        outer = inner
    return ""


def _holds_loop(source: Source, node: ast.AST, held: str | None, ours: Set[ast.AST]) -> bool:
    parts = source.gone_through(node)
    return any(n in ours or (held is not None and isinstance(n, ast.Name) and n.id == held) for n in parts)


def _own_nodes(node: ast.AST) -> Iterable[ast.AST]:
    """The node and what is below it, without the bodies of nested functions and classes."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    for child in ast.iter_child_nodes(node):
        yield from _own_nodes(child)


def _breaks(statements: Iterable[ast.AST]) -> Iterable[int]:
    """Lines of the `break` statements that leave the loop with this body."""
    for statement in statements:
        if isinstance(statement, ast.Break):
            yield statement.lineno
        elif isinstance(statement, ast.For | ast.AsyncFor | ast.While):
            yield from _breaks(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _breaks(ast.iter_child_nodes(statement))


def _cleared(loop: _Loop) -> frozenset[str]:
    """Receivers of `zero_grad` calls that every iteration makes, before any `backward`; those are never read again."""
    backward = min(
        (node.lineno for node in walk(loop) if isinstance(node, ast.Attribute) and node.attr == "backward"),
        default=0,
    )
    found = set()
    pending: list[ast.stmt] = list(loop.body)
    while pending:
        statement = pending.pop()
        if isinstance(statement, ast.For | ast.AsyncFor | ast.With | ast.AsyncWith):
            pending += statement.body
        elif isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call):
            function = call.func
            first = isinstance(function, ast.Attribute) and function.attr == "zero_grad" and call.lineno < backward
            if first and isinstance(function, ast.Attribute):
                found.add(ast.unparse(function.value))
    return frozenset(found)
