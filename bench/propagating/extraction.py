"""Two larger edits: statements in a row become a function, and a function's body takes the place of its call."""

from __future__ import annotations

import ast
import random
from dataclasses import dataclass

from propagating.drafts import (
    EDGE,
    Block,
    Draft,
    Token,
    bound,
    comprehension_names,
    end,
    has_long_string,
    indented,
    loads,
    names,
    own,
    parameters,
    stores,
)

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_JUMPS = (ast.Return, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom, ast.Await)
_FIXED = (*_DEFINITIONS, *_JUMPS, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.Lambda)
_NAMES = ("run_step", "process_batch", "compute_part", "update_state", "forward_part", "finish_round")
_MOST_PARAMETERS, _MOST_RESULTS = 6, 3  # more than that nobody would extract


@dataclass(frozen=True, slots=True)
class _Interface:
    parameters: tuple[str, ...]
    results: tuple[str, ...]


def extract_function(draft: Draft, rng: random.Random) -> str | None:
    """Two to five statements become a function of their own; a method where they use `self`."""
    blocks = rng.sample(draft.blocks, len(draft.blocks))
    blocks.sort(key=lambda block: not draft.is_near(block.statements[0]))
    for block in blocks:
        if not _is_extractable(draft, block):
            continue
        runs = [
            block.statements[start : start + length]
            for length in (2, 3, 4, 5)
            for start in range(len(block.statements) - length + 1)
        ]
        rng.shuffle(runs)
        for run in runs:
            interface = _interface(draft, block, run)
            name = draft.fresh(*rng.sample(_NAMES, len(_NAMES)))
            if interface is not None and name is not None:
                return _extracted(draft, block, run, name, interface)
    return None


def _is_extractable(draft: Draft, block: Block) -> bool:
    if isinstance(block.owner, ast.ClassDef) or draft.is_inside_carried(block.owner):
        return False
    top = draft.tree.body if block.klass is None else block.klass.body
    return block.scope is draft.tree or any(block.scope is each for each in top)


