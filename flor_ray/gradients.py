"""Where a script reads gradients outside its nested loop. Pure analysis of source text.

`.grad` of the parameters is not kept in checkpoints (it would add a third to their size for what almost nobody reads),
so code that reads it must run after real steps. A false alarm costs replay time; a miss would cost a wrong value.
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
    if not _may_read([tree]) and not any("grad" in text for text in files.values()):
        return frozenset()
    found = _main_loop(tree)
    if found is None:
        return frozenset()
    main, scope = found
    index, nested = next(
        ((i, statement) for i, statement in enumerate(main.body) if _contains_loop(statement)), (None, None)
    )
    head = main.body[:index] if index is not None else []
    tail = main.body[index + 1 :] if index is not None else []
    if nested is not None and not isinstance(nested, ast.For):  # the nested loop stands in a `with` or an `if`
        tail = [nested, *tail]
    suffix = [s for s in scope if (s.lineno > (main.end_lineno or main.lineno))]
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    imported = _imports_that_read(tree, files)
    parts = ((Region.HEAD, head), (Region.TAIL, tail), (Region.SUFFIX, suffix))
    return frozenset(region for region, part in parts if _reads(part, functions, imported))


def _main_loop(tree: ast.Module) -> tuple[ast.For, list[ast.stmt]] | None:
    """The first outermost flor.loop that holds another one, else the first; and the statements of its scope."""
    loops = [
        (node, getattr(scope, "body", []))
        for scope in ast.walk(tree)
        if isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in scope.body
        for node in ast.walk(statement)
        if isinstance(node, ast.For) and _is_flor_loop(node)
    ]
    loops.sort(key=lambda pair: pair[0].lineno)
    nesting = [pair for pair in loops if any(_contains_loop(statement) for statement in pair[0].body)]
    return next(iter(nesting or loops), None)


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
    pending, seen = list(part), set[str]()
    while pending:
        node = pending.pop()
        if _may_read([node]):
            return True
        mentioned = {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
        mentioned |= {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}
        if mentioned & imported:
            return True
        pending += [functions[name] for name in mentioned & functions.keys() - seen]
        seen |= mentioned
    return False


def _may_read(nodes: Iterable[ast.AST]) -> bool:
    """Whether a name or attribute with "grad" in it occurs, other than the well-known ones that read none."""
    return any(
        "grad" in name and name not in _HARMLESS
        for root in nodes
        for node in ast.walk(root)
        for name in (
            [node.id] if isinstance(node, ast.Name) else [node.attr] if isinstance(node, ast.Attribute) else []
        )
    )


def _imports_that_read(tree: ast.Module, files: Mapping[str, str]) -> frozenset[str]:
    """Names that `tree` imports from those of the project's own files that read gradients."""
    reading = set()
    for path, text in files.items():
        if "grad" not in text:
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
