"""Import statements that come along: the one name that is needed, and the place among the older file's imports."""

from __future__ import annotations

from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.placing.places import BlockGap
from flor_ray.propagation.reading.tree import Node, Tree

_IMPORTS = frozenset({"import_statement", "import_from_statement", "future_import_statement"})


def import_text(tree: Tree, bound: Node) -> bytes:
    """An import statement that binds just this name, taken from the one that binds it in `tree`."""
    statement = bound.statement()
    item = bound
    while item.parent is not None and item.parent is not statement:
        item = item.parent
    if statement is None:
        return b""
    module = statement.child("module_name")
    what = b" ".join(tree.text(item).split())
    return b"from " + tree.text(module) + b" import " + what if module is not None else b"import " + what


def header_gap(tree: Tree, use: Node) -> BlockGap:
    """After the last import that stands before `use` at module level, else after the docstring, else at the top."""
    statements = statements_of(tree.root)
    before = [place for place, statement in enumerate(statements) if statement.end <= use.start or use is tree.root]
    imports = [place for place in before if statements[place].kind in _IMPORTS]
    if imports and use is tree.root:  # the first run of imports: a later one may stand behind the use
        imports = _first_run(statements, imports)
    if imports:
        return BlockGap(tree.root, imports[-1] + 1, True, (), "")
    if statements and _is_docstring(statements[0]):
        return BlockGap(tree.root, 1, True, (), "")
    return BlockGap(tree.root, 0, False, (), "")


def _first_run(statements: list[Node], imports: list[int]) -> list[int]:
    run = imports[:1]
    for place in imports[1:]:
        if any(statements[between].kind not in _IMPORTS for between in range(run[-1] + 1, place)):
            break
        run.append(place)
    return run


def _is_docstring(statement: Node) -> bool:
    return (
        statement.kind == "expression_statement" and bool(statement.children) and statement.children[0].kind == "string"
    )
