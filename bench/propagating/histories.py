"""Cases out of real histories: a statement that two versions of a file share is deleted from the older one."""

from __future__ import annotations

import ast
import builtins
import random
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from propagating.cases import Case
from propagating.renaming import rename

DISTANCES = (1, 3, 10, 30)
_MAX_BYTES = 150_000
_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Assert, ast.Delete)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_TRAINING_WORDS = ("train", "main", "finetune", "pretrain", "run_", "engine", "ppo", "dqn", "learner")


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A simple statement and where it stands in its file."""

    node: ast.stmt
    dump: str
    shape: str  # the same with names left out
    path: tuple[str, ...]  # definitions and loops around it, outermost first
    kinds: tuple[str, ...]  # kinds of all compound statements around it
    neighbours: tuple[str, str]
    siblings: int


def cases(repository: Path, number: int, seed: int) -> Iterator[Case]:
    """About `number` cases of each stratum from one clone, the same ones for the same seed."""
    rng = random.Random(f"{name_of(repository)} {seed}")
    pairs = _pairs(repository, rng)
    wanted = {
        "history": number,
        "renamed": number // 3,
        "genuine": number // 3,
        "present": number // 4,
        "absent": number // 4,
    }
    limits = {"history": 3, "renamed": 1, "genuine": 2, "present": 1, "absent": 1}
    for name, distance, newer, older in pairs:
        if not any(wanted.values()):
            return
        origin = f"{name_of(repository)} {name} -{distance}"
        for stratum, found in _all_of(newer, older, origin, distance, rng):
            some = list(found)
            for case in _mixed(some, limits[stratum], rng):
                if wanted[stratum] > 0:
                    wanted[stratum] -= 1
                    yield case


def name_of(repository: Path) -> str:
    """What a clone is called: its folder, or the one above where the folder says nothing."""
    path = repository.resolve()
    while path.name in ("repo", ".git"):
        path = path.parent
    return path.name


def _mixed(found: list[Case], limit: int, rng: random.Random) -> list[Case]:
    """Two hard ones for each easy one: an easy statement stands in a function that did not change."""
    rng.shuffle(found)
    hard, easy = [c for c in found if c.hard], [c for c in found if not c.hard]
    kept = hard[: limit - limit // 3] + easy[: max(limit // 3, 1)]
    return kept[:limit]


def _pairs(repository: Path, rng: random.Random) -> list[tuple[str, int, str, str]]:
    found = []
    for path in _training_scripts(repository):
        blobs = _versions(repository, path)
        for distance in DISTANCES:
            starts = list(range(len(blobs) - distance))
            for start in rng.sample(starts, min(len(starts), 3)):
                found.append((path, distance, blobs[start], blobs[start + distance]))
    rng.shuffle(found)
    by_distance = defaultdict(list)
    for each in found:
        by_distance[each[1]].append(each)
    mixed = []
    while any(by_distance.values()):  # the distances take turns: long histories are rare
        for distance in DISTANCES:
            if by_distance[distance]:
                mixed.append(by_distance[distance].pop())
    sources = _read(repository, {blob for _, _, a, b in mixed[:3000] for blob in (a, b)})
    return [
        (path, distance, sources[a], sources[b])
        for path, distance, a, b in mixed[:3000]
        if a != b and a in sources and b in sources
    ]


def _training_scripts(repository: Path) -> list[str]:
    paths = _git(repository, "ls-tree", "-r", "--name-only", "HEAD").splitlines()
    scripts = [path for path in paths if path.endswith(".py") and "test" not in path]
    named = [path for path in scripts if any(word in path.rsplit("/", 1)[-1].lower() for word in _TRAINING_WORDS)]
    rest = [path for path in scripts if path not in set(named)]
    random.Random(0).shuffle(rest)
    return (named + rest[: max(20, len(named) // 3)])[:120]


def _versions(repository: Path, path: str) -> list[str]:
    """Blobs of a file, newest first."""
    text = _git(repository, "log", "--format=", "--raw", "--no-abbrev", "--no-renames", "HEAD", "--", path)
    found: list[str] = []
    for line in text.splitlines():
        blob = line.split()[3]
        if set(blob) != {"0"} and (not found or found[-1] != blob):
            found.append(blob)
    return found


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout


def _read(repository: Path, blobs: set[str]) -> dict[str, str]:
    process = subprocess.run(
        ["git", "-C", str(repository), "cat-file", "--batch"],
        input="\n".join(sorted(blobs)).encode(),
        check=True,
        capture_output=True,
    )
    data, at, found = process.stdout, 0, {}
    while at < len(data):
        end = data.index(b"\n", at)
        head = data[at:end].split()
        if head[-1] == b"missing":
            at = end + 1
            continue
        size = int(head[2])
        body = data[end + 1 : end + 1 + size]
        at = end + size + 2
        try:
            source = body.decode("utf-8")
            ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            continue
        if size <= _MAX_BYTES:
            found[head[0].decode()] = source
    return found


# --- what two versions share --------------------------------------------------------------------------------------


def _all_of(newer: str, older: str, origin: str, distance: int, rng: random.Random) -> Iterator[tuple[str, list[Case]]]:
    ours, theirs = spots(newer), spots(older)
    mine, other = _unique(ours), _unique(theirs)
    shared = [(mine[key], other[key]) for key in mine if key in other and mine[key].path == other[key].path]
    rng.shuffle(shared)
    hard = [pair for pair in shared if _is_hard(*pair)]
    easy = [pair for pair in shared if not _is_hard(*pair)]
    some = hard[:3] + easy[:2]
    yield "history", [c for a, b in some if (c := _insertion("history", newer, older, a, b, origin, distance))]
    yield "genuine", _genuine(newer, older, ours, theirs, origin, distance)
    renamed = []
    for a, b in some[:2]:
        changed = rename(older, b.node, rng)
        if changed is not None:
            source, node = changed
            case = _insertion("renamed", newer, source, a, _with_node(b, node), origin, distance)
            renamed += [case] if case is not None else []
    yield "renamed", renamed
    yield (
        "present",
        [Case("present", newer, older, a.node.lineno, None, origin, _is_hard(a, b), False, distance) for a, b in some],
    )
    yield "absent", _absent(newer, older, ours, theirs, origin, distance)


def _insertion(
    stratum: str, newer: str, older: str, a: Spot, b: Spot, origin: str, distance: int, renamed: bool = False
) -> Case | None:
    without = delete(older, b)
    if without is None:
        return None
    return Case(
        stratum,
        newer,
        without,
        a.node.lineno,
        older,
        f"{origin} line {a.node.lineno}",
        _is_hard(a, b),
        renamed,
        distance,
    )


def _with_node(spot: Spot, node: ast.stmt) -> Spot:
    return Spot(node, spot.dump, spot.shape, spot.path, spot.kinds, spot.neighbours, spot.siblings)


def _is_hard(a: Spot, b: Spot) -> bool:
    return a.neighbours != b.neighbours or a.kinds != b.kinds


def _unique(found: list[Spot]) -> dict[str, Spot]:
    by_dump = defaultdict(list)
    for spot in found:
        by_dump[spot.dump].append(spot)
    return {dump: each[0] for dump, each in by_dump.items() if len(each) == 1}


def _genuine(newer: str, older: str, ours: list[Spot], theirs: list[Spot], origin: str, distance: int) -> list[Case]:
    """Statements at one path that differ by names only, and whose neighbours or most names say they are one."""
    known, there = {s.dump for s in theirs}, {s.dump for s in ours}
    by_shape: dict[tuple[str, tuple[str, ...]], tuple[list[Spot], list[Spot]]] = defaultdict(lambda: ([], []))
    for side, spots_ in enumerate((ours, theirs)):
        for spot in spots_:
            by_shape[spot.shape, spot.path][side].append(spot)
    found = []
    for left, right in by_shape.values():
        a, b = [s for s in left if s.dump not in known], [s for s in right if s.dump not in there]
        if len(a) == len(b) == 1 and len(left) == len(right) and _is_renaming(a[0], b[0], newer, older):
            case = _insertion("genuine", newer, older, a[0], b[0], origin, distance, renamed=True)
            found += [case] if case is not None else []
    return found


def _is_renaming(a: Spot, b: Spot, newer: str, older: str) -> bool:
    """Whether two statements of one shape are one, with names that changed elsewhere too.

    `np.zeros` for `torch.zeros` is a change of what is done, and so is `q_net` for `target_net` where both go on to be
    used: a name counts as renamed if the newer version has lost the old one, the older version lacks the new one, and
    both are met outside of the statement.
    """
    ours, theirs = _names(a.node), _names(b.node)
    if len(ours) < 2 or len(ours) != len(theirs):
        return False
    changed = {(x, y) for x, y in zip(ours, theirs, strict=True) if x != y}
    if any(_are_two_things(newer, x, older, y) for x, y in changed):
        return False
    here, there = _occurrences(newer), _occurrences(older)
    if any(here[y] or there[x] or here[x] <= ours.count(x) or there[y] <= theirs.count(y) for x, y in changed):
        return False
    same = sum(x == y for x, y in zip(ours, theirs, strict=True)) / len(ours)
    beside = sum(x == y for x, y in zip(a.neighbours, b.neighbours, strict=True))
    return bool(changed) and (same >= 0.5 or (same > 0 and beside >= 1) or beside == 2)


def _are_two_things(newer: str, name: str, older: str, other: str) -> bool:
    """Whether a name is one of Python's own, or both are imported, and from modules that are not one: nobody has
    renamed `str` to `Path`, or `Adam` to `Lion`."""
    modules = _imports(newer).get(name), _imports(older).get(other)
    is_builtin = hasattr(builtins, name) or hasattr(builtins, other)
    return is_builtin or (None not in modules and modules[0] != modules[1])


@lru_cache(maxsize=64)
def _imports(source: str) -> dict[str, str]:
    """The names that a source imports, with the packages that they are from."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for each in node.names:
                module = (node.module or "") if isinstance(node, ast.ImportFrom) else each.name
                found[(each.asname or each.name).split(".")[0]] = module.split(".")[0]
    return found


