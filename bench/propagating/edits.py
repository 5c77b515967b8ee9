"""Edits that keep what a training script means, or change it in a way that does not concern the carried statement.

Each takes a draft and a seeded generator and gives the next source, or None where it finds nothing to do. None of them
may change what the carried statement is (but for names, consistently) or what it reads.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TypeVar

from propagating.drafts import EDGE, Block, Draft, Token, bound, end, has_long_string, imported, indented, loads, stores
from propagating.extraction import extract_function, inline_function
from propagating.renaming import rename
from propagating.scoring import commute

Edit = Callable[[Draft, random.Random], str | None]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Assert, ast.Delete)
_FIXED = (*_DEFINITIONS, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)

T = TypeVar("T")


def _pick(draft: Draft, rng: random.Random, found: Sequence[T], node_of: Callable[[T], ast.AST]) -> T | None:
    """One of them, more often than not near the carried statement: edits elsewhere make no case harder."""
    near = [each for each in found if draft.is_near(node_of(each))] if rng.random() < 0.8 else []
    return rng.choice(near or found) if near or found else None


def _itself(node: T) -> T:
    return node


_IMPORTS = {
    "datetime": "from datetime import datetime",
    "gc": "import gc",
    "logging": "import logging",
    "os": "import os",
    "random": "import random",
    "sys": "import sys",
    "tqdm": "from tqdm import tqdm",
    "warnings": "import warnings",
}


def _with_imports(source: str) -> str | None:
    """The source with the imports that an edit has made necessary."""
    try:
        draft = Draft(source)
    except SyntaxError:
        return None
    used = {n.id for n in draft.nodes if isinstance(n, ast.Name)}
    known = bound(draft.tree) | imported(draft.tree)
    missing = [line for name, line in _IMPORTS.items() if name in used - known]
    first = next(s for s in draft.tree.body if isinstance(s, ast.Import))  # a `from __future__` would come before it
    return draft.replaced(first.lineno, first.lineno - 1, missing)


# --- names --------------------------------------------------------------------------------------------------------


def rename_variables(draft: Draft, rng: random.Random) -> str | None:
    """One to three variables, one of them in the carried statement if that has any that can be renamed."""
    if draft.carried is not None and rng.random() < 0.8:
        changed = rename(draft.source, draft.carried, rng)
        if changed is not None:
            return changed[0]
    simple = [s for block in draft.blocks for s in block.statements if isinstance(s, _SIMPLE)]
    changed = rename(draft.source, rng.choice(simple), rng)
    return changed[0] if changed is not None else None


_NEW_FUNCTION_NAMES = ("{}_fn", "do_{}", "{}_impl", "run_{}", "{}_once")


def rename_function(draft: Draft, rng: random.Random) -> str | None:
    functions = [s for s in draft.tree.body if isinstance(s, _DEFINITIONS)]
    variables = bound(draft.tree) | draft.in_strings
    bound_once = [f for f in functions if f.name not in variables]
    for function in rng.sample(bound_once, len(bound_once)):
        pattern = "My{}" if isinstance(function, ast.ClassDef) else rng.choice(_NEW_FUNCTION_NAMES)
        new = draft.fresh(pattern.format(function.name), f"{function.name}_2")
        nodes = [n for n in draft.nodes if isinstance(n, ast.Name) and n.id == function.name]
        arguments = any(isinstance(n, ast.arg) and n.arg == function.name for n in draft.nodes)
        if new is None or arguments or any(not isinstance(n.ctx, ast.Load) for n in nodes):
            continue  # another variable has this name somewhere
        header = draft.lines[function.lineno - 1].encode()
        column = header.index(function.name.encode(), function.col_offset + len("def"))
        places = [(function.lineno, column), *((n.lineno, n.col_offset) for n in nodes)]
        return draft.with_tokens(Token(line, at, function.name, new) for line, at in places)
    return None


_NEW_ATTRIBUTES = {"model": "net", "optimizer": "opt", "criterion": "loss_fn", "config": "cfg", "device": "dev"}


def rename_attribute(draft: Draft, rng: random.Random) -> str | None:
    """An attribute that is only ever used on `self`: `self.optimizer` becomes `self.opt`."""
    places: dict[str, list[ast.Attribute]] = {}
    elsewhere: set[str] = set(draft.in_strings)
    for node in draft.nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            places.setdefault(node.attr, []).append(node)
        elif isinstance(node, ast.Attribute):
            elsewhere.add(node.attr)
        elif isinstance(node, _DEFINITIONS):
            elsewhere.add(node.name)
    assigned = {name for name, nodes in places.items() if any(isinstance(n.ctx, ast.Store) for n in nodes)}
    for old in rng.sample(sorted(assigned - elsewhere), len(assigned - elsewhere)):
        new = draft.fresh(_NEW_ATTRIBUTES.get(old, f"_{old}"), f"{old}_value")
        nodes = places[old]
        if new is not None and all(n.lineno == n.end_lineno for n in nodes):
            return draft.with_tokens(Token(n.lineno, (n.end_col_offset or 0) - len(old), old, new) for n in nodes)
    return None


# --- order and blocks ---------------------------------------------------------------------------------------------


def swap_neighbours(draft: Draft, rng: random.Random) -> str | None:
    """Two statements in a row change places, neither of which touches what the other reads or changes."""
    pairs = [
        (left, right)
        for block in draft.blocks
        for left, right in pairwise(block.statements)
        if not isinstance(left, _FIXED) and not isinstance(right, _FIXED) and not _is_text(left)
    ]
    free = [pair for pair in pairs if commute(*pair) and not any(draft.is_edge(s) for s in pair)]
    pair = _pick(draft, rng, free, lambda each: each[0])
    if pair is None:
        return None
    left, right = pair
    (first, middle), (start, last) = draft.span(left), draft.span(right)
    between = draft.text(middle + 1, start - 1)
    return draft.replaced(first, last, [*draft.text(start, last), *between, *draft.text(first, middle)])


def move_definition(draft: Draft, rng: random.Random) -> str | None:
    """A function or method comes to stand behind the next one: nothing reads either before both are there."""
    pairs = [
        (left, right)
        for block in draft.blocks
        for left, right in pairwise(block.statements)
        if isinstance(left, _FUNCTIONS) and isinstance(right, _FUNCTIONS)
    ]
    if not pairs:
        return None
    left, right = rng.choice(pairs)
    (first, middle), (start, last) = draft.span(left), draft.span(right)
    between = draft.text(middle + 1, start - 1)
    return draft.replaced(first, last, [*draft.text(start, last), *between, *draft.text(first, middle)])


def add_lookalike(draft: Draft, rng: random.Random) -> str | None:
    """A new function that does what is done around the carried statement, without it."""
    home, name = draft.home(), draft.fresh("smoke_test", "dry_run", "profile_once")
    if home is None or draft.carried is None or name is None:
        return None
    at = next(i for i, s in enumerate(home.statements) if s is draft.carried)
    around = [s for s in home.statements[max(at - 3, 0) : at + 4] if s is not draft.carried]
    jumps = (ast.Return, ast.Break, ast.Continue, *_FIXED)
    if any(isinstance(n, jumps) for s in around for n in ast.walk(s)) or has_long_string(around) or len(around) < 2:
        return None
    lines = [line for s in around for line in draft.text(s.lineno, end(s))]
    above = next(s for s in draft.tree.body if draft.holds_carried(s))
    first = draft.span(above)[0]
    body = [line.replace(EDGE, "") for line in indented(lines, 4 - home.statements[0].col_offset)]
    return draft.replaced(first, first - 1, [f"def {name}():", *body, "", ""])


_WITHS = (
    'with torch.autocast("cuda"):',
    'with torch.profiler.record_function("section"):',
    "with torch.enable_grad():",
    "with warnings.catch_warnings():",
)
_IFS = (
    "if torch.cuda.is_available():",
    'if os.environ.get("DRY_RUN") is None:',
    "if not sys.flags.interactive:",
    'if "--resume" in sys.argv:',
)
_HANDLERS = (
    ("except RuntimeError as failure:", '    print("failed:", failure)', "    raise"),
    ("except KeyboardInterrupt:", '    print("interrupted")', "    raise"),
    ("finally:", "    gc.collect()"),
)


def wrap_in_with(draft: Draft, rng: random.Random) -> str | None:
    return _wrap(draft, rng, rng.choice(_WITHS), ())


def wrap_in_if(draft: Draft, rng: random.Random) -> str | None:
    return _wrap(draft, rng, rng.choice(_IFS), ())


def wrap_in_try(draft: Draft, rng: random.Random) -> str | None:
    return _wrap(draft, rng, "try:", rng.choice(_HANDLERS))


def _wrap(draft: Draft, rng: random.Random, header: str, footer: tuple[str, ...]) -> str | None:
    length = rng.choice((1, 2, 3, 4))
    runs = [run for block in _open_blocks(draft) for run in _runs(block, length)]
    fitting = [run for run in runs if not _reaches(draft, run) and not has_long_string(run)]
    run = _pick(draft, rng, fitting, lambda each: each[0])
    if run is None:
        return None
    margin = " " * run[0].col_offset
    first, last = draft.span(run[0])[0], end(run[-1])
    lines = [margin + header + EDGE, *indented(draft.text(first, last), 4), *(margin + line for line in footer)]
    return _with_imports(draft.replaced(first, last, lines))


def _open_blocks(draft: Draft) -> list[Block]:
    """Blocks that statements may come to and go from: no class bodies, nothing of the carried statement's own."""
    return [
        block
        for block in draft.blocks
        if not isinstance(block.owner, ast.ClassDef)
        and (isinstance(block.owner, ast.Module) or not draft.is_inside_carried(block.owner))
    ]


