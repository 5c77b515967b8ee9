"""How little of an epoch a version's statements need: where they were added, where an epoch ends for them, and which of
them the state of its end can answer. Pure: a patched version's texts in, marks for its syntax trees out.

    for epoch in flor.loop("epoch", ...):
        train(net)                                 not needed for weight_norm:
        acc = evaluate(net)                            the end of an epoch is in its checkpoint, and between the
        flor.log("weight_norm", norm(net))  # new      statement and that end nothing changes
        flor.log("acc", acc)

A statement can be answered so if only statements that read follow it in the main loop's body, and if every variable
that it reads is either left alone by the loop or kept in the checkpoint.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flor_ray import gradients
from flor_ray.analysis import dependence
from flor_ray.analysis.loops import loop_names
from flor_ray.records import Stop
from flor_ray.replaying import marked_code
from flor_ray.replaying.marked_code import Marks

Texts = Mapping[str, str]  # repository-relative path -> source text

_BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class Marking:
    """What a replay process is told of a version's files."""

    marks: Mapping[str, Marks] = field(default_factory=dict)  # by path
    stops: Mapping[str, int] = field(default_factory=dict)  # feature -> line after which no epoch logs it any more
    from_end: Mapping[str, frozenset[str]] = field(default_factory=dict)  # feature -> variables it needs from there
    clocked: frozenset[str] = frozenset()  # variables that depend on the time of day: another one in every run


@dataclass(frozen=True, slots=True)
class _End:
    """Features that the end of an epoch answers: what each needs, and the statements that do it, by first line."""

    needs: Mapping[str, frozenset[str]]
    lines: frozenset[int]


def marking(script: str, texts: Texts, files: Texts, names: Sequence[str], ends: Mapping[str, Stop | None]) -> Marking:
    """Marks for a version whose files were `texts` and are `files` now.

    Args:
        names: the features that are carried into it.
        ends: where an epoch's statements of each of them end.
    """
    hindsight = {p: marked_code.inserted_lines(texts[p], text) for p, text in files.items() if text != texts[p]}
    stops = {name: stop for name in names if (stop := ends.get(name)) is not None}
    worth = {path: _worth_leaving(files[path]) for path in {stop.path for stop in stops.values()}}
    answered = _answered_by_end(script, files, hindsight.get(script, frozenset()), names)
    paths = sorted({*hindsight, *worth})
    return Marking(
        {
            path: Marks(
                hindsight.get(path, frozenset()),
                frozenset(s.line for s in stops.values() if s.path == path) & worth.get(path, frozenset()),
                answered.lines if path == script else frozenset(),
            )
            for path in paths
        },
        {name: stop.line for name, stop in stops.items()},
        answered.needs,
        dependence.read_from_the_clock(files.get(script, "")),
    )


def _worth_leaving(text: str) -> frozenset[int]:
    """Last lines of the statements of recorded loops after which more comes than statements that only read."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return frozenset()
    found = set()
    for loop in ast.walk(tree):
        if isinstance(loop, ast.For) and marked_code.is_flor_loop(loop):
            costly = [i for i, s in enumerate(loop.body) if not (marked_code.only_reads(s) or _leaves_all_as_it_is(s))]
            last = max(costly, default=-1)
            found |= {s.end_lineno for s in loop.body[: max(last, 0)] if s.end_lineno is not None}
    return frozenset(found)


def _answered_by_end(script: str, files: Texts, hindsight: frozenset[int], names: Sequence[str]) -> _End:
    none = _End({}, frozenset())
    text = files.get(script, "")
    if not hindsight:
        return none
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return none
    loop = _only_main_loop(tree)
    if loop is None:
        return none
    run = _trailing(loop.body, hindsight)
    bound = loop_names(text, loop.iter.lineno).bound - _targets(loop)
    needs: dict[str, frozenset[str]] = {}
    lines: set[int] = set()
    for name in names:
        logging = [index for index, statement in enumerate(run) if _logs(statement, name)]
        if not logging or sum(_logs(run[index], name) for index in logging) != _logged_in(files, name):
            continue
        chosen, needed = _with_what_it_needs(run, logging)
        if gradients.may_read(_words([run[index] for index in chosen], files)):
            continue  # they are not in checkpoints
        needs[name] = needed & bound
        lines |= {run[index].lineno for index in chosen}
    return _End(needs, frozenset(lines))


def _only_main_loop(tree: ast.Module) -> ast.For | None:
    """The outermost recorded loop, if there is no other one that might be it."""
    outermost: list[ast.For] = []
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.For) and marked_code.is_flor_loop(node):
            outermost.append(node)
        elif marked_code.is_iteration(node):
            return None
        else:
            pending += ast.iter_child_nodes(node)
    return outermost[0] if len(outermost) == 1 and not outermost[0].orelse else None


def _trailing(body: Sequence[ast.stmt], hindsight: frozenset[int]) -> list[ast.stmt]:
    """The statements that were added at the end of a body, with nothing but reading statements among and after them."""
    found: list[ast.stmt] = []
    for statement in reversed(body):
        if marked_code.is_inserted(statement, hindsight):
            found.append(statement)
        elif not _leaves_all_as_it_is(statement):
            break
    return found[::-1]


def _leaves_all_as_it_is(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.If):
        inner = [*statement.body, *statement.orelse]
        return marked_code.only_reads(statement.test) and all(map(_leaves_all_as_it_is, inner))
    if isinstance(statement, ast.Break | ast.Continue | ast.Pass):
        return True
    return isinstance(statement, ast.Expr) and marked_code.only_reads(statement)


def _logged_in(files: Texts, name: str) -> int:
    """How many calls log a name; -1 if some file cannot be read."""
    try:
        return sum(_logs(ast.parse(text), name) for text in files.values() if name in text)
    except (SyntaxError, ValueError):
        return -1


def _words(part: Sequence[ast.AST], files: Texts) -> frozenset[str]:
    """Names and attributes in statements, and in all functions and classes of the project that these may come to."""
    known: dict[str, list[ast.AST]] = {}
    for text in files.values():
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                known.setdefault(node.name, []).append(node)
    pending, seen = list(part), set[str]()
    while pending:
        node = pending.pop()
        words = {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
        words |= {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}
        pending += [found for word in words - seen for found in known.get(word, ())]
        seen |= words
    return frozenset(seen)


def _logs(statement: ast.AST, name: str) -> int:
    """How many calls in a statement log a name."""
    return sum(
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) == "log"
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == name
        for node in ast.walk(statement)
    )


def _with_what_it_needs(run: Sequence[ast.stmt], logging: Sequence[int]) -> tuple[list[int], frozenset[str]]:
    """The statements of a run that a feature's own ones need, and the variables that must be there before them."""
    chosen: list[int] = []
    needed: set[str] = set()
    for index in reversed(range(max(logging) + 1)):
        statement = run[index]
        binds = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        binds |= {alias.asname or alias.name.partition(".")[0] for alias in _aliases(statement)}
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            binds.add(statement.name)
        if index in logging or binds & needed:
            chosen.append(index)
            loads = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
            needed = (needed - binds) | loads
    return chosen[::-1], frozenset(needed - _BUILTINS)


def _aliases(statement: ast.stmt) -> list[ast.alias]:
    return statement.names if isinstance(statement, ast.Import | ast.ImportFrom) else []


def _targets(loop: ast.For) -> set[str]:
    return {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}
