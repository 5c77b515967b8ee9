"""Synthetic cases: our own training scripts under one to six random edits, with the truth known by construction.

The newer version is a script with a statement S in it, which is marked. The edits make another version of the whole,
S included; without S that is the older version, with it the answer. What a case is depends on its seed, its stratum
and its number only, so that more cases never change the first ones.

    insert    S is to be inserted, its names are as they were
    renamed   the same, and S itself reads otherwise in the older version
    present   the older version has S: nothing to do
    absent    the function or loop around S is gone, with what S reads: to be refused
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from propagating.cases import Case
from propagating.drafts import (
    CARRIED,
    Block,
    Draft,
    end,
    indented,
    loads,
    names,
    own,
    parameters,
    read,
    stores,
    unmarked,
)
from propagating.edits import EDITS, RENAMING, RESHAPING
from propagating.histories import spots

STRATA = {"insert": 0.45, "renamed": 0.25, "present": 0.15, "absent": 0.15}
"""Which share of the cases each stratum has."""

_SCRIPTS = Path(__file__).parent / "scripts"
_MOST_EDITS = 6
_MAY_RENAME = frozenset({*RENAMING, "inline_function"})  # a parameter takes its argument's name
_TRIES = 40  # most attempts fail on an edge beside the statement, or on an edit that finds nothing to do
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def cases(number: int, seed: int = 0) -> Iterator[Case]:
    """So many cases, the strata mixed."""
    for stratum, index in numbered(number):
        yield case(stratum, index, seed)


def numbered(number: int) -> Iterator[tuple[str, int]]:
    """Stratum and number within it of so many cases."""
    counts = dict.fromkeys(STRATA, 0)
    for done in range(1, number + 1):
        behind = {name: share * done - counts[name] for name, share in STRATA.items()}
        stratum = max(behind, key=lambda name: behind[name])
        yield stratum, counts[stratum]
        counts[stratum] += 1


def case(stratum: str, index: int, seed: int = 0) -> Case:
    rng = random.Random(f"{stratum} {index} {seed}")
    for _ in range(1000):
        found = _attempt(stratum, rng, f"#{index}")
        if found is not None:
            return found
    raise RuntimeError(f"no case of {stratum!r} came of 1000 attempts with seed {seed}")


def edits_of(origin: str) -> list[str]:
    """Names of the edits that made a synthetic case, from its origin."""
    return origin.split(": ", 1)[1].split(" + ") if ": " in origin else []


@lru_cache(maxsize=1)
def scripts() -> dict[str, str]:
    """The committed training scripts by name."""
    paths = sorted(_SCRIPTS.glob("*.py.txt"))
    return {path.name.removesuffix(".py.txt"): path.read_text(encoding="utf-8") for path in paths}


def _attempt(stratum: str, rng: random.Random, label: str) -> Case | None:
    name = rng.choice(sorted(scripts()))
    kind = rng.choice(("existing", "log", "log", "unit"))
    marked = {"existing": _existing, "log": _log, "unit": _unit}[kind](scripts()[name], rng)
    if marked is None:
        return None
    newer = Draft(marked)
    assert newer.carried is not None
    if stratum == "absent":
        return _absent(newer, rng, f"{name} {label} {kind}")
    edited = _edited(newer, stratum == "renamed", rng)
    if edited is None:
        return None
    older, done = edited
    origin = f"{name} {label} {kind}: {' + '.join(done)}"
    expected, line = unmarked(older.source), newer.carried.lineno
    without = _without_carried(older)
    if without is None or _is_ambiguous(older):
        return None
    hard = _surroundings(newer) != _surroundings(older)
    renamed = _dump(newer) != _dump(older)
    if stratum == "present":
        return Case(stratum, unmarked(marked), expected, line, None, origin, hard, renamed)
    return Case(stratum, unmarked(marked), without, line, expected, origin, hard, renamed)


# --- the statement ------------------------------------------------------------------------------------------------


def _existing(source: str, rng: random.Random) -> str | None:
    """A statement that the script has, and has once."""
    found = spots(source)
    dumps = [spot.dump for spot in found]
    once = [spot.node for spot in found if dumps.count(spot.dump) == 1]
    logs = [node for node in once if "flor.log" in ast.unparse(node)]
    chosen = rng.choice(logs if rng.random() < 0.3 else once)
    lines = source.split("\n")
    lines[chosen.lineno - 1] += CARRIED
    return _if_whole("\n".join(lines), chosen)


_EXPRESSIONS = ("{}", "float({})", "{} * 100", "str({})", "[{}]")
_LOGS = (
    ('flor.log("{name}_seen", {value})',),
    ('flor.log("{name}_seen", {value})',),
    ("flor.log(", '    "seen/{name}",', "    {value},", ")"),
    ('print("now", {value})',),
    ('print(f"{name} is {{{value}}}")',),
    ("{name}_copy = {value}",),
)


def _log(source: str, rng: random.Random) -> str | None:
    """A new statement right behind an assignment, about what was assigned."""
    draft = read(source)
    block, statement, name = rng.choice(_assignments(draft))
    value = rng.choice(_EXPRESSIONS).format(name)
    lines = [line.format(name=name, value=value) for line in rng.choice(_LOGS)]
    return _placed(draft, block, statement, lines)


def _unit(source: str, rng: random.Random) -> str | None:
    """A compound statement that is there for its log: a guard, or measurements without gradients."""
    draft = read(source)
    block, statement, _ = rng.choice(_assignments(draft))
    lines = rng.choice((_guarded, _guarded, _measured, _measured_in_loop))(draft, block, statement)
    return _placed(draft, block, statement, lines) if lines is not None else None


def _guarded(draft: Draft, block: Block, statement: ast.stmt) -> list[str] | None:
    name = stores([statement])[0]
    counters = [each for each in _counters(draft, block) if each != name]
    return [f"if {counters[-1]} % 10 == 0:", f'    flor.log("{name}_now", {name})'] if counters else None


def _measured(draft: Draft, block: Block, statement: ast.stmt) -> list[str] | None:
    model, total = _model(block, statement), draft.fresh("weight_norm", "all_norms")
    if model is None or total is None:
        return None
    value = f"sum(weight.norm().item() for weight in {model}.parameters())"
    return ["with torch.no_grad():", f"    {total} = {value}", f'    flor.log("{total}", {total})']


def _measured_in_loop(draft: Draft, block: Block, statement: ast.stmt) -> list[str] | None:
    model, total, one = _model(block, statement), draft.fresh("magnitudes", "sizes"), draft.fresh("tensor", "entry")
    if model is None or total is None or one is None:
        return None
    return [
        "with torch.no_grad():",
        f"    {total} = []",
        f"    for {one} in {model}.parameters():",
        f"        {total}.append({one}.abs().max().item())",
        f'    flor.log("{total}", max({total}))',
    ]


def _assignments(draft: Draft) -> list[tuple[Block, ast.stmt, str]]:
    """Assignments to one variable, within functions and loops: what one would log."""
    found = []
    for block in draft.blocks:
        for statement in block.statements:
            simple = isinstance(statement, (ast.Assign, ast.AugAssign)) and len(block.statements) > 1
            bound_names = stores([statement]) if simple and not isinstance(block.owner, ast.ClassDef) else []
            if len(bound_names) == 1:
                found.append((block, statement, bound_names[0]))
    return found


def _counters(draft: Draft, block: Block) -> list[str]:
    """Variables of the loops around a block that count, outermost first."""
    found = []
    for node in draft.nodes:
        if not isinstance(node, ast.For) or not any(s is block.statements[0] for s in ast.walk(node)):
            continue
        function = ast.unparse(node.iter.func) if isinstance(node.iter, ast.Call) else ""
        if isinstance(node.target, ast.Tuple) and function == "enumerate" and isinstance(node.target.elts[0], ast.Name):
            found.append(node.target.elts[0].id)
        elif isinstance(node.target, ast.Name) and "range(" in ast.unparse(node.iter):
            found.append(node.target.id)
    return found


_MODELS = frozenset({"model", "net", "generator", "discriminator", "agent", "ema_model"})


def _model(block: Block, statement: ast.stmt) -> str | None:
    """Something with `.parameters()` that this scope uses, and that is there before this statement."""
    scope = block.scope
    given = set() if isinstance(scope, ast.Module) else set(parameters(scope))
    made = [n for n in ast.walk(scope) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    known = given | {n.id for n in made if n.lineno < statement.lineno}
    for node in own(scope):
        if isinstance(node, ast.Attribute) and node.attr in ("parameters", "state_dict", "eval", "train"):
            text = ast.unparse(node.value)
            if text.split(".")[-1] in _MODELS and text.split(".")[0] in known:
                return text
    return None


def _placed(draft: Draft, block: Block, statement: ast.stmt, lines: list[str]) -> str | None:
    """A new statement behind another, marked; not where it would stand for itself in an `else` or behind a jump."""
    text = indented([lines[0] + CARRIED, *lines[1:]], statement.col_offset)
    changed = draft.replaced(end(statement) + 1, end(statement), text)
    return _if_whole(changed, ast.parse("\n".join(lines)).body[0])


def _if_whole(marked: str, statement: ast.stmt) -> str | None:
    """The marked source if the mark did not change the statement, and nothing else in it is the same."""
    carried = Draft(marked).carried
    if carried is None or ast.dump(carried) != ast.dump(statement):
        return None
    return marked if _is_unique(Draft(marked)) else None


def _is_unique(draft: Draft) -> bool:
    dump = _dump(draft)
    same = [s for block in draft.blocks for s in block.statements if type(s) is type(draft.carried)]
    return sum(ast.dump(s) == dump for s in same) == 1


# --- the edits ----------------------------------------------------------------------------------------------------


def _edited(newer: Draft, renamed: bool, rng: random.Random) -> tuple[Draft, list[str]] | None:
    """Another version of the script, and what was done to it; with `renamed`, the carried statement's names change."""
    number = max(rng.randint(1, _MOST_EDITS), rng.randint(1, _MOST_EDITS))  # one edit is mostly an easy case
    draft, done = newer, list[str]()
    for _ in range(_TRIES):
        first = renamed and _dump(draft) == _dump(newer)
        name = rng.choice(sorted(RENAMING if first else EDITS))
        if name in RENAMING and name in done:
            continue  # nobody renames what was just renamed
        after = _next(draft, name, rng, first or None if renamed else False)
        if after is not None:
            draft, done = after, [*done, name]
        if len(done) == number:
            return draft, done
    return None


