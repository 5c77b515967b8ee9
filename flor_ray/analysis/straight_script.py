"""The straight part of a script: what surely runs once, in this order, and which variables it binds for good. Pure.

    lr = flor.arg("lr", 0.1)                      0
    for epoch in flor.loop("epoch", range(9)):    1     the main loop: its statements run once in every epoch, up to
        ...                                             where it may be left
    flor.log("done", True)                        2

The straight part is the script's body, or that of the one function which its last statements call and in which the main
loop is. `if __name__ == "__main__":` and `with flor.checkpointing(...):` are taken away. Positions in a function come
after those of the statements before its call.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import Source, label_of, read
from flor_ray.records import Region

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
# Who uses these may bind any variable.
_NAMES_OF_ALL = frozenset({"exec", "eval", "globals", "locals", "builtins", "__builtins__", "__main__"})
_ATTRIBUTES_OF_ALL = frozenset({"__dict__", "f_globals", "f_locals", "_getframe", "__builtins__", "__main__"})


@functools.lru_cache(maxsize=8192)
def imported_words(text: str) -> frozenset[str]:
    """All parts of the names of modules that a source imports, and of what it takes from them."""
    imports = read(text).imports if "import" in text else ()
    return frozenset(part for each in imports for part in (*each.module.split("."), *each.name.split(".")))


def calls_named(node: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Calls of functions and methods with these names, whoever's they are."""
    for found in walk(node):
        if isinstance(found, ast.Call) and label_of(found.func) in names:
            yield found


def reads_whole_script(text: str) -> bool:
    """Whether a file might bind variables of the script that runs, other than by assigning to them."""
    tree = read(text).tree
    if tree is None:
        return True
    for node in read(text).nodes:
        if isinstance(node, ast.Name) and (node.id in _NAMES_OF_ALL or (node.id == "vars" and _is_bare_vars(tree))):
            return True
        if isinstance(node, ast.Attribute) and (node.attr in _ATTRIBUTES_OF_ALL or _is_sys_modules(node)):
            return True
        if isinstance(node, ast.alias) and (node.name in _NAMES_OF_ALL or node.name == "modules"):
            return True
    return False


def _is_bare_vars(tree: ast.AST) -> bool:
    return any(not call.args for call in calls_named(tree, "vars"))


def _is_sys_modules(node: ast.Attribute) -> bool:
    return node.attr == "modules" and isinstance(node.value, ast.Name) and node.value.id == "sys"


def leaves_early(statements: Sequence[ast.stmt]) -> bool:
    """Whether one of a loop body's statements may go on with the next iteration, or leave the loop."""
    return any(_leaves(statement, True) for statement in statements)


def _leaves(node: ast.AST, own_loop: bool) -> bool:
    if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom | ast.Await):
        return True
    if isinstance(node, ast.Break | ast.Continue):
        return own_loop
    if isinstance(node, _Scope):
        return False
    if isinstance(node, ast.For | ast.AsyncFor | ast.While):
        inner = any(_leaves(child, False) for child in node.body)
        return inner or any(_leaves(child, own_loop) for child in node.orelse)
    return any(_leaves(child, own_loop) for child in ast.iter_child_nodes(node))


@dataclass(frozen=True, slots=True)
class StraightPlace:
    """Where a statement stands."""

    region: Region
    position: int  # variables bound at smaller ones are bound for it


