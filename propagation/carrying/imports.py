"""Import statements that come along: the one name that is needed, and the place among the older file's imports."""

from __future__ import annotations

from flor_ray.propagation.adapting.adaptation import Adaptation
from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.placing.places import BlockGap
from flor_ray.propagation.reading.names import BUILTINS, NameScope
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import IMPORTS, Node, Tree


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
    imports = [place for place in before if statements[place].kind in IMPORTS]
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
        if any(statements[between].kind not in IMPORTS for between in range(run[-1] + 1, place)):
            break
        run.append(place)
    return run


def _is_docstring(statement: Node) -> bool:
    return (
        statement.kind == "expression_statement" and bool(statement.children) and statement.children[0].kind == "string"
    )


def modules_of(newer: Program, name: str, owner: NameScope) -> set[bytes]:
    """Modules from which a newer name is imported; none if something else binds it, too."""
    statements = [node.statement() for node in owner.bindings.get(name, ())]
    modules = [each.child("module_name") if each is not None else None for each in statements]
    known = {newer.written.text(each) for each in modules if each is not None}
    return known if None not in modules else set()


def starred(tree: Tree) -> set[bytes]:
    """Modules of which a source imports all names."""
    statements = [star.statement() for star in tree.of_kind("wildcard_import")]
    modules = [each.child("module_name") for each in statements if each is not None]
    return {tree.text(each) for each in modules if each is not None}


def is_seen_anyway(newer: Program, older: Program, name: str, owner: NameScope | None, adaptation: Adaptation) -> bool:
    """Whether the older version has a name that it does not bind: Python's own, or one from a wildcard import."""
    if owner is None and (name in BUILTINS or name in older.names.loose):
        return True
    stars = starred(newer.written) if owner is None else modules_of(newer, name, owner)
    if not stars or not stars <= starred(older.written):
        return False
    adaptation.doubts.add(Doubt.SAME_NAME)
    return True