@lru_cache(maxsize=64)
def _occurrences(source: str) -> Counter[str]:
    """How often each variable, attribute, parameter or keyword of this name is met."""
    found = Counter(_names(ast.parse(source)))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.arg, ast.keyword)) and node.arg:
            found[node.arg] += 1
        elif isinstance(node, (*_SCOPES,)):
            found[node.name] += 1
        elif isinstance(node, ast.alias):
            found[(node.asname or node.name).split(".")[0]] += 1
    return found


def _names(node: ast.AST) -> list[str]:
    found = []
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.append(each.id)
        elif isinstance(each, ast.Attribute):
            found.append(each.attr)
    return found


def _absent(newer: str, older: str, ours: list[Spot], theirs: list[Spot], origin: str, distance: int) -> list[Case]:
    """Statements of functions that the older version does not have, nor any of their longer statements."""
    paths, known = {s.path for s in theirs}, {s.shape for s in theirs}
    functions: dict[tuple[str, ...], list[Spot]] = defaultdict(list)
    for spot in ours:
        if spot.path:
            functions[spot.path].append(spot)
    found = []
    for path, inside in functions.items():
        if path in paths or len(inside) < 3 or any(s.shape in known for s in inside if len(s.shape) > 120):
            continue
        if not any(len(s.shape) > 120 for s in inside) or path[0] in {p[0] for p in paths if p}:
            continue
        spot = inside[len(inside) // 2]
        found.append(Case("absent", newer, older, spot.node.lineno, None, origin, True, False, distance))
    return found


# --- reading one version ------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def spots(source: str) -> list[Spot]:
    """The simple statements of a source that have lines of their own and are not alone in their block."""
    tree, lines = ast.parse(source), source.split("\n")
    found: list[Spot] = []

    def visit(block: list[ast.stmt], path: tuple[str, ...], kinds: tuple[str, ...]) -> None:
        dumps = [ast.dump(each) for each in block]
        for index, node in enumerate(block):
            if (
                isinstance(node, _SIMPLE)
                and len(block) > 1
                and not _is_text(node)
                and _has_lines(node, block, index, lines)
            ):
                around = (dumps[index - 1] if index else "", dumps[index + 1] if index + 1 < len(block) else "")
                found.append(Spot(node, dumps[index], _shape(node), path, kinds, around, len(block)))
            inner = path
            if isinstance(node, _SCOPES):
                inner = (*path, node.name)
            elif isinstance(node, _LOOPS):
                inner = (*path, "loop")
            for name in ("body", "orelse", "finalbody", "handlers", "cases"):
                below = getattr(node, name, None)
                if not isinstance(below, list) or not below:
                    continue
                for part in below if name in ("handlers", "cases") else [None]:
                    visit(part.body if part is not None else below, inner, (*kinds, f"{type(node).__name__}.{name}"))

    visit(tree.body, (), ())
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _has_lines(node: ast.stmt, block: list[ast.stmt], index: int, lines: list[str]) -> bool:
    if index and (block[index - 1].end_lineno or 0) >= node.lineno:
        return False
    if index + 1 < len(block) and block[index + 1].lineno <= (node.end_lineno or 0):
        return False
    head = lines[node.lineno - 1].encode()[: node.col_offset]
    tail = lines[(node.end_lineno or 1) - 1].encode()[node.end_col_offset :].strip()
    return not head.strip() and (not tail or tail.startswith(b"#"))


def _shape(node: ast.AST) -> str:
    text = []
    for each in ast.walk(node):
        text.append(type(each).__name__)
        if isinstance(each, ast.Constant):
            text.append(repr(each.value))
        elif isinstance(each, ast.keyword):
            text.append(str(each.arg))
    return " ".join(text)


def delete(source: str, spot: Spot) -> str | None:
    """The source without the lines of a statement; None if that is no source any more."""
    lines = source.splitlines(keepends=True)
    if len(lines) != len(source.split("\n")) - source.endswith("\n"):
        return None  # form feeds and the like: line numbers would differ
    without = "".join(lines[: spot.node.lineno - 1] + lines[spot.node.end_lineno :])
    try:
        ast.parse(without)
    except SyntaxError:
        return None
    return without
