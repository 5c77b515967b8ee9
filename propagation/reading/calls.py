"""Calls of the recording API in a source: under which names flor_ray is known there, and where it is called.

The rule is that of `analysis.source`, as far as one file tells, on the trees of this package: `import flor_ray as
flor`, `from flor_ray import MTK as Flor`, `from flor_ray import log`, `record = flor.log` and the same of the peer's
package `flor` all count; a name counts only where Python's scopes let it be seen, and where nothing else binds it.
tests/cases/recognition holds both to the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from flor_ray.propagation.reading.constants import text_of
from flor_ray.propagation.reading.names import BUILTINS, Names, NameScope
from flor_ray.propagation.reading.tree import Node, Tree
from flor_ray.records import FACES, FUNCTIONS, OLDER_NAMES, PACKAGES

_WILDCARD = "wildcard_import"
_PATTERNS = frozenset({"pattern_list", "tuple_pattern", "list_pattern"})
_DISPLAYS = frozenset({"expression_list", "tuple", "list"})


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that stands for flor_ray, or for something in it."""

    name: str
    target: str  # "" for the package (or its MTK face), else the function: log, arg, ...
    node: Node  # the identifier that binds it, or the star of an import of all names
    origin: Alias | None = None  # of a name that another one was put into: the import that this came from

    @property
    def by_star(self) -> bool:
        """Whether an import of all names binds it."""
        return self.node.kind == _WILDCARD


@dataclass(frozen=True, slots=True)
class RecordingCall:
    """One call of log, arg, loop, iteration, checkpointing or autolog."""

    function: str
    node: Node
    feature: str | None  # the name given; None if only a run can tell
    value: Node | None  # the logged value, if the call is given it where it stands
    name: Node | None = None  # the expression that makes the name


@lru_cache(maxsize=4)
def aliases(names: Names) -> tuple[Alias, ...]:
    """All names for flor_ray in a file: those of its imports in document order, then those that these were put into."""
    found: list[Alias | None] = []
    for node in names.tree.of_kind("import_statement", "import_from_statement"):
        if node.kind == "import_statement":
            found += [_whole(item) for item in node.children]
        else:
            module = node.child("module_name")
            if module is not None and dotted(module) in PACKAGES:
                found += [_member(item) for item in node.children if item.role == "name"]
    found += _by_star(names.tree)
    imported = [alias for alias in found if alias is not None]
    return (*imported, *_derived(names, imported)) if imported else ()


def visible(names: Names, known: Sequence[Alias], scope: NameScope) -> tuple[Alias, ...]:
    """The aliases that code in `scope` sees, and that nothing else binds."""
    return tuple(alias for alias in known if _seen_as(names, known, alias.name, scope) is not None)


@lru_cache(maxsize=4)  # every phase of one propagation asks what is logged: two sources, as written and as matched
def calls(names: Names) -> tuple[RecordingCall, ...]:
    """Calls of flor_ray, in document order."""
    known = aliases(names)
    if not known:
        return ()
    labels = {alias.name for alias in known}
    found = []
    for node in names.tree.of_kind("call"):
        base = _base(node.children[0]) if node.children else None
        if base is not None and (base.label in labels or base is node.children[0]):
            function, before = _called(names, known, node.children[0])
            if function in FUNCTIONS:
                name, value = _arguments([*before, *_given(node)])
                feature = text_of(names, name, _value_of) if name is not None else None
                inside = value if value is not None and node.contains(value) else None
                found.append(RecordingCall(function, node, feature, inside, name))
    return tuple(found)


def dotted(node: Node) -> str:
    """The text of a name with dots: `a.b`."""
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


def _by_star(tree: Tree) -> list[Alias | None]:
    """What the last `from module import *` of a file binds, if it is ours: another one might bind the same names."""
    stars = tree.of_kind(_WILDCARD)
    statement = stars[-1].statement() if stars else None
    module = statement.child("module_name") if statement is not None else None
    if module is None or dotted(module) not in PACKAGES:
        return []
    names = [*((name, name) for name in sorted(FUNCTIONS)), *((face, "") for face in sorted(FACES))]
    return [Alias(name, target, stars[-1]) for name, target in names]


def _derived(names: Names, imported: Sequence[Alias]) -> list[Alias]:
    """Names that one of ours was put into: `record = flor.log`."""
    known, found = list(imported), list[Alias]()
    pending = _assignments(names)
    while True:
        labels = {alias.name for alias in known}
        fresh = []
        for target, value in pending:
            base = _base(value)
            if base is not None and base.label in labels and base.label != target.label:
                meaning = _meaning(names, known, value)
                alias = _seen_as(names, known, base.label, names.scope_of(base))
                if meaning is not None and alias is not None:
                    fresh.append(Alias(target.label, meaning, target, alias.origin or alias))
        if not fresh:
            return found
        known, found = known + fresh, found + fresh
        done = {alias.node.index for alias in fresh}
        pending = [(target, value) for target, value in pending if target.index not in done]


def _assignments(names: Names) -> list[tuple[Node, Node]]:
    """Identifiers with the chains `a.b.c` that are put into them."""
    bound = [node for scope in names.scopes.values() for nodes in scope.bindings.values() for node in nodes]
    pairs = [(node, value) for node in bound if (value := _value_of(node)) is not None and _base(value) is not None]
    return sorted(pairs, key=lambda pair: pair[0].index)


