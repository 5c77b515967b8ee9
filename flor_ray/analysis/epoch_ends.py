"""How little of an epoch a version's statements need: where they were added, where an epoch ends for them, and which of
them the state of its end can answer. Pure: a patched version's texts in, marks for its syntax trees out.

    for epoch in flor.loop("epoch", ...):
        train(net)                                 not needed for weight_norm:
        acc = evaluate(net)                            the end of an epoch is in its checkpoint, and between the
        flor.log("weight_norm", norm(net))  # new      statement and that end nothing changes
        flor.log("acc", acc)

A statement can be answered so if it surely stands in the main loop's own body, if only statements that read follow it
there, and if every variable that it reads is either left alone by the loop or kept in the checkpoint.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flor_ray.analysis import dependence
from flor_ray.analysis.lending import read_all
from flor_ray.analysis.loops import loop_names
from flor_ray.analysis.marks import Marks, Own, Reading, inserted_lines, is_inserted, marks_of, own_names
from flor_ray.analysis.nodes import walk
from flor_ray.analysis.phases.phases import phases_of
from flor_ray.analysis.source import Source, Texts
from flor_ray.records import Region, Stop

_BUILTINS = frozenset(dir(builtins))
_IMPORTS_A_CLOCK = re.compile(r"\b(import|from)\b.*\b(time|datetime)\b")


@dataclass(frozen=True, slots=True)
class Marking:
    """What a replay process is told of a version's files."""

    marks: Mapping[str, Marks] = field(default_factory=dict)  # by path
    stops: Mapping[str, int] = field(default_factory=dict)  # feature -> line after which no epoch logs it any more
    from_end: Mapping[str, frozenset[str]] = field(default_factory=dict)  # feature -> variables it needs from there
    clocked: frozenset[str] = frozenset()  # what depends on the time of day, and is another one in every run: `clocked`


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
    hindsight = {p: inserted_lines(texts[p], text) for p, text in files.items() if text != texts[p]}
    stops = {name: stop for name in names if (stop := ends.get(name)) is not None}
    sources, own = read_all(files), own_names(files)
    worth = {path: _worth_leaving(sources[path], own) for path in {stop.path for stop in stops.values()}}
    epochs_own = [name for name in names if phases_of(script, files).logged(name).region in (Region.HEAD, Region.TAIL)]
    answered = _answered_by_end(script, sources, own, hindsight.get(script, frozenset()), epochs_own)
    iterating = [path for path, source in sources.items() if any(c.function == "iteration" for c in source.calls)]
    paths = sorted({*hindsight, *worth, *iterating})
    return Marking(
        {
            path: marks_of(
                sources[path],
                own,
                hindsight.get(path, frozenset()),
                frozenset(s.line for s in stops.values() if s.path == path) & worth.get(path, frozenset()),
                answered.lines if path == script else frozenset(),
            )
            for path in paths
        },
        {name: stop.line for name, stop in stops.items()},
        answered.needs,
        clocked(script, files),
    )


def words_at_end(script: str, files: Texts, marked: Marking) -> frozenset[str]:
    """Names and attributes in what runs where the end of an epoch answers, and in what that may come to."""
    source, marks = read_all(files).get(script), marked.marks.get(script)
    if source is None or marks is None:
        return frozenset()
    run = [node for node in source.nodes if isinstance(node, ast.stmt) and node.lineno in marks.at_end]
    return _words(run, read_all(files))


def clocked(script: str, files: Texts) -> frozenset[str]:
    """Variables that depend on the time of day: those of the script, and `module.name` for those of the other files."""
    found = set(dependence.read_from_the_clock(files.get(script, "")))
    for path, text in files.items():
        if path != script and _IMPORTS_A_CLOCK.search(text):
            module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            found |= {f"{module}.{name}" for name in dependence.read_from_the_clock(text)}
    return frozenset(found)


def _worth_leaving(source: Source, own: Own) -> frozenset[int]:
    """Last lines of the statements of recorded loops after which more comes than statements that only read."""
    reading, found = Reading(source, own), set[int]()
    for loop in source.nodes:
        if isinstance(loop, ast.For) and source.is_loop(loop):
            costly = [i for i, s in enumerate(loop.body) if not (reading.only_reads(s) or reading.leaves_all(s))]
            last = max(costly, default=-1)
            found |= {s.end_lineno for s in loop.body[: max(last, 0)] if s.end_lineno is not None}
    return frozenset(found)


