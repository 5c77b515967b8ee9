"""Python's scopes: which variable an identifier stands for, who binds it, who reads it.

A scope is a module, class, function, lambda or comprehension. Class scopes are not seen from functions inside them,
`global` and `nonlocal` move a binding outwards, parameters and comprehension variables are bindings like all others.
"""

from __future__ import annotations

import builtins
from bisect import bisect_left
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import attrgetter

from flor_ray.propagation.reading.tree import Node, Tree

_COMPREHENSIONS = frozenset(
    {"list_comprehension", "set_comprehension", "dictionary_comprehension", "generator_expression"}
)
BUILTINS = frozenset(dir(builtins)) | {"__class__", "__file__", "__path__"}
"""Names that are known without being bound in the file."""

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
_IMPORTED = frozenset({"aliased_import", "dotted_name", "global_statement", "nonlocal_statement"})
_TELLING = _IMPORTED | _PARAMETERS | _PATTERNS
_TELLING |= {"function_definition", "class_definition", "named_expression", "parameters", "lambda_parameters"}
_TELLING |= {"as_pattern_target", "splat_pattern", "assignment", "augmented_assignment", "for_statement"}
_TELLING |= {"for_in_clause"}
"""Parents in which an identifier may be no variable, or be bound; most identifiers have others, and are just read."""
_INDEX = attrgetter("index")


ScopeKey = tuple[str, int, int]
"""Identity of a scope that holds in both the written tree and the one that is matched."""


@dataclass(slots=True, eq=False)
class NameScope:
    """One scope and what is bound in it."""

    node: Node
    outer: NameScope | None
    bindings: dict[str, list[Node]] = field(default_factory=dict)  # name -> binding identifiers, in document order
    reads: dict[str, list[Node]] = field(default_factory=dict)  # name -> identifiers that resolve to this scope
    outward: dict[str, str] = field(default_factory=dict)  # name -> "global" or "nonlocal"
    key: ScopeKey = field(init=False)

    def __post_init__(self) -> None:
        self.key = self.node.kind, self.node.start, self.node.end

    @property
    def is_class(self) -> bool:
        """Whether it is the scope of a class, which functions in it do not see."""
        return self.node.kind == "class_definition"


