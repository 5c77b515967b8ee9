"""Calls of the recording API in a source: under which names flor_ray is known there, and where it is called.

`import flor_ray as flor`, `from flor_ray import MTK as Flor`, `from flor_ray import log` and the same of the peer's
package `flor` all count; a name counts only where Python's scopes let it be seen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from flor_ray.propagation.reading.names import Names, NameScope
from flor_ray.propagation.reading.tree import Node, Tree

PACKAGES = frozenset({"flor_ray", "flor"})
FACES = frozenset({"MTK"})  # the paper's face: its attributes are the functions
_FUNCTIONS = frozenset({"log", "arg", "loop", "iteration", "checkpointing", "checkpoints"})


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that an import binds to flor_ray, or to something in it."""

    name: str
    target: str  # "" for the package (or its MTK face), else the function: log, arg, ...
    node: Node  # the identifier that the import binds


@dataclass(frozen=True, slots=True)
class RecordingCall:
    """One call of log, arg, loop, iteration, checkpointing or checkpoints."""

    function: str
    node: Node
    feature: str | None  # the name given, if it is a plain string
    value: Node | None  # the logged value


@lru_cache(maxsize=4)
def aliases(names: Names) -> tuple[Alias, ...]:
    """All names for flor_ray that the file's imports bind, in document order."""
    found = []
    for node in names.tree.of_kind("import_statement", "import_from_statement"):
        if node.kind == "import_statement":
            found += [_whole(item) for item in node.children]
        else:
            module = node.child("module_name")
            if module is not None and dotted(module) in PACKAGES:
                found += [_member(item) for item in node.children if item.role == "name"]
    return tuple(alias for alias in found if alias is not None)


def visible(names: Names, known: tuple[Alias, ...], scope: NameScope) -> tuple[Alias, ...]:
    """The aliases that code in `scope` sees, and that nothing but imports binds."""
    return tuple(alias for alias in known if _seen_as(names, known, alias.name, scope) is not None)


@lru_cache(maxsize=4)  # every phase of one propagation asks what is logged: two sources, as written and as matched
def calls(names: Names) -> tuple[RecordingCall, ...]:
    """Calls of flor_ray, in document order."""
    known = aliases(names)
    if not known:
        return ()
    found = []
    for node in names.tree.of_kind("call"):
        if node.children:
            function = _callee(names, known, node.children[0])
            if function in _FUNCTIONS:
                name, value = _arguments(names.tree, node)
                found.append(
                    RecordingCall("checkpointing" if function == "checkpoints" else function, node, name, value)
                )
    return tuple(found)


def dotted(node: Node) -> str:
    if node.kind == "dotted_name":
        return ".".join(child.label for child in node.children) if node.children else node.label
    return node.label


def _whole(item: Node) -> Alias | None:
    if item.kind == "aliased_import":
        name, alias = item.child("name"), item.child("alias")
        if name is not None and alias is not None and dotted(name) in PACKAGES:
            return Alias(alias.label, "", alias)
    elif item.kind == "dotted_name" and item.children and item.children[0].label in PACKAGES:
        return Alias(item.children[0].label, "", item.children[0])
    return None


def _member(item: Node) -> Alias | None:
    name: Node | None = item
    bound: Node | None = item.children[0] if item.children else None
    if item.kind == "aliased_import":
        name, bound = item.child("name"), item.child("alias")
    if name is None or bound is None:
        return None
    target = dotted(name)
    return Alias(bound.label, "" if target in FACES else target, bound)


def _seen_as(names: Names, known: tuple[Alias, ...], name: str, scope: NameScope) -> Alias | None:
    imported = {alias.node.index: alias for alias in known if alias.name == name}
    owner = names.lookup(name, scope) if imported else None
    if owner is None:
        return None
    bound = owner.bindings[name]
    return imported[bound[-1].index] if all(node.index in imported for node in bound) else None


def _callee(names: Names, known: tuple[Alias, ...], function: Node) -> str:
    if function.kind == "identifier":
        alias = _seen_as(names, known, function.label, names.scope_of(function))
        return alias.target if alias is not None else ""
    if function.kind != "attribute" or len(function.children) != 2:
        return ""
    base, attribute = function.children
    if base.kind == "attribute" and len(base.children) == 2 and base.children[1].label in FACES:
        base = base.children[0]  # flor_ray.MTK.log
    if base.kind != "identifier":
        return ""
    alias = _seen_as(names, known, base.label, names.scope_of(base))
    return attribute.label if alias is not None and not alias.target else ""


def _arguments(tree: Tree, call: Node) -> tuple[str | None, Node | None]:
    given = call.child("arguments")
    positional, keywords = [], {}
    for argument in given.children if given is not None else ():
        if argument.kind == "keyword_argument" and len(argument.children) == 2:
            keywords[argument.children[0].label] = argument.children[1]
        else:
            positional.append(argument)
    name = positional[0] if positional else keywords.get("name")
    value = positional[1] if len(positional) > 1 else keywords.get("value")
    return (literal(tree, name) if name is not None else None), value


def literal(tree: Tree, node: Node) -> str | None:
    """The text that a string literal stands for; None for f-strings, bytes and all else."""
    if node.kind not in ("string", "concatenated_string", "parenthesized_expression"):
        return None
    try:
        value = ast.literal_eval(tree.text(node).decode("utf-8", "strict").strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, str) else None


def enclosing(node: Node) -> Iterator[Node]:
    """Definitions around a node, outermost first."""
    around = [each for each in node.ancestors() if each.kind in ("function_definition", "class_definition")]
    return reversed(around)