def _runs(block: Block, length: int) -> Iterator[list[ast.stmt]]:
    for start in range(len(block.statements) - length + 1):
        run = block.statements[start : start + length]
        if not any(isinstance(s, _FIXED) or _is_text(s) for s in run):
            yield run


def _reaches(draft: Draft, run: list[ast.stmt]) -> bool:
    """Whether the carried statement is at an end of a run, and so might as well stand outside of it."""
    return draft.carried is not None and (run[0] is draft.carried or run[-1] is draft.carried)


def unwrap(draft: Draft, rng: random.Random) -> str | None:
    """The statements of a `with`, `if` or `try` come to stand where it stood."""
    found = []
    for block in draft.blocks:
        for statement in block.statements:
            if isinstance(statement, (ast.With, ast.If, ast.Try)) and _is_removable(draft, statement):
                found.append(statement)
    chosen = _pick(draft, rng, found, _itself)
    if chosen is None:
        return None
    first, last = draft.span(chosen.body[0])[0], end(chosen.body[-1])
    inside = indented(draft.text(first, last), chosen.col_offset - chosen.body[0].col_offset)
    return draft.replaced(chosen.lineno, end(chosen), inside)


def _is_removable(draft: Draft, statement: ast.With | ast.If | ast.Try) -> bool:
    direct = any(each is draft.carried for each in statement.body)
    if draft.is_edge(statement) or statement is draft.carried or has_long_string(statement.body):
        return False
    if draft.is_inside_carried(statement) or (draft.holds_carried(statement) and not _in_body(draft, statement)):
        return False
    if isinstance(statement, ast.With):
        plain = all(item.optional_vars is None for item in statement.items)
        return plain and not (direct and "grad" in ast.unparse(statement.items[0]))  # its guard could be brought along
    if isinstance(statement, ast.If):
        above = draft.lines[statement.lineno - 1].lstrip().startswith("elif")
        return not statement.orelse and not direct and not above
    return not statement.orelse and not statement.finalbody


