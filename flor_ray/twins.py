"""Which versions are the same run, so that what is replayed for one holds for the others. Pure.

Two runs are the same if nothing could make a difference between them: equal patched files, script, arguments, folder,
packages and hardware; random generators that are seeded before anything is drawn from them; and, as the proof that
nothing else did, equal states in checkpoints and equal recorded values, bit for bit.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flor_ray import dependence
from flor_ray.clocks import CLOCKS, DATES
from flor_ray.records import Checkpoint, Experiment, Gap, Point, Status
from flor_ray.schema import Value
from flor_ray.script_reading import calls_named, imported_words, parsed

Texts = Mapping[str, str]  # repository-relative path -> source text
Kind = tuple[str, frozenset[tuple[str, str]]]  # the run, and its files
Key = tuple[int | None, int | None, str, int]  # epoch, step, name, iteration

_EQUAL_IN_ENVIRONMENT = ("python", "packages", "machine", "gpus", "threads", "variables")
_INPUTS = "inputs"
_SEEDERS = frozenset({"seed", "manual_seed", "manual_seed_all", "seed_everything", "set_seed"})
# Whoever says these may have other values in every run, seeded or not.
_RANDOM = frozenset(
    (
        *("urandom", "getrandom", "SystemRandom", "secrets", "token_bytes", "token_hex", "uuid", "uuid1", "uuid4"),
        *("getpid", "getppid", "initial_seed", "gettempdir", "mkdtemp", "mkstemp", "NamedTemporaryFile", "requests"),
        *("urlopen", "socket", "input", "stdin", "id", "hash", "entropy"),
    )
)
_GENERATORS = frozenset({"default_rng", "RandomState", "Random", "SeedSequence", "PCG64", "Philox", "MT19937"})
# Calls that may stand before the seeding: they set something, and draw nothing.
_SETTINGS = frozenset(
    (
        *("use_deterministic_algorithms", "set_num_threads", "set_num_interop_threads", "set_default_dtype"),
        *("set_float32_matmul_precision", "filterwarnings", "simplefilter", "basicConfig"),
    )
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What two runs have left that must be equal."""

    states: Mapping[int, str]  # keys of the states at the ends of epochs, 0 being the loop's entry
    recorded: Mapping[Key, Value]
    of_clock: frozenset[str]  # features that depend on the time of day


@dataclass(frozen=True, slots=True)
class Copy:
    """A version that is the same run as another one: what it lacks is copied from there."""

    version: str
    source: str
    gaps: tuple[Gap, ...]


def kind_of(experiment: Experiment, files: Texts) -> Kind | None:
    """The same for runs that may be the same one; None for one that can have no other like it."""
    environment = experiment.environment
    if experiment.status is not Status.FINISHED or not experiment.epochs or experiment.script not in files:
        return None
    if environment.get("worker") or environment.get("source_changed") or environment.get("inputs_left_out"):
        return None
    inputs = _inputs(environment)
    described = {
        "run": [experiment.script, experiment.cwd, list(experiment.argv), experiment.epochs],
        "args": sorted(experiment.args.items()),
        "environment": [environment.get(name) for name in _EQUAL_IN_ENVIRONMENT],
        "inputs": inputs,
    }
    if inputs == [None]:
        return None
    return json.dumps(described, sort_keys=True, default=repr), frozenset(files.items())


def _inputs(environment: Mapping[str, object]) -> list[object] | None:
    """Path and fingerprint of each file that was read; None if nobody looked; [None] if they tell nothing."""
    rows = environment.get(_INPUTS)
    if not isinstance(rows, list):
        return None
    found: list[Any] = []
    for row in rows:
        if not isinstance(row, Mapping) or not row.get("hash") or row.get("rewritten") or row.get("sampled"):
            return [None]
        found.append([row.get("path"), row.get("hash")])
    return sorted(found)


def knows_inputs(experiment: Experiment) -> bool:
    """Whether the files that a run read are known, so that an equal list means equal data."""
    return _inputs(experiment.environment) is not None


