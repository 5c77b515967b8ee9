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
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from flor_ray.analysis.evaluating import FUNCTIONS, NoValue, evaluate, is_plain
from flor_ray.analysis.lending import read_all
from flor_ray.analysis.marks import Reading, own_names
from flor_ray.analysis.source import FlorCall, Source, Texts
from flor_ray.analysis.straight_script import Script, calls_named, imported_words, reads_whole_script
from flor_ray.records import Experiment, Fidelity, Level, LogRecord, Region, Status, Value
from flor_ray.store import typed_values

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
class Shortcut:
    """How a name's values might be known in a version with these texts."""

    computed: Computed | None = None
    same_as: tuple[str, ...] = ()  # names that are logged beside it with the same expression

    @property
    def names(self) -> frozenset[str]:
        """Names whose recorded values are needed."""
        return frozenset(self.same_as) | frozenset(self.computed.steps_of if self.computed else ())


@dataclass(frozen=True, slots=True)
class RecordedRow:
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
    verdict: Fidelity = Fidelity.EXACT  # they are made of what was recorded, and of nothing else


# --- what the texts say ---------------------------------------------------------------------------------------------


def ways(script: str, before: Texts, after: Texts, name: str, region: Region) -> Shortcut:
    """How the values of `name` might be known, if its only statement stands in `after`, a version's patched files.

    Args:
        before: the version's own files.
        region: what is known of when the statement runs.
    """
    read = read_all(after)
    running = {path: read[path] for path in _running(script, after)}
    found = [(path, call) for path, source in running.items() for call in _logs_of(source, name)]
    if len(found) != 1 or not found[0][1].is_sure:
        return Shortcut()
    path, call = found[0]
    source = running[path]
    block = _block_of(source, call)
    value = call.value
    if block is None or value is None:
        return Shortcut()
    statements, at = block
    alone = not any(map(_logs_unseen, running.values()))
    same = _beside(source, Reading(source, own_names(after)), statements, at, value) if alone else []
    earlier = read_all(before).get(path)
    had = {call.name for call in earlier.calls if call.function == "log"} if earlier is not None else set()
    same_as = tuple(other for other in same if other in had and _is_logged_once(other, running.values()))
    computed = _computed(source, running, call, value, region, alone) if path == script else None
    return Shortcut(computed, same_as)


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


def _all_logs(source: Source) -> list[FlorCall]:
    return [call for call in (*source.calls, *source.possible) if call.function == "log"]


def _logs_of(source: Source, name: str) -> list[FlorCall]:
    """Calls that log a name, or may do so."""
    return [call for call in _all_logs(source) if call.name == name] if name in source.text else []


def _logs_unseen(source: Source) -> bool:
    """Whether a file may log by other calls than are seen, or something under a name that only a run can tell."""
    may_name = any(call.name is None and call.takes_a_value for call in _all_logs(source))
    return may_name or source.hands_out or _LOGS_OTHERWISE.search(source.text) is not None


def _is_logged_once(name: str, sources: Iterable[Source]) -> bool:
    return sum(len(_logs_of(source, name)) for source in sources) == 1


def _block_of(source: Source, call: FlorCall) -> tuple[Sequence[ast.stmt], int] | None:
    """The block in which a call is a statement of its own, and which one."""
    for node in source.nodes:
        for part in ("body", "orelse", "finalbody"):
            block: list[ast.stmt] | None = getattr(node, part, None)
            if not isinstance(block, list):
                continue
            for at, statement in enumerate(block):
                if isinstance(statement, ast.Expr) and statement.value is call.node:
                    return block, at
    return None


def _logged(source: Source, statement: ast.stmt) -> tuple[str, ast.expr] | None:
    """The name and the value of a statement `flor.log("name", value)`."""
    call = source.call_at(statement.value) if isinstance(statement, ast.Expr) else None
    if call is None or call.function != "log" or call.name is None or call.value is None:
        return None
    return call.name, call.value


def _beside(source: Source, reading: Reading, block: Sequence[ast.stmt], at: int, value: ast.expr) -> list[str]:
    """Names that are logged with the same expression, with only statements between that leave everything as it is."""
    if not reading.only_reads(value) or any(source.calls_in(value, "log")) or any(calls_named(value, "print")):
        return []

    def leaves_all(statement: ast.stmt) -> bool:
        return isinstance(statement, ast.Expr) and reading.only_reads(statement.value)

    wanted = ast.unparse(value)
    near = [s for part in (reversed(block[:at]), block[at + 1 :]) for s in takewhile(leaves_all, part)]
    pairs = [pair for statement in near if (pair := _logged(source, statement)) is not None]
    return [name for name, other in pairs if ast.unparse(other) == wanted]