def _answered_by_end(
    script: str, sources: Mapping[str, Source], own: Own, hindsight: frozenset[int], names: Sequence[str]
) -> _End:
    source = sources.get(script)
    loop = _only_main_loop(source) if source is not None and hindsight else None
    if source is None or loop is None:
        return _End({}, frozenset())
    run = _trailing(loop.body, hindsight, Reading(source, own))
    bound = loop_names(source.text, loop.iter.lineno).bound - _targets(loop)
    needs: dict[str, frozenset[str]] = {}
    lines: set[int] = set()
    for name in names:
        logging = [index for index, statement in enumerate(run) if _logs(source, statement, name)]
        if not logging or sum(_logs(source, run[index], name) for index in logging) != _may_log(sources, name):
            continue
        chosen, needed = _with_what_it_needs(run, logging)
        if dependence.may_read_gradients(_words([run[index] for index in chosen], sources)):
            continue  # they are not in checkpoints
        needs[name] = needed & bound
        lines |= {run[index].lineno for index in chosen}
    return _End(needs, frozenset(lines))


def _only_main_loop(source: Source) -> ast.For | None:
    """The outermost recorded loop, if there is no other one that might be it."""
    if any(call.function in ("loop", "iteration") for call in source.possible) or source.tree is None:
        return None
    outermost: list[ast.For] = []
    pending: list[ast.AST] = [source.tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.For) and source.is_loop(node):
            outermost.append(node)
        elif source.is_iteration(node):
            return None
        else:
            pending += ast.iter_child_nodes(node)
    return outermost[0] if len(outermost) == 1 and not outermost[0].orelse else None


def _trailing(body: Sequence[ast.stmt], hindsight: frozenset[int], reading: Reading) -> list[ast.stmt]:
    """The statements that were added at the end of a body, with nothing but reading statements among and after them."""
    found: list[ast.stmt] = []
    for statement in reversed(body):
        if is_inserted(statement, hindsight):
            found.append(statement)
        elif not reading.leaves_all(statement):
            break
    return found[::-1]


def _logs(source: Source, statement: ast.AST, name: str) -> int:
    """How many calls in a statement log a name."""
    return sum(call.name == name for call in source.calls_in(statement, "log"))


def _may_log(sources: Mapping[str, Source], name: str) -> int:
    """How many calls may log a name. Where we are passed on, any call that is given the name may."""
    is_handed_out = any(source.hands_out for source in sources.values())
    found = 0
    for source in sources.values():
        if name in source.text:
            calls = [call for call in (*source.calls, *source.possible) if call.function == "log"]
            found += sum(call.name == name for call in calls)
            others = {*source.nodes} - {call.node for call in calls} if is_handed_out else set()
            found += sum(isinstance(node, ast.Call) and _is_given(node, name) for node in others)
    return found


def _is_given(call: ast.Call, name: str) -> bool:
    return any(isinstance(argument, ast.Constant) and argument.value == name for argument in call.args[:1])


def _words(part: Sequence[ast.AST], sources: Mapping[str, Source]) -> frozenset[str]:
    """Names and attributes in statements, and in all functions and classes of the project that these may come to."""
    known: dict[str, list[ast.AST]] = {}
    for source in sources.values():
        for node in source.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                known.setdefault(node.name, []).append(node)
    pending, seen = list(part), set[str]()
    while pending:
        node = pending.pop()
        words = {child.id for child in walk(node) if isinstance(child, ast.Name)}
        words |= {child.attr for child in walk(node) if isinstance(child, ast.Attribute)}
        pending += [found for word in words - seen for found in known.get(word, ())]
        seen |= words
    return frozenset(seen)


def _with_what_it_needs(run: Sequence[ast.stmt], logging: Sequence[int]) -> tuple[list[int], frozenset[str]]:
    """The statements of a run that a feature's own ones need, and the variables that must be there before them."""
    chosen: list[int] = []
    needed: set[str] = set()
    for index in reversed(range(max(logging) + 1)):
        statement = run[index]
        binds = {n.id for n in walk(statement) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        binds |= {alias.asname or alias.name.partition(".")[0] for alias in _aliases(statement)}
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            binds.add(statement.name)
        if index in logging or binds & needed:
            chosen.append(index)
            loads = {n.id for n in walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
            needed = (needed - binds) | loads
    return chosen[::-1], frozenset(needed - _BUILTINS)


def _aliases(statement: ast.stmt) -> list[ast.alias]:
    return statement.names if isinstance(statement, ast.Import | ast.ImportFrom) else []


def _targets(loop: ast.For) -> set[str]:
    return {node.id for node in walk(loop.target) if isinstance(node, ast.Name)}
