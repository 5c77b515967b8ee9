"""Why a replay may not have computed what was recorded: the most likely cause, from what is known. Pure.

In order: an input file, the hardware, a library, a variable or a file or a setting that no checkpoint holds, values
that are hidden from checkpoints, an operation that comes out differently each time, what the replay itself had to warn
of. The order is that of how sure one can be: the first ones are observed, the later ones are read in the source.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flor_ray.analysis import dependence
from flor_ray.analysis.clocks import CLOCKS, DATES
from flor_ray.analysis.orders import orders
from flor_ray.analysis.source import dotted_name, read
from flor_ray.environment import hardware, surroundings
from flor_ray.records import Mismatch

UNKNOWN = "unknown"

# Calls that make an object whose state is out of reach of a checkpoint, and where that state is.
_HIDDEN = {
    "ctypes": "C memory, through ctypes",
    "cffi": "C memory, through cffi",
    "functools": "a function's cache",
    "itertools": "an iterator of itertools",
}
_CACHES = frozenset({"lru_cache", "cache", "functools.lru_cache", "functools.cache"})
_SET_BY_CALL = ("os.putenv", "os.environ.setdefault")
# Calls that come out differently in every run. The time of day is not among them: nearly every script asks for it, and
# what depends on it is not compared; only a seed that is made of it counts.
_RANDOM = frozenset({"uuid.uuid1", "uuid.uuid4", "uuid1", "uuid4", "os.urandom", "os.getpid", "random.SystemRandom"})
_SEEDS = ("seed", "manual_seed", "manual_seed_all", "default_rng", "RandomState", "Random", "seed_everything")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a version when its replay is judged."""

    changes: tuple[str, ...] = ()  # of its input files: "data/train.csv has changed"
    rewritten: tuple[str, ...] = ()  # files that the script writes and reads, and that a replay has as they are now
    uncaptured: frozenset[str] = frozenset()  # variables that its checkpoints do not hold
    clocked: frozenset[str] = frozenset()  # features that measure the clock
    unkept: Mapping[str, str] = field(default_factory=dict)  # those that a restored state does not bring back
    drawn: Mapping[str, str] = field(default_factory=dict)  # features that each start draws anew, and with what
    environment: Mapping[str, object] = field(default_factory=dict)  # in which it was recorded
    script: str = ""  # text of the main script
    modules: Mapping[str, str] = field(default_factory=dict)  # and of the files that it may import, by path


def likely_cause(
    evidence: Evidence,
    mismatch: Mismatch,
    now: Mapping[str, object],
    restored: bool,
    state: Mismatch | None = None,
    warnings: Sequence[str] = (),
) -> str:
    """One sentence, without a full stop, on why `mismatch` is there.

    Args:
        now: the replaying process's hardware.
        restored: whether the segment began at a checkpoint.
        state: the first variable that was not the recorded one.
        warnings: what the replay itself had to say.
    """
    found = next(_causes(evidence, mismatch, now, restored, warnings), None)
    variable = (
        f"the first variable that differs is {variable_in_words(state.name)}"
        if state is not None and state != mismatch
        else ""
    )
    if found is None:
        return variable or UNKNOWN
    return f"{found}; {variable}" if variable else found


def written_and_read(evidence: Evidence) -> str:
    """That files are not what they were; "" if all are."""
    if not evidence.rewritten:
        return ""
    return f"the script writes and reads {some(evidence.rewritten)}, and its replay could not have what it read there"


def _causes(
    evidence: Evidence, mismatch: Mismatch, now: Mapping[str, object], restored: bool, warnings: Sequence[str]
) -> Iterator[str]:
    if evidence.changes:
        yield some(evidence.changes)
    if other := hardware.differences(evidence.environment, now):
        yield f"it was replayed on other hardware: {some(other)}"
    if other := hardware.library_differences(evidence.environment, now):
        yield f"it was replayed with other packages: {some(other)}"
    if restored:
        variable = dependence.features_that_depend(evidence.uncaptured, evidence.script).get(mismatch.name)
        if variable is not None:
            yield f"{mismatch.name} depends on `{variable}`, which no checkpoint could keep"
    if evidence.rewritten:
        yield written_and_read(evidence)
    texts = {"": evidence.script, **evidence.modules}
    trees = {path: tree for path, text in texts.items() if (tree := read(text).tree) is not None}
    if restored:
        yield from _state_out_of_reach(trees)
    yield from _different_each_time(trees, evidence.environment, now)
    if not surroundings.has_hash_seed(evidence.environment):
        for name in sorted(frozenset().union(*(orders(text).names for text in texts.values()))):
            yield f"`{name}` follows the order of a set, another one in each process unless PYTHONHASHSEED is set"
    yield from warnings