def _value_of(bound: Node) -> Node | None:
    """What an identifier is bound to; None if that is not written where it is bound."""
    target, statement = bound, bound.parent
    place = None
    if statement is not None and statement.kind in _PATTERNS:  # a, b = flor, flor.log
        place = statement.children.index(bound)
        target, statement = statement, statement.parent
    if statement is None or statement.kind not in ("assignment", "named_expression"):
        return None
    if target.role not in ("left", "name"):
        return None
    value = statement.child("right") or statement.child("value")
    while value is not None and value.kind == "assignment":  # a = b = flor
        value = value.child("right")
    if place is None or value is None:
        return value
    is_told = value.kind in _DISPLAYS and len(value.children) == len(target.children)
    return value.children[place] if is_told else None


def _base(node: Node) -> Node | None:
    """The name that a chain `a.b.c` begins with."""
    while node.kind == "attribute" and len(node.children) == 2:
        node = node.children[0]
    return node if node.kind == "identifier" else None


def _meaning(names: Names, known: Sequence[Alias], node: Node) -> str | None:
    """What a chain `a.b.c` stands for of ours, as in `Alias.target`; None if it is nothing of ours."""
    base = _base(node)
    alias = _seen_as(names, known, base.label, names.scope_of(base)) if base is not None else None
    if alias is None:
        return None
    members = []
    while node.kind == "attribute":
        members.append(node.children[1].label)
        node = node.children[0]
    path = [name for name in (alias.target, *reversed(members)) if name and name not in FACES]
    return None if len(path) > 1 else path[0] if path else ""


def _seen_as(names: Names, known: Iterable[Alias], name: str, scope: NameScope) -> Alias | None:
    """What a name is where code of a scope reads it; None if something else may bind it."""
    here = [alias for alias in known if alias.name == name]
    owner = names.lookup(name, scope) if here else None
    if owner is None:
        return next((alias for alias in here if alias.by_star and name not in BUILTINS), None)
    return _bound_as(names, here, owner.bindings[name], owner)


def _bound_as(names: Names, here: Sequence[Alias], nodes: Sequence[Node], owner: NameScope) -> Alias | None:
    """What a name is that all these nodes of a scope bind; `here` are the aliases of this name."""
    by_node = {alias.node.index: alias for alias in here if not alias.by_star}
    bound = [node for node in nodes if not _is_none(node)]
    found = [by_node.get(node.index) for node in bound]
    if owner is names.module:
        found += [alias for alias in here if alias.by_star]
        if here[0].name in FUNCTIONS | FACES and _may_be_hidden(names.tree, bound):
            return None
    targets = {alias.target if alias is not None else None for alias in found}
    return found[-1] if len(targets) == 1 else None


def _may_be_hidden(tree: Tree, bound: Sequence[Node]) -> bool:
    """Whether `from torch import *` may bind a function's name after these do: that has a `log`, too."""
    last = max((node.start for node in bound), default=0)
    stars = [statement for star in tree.of_kind(_WILDCARD) if (statement := star.statement()) is not None]
    modules = [(star.start, star.child("module_name")) for star in stars]
    return any(start > last and (module is None or dotted(module) not in PACKAGES) for start, module in modules)


def _is_none(bound: Node) -> bool:
    """Whether a name is bound to None, in case that an import fails: that cannot be called."""
    value = _value_of(bound)
    return value is not None and value.kind == "none"


def _called(names: Names, known: Sequence[Alias], node: Node) -> tuple[str, Sequence[Node]]:
    """The function that something stands for which is called, and what functools.partial has given it already."""
    meaning = _meaning(names, known, node)
    if meaning:
        return OLDER_NAMES.get(meaning, meaning), ()
    owner = names.lookup(node.label, names.scope_of(node)) if node.kind == "identifier" else None
    bound = owner.bindings[node.label] if owner is not None else []
    made = _value_of(bound[0]) if len(bound) == 1 else None
    given = _given(made) if made is not None and made.kind == "call" and _is_partial(names, made.children[0]) else ()
    if not given:
        return "", ()
    function, before = _called(names, known, given[0])
    return function, [*before, *given[1:]]


def _is_partial(names: Names, function: Node) -> bool:
    """Whether this is `functools.partial`, or `partial` by an import of it."""
    base = _base(function)
    owner = names.lookup(base.label, names.scope_of(base)) if base is not None else None
    bound = owner.bindings[base.label] if owner is not None and base is not None else []
    statement = bound[0].statement() if len(bound) == 1 else None
    if statement is None or not statement.kind.startswith("import"):
        return False
    item = bound[0].parent
    name = item.child("name") if item is not None and item.kind == "aliased_import" else bound[0]
    parts = [dotted(each) for each in (statement.child("module_name"), name) if each is not None]
    return ".".join([*parts, *(n.label for n in function.children[1:])]) == "functools.partial"


def _given(call: Node) -> Sequence[Node]:
    given = call.child("arguments")
    return given.children if given is not None else ()


def _arguments(given: Sequence[Node]) -> tuple[Node | None, Node | None]:
    positional, keywords = [], {}
    for argument in given:
        if argument.kind == "keyword_argument" and len(argument.children) == 2:
            keywords[argument.children[0].label] = argument.children[1]
        else:
            positional.append(argument)
    name = positional[0] if positional else keywords.get("name")
    value = positional[1] if len(positional) > 1 else keywords.get("value")
    return name, value


def enclosing(node: Node) -> Iterator[Node]:
    """Definitions around a node, outermost first."""
    around = [each for each in node.ancestors() if each.kind in ("function_definition", "class_definition")]
    return reversed(around)