# --- constants and arguments ----------------------------------------------------------------------------------------


def _computed(
    source: Source,
    running: Mapping[str, Source],
    call: FlorCall,
    value: ast.expr,
    region: Region,
    alone: bool,
) -> Computed | None:
    script = Script.read(source)
    others = [one for one in running.values() if one is not source]
    if script is None or any(reads_whole_script(one.text) or _may_loop(one) for one in others):
        return None
    place = script.place_of(call.node)
    may_end = any(_ENDS_OTHERWISE.search(one.text) for one in running.values())
    if place is None or not region_fits(place.region, region) or (place.region is not Region.PREFIX and may_end):
        return None
    bound = Bound()
    if not _closed(source, value, script, place.position, bound) or (bound.arguments and not alone):
        return None
    steps_of = _logged_in_every_step(source, script, running) if place.region is Region.INNER and alone else []
    level = {Region.PREFIX: Level.DATA_PREP, Region.SUFFIX: Level.DATA_PREP, Region.INNER: Level.INNER}
    return Computed(level.get(place.region, Level.OUTER), value, bound, place.region is Region.SUFFIX, tuple(steps_of))


def _logged_in_every_step(source: Source, script: Script, running: Mapping[str, Source]) -> list[str]:
    """Names that every step of the nested loop logs once, and nothing else does."""
    logged = [pair[0] for s in script.logged_in_every_step() if (pair := _logged(source, s)) is not None]
    return [name for name in logged if _is_logged_once(name, running.values())]


def _may_loop(source: Source) -> bool:
    return source.hands_out or any(c.function in ("loop", "iteration") for c in (*source.calls, *source.possible))


def region_fits(seen: Region, known: Region) -> bool:
    """Whether both say the same of when a statement runs; a loop without steps has no tail."""
    in_epoch = (Region.HEAD, Region.TAIL)
    return seen is known or (seen in in_epoch and known in in_epoch)


def _closed(source: Source, expression: ast.expr, script: Script, position: int, bound: Bound) -> bool:
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
        argument = _argument(source, value)
        if argument is not None:
            bound.arguments[node.id] = argument
        elif node.id not in bound.expressions:
            bound.expressions[node.id] = value
            if not _closed(source, value, script, at, bound):
                return False
    return True


def _argument(source: Source, value: ast.expr) -> tuple[str, ast.expr] | None:
    """Name and default in `flor.arg("name", default)`, where the default is a number, a string or a bool."""
    call = source.call_at(value)
    if call is None or call.function != "arg" or call.name is None or call.value is None:
        return None
    is_plain_default = all(isinstance(n, ast.Constant | ast.UnaryOp | ast.unaryop) for n in ast.walk(call.value))
    return (call.name, call.value) if is_plain_default else None


# --- what one version recorded --------------------------------------------------------------------------------------


def records(
    found: Shortcut,
    experiment: Experiment,
    name: str,
    recorded: Mapping[str, Sequence[RecordedRow]],
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

    # Of an adopted run nothing was recorded, not even that it came to the statement.
    verdict = Fidelity.ADOPTED if experiment.is_adopted else Fidelity.EXACT

    def answer(why: str, rows: Iterable[RecordedRow]) -> Answer:
        kept = tuple(LogRecord(r.level, r.epoch, r.step, name, r.iteration, r.value, now) for r in rows)
        return Answer(experiment.version, name, tuple(epochs), outside, why, kept, verdict)

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
    return answer(COMPUTED, [RecordedRow(found.computed.level, epoch, step, 0, value) for epoch, step in places])


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _places(
    found: Computed,
    experiment: Experiment,
    recorded: Mapping[str, Sequence[RecordedRow]],
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
        counts = _steps(recorded.get(name, ()))
        if all(epoch in counts for epoch in epochs):
            return [(epoch, step) for epoch in epochs for step in range(counts[epoch])]
    return None


def _steps(rows: Iterable[RecordedRow]) -> dict[int, int]:
    """How many steps each epoch had, of those in which every step logged a name once."""
    steps: dict[int, list[int]] = {}
    for row in rows:
        if row.epoch is not None and row.step is not None and row.iteration == 0:
            steps.setdefault(row.epoch, []).append(row.step)
    return {epoch: len(found) for epoch, found in steps.items() if sorted(found) == list(range(len(found)))}


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