def _state_out_of_reach(trees: Mapping[str, ast.Module]) -> Iterator[str]:
    for tree in trees.values():
        for name in _settings_written_in_loops(tree):
            yield (
                f"the script sets the environment variable {name} in a loop, and checkpoints do not contain "
                "environment variables"
            )
    for path, tree in trees.items():
        for node in ast.walk(tree):
            hidden = _HIDDEN.get(_library_with_state(node))
            if hidden is not None and isinstance(node, ast.Call | ast.FunctionDef):
                yield f"the script keeps state in {hidden} ({_place(path, node)}), which checkpoints cannot hold"


def _library_with_state(node: ast.AST) -> str:
    """The library whose objects hold state out of reach that a node makes use of; "" if none."""
    if isinstance(node, ast.Call):
        dotted = dotted_name(node.func)
        library = dotted.partition(".")[0]
        if library in ("ctypes", "cffi") or dotted in ("itertools.count", "itertools.cycle"):
            return library
        return "functools" if dotted in _CACHES else ""
    if isinstance(node, ast.FunctionDef) and _CACHES & {dotted_name(one) for one in node.decorator_list}:
        return "functools"
    return ""


def _settings_written_in_loops(tree: ast.Module) -> Iterator[str]:
    """Environment variables that are set in a loop, or in a function, which a loop may call."""
    seen = set()
    around = (ast.For, ast.While, ast.FunctionDef, ast.AsyncFunctionDef)
    for outer in ast.walk(tree):
        if not isinstance(outer, around):
            continue
        for node in ast.walk(outer):
            name = _setting(node)
            if name is not None and name not in seen:
                seen.add(name)
                yield name


def _setting(node: ast.AST) -> str | None:
    """The environment variable that a node sets."""
    if isinstance(node, ast.Assign | ast.AugAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Subscript) and dotted_name(target.value) in ("os.environ", "environ"):
                return _constant(target.slice)
    if isinstance(node, ast.Call) and node.args:
        called = dotted_name(node.func)
        if called in _SET_BY_CALL:
            return _constant(node.args[0])
    return None


def _different_each_time(
    trees: Mapping[str, ast.Module], recorded: Mapping[str, object], now: Mapping[str, object]
) -> Iterator[str]:
    calls = [
        (dotted_name(node.func), _place(path, node), node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]
    on_gpu = bool(now.get("gpus") or recorded.get("gpus"))
    if on_gpu and not any(name.endswith("use_deterministic_algorithms") for name, *_ in calls):
        yield (
            "operations on a GPU may give different results each time, unless the script calls "
            "torch.use_deterministic_algorithms(True)"
        )
    for name, place, node in calls:
        if name in _RANDOM or name.startswith("secrets.") or (name.endswith("default_rng") and not _arguments(node)):
            yield f"{name}() ({place}) returns something else in every run"
        if name.rpartition(".")[2] in _SEEDS and any(map(_reads_the_clock, _arguments(node))):
            yield f"{name}() ({place}) is given a seed made from the time of day"
    if not surroundings.has_hash_seed(recorded):
        for name, place, _ in calls:
            if name == "hash":
                yield (f"hash() ({place}) of text differs from process to process, unless PYTHONHASHSEED is set")


def _place(path: str, node: ast.stmt | ast.expr) -> str:
    return f"{path}, line {node.lineno}" if path else f"line {node.lineno}"


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _reads_the_clock(expression: ast.expr) -> bool:
    called = [dotted_name(node.func) for node in ast.walk(expression) if isinstance(node, ast.Call)]
    return any(name.rpartition(".")[2] in CLOCKS | DATES for name in called)


def variable_in_words(name: str) -> str:
    """`net.0.weight`, but: the random state of torch."""
    return name if " " in name else f"`{name}`"


def some(sentences: Sequence[str], limit: int = 3) -> str:
    """The first few of them, and how many more there are."""
    shown = ", ".join(sentences[:limit])
    return shown if len(sentences) <= limit else f"{shown} and {len(sentences) - limit} more"


def imported_modules(text: str) -> frozenset[str]:
    """Last parts of the names that a source imports: what its helper files may be called."""
    return frozenset(
        part
        for line in re.findall(r"^\s*(?:from|import)\s+([^#\n]+)", text, re.MULTILINE)
        for part in re.findall(r"\w+", line)
    )


def _constant(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)