def _in_body(draft: Draft, statement: ast.With | ast.If | ast.Try) -> bool:
    return any(draft.holds_carried(each) for each in statement.body)


def change_loop_header(draft: Draft, rng: random.Random) -> str | None:
    """`for x in it` gets or loses `enumerate`, `tqdm` or `flor.loop`; a range gets other bounds."""
    loops = [n for n in draft.nodes if isinstance(n, ast.For) and n.lineno == n.iter.end_lineno]
    loops = [n for n in loops if not draft.is_inside_carried(n)]
    loop = _pick(draft, rng, loops, _itself)
    if loop is None:
        return None
    line = draft.lines[loop.lineno - 1]
    target = line[loop.target.col_offset : loop.target.end_col_offset]
    if isinstance(loop.target, ast.Tuple) and not target.startswith("("):
        target = f"({target})"
    header = _new_header(draft, loop, target, line[loop.iter.col_offset : loop.iter.end_col_offset], rng)
    if header is None:
        return None
    new = line[: loop.col_offset] + f"for {header[0]} in {header[1]}" + line[loop.iter.end_col_offset :]
    return _with_imports(draft.replaced(loop.lineno, loop.lineno, [new]))


def _new_header(draft: Draft, loop: ast.For, target: str, iterated: str, rng: random.Random) -> tuple[str, str] | None:
    call = loop.iter if isinstance(loop.iter, ast.Call) else None
    function = ast.unparse(call.func) if call is not None else ""
    inside = ast.unparse(call.args[-1]) if call is not None and call.args else ""
    choices: list[tuple[str, str]] = []
    if function in ("tqdm", "flor.loop"):
        choices.append((target, inside))
    elif function != "enumerate":
        choices.append((target, f"tqdm({iterated})"))
    if function == "enumerate" and isinstance(loop.target, ast.Tuple) and len(loop.target.elts) == 2:
        index, value = (ast.unparse(each) for each in loop.target.elts)
        if index not in loads([draft.tree]) and index not in draft.in_strings:
            choices.append((value.strip("()"), inside))
    elif function != "range":
        index_name = draft.fresh("index", "position", "number")
        choices += [(f"{index_name}, {target}", f"enumerate({iterated})")] if index_name else []
    if function == "range" and call is not None and len(call.args) == 1:
        choices += [(target, f"range(1, {inside} + 1)"), (target, f"range(2, {inside})")]
    return rng.choice(choices) if choices else None


