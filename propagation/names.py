"""Python's scopes: which variable an identifier stands for, who binds it, who reads it.

A scope is a module, class, function, lambda or comprehension. Class scopes are not seen from functions inside them,
`global` and `nonlocal` move a binding outwards, parameters and comprehension variables are bindings like all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from functools import lru_cache

from flor_ray.propagation.tree import Node, Tree

_COMPREHENSIONS = frozenset(
    {"list_comprehension", "set_comprehension", "dictionary_comprehension", "generator_expression"}
)
_SCOPED = frozenset({"module", "class_definition", "function_definition", "lambda"}) | _COMPREHENSIONS
_PARAMETERS = frozenset(
    {
        "default_parameter",
        "typed_parameter",
        "typed_default_parameter",
        "list_splat_pattern",
        "dictionary_splat_pattern",
    }
)
_PATTERNS = frozenset(
    {"pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern", "tuple", "list", "parenthesized_expression"}
)


@dataclass(slots=True, eq=False)
class Scope:
    """One scope and what is bound in it."""

    node: Node
    outer: Scope | None
    bindings: dict[str, list[Node]] = field(default_factory=dict)  # name -> binding identifiers, in document order
    reads: dict[str, list[Node]] = field(default_factory=dict)  # name -> identifiers that resolve to this scope
    outward: dict[str, str] = field(default_factory=dict)  # name -> "global" or "nonlocal"

    @property
    def is_class(self) -> bool:
        return self.node.kind == "class_definition"


class Names:
    """Scopes of one tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.module = Scope(tree.root, None)
        self.scopes: dict[int, Scope] = {0: self.module}
        self.loose: dict[str, list[Node]] = {}  # names that are read, but bound nowhere in the file
        self._home: dict[int, Scope] = {}  # identifier -> the scope that it stands in
        self._binds: set[int] = set()
        self._collect()
        for index, scope in self._home.items():
            if index not in self._binds or self._augments(tree.nodes[index]):
                node = tree.nodes[index]
                owner = self._owner(node.label, scope)
                if owner is not None:
                    owner.reads.setdefault(node.label, []).append(node)
                else:
                    self.loose.setdefault(node.label, []).append(node)

    @property
    def known(self) -> Set[str]:
        """All names that are bound or read."""
        return self.loose.keys() | {name for scope in self.scopes.values() for name in scope.bindings}

    def binds(self, identifier: Node) -> bool:
        return identifier.index in self._binds

    def scope_of(self, node: Node) -> Scope:
        """The innermost scope around a node. A definition's own header belongs to the scope outside."""
        child, parent = node, node.parent
        while parent is not None:
            if parent.kind in _SCOPED and _inside(parent, child):
                return self.scopes[parent.index]
            child, parent = parent, parent.parent
        return self.module

    def owner(self, identifier: Node) -> Scope | None:
        """The scope whose variable an identifier is; None for builtins and names bound nowhere in the file."""
        scope = self._home.get(identifier.index)
        return self._owner(identifier.label, scope) if scope is not None else None

    def lookup(self, name: str, scope: Scope) -> Scope | None:
        """The scope that `name` would be found in by code in `scope`."""
        return self._owner(name, scope)

    def free(self, node: Node) -> Iterator[Node]:
        """Identifiers read in a subtree whose variable is bound outside of it, or nowhere."""
        for each in self.tree.subtree(node):
            if each.index in self._home and (each.index not in self._binds or self._augments(each)):
                owner = self.owner(each)
                if owner is None or not node.contains(owner.node):
                    yield each

    def bound(self, node: Node) -> Iterator[Node]:
        """Identifiers that a subtree binds in the scope it stands in."""
        scope = self.scope_of(node)
        for each in self.tree.subtree(node):
            if each.index in self._binds and self._home[each.index] is scope:
                yield each

    def _augments(self, node: Node) -> bool:
        return node.parent is not None and node.parent.kind == "augmented_assignment"

    def _owner(self, name: str, start: Scope) -> Scope | None:
        scope: Scope | None = start
        while scope is not None:
            if scope.outward.get(name) == "global":
                scope = self.module
            if name in scope.bindings and (scope is start or not scope.is_class):
                return scope
            scope = scope.outer
        return None

    def _collect(self) -> None:
        for node in self.tree.nodes:
            if node.kind in _SCOPED and node.parent is not None:
                self.scopes[node.index] = Scope(node, self.scope_of(node))
        for node in self.tree.nodes:
            if node.kind == "global_statement" or node.kind == "nonlocal_statement":
                for name in node.children:
                    self.scope_of(node).outward[name.label] = node.kind.removesuffix("_statement")
        for node in self.tree.nodes:
            if node.kind == "identifier" and _is_variable(node):
                scope = self.scope_of(node)
                self._home[node.index] = scope
                if _is_bound(node):
                    self._binds.add(node.index)
                    self._bind(node, scope)

    def _bind(self, node: Node, scope: Scope) -> None:
        while scope.node.kind in _COMPREHENSIONS and _within(node, "named_expression") and scope.outer is not None:
            scope = scope.outer  # a walrus binds outside of comprehensions
        if scope.outward.get(node.label) == "global":
            scope = self.module
        elif scope.outward.get(node.label) == "nonlocal" and scope.outer is not None:
            scope = self._owner(node.label, scope.outer) or scope.outer
        scope.bindings.setdefault(node.label, []).append(node)