def _next(draft: Draft, name: str, rng: random.Random, renames: bool | None) -> Draft | None:
    """The draft after one edit; `renames`: whether the carried statement's names have to change, None: they may."""
    source = EDITS[name](draft, rng)
    if source is None or source == draft.source:
        return None
    try:
        after = Draft(source)
    except SyntaxError:
        return None
    if draft.carried is None:
        return after
    if after.carried is None or not _is_unique(after):
        return None
    changed = _dump(after) != _dump(draft)
    if changed and name not in _MAY_RENAME:
        return None
    return after if renames is None or changed == renames else None


def _without_carried(draft: Draft) -> str | None:
    assert draft.carried is not None
    without = draft.replaced(draft.start(draft.carried), end(draft.carried), [])
    try:
        ast.parse(without)
    except SyntaxError:
        return None
    return unmarked(without)


def _is_ambiguous(draft: Draft) -> bool:
    """Whether the carried statement is beside an edge, or alone: then more than one place would be right."""
    home = draft.home()
    if home is None or len(home.statements) < 2:
        return True
    at = next(i for i, s in enumerate(home.statements) if s is draft.carried)
    beside = [home.statements[i] for i in (at - 1, at + 1) if 0 <= i < len(home.statements)]
    return any(draft.is_edge(s) for s in beside) or (draft.is_edge(home.owner) and len(beside) < 2)