# --- statements and constants -------------------------------------------------------------------------------------

_UNRELATED = (
    "started_at = datetime.now()",
    'os.makedirs("artifacts", exist_ok=True)',
    "spare_events = []",
    'status_line = ""',
    "gc.collect()",
    "retries_left = 3",
    'run_name = "baseline"',
    'warnings.filterwarnings("ignore")',
    "memory_used = torch.cuda.max_memory_allocated()",
    "sleep_seconds = random.uniform(0.0, 0.1)",
)


def add_statements(draft: Draft, rng: random.Random) -> str | None:
    """One to three statements that have to do with nothing else."""
    texts = [text for text in _UNRELATED if not _already(draft, text)]
    if not texts:
        return None
    return _inserted(draft, rng, rng.sample(texts, min(len(texts), rng.choice((1, 1, 2, 3)))))


def add_print(draft: Draft, rng: random.Random) -> str | None:
    """A print or a log of a variable, right behind its assignment."""
    found = []
    for block in draft.blocks:
        for statement in block.statements:
            names = stores([statement]) if isinstance(statement, (ast.Assign, ast.AugAssign)) else []
            found += [(block, statement, name) for name in names]
    chosen = _pick(draft, rng, found, lambda each: each[1])
    if chosen is None:
        return None
    block, statement, name = chosen
    texts = (f'print("{name}", {name})', f'flor.log("{name}_here", {name})', f'logging.info("{name}: %s", {name})')
    text = rng.choice(texts)
    if draft.is_inside_carried(statement) or not _is_harmless(draft, block, text) or _already(draft, text):
        return None
    return _with_imports(draft.replaced(end(statement) + 1, end(statement), [" " * statement.col_offset + text]))


def remove_statement(draft: Draft, rng: random.Random) -> str | None:
    """A statement that the carried one does not depend on: a print, a log, an assertion, a variable of its own."""
    found = []
    for block in draft.blocks:
        for statement in block.statements:
            if len(block.statements) < 3 or not isinstance(statement, _SIMPLE) or _is_text(statement):
                continue
            if draft.is_edge(statement) or draft.is_carried(statement) or draft.is_inside_carried(statement):
                continue
            if not set(stores([statement])) & draft.carried_names:
                found.append(statement)
    chosen = _pick(draft, rng, found, _itself)
    return draft.replaced(*draft.span(chosen), []) if chosen is not None else None


def _already(draft: Draft, text: str) -> bool:
    return any(line.strip() == text for line in draft.lines)