class Script:
    """A script with one recorded loop that surely is the main loop. See `read`."""

    def __init__(self, source: Source, module: list[ast.stmt], call: int | None, inner: list[ast.stmt]) -> None:
        self._source = source
        self._module = module if call is None else module[:call]  # what has run when the loop begins
        self._inner = inner  # of the function that holds the loop
        self._straight = module if call is None else inner
        self._offset = 0 if call is None else call + 1
        self._loop_at = next(i for i, s in enumerate(self._straight) if _is_loop(source, s))
        loop = self._straight[self._loop_at]
        assert isinstance(loop, ast.For)
        self._loop = loop
        nested = [i for i, s in enumerate(loop.body) if source.is_loop(s)]
        self._nested_at = nested[0] if len(nested) == 1 and _loops_in(source, loop.body) == 1 else None
        function = None if call is None else _function_called(module, call)
        self._module_counts = self._counts = _times_bound(source, source.tree)
        if function is not None:
            self._counts = _times_bound(source, function)
        declared = [node for node in source.nodes if isinstance(node, ast.Global | ast.Nonlocal)]
        self._shared = {name for node in declared for name in node.names}
        self._stars = any(each.name == "*" for each in source.imports)

    @classmethod
    def read(cls, source: Source) -> Script | None:
        """None if it is not certain what runs when."""
        if source.tree is None or reads_whole_script(source.text) or source.hands_out:
            return None
        called = [call.function for call in (*source.calls, *source.possible)]
        iterated = [node for node in source.nodes if _is_loop(source, node)]
        if called.count("loop") != len(iterated) or _outermost_loops(source) != 1 or "iteration" in called:
            return None
        module = _straightened(source, source.tree.body)
        if any(_is_loop(source, statement) for statement in module):
            return cls(source, module, None, [])
        for at in range(len(module)):
            function = _function_called(module, at)
            if function is not None and _mentions(source, function.name) == 1:
                inner = _straightened(source, function.body)
                if any(_is_loop(source, statement) for statement in inner):
                    return cls(source, module, at, inner)
        return None

    def place_of(self, call: ast.Call) -> StraightPlace | None:
        """Where the statement is that is this call, if it surely runs once there."""
        if self._source.function_of(call) != "log" or self._stars:
            return None
        at = _index(self._module, call) if self._offset else None
        if at is not None:
            return StraightPlace(Region.PREFIX, at)
        at = _index(self._straight, call)
        if at is not None:
            region = Region.PREFIX if at < self._loop_at else Region.SUFFIX
            return None if leaves_early(self._straight[:at]) else StraightPlace(region, self._offset + at)
        begin, body = self._offset + self._loop_at, self._loop.body
        at = _index(body, call)
        if at is not None:
            in_tail = self._nested_at is not None and at > self._nested_at
            region = Region.TAIL if in_tail else Region.HEAD
            return None if leaves_early(body[:at]) else StraightPlace(region, begin)
        nested = self._nested
        if nested is None or leaves_early(body[: self._nested_at]):
            return None
        at = _index(nested.body, call)
        return None if at is None or leaves_early(nested.body[:at]) else StraightPlace(Region.INNER, begin)

    @property
    def _nested(self) -> ast.For | None:
        found = None if self._nested_at is None else self._loop.body[self._nested_at]
        return found if isinstance(found, ast.For) else None

    def logged_in_every_step(self) -> list[ast.stmt]:
        """Statements of the nested loop's body that run in each of its steps."""
        body = self._nested.body if self._nested is not None else []
        return [statement for at, statement in enumerate(body) if not leaves_early(body[:at])]

    def is_unbound(self, name: str) -> bool:
        """Whether no variable has this name, so that it is a builtin's."""
        return not self._counts[name] and not self._module_counts[name] and name not in self._shared

    def binding(self, name: str, position: int) -> tuple[ast.expr, int] | None:
        """The expression that a variable has been bound to, once and for good, before a position; and where that is."""
        if name in self._shared:
            return None
        own = self._offset > 0 and self._counts[name] > 0
        counts, statements, offset = (
            (self._counts, self._inner, self._offset) if own else (self._module_counts, self._module, 0)
        )
        if counts[name] != 1:
            return None
        for at, statement in enumerate(statements):
            value = _value_bound(statement, name)
            if value is not None and offset + at < position:
                return value, offset + at
        return None


def _is_loop(source: Source, node: ast.AST) -> bool:
    """Whether this is `for ... in flor.loop(...)`, with nothing around the call."""
    return isinstance(node, ast.For) and source.function_of(node.iter) == "loop"


def _loops_in(source: Source, body: Sequence[ast.stmt]) -> int:
    return sum(source.is_loop(node) for statement in body for node in walk(statement))


def _outermost_loops(source: Source) -> int:
    found, pending = 0, list[ast.AST]([source.tree] if source.tree is not None else [])
    while pending:
        node = pending.pop()
        if source.is_loop(node):
            found += 1
        else:
            pending += ast.iter_child_nodes(node)
    return found


def _straightened(source: Source, body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """A body without the headers that change nothing about what runs."""
    found: list[ast.stmt] = []
    for statement in body:
        if (isinstance(statement, ast.If) and _is_main_guard(statement)) or (
            isinstance(statement, ast.With) and _is_checkpointing(source, statement)
        ):
            found += _straightened(source, statement.body)
        else:
            found.append(statement)
    return found


def _is_main_guard(statement: ast.If) -> bool:
    return ast.unparse(statement.test) in ("__name__ == '__main__'", "'__main__' == __name__") and not statement.orelse


def _is_checkpointing(source: Source, statement: ast.With) -> bool:
    return all(source.function_of(item.context_expr) == "checkpointing" for item in statement.items)


def _function_called(module: Sequence[ast.stmt], at: int) -> ast.FunctionDef | None:
    """The function of this script that a statement `main()` calls."""
    statement = module[at]
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args or call.keywords:
        return None
    name = call.func.id
    named = [s for s in module[:at] if isinstance(s, ast.FunctionDef) and s.name == name]
    return named[0] if len(named) == 1 and not named[0].decorator_list else None


def _mentions(source: Source, name: str) -> int:
    return sum(isinstance(node, ast.Name) and node.id == name for node in source.nodes)


def _index(statements: Sequence[ast.stmt], call: ast.Call) -> int | None:
    return next((i for i, s in enumerate(statements) if isinstance(s, ast.Expr) and s.value is call), None)


def _value_bound(statement: ast.stmt, name: str) -> ast.expr | None:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target: ast.expr = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return None
    return statement.value if isinstance(target, ast.Name) and target.id == name else None


def _times_bound(source: Source, scope: ast.AST | None) -> Counter[str]:
    """How often each name is bound or deleted in a scope, without the scopes in it."""
    bindings = source.namespace(scope).bindings if scope is not None else {}
    return Counter({name: len(bound) for name, bound in bindings.items()})