def is_seeded(script: str, files: Texts) -> bool:
    """Whether everything random in a script surely begins the same in every run: `random` and numpy are seeded with
    constants, arguments or what is made of them, before anything else runs; torch begins the same by itself."""
    trees = {path: parsed(text) for path, text in files.items()}
    own_modules = _own_modules(files)
    tree = trees.get(script)
    if tree is None or any(map(_draws_unseeded, files.values())):
        return False
    quiet = all(_is_quiet(t) for path, t in trees.items() if path != script and t is not None)
    functions = {s.name: s for s in tree.body if isinstance(s, ast.FunctionDef)}
    seeded: set[str] = set()
    for statement in tree.body:
        if (
            isinstance(statement, ast.Import | ast.ImportFrom)
            and not quiet
            and imported_words(ast.unparse(statement)) & own_modules
        ):
            break
        if _only_defines(statement):
            continue
        found = _seeded_by(statement, functions)
        if found is None:
            break
        seeded |= found
    return "random" in seeded and ("numpy" in seeded or not may_use_numpy(files))


def may_use_numpy(files: Texts) -> bool:
    """Whether files import anything but Python's own modules, us and each other."""
    known = {"flor_ray", *sys.stdlib_module_names, *_own_modules(files)}
    trees = [tree for text in files.values() if (tree := parsed(text)) is not None]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import) and not {alias.name.partition(".")[0] for alias in node.names} <= known:
            return True
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] not in known:
            return True
        if _words_of(node) & {"importlib", "__import__", "exec", "runpy"}:
            return True
    return False


def _own_modules(files: Texts) -> set[str]:
    return {part for path in files for part in path.removesuffix(".py").split("/")}


def _draws_unseeded(text: str) -> bool:
    tree = parsed(text)
    if tree is None:
        return False  # nothing of it can run
    for node in ast.walk(tree):
        if _words_of(node) & _RANDOM:
            return True
    made = calls_named(tree, *_GENERATORS)
    seeders = calls_named(tree, *_SEEDERS)
    of_clock = dependence.read_from_the_clock(text)
    return any(not _is_seed(call, of_clock) for call in (*made, *seeders))


def _words_of(node: ast.AST) -> set[str]:
    found = {node.id} if isinstance(node, ast.Name) else {node.attr} if isinstance(node, ast.Attribute) else set()
    return {*found, *node.name.split(".")} if isinstance(node, ast.alias) else found


def _is_seed(call: ast.Call, of_clock: frozenset[str]) -> bool:
    """Whether a generator is seeded with a value, and not with nothing or the time of day."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    none = any(isinstance(argument, ast.Constant) and argument.value is None for argument in arguments)
    names = {word for argument in arguments for node in ast.walk(argument) for word in _words_of(node)}
    return bool(arguments) and not none and not names & {*of_clock, *CLOCKS, *DATES}


def _is_quiet(tree: ast.Module) -> bool:
    """Whether importing this does nothing but define."""
    return all(_only_defines(s) or _is_text(s) or _is_guard(s) for s in tree.body)


def _only_defines(statement: ast.stmt) -> bool:
    """Whether nothing is drawn for it: imports, functions, classes, constants and arguments."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        defaults = [*statement.args.defaults, *(d for d in statement.args.kw_defaults if d is not None)]
        return not any(isinstance(node, ast.Call) for default in defaults for node in ast.walk(default))
    if isinstance(statement, ast.ClassDef):
        return all(_only_defines(inner) or _is_text(inner) for inner in statement.body)
    return isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass) or _is_plain_assignment(statement)


