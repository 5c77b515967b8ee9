"""Which values of a new log statement are known without running anything. Pure: texts and records in, records out.

    lr = flor.arg("lr", 0.1)
    for epoch in flor.loop("epoch", ...):
        flor.log("lr2", lr * 2)            # new: computed from the recorded argument
        for batch in flor.loop("step", ...):
            flor.log("loss", loss.item())
            flor.log("train_loss", loss.item())     # new: what was recorded as `loss`

`ways` reads a version's texts, once for all versions that have them; `records` then takes what one version recorded.
Both say nothing where there is any doubt: the name is then replayed.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from flor_ray.analysis.evaluating import FUNCTIONS, NoValue, evaluate, is_plain
from flor_ray.analysis.straight_script import Script, calls_named, imported_words, parsed, reads_whole_script
from flor_ray.records import Experiment, Level, LogRecord, Region, Status, Value
from flor_ray.replaying.marked_code import only_reads
from flor_ray.store import typed_values

Texts = Mapping[str, str]  # repository-relative path -> source text
COMPUTED, RECORDED_AS = "it is computed from constants and arguments", "it was recorded as {name}"

# What may log under names that no statement says.
_LOGS_OTHERWISE = re.compile(r"\b(autolog|HuggingFaceCallback|LightningCallback|integrations)\b")
_IMPORTS_OTHERWISE = re.compile(r"\b(importlib|runpy|__import__|pkgutil)\b")
_ENDS_OTHERWISE = re.compile(r"\b(exit|_exit|quit|SystemExit|abort|kill|exec[lv]\w*)\b")


@dataclass(frozen=True, slots=True)
class Bound:
    """Variables that are bound once."""

    expressions: dict[str, ast.expr] = field(default_factory=dict)
    arguments: dict[str, tuple[str, ast.expr]] = field(default_factory=dict)  # by flor.arg: its name and default


@dataclass(frozen=True, slots=True)
class Computed:
    """A statement that surely runs at each of its places, and logs what constants and arguments make."""

    level: Level
    value: ast.expr
    bound: Bound  # the variables in it, and in these
    is_suffix: bool = False
    steps_of: tuple[str, ...] = ()  # names that every step of the same loop logs once


@dataclass(frozen=True, slots=True)
class AnswerWays:
    """How a name's values might be known in a version with these texts."""

    computed: Computed | None = None
    same_as: tuple[str, ...] = ()  # names that are logged beside it with the same expression

    @property
    def names(self) -> frozenset[str]:
        """Names whose recorded values are needed."""
        return frozenset(self.same_as) | frozenset(self.computed.steps_of if self.computed else ())


@dataclass(frozen=True, slots=True)
class OriginalValue:
    """A value of the original run."""

    level: Level
    epoch: int | None
    step: int | None
    iteration: int
    value: Value


@dataclass(frozen=True, slots=True)
class Answer:
    """Values of one name in one version that need no run; together they answer all places that were asked for."""

    version: str
    name: str
    epochs: tuple[int, ...]  # that are answered, ascending
    outside: bool  # what is logged outside the main loop is answered too
    why: str
    records: tuple[LogRecord, ...] = field(repr=False)  # values are schema.Value


# --- what the texts say ---------------------------------------------------------------------------------------------


def ways(script: str, before: Texts, after: Texts, name: str, region: Region) -> AnswerWays:
    """How the values of `name` might be known, if its only statement stands in `after`, a version's patched files.

    Args:
        before: the version's own files.
        region: what is known of when the statement runs.
    """
    paths = _running(script, after)
    found = [(path, call) for path in paths if name in after[path] for call in _log_calls(after[path], name)]
    if len(found) != 1:
        return AnswerWays()
    path, call = found[0]
    block = _block_of(after[path], call)
    if block is None:
        return AnswerWays()
    statements, at = block
    alone = not any(_LOGS_OTHERWISE.search(after[p]) or _logs_other_names(after[p]) for p in paths)
    same = _beside(statements, at, call.args[1]) if alone else []
    same_as = tuple(n for n in same if _logged_once(n, paths, after) and _log_calls(before.get(path, ""), n))
    return AnswerWays(_computed(script, paths, after, call, region, alone) if path == script else None, same_as)


def _running(script: str, texts: Texts) -> list[str]:
    """The script, and the files that it might import."""
    by_name: dict[str, list[str]] = {}
    for path in texts:
        parts = path.removesuffix(".py").split("/")
        by_name.setdefault(parts[-2] if parts[-1] == "__init__" and len(parts) > 1 else parts[-1], []).append(path)
    found, pending = {script} & texts.keys(), [script] if script in texts else []
    while pending:
        text = texts[pending.pop()]
        if _IMPORTS_OTHERWISE.search(text):
            return sorted(texts)
        fresh = {path for word in imported_words(text) for path in by_name.get(word, ())} - found
        found |= fresh
        pending += fresh
    return sorted(found)


