"""Where a script reads gradients, or goes back along a graph, outside its nested loop. Pure analysis of source text.

`.grad` of the parameters is not kept in checkpoints (it would add a third to their size for what almost nobody reads),
and the graph behind a loss cannot be, so code that uses them must run after real steps. A false alarm costs replay
time; a miss would cost a wrong value.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from flor_ray.records import Region

_HARMLESS = {"no_grad", "zero_grad", "requires_grad", "requires_grad_", "enable_grad", "set_grad_enabled"}


def read_in(source: str, files: Mapping[str, str]) -> frozenset[Region]:
    """Regions among HEAD, TAIL and SUFFIX in which `source` may read gradients, itself or through what it calls.

    `files` are the sources that it may import from.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return frozenset({Region.HEAD, Region.TAIL, Region.SUFFIX})
    if not _may_read([tree]) and not any(map(_mentions, files.values())):
        return frozenset()
    found = _main_loop(tree)
    if found is None:
        return frozenset()
    main, owner = found
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    index, nested = next(
        ((i, statement) for i, statement in enumerate(main.body) if _contains_loop(statement)), (None, None)
    )
    head = main.body[:index] if index is not None else []
    tail = main.body[index + 1 :] if index is not None else []
    if nested is not None and not isinstance(nested, ast.For):  # the nested loop stands in a `with` or an `if`
        tail = [nested, *tail]
    suffix = [s for s in (tree if owner is None else owner).body if s.lineno > (main.end_lineno or main.lineno)]
    if owner is not None:
        suffix += [s for s in tree.body if not _is_definition(s) and owner.name not in _mentioned([s], functions)]
    imported = _imports_that_read(tree, files)
    parts = ((Region.HEAD, head), (Region.TAIL, tail), (Region.SUFFIX, suffix))
    return frozenset(region for region, part in parts if _reads(part, functions, imported))


def _main_loop(tree: ast.Module) -> tuple[ast.For, ast.FunctionDef | ast.AsyncFunctionDef | None] | None:
    """The first outermost flor.loop that holds another one, else the first; and the function that it stands in."""
    loops: list[tuple[ast.For, ast.FunctionDef | ast.AsyncFunctionDef | None]] = []
    pending: list[tuple[ast.AST, ast.FunctionDef | ast.AsyncFunctionDef | None]] = [(tree, None)]
    while pending:
        node, owner = pending.pop()
        if isinstance(node, ast.For) and _is_flor_loop(node):
            loops.append((node, owner))
        inner = node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else owner
        pending += [(child, inner) for child in ast.iter_child_nodes(node)]
    loops.sort(key=lambda pair: pair[0].lineno)
    nesting = [pair for pair in loops if any(_contains_loop(statement) for statement in pair[0].body)]
    return next(iter(nesting or loops), None)


def _is_definition(statement: ast.AST) -> bool:
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _mentioned(
    nodes: Iterable[ast.AST], functions: Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef]
) -> frozenset[str]:
    """Names and attributes in these nodes, and in the functions that are called by them."""
    pending, seen = list(nodes), set[str]()
    while pending:
        node = pending.pop()
        names = {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
        names |= {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}
        pending += [functions[name] for name in names & functions.keys() - seen]
        seen |= names
    return frozenset(seen)


def _is_flor_loop(node: ast.AST) -> bool:
    return isinstance(node, ast.For) and any(
        isinstance(call, ast.Call)
        and (
            (isinstance(call.func, ast.Attribute) and call.func.attr == "loop")
            or (isinstance(call.func, ast.Name) and call.func.id == "loop")
        )
        for call in ast.walk(node.iter)
    )


def _contains_loop(statement: ast.AST) -> bool:
    return any(_is_flor_loop(node) for node in ast.walk(statement))


def _reads(
    part: Iterable[ast.AST],
    functions: Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef],
    imported: frozenset[str],
) -> bool:
    """Whether these statements, or functions that they mention, read gradients."""
    part = list(part)
    mentioned = _mentioned(part, functions)
    called = [functions[name] for name in mentioned & functions.keys()]
    return bool(mentioned & imported) or _may_read([*part, *called])


def _may_read(nodes: Iterable[ast.AST]) -> bool:
    """Whether a name or attribute that tells of gradients occurs, other than the well-known ones that read none."""
    return any(
        _mentions(name) and name not in _HARMLESS
        for root in nodes
        for node in ast.walk(root)
        for name in (
            [node.id] if isinstance(node, ast.Name) else [node.attr] if isinstance(node, ast.Attribute) else []
        )
    )


def _mentions(text: str) -> bool:
    return "grad" in text or "backward" in text


def _imports_that_read(tree: ast.Module, files: Mapping[str, str]) -> frozenset[str]:
    """Names that `tree` imports from those of the project's own files that read gradients."""
    reading = set()
    for path, text in files.items():
        if not _mentions(text):
            continue
        try:
            if _may_read([ast.parse(text)]):
                reading.add(path.removesuffix(".py").replace("/", "."))
        except (SyntaxError, ValueError):
            continue
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and _matches(node.module, reading):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {
                (alias.asname or alias.name).split(".")[0] for alias in node.names if _matches(alias.name, reading)
            }
    return frozenset(names)


def _matches(module: str, reading: set[str]) -> bool:
    return any(path == module or path.endswith(f".{module}") for path in reading)