class Names:
    """Scopes of one tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.module = NameScope(tree.root, None)
        self.scopes: dict[int, NameScope] = {0: self.module}
        self.loose: dict[str, list[Node]] = {}  # names that are read, but bound nowhere in the file
        self._around: list[NameScope] = [self.module] * len(tree.nodes)  # by node: the scope that it stands in
        self._variables: list[Node] = []  # identifiers that stand for variables, in preorder
        self._bindings: list[Node] = []  # those that bind them
        self._binds: set[int] = set()
        self._owners: dict[int, NameScope | None] = {}  # identifier -> the scope of its variable
        self._unset: dict[int, dict[str, list[Node]]] = {}  # by scope, once asked for
        self._collect_scopes()
        self._collect_variables()
        self._resolve()

    @cached_property
    def known(self) -> Set[str]:
        """All names that are bound or read."""
        return self.loose.keys() | {name for scope in self.scopes.values() for name in scope.bindings}

    def binds(self, identifier: Node) -> bool:
        """Whether an identifier binds its variable, rather than reads it."""
        return identifier.index in self._binds

    def scope_of(self, node: Node) -> NameScope:
        """The innermost scope around a node. A definition's own header belongs to the scope outside."""
        return self._around[node.index]

    def owner(self, identifier: Node) -> NameScope | None:
        """The scope whose variable an identifier is; None for builtins and names bound nowhere in the file."""
        return self._owners.get(identifier.index)

    def lookup(self, name: str, scope: NameScope) -> NameScope | None:
        """The scope that `name` would be found in by code in `scope`."""
        return self._owner(name, scope)

    def unset(self, scope: NameScope) -> dict[str, list[Node]]:
        """Variables of a scope that it reads, or adds to, before anything in it has set them; with these readings."""
        if scope.node.index in self._unset:
            return self._unset[scope.node.index]
        found = self._unset[scope.node.index] = {}
        for name, bound in scope.bindings.items():
            first = min((_set_at(node) for node in bound if not self._augments(node)), default=len(self.tree.source))
            early = [n for n in scope.reads.get(name, ()) if n.start < first and self._runs_in(n) is scope]
            if early:
                found[name] = early
        return found

    def _runs_in(self, node: Node) -> NameScope:
        """The scope whose code runs a node: a comprehension runs where it stands."""
        scope = self.scope_of(node)
        while scope.node.kind in _COMPREHENSIONS and scope.outer is not None:
            scope = scope.outer
        return scope

    def free(self, node: Node) -> Iterator[Node]:
        """Identifiers read in a subtree whose variable is bound outside of it, or nowhere."""
        for each in _within_subtree(self._variables, node):
            if each.index not in self._binds or self._augments(each):
                owner = self._owners[each.index]
                if owner is None or not node.contains(owner.node):
                    yield each

    def bound(self, node: Node) -> Iterator[Node]:
        """Identifiers that a subtree binds in the scope it stands in."""
        scope = self.scope_of(node)
        for each in _within_subtree(self._bindings, node):
            if self._around[each.index] is scope:
                yield each

    def _augments(self, node: Node) -> bool:
        return node.parent is not None and node.parent.kind == "augmented_assignment"

    def _owner(self, name: str, start: NameScope) -> NameScope | None:
        scope: NameScope | None = start
        while scope is not None:
            if scope.outward.get(name) == "global":
                scope = self.module
            if name in scope.bindings and (scope is start or not scope.is_class):
                return scope
            scope = scope.outer
        return None

    def _collect_scopes(self) -> None:
        """Scopes, outer ones first: each is written over what it holds, whole subtrees at a time."""
        for node in self.tree.of_kind(*sorted(_SCOPED)):
            scope = self.module
            if node.parent is not None:
                scope = self.scopes[node.index] = NameScope(node, self.scope_of(node))
            for child in node.children:
                if _inside(node, child):
                    self._around[child.index : child.index + child.size] = [scope] * child.size
        for node in self.tree.of_kind("global_statement", "nonlocal_statement"):
            for name in node.children:
                self.scope_of(node).outward[name.label] = node.kind.removesuffix("_statement")

    def _collect_variables(self) -> None:
        targets: dict[int, bool] = {}
        for node in self.tree.of_kind("identifier"):
            telling = node.parent is None or node.parent.kind in _TELLING
            if telling and not _is_variable(node):
                continue
            self._variables.append(node)
            if telling and _is_bound(node, targets):
                self._bindings.append(node)
                self._binds.add(node.index)
                self._bind(node, self.scope_of(node))

    def _resolve(self) -> None:
        """Who owns what, once all bindings are known. Most names are said many times in a scope."""
        known: dict[tuple[int, str], NameScope | None] = {}
        for node in self._variables:
            scope = self._around[node.index]
            key = (scope.node.index, node.label)
            if key in known:
                owner = known[key]
            else:
                owner = known[key] = self._owner(node.label, scope)
            self._owners[node.index] = owner
            if node.index in self._binds and not self._augments(node):
                continue
            reads = self.loose if owner is None else owner.reads
            if node.label in reads:
                reads[node.label].append(node)
            else:
                reads[node.label] = [node]

    def _bind(self, node: Node, scope: NameScope) -> None:
        while scope.node.kind in _COMPREHENSIONS and _within(node, "named_expression") and scope.outer is not None:
            scope = scope.outer  # a walrus binds outside of comprehensions
        if scope.outward.get(node.label) == "global":
            scope = self.module
        elif scope.outward.get(node.label) == "nonlocal" and scope.outer is not None:
            scope = self._owner(node.label, scope.outer) or scope.outer
        scope.bindings.setdefault(node.label, []).append(node)


def _within_subtree(nodes: Sequence[Node], root: Node) -> Sequence[Node]:
    """Those of some nodes, which are in preorder, that are in a subtree."""
    first = bisect_left(nodes, root.index, key=_INDEX)
    return nodes[first : bisect_left(nodes, root.index + root.size, lo=first, key=_INDEX)]


@lru_cache(maxsize=32)
def names_of(tree: Tree) -> Names:
    """The scopes of a tree, worked out once while the tree is in use."""
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


def _is_bound(node: Node, targets: dict[int, bool] | None = None) -> bool:
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
    return _is_target(node, {} if targets is None else targets)


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


def _is_target(node: Node, known: dict[int, bool]) -> bool:
    """Whether the identifier is (part of a tuple that is) the left side of an assignment, loop or `with ... as`.

    `known` keeps the answer for every tuple and list on the way, which may have thousands of parts.
    """
    passed: list[int] = []
    child, parent = node, node.parent
    while parent is not None and parent.kind in _PATTERNS and parent.index not in known:
        passed.append(parent.index)
        child, parent = parent, parent.parent
    if parent is None:
        found = False
    elif parent.index in known:
        found = known[parent.index]
    elif parent.kind in ("assignment", "augmented_assignment", "for_statement", "for_in_clause"):
        found = child.role == "left"
    else:
        found = parent.kind == "as_pattern_target"
    known.update(dict.fromkeys(passed, found))
    return found


def _within(node: Node, *kinds: str) -> bool:
    for ancestor in node.ancestors():
        if ancestor.kind in kinds:
            return True
        if ancestor.is_statement:
            return False
    return False


def _set_at(bound: Node) -> int:
    """The byte from which on a variable is set by what binds it: behind what an assignment gives it."""
    node = bound
    while node.parent is not None and node.parent.kind in _PATTERNS:
        node = node.parent
    is_assigned = node.parent is not None and node.parent.kind == "assignment"
    return node.parent.end if is_assigned and node.parent is not None else bound.start
