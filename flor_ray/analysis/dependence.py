"""What depends on state that no checkpoint holds: on sockets, open files and writers; on the clock; on gradients. Pure.

    reply = sock.recv(9)   ->   if reply: hits += 1   ->   flor.log("hits", hits)        `hits` depends on `sock`

Names stand for what they hold, wherever they are used, and what a branch or loop binds depends on its condition. So a
dependence may be reported that is none; one through `getattr` is not seen.

The parameters' `.grad` is not kept (it would add a third to a checkpoint's size for what almost nobody reads), and the
graph behind a loss cannot be; so code outside the nested loop that uses them must run after real steps. There a false
alarm costs replay time; a miss would cost a wrong value.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable, Iterator

from flor_ray.analysis.clocks import CLOCKS, DATES
from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import Source, label_of, read
from flor_ray.records import Region

_Edge = tuple[str, frozenset[str]]  # a name (or ">feature"), and the names that its value is made of
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_NO_GRADIENTS = {"no_grad", "zero_grad", "requires_grad", "requires_grad_", "enable_grad", "set_grad_enabled"}


def features_that_depend(variables: Iterable[str], *sources: str) -> dict[str, str]:
    """Features logged in `sources` that depend on one of `variables`, with that variable. `holder.attribute` stands for
    everything of the name `attribute`. Names mean the same in all sources; one that cannot be parsed has none."""
    return {name[1:]: variable for name, variable in reached(sources, variables).items() if name.startswith(">")}


@functools.lru_cache(maxsize=2048)
def read_from_the_clock(source: str) -> frozenset[str]:
    """Variables of `source` that depend on the time of day, or on how long something took."""
    found = frozenset(reached([source], CLOCKS | DATES)) - CLOCKS - DATES
    return frozenset(name for name in found if not name.startswith(">"))


def reached(sources: Iterable[str], variables: Iterable[str]) -> dict[str, str]:
    """Names, and features as `>name`, that depend on one of `variables`, each with that variable."""
    origin = {variable.rpartition(".")[2]: variable for variable in sorted(variables)}
    sources = tuple(sources)
    if not any(name in text or not text.isascii() for text in sources for name in origin):
        return origin  # Python writes other letters in names its own way
    edges: list[_Edge] = []
    for text in sources:
        source = read(text)
        aliases = [alias for alias in source.nodes if isinstance(alias, ast.alias)]
        modules = {alias.asname or alias.name.partition(".")[0] for alias in aliases}
        edges += [edge for edge in _Edges(source).all() if edge[0] not in modules]
    grown = True
    while grown:
        grown = False
        for name, parts in edges:
            reached = sorted(parts & origin.keys())
            if reached and name not in origin:
                origin[name] = origin[reached[0]]
                grown = True
    return origin


class _Edges:
    """What the statements of one source make of what."""

    def __init__(self, source: Source) -> None:
        self._body = source.tree.body if source.tree is not None else []
        logs = [call for call in (*source.calls, *source.possible) if call.function == "log" and call.name is not None]
        self._features = {call.node: call.name for call in logs}
        self._ours = {call.node for call in source.calls}

    def all(self) -> Iterator[_Edge]:
        for statement in self._body:
            yield from self._of(statement, frozenset())

    def _of(self, node: ast.AST, around: frozenset[str]) -> Iterator[_Edge]:
        """Of a statement and those in it. `around`: names in the conditions that lead here."""
        for expression in _expressions(node):
            for each in walk(expression):
                yield from self._in_expression(each, around)
        yield from _bound_by(node, around)
        if isinstance(node, ast.For | ast.AsyncFor):
            around |= _names(node.iter)
        elif isinstance(node, ast.If | ast.While):
            around |= _names(node.test)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                yield from self._of(child, around)

    def _in_expression(self, node: ast.AST, around: frozenset[str]) -> Iterator[_Edge]:
        if isinstance(node, ast.NamedExpr):
            yield node.target.id, _names(node.value) | around
        if not isinstance(node, ast.Call):
            return
        made_of = frozenset().union(*map(_names, [*node.args, *(k.value for k in node.keywords)])) | around
        if called := label_of(node.func):
            yield f"{called}()", made_of
        if node in self._features:
            yield f">{self._features[node]}", made_of
        if isinstance(node.func, ast.Attribute) and node not in self._ours:
            yield from _bound([node.func.value], made_of)  # a method may keep its arguments in its object


def _bound_by(node: ast.AST, around: frozenset[str]) -> Iterator[_Edge]:
    """What a statement itself binds."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from _bound(targets, _names(node.value) | around)
    elif isinstance(node, ast.For | ast.AsyncFor):
        yield from _bound([node.target], _names(node.iter) | around)
    elif isinstance(node, ast.With | ast.AsyncWith):
        for item in node.items:
            if item.optional_vars is not None:
                yield from _bound([item.optional_vars], _names(item.context_expr) | around)
    elif isinstance(node, _Function):
        yield node.name, frozenset().union(*map(_names, node.body))
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            yield argument.arg, frozenset((f"{node.name}()",))


def _expressions(node: ast.AST) -> list[ast.expr]:
    """The expressions of a statement itself, without those of the statements in it."""
    found = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return found + [item.context_expr for item in getattr(node, "items", ()) if isinstance(item, ast.withitem)]


def _bound(targets: Iterable[ast.expr], made_of: frozenset[str]) -> Iterator[_Edge]:
    for target in targets:
        base = target
        while isinstance(base, ast.Attribute | ast.Subscript | ast.Starred):
            base = base.value
        names = base.elts if isinstance(base, ast.Tuple | ast.List) else []
        if isinstance(base, ast.Name):
            yield base.id, made_of
        yield from _bound(names, made_of)


def _names(node: ast.AST) -> frozenset[str]:
    found = walk(node)
    names = {each.id for each in found if isinstance(each, ast.Name)}
    return frozenset(names | {each.attr for each in found if isinstance(each, ast.Attribute)})


# --- gradients ------------------------------------------------------------------------------------------------------


def gradients_read_in(words_in: Callable[[Region], frozenset[str] | None]) -> frozenset[Region]:
    """Regions among HEAD, TAIL and SUFFIX in which a run may read gradients, or go back along a graph.

    `words_in` says which names and attributes occur in what runs in a region; None: nobody knows, so they may be read.
    """
    regions = (Region.HEAD, Region.TAIL, Region.SUFFIX)
    return frozenset(region for region in regions if may_read_gradients(words_in(region)))


def may_read_gradients(words: frozenset[str] | None) -> bool:
    """Whether a word tells of gradients, other than the well-known ones that read none."""
    return words is None or any(("grad" in w or "backward" in w) and w not in _NO_GRADIENTS for w in words)