def _surroundings(draft: Draft) -> tuple[str, str, tuple[str, ...]]:
    """What stands before and behind the carried statement, and the kinds of the blocks around it."""
    home = draft.home()
    assert home is not None
    at = next(i for i, s in enumerate(home.statements) if s is draft.carried)
    before = ast.dump(home.statements[at - 1]) if at else ""
    behind = ast.dump(home.statements[at + 1]) if at + 1 < len(home.statements) else ""
    around = [n for n in draft.nodes if isinstance(n, (ast.stmt, ast.ExceptHandler)) and draft.holds_carried(n)]
    return before, behind, tuple(type(n).__name__ for n in around)


def _dump(draft: Draft) -> str:
    return ast.dump(draft.carried) if draft.carried is not None else ""


# --- without its context ------------------------------------------------------------------------------------------

_OTHER_BODY = (
    "records = fetch_records(*sources)",
    "table = assemble_table(records)",
    'table.sort_values("created", inplace=True)',
    "return table",
)
_OTHER_LOOP = ("runner = make_runner(settings_path)", "runner.execute()", "report = runner.report()", "publish(report)")


def _absent(newer: Draft, rng: random.Random, origin: str) -> Case | None:
    context = _context(newer)
    if context is None or newer.carried is None:
        return None
    way = rng.choice(("removed", "rewritten"))
    source = _removed(newer, context) if way == "removed" else _rewritten(newer, context)
    try:
        older = Draft(unmarked(source))
    except SyntaxError:
        return None
    if not _lost(context, older) & (set(loads([newer.carried])) - set(stores([newer.carried]))):
        return None
    done = [f"context_{way}"]
    for _ in range(rng.randint(0, 3)):
        name = rng.choice(sorted(RESHAPING))
        after = _next(older, name, rng, None)
        older, done = (after, [*done, name]) if after is not None else (older, done)
    line = newer.carried.lineno
    origin = f"{origin}: {' + '.join(done)}"
    return Case("absent", unmarked(newer.source), unmarked(older.source), line, None, origin, hard=True)