@lru_cache(maxsize=32)
def names_of(tree: Tree) -> Names:
    return Names(tree)


def _inside(scope: Node, child: Node) -> bool:
    """Whether a direct child of a scope's node runs in that scope."""
    if scope.kind in ("function_definition", "class_definition"):
        return child.role in ("body", "parameters")
    return True


def _is_variable(node: Node) -> bool:
    parent = node.parent
    if parent is None or parent.kind in ("global_statement", "nonlocal_statement"):
        return False
    if parent.kind == "dotted_name":
        if parent.children[0] is not node:
            return False
        return _within(node, "import_statement", "import_from_statement", "case_clause") is False or _is_bound(node)
    if parent.kind == "aliased_import":
        return node.role == "alias"
    return True


def _is_bound(node: Node) -> bool:
    parent = node.parent
    if parent is None:
        return False
    kind = parent.kind
    if kind == "dotted_name":
        return _dotted_binds(node, parent)
    if kind == "aliased_import":
        return node.role == "alias"
    if kind in ("function_definition", "class_definition", "named_expression"):
        return node.role == "name"
    if kind in ("parameters", "lambda_parameters", "as_pattern_target"):
        return True
    if kind == "splat_pattern":
        return True
    if kind in _PARAMETERS and _is_parameter(node, parent):
        return True
    return _is_target(node)


def _dotted_binds(node: Node, dotted: Node) -> bool:
    outer = dotted.parent
    if outer is None:
        return False
    if outer.kind == "import_statement":
        return True
    if outer.kind == "import_from_statement":
        return dotted.role == "name"
    if outer.kind in ("case_pattern", "keyword_pattern") and len(dotted.children) == 1:
        return dotted.role != "class" and node.label != "_"
    return False


def _is_parameter(node: Node, parent: Node) -> bool:
    if parent.kind in ("default_parameter", "typed_default_parameter"):
        return node.role == "name"
    if parent.parent is None:
        return False
    if parent.kind == "typed_parameter":
        return parent.children[0] is node
    return parent.parent.kind in ("parameters", "lambda_parameters", "typed_parameter")


def _is_target(node: Node) -> bool:
    """Whether the identifier is (part of a tuple that is) the left side of an assignment, loop or `with ... as`."""
    child, parent = node, node.parent
    while parent is not None and parent.kind in _PATTERNS:
        child, parent = parent, parent.parent
    if parent is None:
        return False
    if parent.kind in ("assignment", "augmented_assignment", "for_statement", "for_in_clause"):
        return child.role == "left"
    return parent.kind == "as_pattern_target"


def _within(node: Node, *kinds: str) -> bool:
    for ancestor in node.ancestors():
        if ancestor.kind in kinds:
            return True
        if ancestor.is_statement:
            return False
    return False