def _inserted(draft: Draft, rng: random.Random, texts: list[str]) -> str | None:
    skipped = (*_FIXED, ast.Return)
    fits = [(b, s) for b in _open_blocks(draft) for s in b.statements if not isinstance(s, skipped) and not _is_text(s)]
    found = _pick(draft, rng, fits, lambda each: each[1])
    if found is None or any(not _is_harmless(draft, found[0], text) for text in texts):
        return None
    chosen = found[1]
    first = draft.span(chosen)[0]
    lines = [" " * chosen.col_offset + text for text in texts]
    return _with_imports(draft.replaced(first, first - 1, lines))


def _is_harmless(draft: Draft, block: Block, text: str) -> bool:
    """Whether a new statement may stand on either side of the carried one."""
    if draft.carried is None or not any(s is draft.carried for s in block.statements):
        return True
    return commute(draft.carried, ast.parse(text).body[0])


def change_constant(draft: Draft, rng: random.Random) -> str | None:
    """Another number or another word, outside of the carried statement."""
    skipped = {id(n) for s in _strings_and_carried(draft) for n in ast.walk(s)}
    found = [n for n in draft.nodes if isinstance(n, ast.Constant) and id(n) not in skipped]
    numbers = [n for n in found if isinstance(n.value, (int, float)) and not isinstance(n.value, bool)]
    node = _pick(draft, rng, numbers, _itself)
    if node is None:
        return None
    old = ast.get_source_segment(draft.source, node) or ""
    value = node.value
    assert isinstance(value, (int, float))
    new = repr(rng.choice((value * 2, value + 1, value * 10)))
    return draft.with_tokens([Token(node.lineno, node.col_offset, old, new)]) if old != new else None


def change_arguments(draft: Draft, rng: random.Random) -> str | None:
    """A call gets one more keyword argument, or loses its last one."""
    skipped = {id(n) for s in _strings_and_carried(draft) for n in ast.walk(s)}
    calls = [n for n in draft.nodes if isinstance(n, ast.Call) and id(n) not in skipped]
    calls = [n for n in calls if n.lineno == n.end_lineno and not _opens_generator(n)]
    call = _pick(draft, rng, calls, _itself)
    if call is None:
        return None
    line, close = draft.lines[call.lineno - 1], (call.end_col_offset or 0) - 1
    last = call.keywords[-1] if call.keywords else None
    if last is not None and last.arg and line[: last.col_offset].endswith(", ") and rng.random() < 0.5:
        new = line[: last.col_offset - 2] + line[close:]
    elif any(keyword.arg is None for keyword in call.keywords):
        return None
    else:
        word = rng.choice(("verbose=True", "strict=False", "dtype=None", "name=None"))
        if any(keyword.arg == word.split("=")[0] for keyword in call.keywords):
            return None
        new = line[:close] + (", " if call.args or call.keywords else "") + word + line[close:]
    return draft.replaced(call.lineno, call.lineno, [new])


def _opens_generator(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[-1], ast.GeneratorExp)


def _strings_and_carried(draft: Draft) -> list[ast.AST]:
    found: list[ast.AST] = [n for n in draft.nodes if isinstance(n, ast.JoinedStr)]
    return [*found, draft.carried] if draft.carried is not None else found


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


RENAMING = MappingProxyType(
    {
        "rename_variables": rename_variables,
        "rename_function": rename_function,
        "rename_attribute": rename_attribute,
    }
)
RESHAPING = MappingProxyType(
    {
        "swap_neighbours": swap_neighbours,
        "move_definition": move_definition,
        "add_lookalike": add_lookalike,
        "extract_function": extract_function,
        "inline_function": inline_function,
        "wrap_in_with": wrap_in_with,
        "wrap_in_if": wrap_in_if,
        "wrap_in_try": wrap_in_try,
        "unwrap": unwrap,
        "change_loop_header": change_loop_header,
        "add_statements": add_statements,
        "add_print": add_print,
        "remove_statement": remove_statement,
        "change_constant": change_constant,
        "change_arguments": change_arguments,
    }
)
EDITS: MappingProxyType[str, Edit] = MappingProxyType({**RENAMING, **RESHAPING})