@functools.lru_cache(maxsize=4096)
def _all_log_calls(text: str) -> tuple[ast.Call, ...]:
    tree = parsed(text) if "log" in text else None
    return () if tree is None else tuple(calls_named(tree, "log"))


def _log_calls(text: str, name: str) -> list[ast.Call]:
    return [call for call in _all_log_calls(text) if _name_in(call) == name]


def _name_in(call: ast.Call) -> object:
    first = next(iter([*call.args, *(k.value for k in call.keywords if k.arg == "name")]), None)
    return first.value if isinstance(first, ast.Constant) else None


def _logs_other_names(text: str) -> bool:
    """Whether a file logs something under a name that is only known when it runs. `math.log(x)` has one argument."""
    return any(_name_in(call) is None and len(call.args) + len(call.keywords) > 1 for call in _all_log_calls(text))


def _logged_once(name: str, paths: Iterable[str], texts: Texts) -> bool:
    return sum(len(_log_calls(texts[path], name)) for path in paths) == 1


def _block_of(text: str, call: ast.Call) -> tuple[Sequence[ast.stmt], int] | None:
    """The block in which a call is a statement of its own, and which one."""
    tree = parsed(text)
    for node in ast.walk(tree) if tree is not None else ():
        for part in ("body", "orelse", "finalbody"):
            block: list[ast.stmt] | None = getattr(node, part, None)
            if not isinstance(block, list):
                continue
            for at, statement in enumerate(block):
                if isinstance(statement, ast.Expr) and statement.value is call:
                    return (block, at) if _logged(statement) else None
    return None