def _context(draft: Draft) -> ast.stmt | None:
    """The innermost function around the carried statement, else the outermost loop."""
    around = [n for n in draft.nodes if isinstance(n, ast.stmt) and draft.holds_carried(n)]
    functions = [n for n in around if isinstance(n, _FUNCTIONS) and n.name != "__init__"]
    if functions:
        return functions[-1]
    if any(isinstance(n, ast.ClassDef) for n in around):
        return None
    return next((n for n in around if isinstance(n, (ast.For, ast.While)) and n is not draft.carried), None)


def _removed(draft: Draft, context: ast.stmt) -> str:
    """The source without a function or loop, and without the statements that call the function."""
    gone = [draft.span(context)]
    if isinstance(context, _FUNCTIONS):
        for block in draft.blocks:
            for statement in block.statements:
                called = isinstance(statement, (ast.Assign, ast.Expr)) and context.name in _mentioned(statement)
                if called and not gone[0][0] <= statement.lineno <= gone[0][1]:
                    gone.append(draft.span(statement))
    lines = list(draft.lines)
    for first, last in sorted(gone, reverse=True):
        lines[first - 1 : last] = []
    return "\n".join(lines)


def _rewritten(draft: Draft, context: ast.stmt) -> str:
    """The source with something else done in the function, or in the place of the loop."""
    margin = " " * context.col_offset
    first, last = draft.span(context)
    if isinstance(context, _FUNCTIONS):
        me = "self, " if "self" in parameters(context) else ""
        body = [f"def {context.name}({me}*sources):", *(f"    {line}" for line in _OTHER_BODY)]
        return draft.replaced(first, last, [margin + line for line in body])
    return draft.replaced(first, last, [margin + line for line in _OTHER_LOOP])


def _mentioned(node: ast.AST) -> set[str]:
    return {*names(node), *(n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute))}


def _lost(context: ast.stmt, older: Draft) -> set[str]:
    """Variables that cannot be had any more: bound by loops or counted up, given as parameters, or made of such."""
    bound_in = [n for n in ast.walk(context) if isinstance(n, (ast.Assign, ast.AnnAssign))]
    known = older.taken | (_mentioned(context) - set(stores([context])))
    known -= set(parameters(context)) - older.taken if isinstance(context, _FUNCTIONS) else set()
    lost = set(stores([context])) | (set(parameters(context)) if isinstance(context, _FUNCTIONS) else set())
    lost -= older.taken
    while True:
        found = {
            name
            for node in bound_in
            if node.value is not None and set(loads([node.value])) <= known
            for name in stores([node])
            if name in lost and not _is_changed(context, name)
        }
        if not found:
            return lost
        lost, known = lost - found, known | found


def _is_changed(context: ast.stmt, name: str) -> bool:
    """Whether a variable is more than its assignment: bound by a loop or a `with`, or counted up."""
    for node in ast.walk(context):
        if isinstance(node, (ast.For, ast.comprehension)) and name in names(node.target):
            return True
        if isinstance(node, ast.AugAssign) and name in names(node.target):
            return True
    return False