def _interface(draft: Draft, block: Block, run: list[ast.stmt]) -> _Interface | None:
    """What the function of these statements would take and give; None if they cannot be one."""
    text = isinstance(run[0], ast.Expr) and isinstance(run[0].value, ast.Constant)
    if text or has_long_string(run) or any(isinstance(n, _FIXED) for s in run for n in ast.walk(s)):
        return None
    if draft.carried is not None and any(draft.holds_carried(s) for s in run):
        inside = [s for s in run if not draft.holds_carried(s)]
        if run[0] not in inside or run[-1] not in inside:
            return None
        if not set(loads([draft.carried])) <= set(loads(inside)) | set(stores(inside)):
            return None  # without it the function would not have taken what it reads
    within = {id(n) for s in run for n in ast.walk(s)}
    outside = [n for n in own(block.scope) if id(n) not in within]
    kept = {n.id for n in outside if isinstance(n, ast.Name)} - comprehension_names(outside)
    known = {n.id for n in outside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if not isinstance(block.scope, ast.Module):
        known.update(parameters(block.scope))
    given, changed = loads(run), stores(run)
    taken = [name for name in given if name in known and not _starts_with_assignment(run, name)]
    results = [name for name in changed if name in kept or (block.scope is draft.tree and name in draft.in_strings)]
    maybe = [name for name in results if name not in taken and not _starts_with_assignment(run, name)]
    if any(name not in known for name in maybe) or "super" in given:
        return None
    taken += maybe
    if not taken or len(taken) > _MOST_PARAMETERS or len(results) > _MOST_RESULTS:
        return None
    if "self" in taken and block.klass is None:
        return None
    return _Interface(tuple(taken), tuple(results))


def _starts_with_assignment(run: list[ast.stmt], name: str) -> bool:
    """Whether the first of the statements that has this variable binds it for certain, and does not read it."""
    first = next(s for s in run if name in names(s))
    return isinstance(first, ast.Assign) and name in stores([first]) and name not in loads([first])


def _extracted(draft: Draft, block: Block, run: list[ast.stmt], name: str, interface: _Interface) -> str:
    method = "self" in interface.parameters
    margin, depth = (4, 8) if method else (0, 4)
    taken = (["self"] if method else []) + [each for each in interface.parameters if each != "self"]
    first, last = draft.span(run[0])[0], end(run[-1])
    body = indented(draft.text(first, last), depth - run[0].col_offset)
    results = ", ".join(interface.results)
    body += [" " * depth + f"return {results}{EDGE}"] if results else []
    head = " " * margin + f"def {name}({', '.join(taken)}):{EDGE}"
    call = f"{'self.' if method else ''}{name}({', '.join(each for each in interface.parameters if each != 'self')})"
    call = f"{results} = {call}" if results else call
    rest = draft.replaced(first, last, [" " * run[0].col_offset + call + EDGE])
    siblings = block.klass.body if method and block.klass is not None else draft.tree.body
    above = next(s for s in siblings if any(n is run[0] for n in ast.walk(s)))
    at = draft.span(above)[0] - 1
    lines = rest.split("\n")
    gap = [""] if method else ["", ""]
    above_gap = [] if not at or not lines[at - 1].strip() else gap
    return "\n".join([*lines[:at], *above_gap, head, *body, *gap, *lines[at:]])


def inline_function(draft: Draft, rng: random.Random) -> str | None:
    """A function that is called once, as a statement, and ends in its only return."""
    functions = [s for s in draft.tree.body if isinstance(s, ast.FunctionDef)]
    for function in rng.sample(functions, len(functions)):
        if not _is_inlinable(draft, function):
            continue
        found = _only_call(draft, function)
        if found is None:
            continue
        block, statement, call = found
        lines = _inlined(draft, function, block, statement, call)
        if lines is None:
            continue
        first, last = draft.span(function)
        while first > 2 and not draft.lines[first - 2].strip():
            first -= 1
        at, until = statement.lineno, end(statement)
        if first > until:
            changed = draft.replaced(first, last, [])
            return Draft(changed).replaced(at, until, lines)
        changed = draft.replaced(at, until, lines)
        return Draft(changed).replaced(first, last, [])
    return None


def _is_inlinable(draft: Draft, function: ast.FunctionDef) -> bool:
    given = function.args
    plain = not (given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs or given.defaults)
    inner = [n for s in function.body for n in ast.walk(s)]
    jumps = [n for n in inner if isinstance(n, (ast.Return, ast.Yield, ast.YieldFrom, ast.Await))]
    fixed = any(isinstance(n, (*_DEFINITIONS, ast.Global, ast.Nonlocal)) for n in inner)
    last_only = not jumps or (len(jumps) == 1 and jumps[0] is function.body[-1])
    long = has_long_string(function.body)
    return (
        plain and last_only and not fixed and not long and not function.decorator_list and not draft.is_edge(function)
    )


def _only_call(draft: Draft, function: ast.FunctionDef) -> tuple[Block, ast.Assign | ast.Expr, ast.Call] | None:
    uses = [n for n in draft.nodes if isinstance(n, ast.Name) and n.id == function.name]
    if len(uses) != 1 or draft.is_inside_carried(uses[0]):
        return None
    for block in draft.blocks:
        for statement in block.statements:
            if not isinstance(statement, (ast.Assign, ast.Expr)) or not isinstance(statement.value, ast.Call):
                continue
            if isinstance(statement, ast.Assign) and len(statement.targets) != 1:
                continue
            call = statement.value
            plain = not call.keywords and not any(isinstance(a, ast.Starred) for a in call.args)
            if call.func is uses[0] and plain and len(call.args) == len(function.args.args):
                return block, statement, call
    return None


def _inlined(
    draft: Draft, function: ast.FunctionDef, block: Block, statement: ast.Assign | ast.Expr, call: ast.Call
) -> list[str] | None:
    """The lines that take the place of the call; None if names would get mixed up."""
    body = list(function.body)
    last = body[-1] if isinstance(body[-1], ast.Return) else None
    body = body[:-1] if last is not None else body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    if not body or block.scope is function:
        return None
    head, tokens = [], []
    inner = set(parameters(function)) | bound(function)
    outer = bound(block.scope) - set(stores([statement]))
    renamed: dict[str, str] = {}
    for parameter, argument in zip(function.args.args, call.args, strict=True):
        if isinstance(argument, ast.Name) and argument.id == parameter.arg:
            continue
        if isinstance(argument, ast.Name) and argument.id not in inner and parameter.arg not in draft.in_strings:
            renamed[parameter.arg] = argument.id
        else:
            head.append(f"{parameter.arg} = {ast.unparse(argument)}")
    handed = {a.id for a in call.args if isinstance(a, ast.Name)}
    rebound = set(stores(body)) & {*renamed, *(handed & set(parameters(function)))}
    if rebound or ((inner - set(renamed)) & outer) - handed:
        return None  # what is only the function's would overwrite what is its caller's
    for node in (n for s in body for n in ast.walk(s)):
        if isinstance(node, ast.Name) and node.id in renamed:
            tokens.append(Token(node.lineno, node.col_offset, node.id, renamed[node.id]))
    changed = Draft(draft.with_tokens(tokens))
    first = draft.span(body[0])[0]
    lines = indented(changed.text(first, end(body[-1])), statement.col_offset - body[0].col_offset)
    tail = []
    if isinstance(statement, ast.Assign):
        if last is None or last.value is None or names(last.value) & set(renamed):
            return None
        target, value = _plain(statement.targets[0]), _plain(last.value)
        tail = [f"{target} = {value}"] if target != value else []
    margin = " " * statement.col_offset
    return [*(margin + line for line in head), *lines, *(margin + line for line in tail)]


def _plain(node: ast.expr) -> str:
    """The text of an expression, a tuple without its parentheses."""
    text = ast.unparse(node)
    return text[1:-1] if isinstance(node, ast.Tuple) else text