def _logged(statement: ast.stmt) -> tuple[str, ast.expr] | None:
    """The name and the value of `flor.log("name", value)`."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or len(call.args) != 2 or call.keywords:
        return None
    name = _name_in(call)
    is_log = isinstance(call.func, ast.Attribute) and call.func.attr == "log" and isinstance(call.func.value, ast.Name)
    return (name, call.args[1]) if is_log and isinstance(name, str) else None


def _beside(block: Sequence[ast.stmt], at: int, value: ast.expr) -> list[str]:
    """Names that are logged with the same expression, with only statements between that leave everything as it is."""
    if not only_reads(value) or any(calls_named(value, "log", "print")):
        return []
    wanted = ast.unparse(value)
    near = [s for part in (reversed(block[:at]), block[at + 1 :]) for s in takewhile(_leaves_all, part)]
    pairs = [pair for statement in near if (pair := _logged(statement)) is not None]
    return [name for name, other in pairs if ast.unparse(other) == wanted]


def _leaves_all(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and only_reads(statement)


# --- constants and arguments ----------------------------------------------------------------------------------------


def _computed(
    name: str, paths: Sequence[str], texts: Texts, call: ast.Call, region: Region, alone: bool
) -> Computed | None:
    script = Script.read(texts[name])
    others = [texts[path] for path in paths if path != name]
    if script is None or any(reads_whole_script(text) or "loop(" in text for text in others):
        return None
    place = script.place_of(call)
    if place is None or not region_fits(place.region, region):
        return None
    if place.region is not Region.PREFIX and any(_ENDS_OTHERWISE.search(texts[path]) for path in paths):
        return None
    bound = Bound()
    if not _closed(call.args[1], script, place.position, bound) or (bound.arguments and not alone):
        return None
    steps_of: list[str] = []
    if place.region is Region.INNER:
        logged = [pair[0] for s in script.logged_in_every_step() if alone and (pair := _logged(s)) is not None]
        steps_of = [name for name in logged if _logged_once(name, paths, texts)]
    level = {Region.PREFIX: Level.DATA_PREP, Region.SUFFIX: Level.DATA_PREP, Region.INNER: Level.INNER}
    return Computed(
        level.get(place.region, Level.OUTER),
        call.args[1],
        bound,
        place.region is Region.SUFFIX,
        tuple(steps_of),
    )


def region_fits(seen: Region, known: Region) -> bool:
    """Whether both say the same of when a statement runs; a loop without steps has no tail."""
    in_epoch = (Region.HEAD, Region.TAIL)
    return seen is known or (seen in in_epoch and known in in_epoch)


def _closed(expression: ast.expr, script: Script, position: int, bound: Bound) -> bool:
    """Whether all variables of an expression are bound once, before, by such expressions or by `flor.arg`."""
    for node in ast.walk(expression):
        if not isinstance(node, ast.Name):
            continue
        if script.is_unbound(node.id):
            if node.id not in FUNCTIONS:
                return False
            continue
        binding = script.binding(node.id, position)
        if binding is None:
            return False
        value, at = binding
        argument = _argument(value, script)
        if argument is not None:
            bound.arguments[node.id] = argument
        elif node.id not in bound.expressions:
            bound.expressions[node.id] = value
            if not _closed(value, script, at, bound):
                return False
    return True


def _argument(value: ast.expr, script: Script) -> tuple[str, ast.expr] | None:
    """Name and default in `flor.arg("name", default)`, where the default is a number, a string or a bool."""
    if not isinstance(value, ast.Call) or value.keywords or len(value.args) != 2:
        return None
    name, default = value.args
    is_arg = isinstance(value.func, ast.Attribute) and value.func.attr == "arg" and script.is_flor(value.func.value)
    is_plain_default = all(isinstance(n, ast.Constant | ast.UnaryOp | ast.unaryop) for n in ast.walk(default))
    if not is_arg or not is_plain_default or not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    return name.value, default


# --- what one version recorded --------------------------------------------------------------------------------------


def records(
    found: AnswerWays,
    experiment: Experiment,
    name: str,
    recorded: Mapping[str, Sequence[OriginalValue]],
    epochs: Sequence[int],
    outside: bool,
    python: str,
    now: float,
) -> Answer | None:
    """Values of `name` in these epochs and (`outside`) outside the main loop; None if they are not known.

    Args:
        recorded: values of `name` and of `found.names`.
        python: version of Python that evaluates expressions here; others may round sums differently.
        now: unix seconds.
    """
    if recorded.get(name):
        return None  # it is logged by more than the one statement

    def answer(why: str, rows: Iterable[OriginalValue]) -> Answer:
        kept = tuple(LogRecord(r.level, r.epoch, r.step, name, r.iteration, r.value, now) for r in rows)
        return Answer(experiment.version, name, tuple(epochs), outside, why, kept)

    wanted = set(epochs)
    crashed = experiment.status is Status.CRASHED  # its last records may be lost
    for other in found.same_as if not crashed else ():
        if rows := recorded.get(other):
            chosen = [row for row in rows if (outside if row.epoch is None else row.epoch in wanted)]
            return answer(RECORDED_AS.format(name=other), chosen)
    same_python = _minor(str(experiment.environment.get("python", ""))) == _minor(python)
    if found.computed is None or not same_python:
        return None
    try:
        places = _places(found.computed, experiment, recorded, epochs, outside)
        value = typed_values.encode(_value(found.computed, experiment.args)) if places is not None else None
    except NoValue:
        return None
    if places is None or value is None:
        return None
    return answer(COMPUTED, [OriginalValue(found.computed.level, epoch, step, 0, value) for epoch, step in places])


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _places(
    found: Computed,
    experiment: Experiment,
    recorded: Mapping[str, Sequence[OriginalValue]],
    epochs: Sequence[int],
    outside: bool,
) -> list[tuple[int | None, int | None]] | None:
    """(epoch, step) of each value; None if they are not known."""
    ended, crashed = experiment.status is Status.FINISHED, experiment.status is Status.CRASHED
    if "worker" in experiment.environment or (crashed and (found.bound.arguments or found.level is Level.INNER)):
        return None  # a crashed run did not say which arguments it had, and its last records may be lost
    if found.level is Level.DATA_PREP:
        certain = ended if found.is_suffix else experiment.epochs >= 1
        return [(None, None)] if outside and not epochs and certain else None
    if outside or any(not 1 <= epoch <= experiment.epochs for epoch in epochs):
        return None
    if found.level is Level.OUTER:
        return [(epoch, None) for epoch in epochs]
    for name in found.steps_of:
        steps: dict[int, list[int]] = {}
        for row in recorded.get(name, ()):
            if row.epoch is not None and row.step is not None and row.iteration == 0:
                steps.setdefault(row.epoch, []).append(row.step)
        if all(sorted(steps.get(e, [-1])) == list(range(len(steps.get(e, [-1])))) for e in epochs):
            return [(epoch, step) for epoch in epochs for step in sorted(steps[epoch])]
    return None


def _value(found: Computed, recorded: Mapping[str, object]) -> object:
    def value_of(name: str) -> object:
        if name in found.bound.arguments:
            value = _recorded_argument(*found.bound.arguments[name], recorded)
        elif name in found.bound.expressions:
            value = evaluate(found.bound.expressions[name], value_of)
        else:
            return FUNCTIONS[name]
        if not is_plain(value):
            raise NoValue("it can be changed")
        return value

    return evaluate(found.value, value_of)


def _recorded_argument(name: str, default: ast.expr, recorded: Mapping[str, object]) -> object:
    """What `flor.arg` returned: surely so if it has the default's type."""
    kind = type(evaluate(default, FUNCTIONS.__getitem__))
    if name not in recorded or type(recorded[name]) is not kind or kind is type(None):
        raise NoValue(f"what {name} was")
    return recorded[name]