def _is_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_plain_assignment(statement: ast.stmt) -> bool:
    """Of constants, names and `flor.arg`: nothing is drawn for it."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    return statement.value is None or not _has_calls(statement.value)


def _has_calls(node: ast.AST) -> bool:
    """Of anything but `flor.arg`."""
    return any(isinstance(n, ast.Call) and getattr(n.func, "attr", "") != "arg" for n in ast.walk(node))


def _seeded_by(statement: ast.stmt, functions: Mapping[str, ast.FunctionDef]) -> set[str] | None:
    """Libraries that a statement seeds; None if it does anything else."""
    if _is_text(statement):
        return set()
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return None
    if isinstance(call.func, ast.Name) and call.func.id in functions:
        inner = [_seeded_by(s, {}) for s in functions[call.func.id].body if not _sets_an_attribute(s)]
        return None if None in inner else set().union(*(found for found in inner if found is not None))
    words = _words(call.func)
    if any(_has_calls(argument) for argument in [*call.args, *(keyword.value for keyword in call.keywords)]):
        return None
    if not words or words[0] not in _SEEDERS or not isinstance(call.func, ast.Attribute):
        return set() if words and words[0] in _SETTINGS else None
    if words[0] in ("manual_seed", "manual_seed_all"):
        return {"torch"}
    if words[0] != "seed":
        return None
    return {"numpy"} if {"np", "numpy"} & set(words) else {"random"} if words == ["seed", "random"] else None


def _words(node: ast.expr) -> list[str]:
    """`np.random.seed` -> seed, random, np; nothing for what is no such path."""
    found = []
    while isinstance(node, ast.Attribute):
        found.append(node.attr)
        node = node.value
    return [*found, node.id] if isinstance(node, ast.Name) else []


def _sets_an_attribute(statement: ast.stmt) -> bool:
    """Such as `torch.backends.cudnn.deterministic = True`."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Constant | ast.Name):
        return False
    return all(isinstance(target, ast.Attribute) for target in statement.targets)


def proofs(experiment: Experiment, checkpoints: Iterable[Checkpoint]) -> dict[int, str]:
    """Keys of the states that prove how a run went, by epoch; none if they prove too little."""
    ends = {c.epoch: c for c in checkpoints if c.point is Point.EPOCH_END}
    if not {0, experiment.epochs} <= ends.keys() or any(c.uncaptured or c.opaque for c in ends.values()):
        return {}
    return {epoch: c.key for epoch, c in ends.items()}


def same(left: Evidence, right: Evidence, same_state: Callable[[str, str], bool]) -> bool:
    """Whether nothing tells two runs of one kind apart. `same_state` compares the states with two keys."""
    common = left.states.keys() & right.states.keys()
    if not common or 0 not in common or not max(left.states) == max(right.states) == max(common):
        return False
    of_clock = left.of_clock | right.of_clock
    names = [{key[2] for key in one.recorded} - of_clock for one in (left, right)]
    compared = names[0] & names[1]  # a version that had a statement earlier has recorded more names
    values = [{key: _bits(value) for key, value in one.recorded.items() if key[2] in compared} for one in (left, right)]
    return values[0] == values[1] and all(same_state(left.states[e], right.states[e]) for e in sorted(common))


def _bits(value: Value) -> tuple[object, ...]:
    """Equal for equal bits only: `==` does not tell 0.0 from -0.0, nor NaN from anything."""
    number = None if value.number is None else value.number.hex()
    return value.type, number, value.integer, value.text


def sources(
    groups: Sequence[Sequence[str]],
    gaps: Sequence[Gap],
    have: Mapping[tuple[str, str], frozenset[int | None]],
    trusted: Callable[[str], bool],
) -> dict[str, str]:
    """For each version whose values are copied, the version that they come from.

    Args:
        groups: versions that are the same run, in the order in which they were recorded.
        gaps: what each version lacks.
        have: where each (version, name) has been answered.
        trusted: whether a version's earlier answers may be copied; else only those that it gets now.
    """
    lacking: dict[str, frozenset[tuple[str, int | None]]] = {}
    for gap in gaps:
        places = [*gap.epochs, *([None] if gap.data_prep else [])]
        here = {(name, place) for name in gap.names for place in places}
        lacking[gap.version] = lacking.get(gap.version, frozenset()) | here
    found: dict[str, str] = {}
    for group in groups:
        for at, version in enumerate(group):
            if version not in lacking or version in found.values():
                continue
            for other in group:
                earlier = {(n, place) for n, place in lacking[version] if place in have.get((other, n), ())}
                now = lacking[version] - earlier
                if other in (version, *found) or (earlier and not trusted(other)):
                    continue
                if not now or (other in group[:at] and now <= lacking.get(other, frozenset())):
                    found[version] = other
                    break
    return found
