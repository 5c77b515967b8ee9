"""What binds a variable, to what, and how it is used: what tells whether two variables of two versions are one."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence, Set

from flor_ray.propagation.reading.names import Names, NameScope, ScopeKey
from flor_ray.propagation.reading.tree import Node

_SAME_VALUE = 0.5  # of the other words of two bindings
_LOG_METHODS = frozenset({"critical", "debug", "error", "exception", "info", "warn", "warning"})
_ADDS = "augmented_assignment"
_PARAMETERS = frozenset(
    {"parameters", "lambda_parameters", "default_parameter", "typed_parameter", "typed_default_parameter"}
)
_OPERATIONS = frozenset({"binary_operator", "unary_operator", "not_operator"})
_NUMBERS = frozenset({"float", "integer"})
PATTERNS = frozenset({"list_pattern", "pattern_list", "tuple_pattern"})
DISPLAYS = frozenset({"expression_list", "list", "tuple"})


def writes_log(identifier: Node) -> bool:
    """Whether this is the `logger` of a statement `logger.info(..)`: a module will do as well."""
    function = identifier.parent
    is_receiver = function is not None and function.kind == "attribute" and function.children[0] is identifier
    call = function.parent if function is not None else None
    if not is_receiver or function is None or call is None or call.kind != "call" or function.role != "function":
        return False
    alone = call.parent is not None and call.parent.kind == "expression_statement"
    return alone and function.children[-1].label in _LOG_METHODS


def module_of_name(owner: NameScope | None, name: str) -> str:
    """The module that a variable is, or is from; "" if it was not imported."""
    for bound in owner.bindings.get(name, ()) if owner is not None else ():
        statement = bound.statement()
        if statement is None or not statement.kind.startswith("import"):
            continue
        module = statement.child("module_name")
        if module is not None:
            return " ".join(each.label for each in (module, *module.children))
        whole = bound.parent if bound.parent is not None and bound.parent.kind == "dotted_name" else bound
        if bound.parent is not None and bound.parent.kind == "aliased_import":
            whole = bound.parent.children[0]
        return " ".join(each.label for each in (whole, *whole.children))
    return ""


def whole_module(owner: NameScope | None, name: str) -> str:
    """The module that a variable is; "" if it is none, or something from one."""
    bound = owner.bindings.get(name, ()) if owner is not None else ()
    is_imported = any(s.kind == "import_statement" for node in bound if (s := node.statement()) is not None)
    return module_of_name(owner, name) if is_imported else ""


def is_standard_module(owner: NameScope | None, name: str) -> bool:
    """Whether a variable is a module of Python's standard library: no other module is called so."""
    return bool(sys.stdlib_module_names.intersection(whole_module(owner, name).split()[:1]))


def uses_of(nodes: Sequence[Node]) -> Set[str]:
    """How a variable is used, as far as that tells one kind of variable from another: it is called, or added to."""
    called = {"called" for node in nodes if node.role == "function"}
    return called | {"added to" for node in nodes if node.parent is not None and node.parent.kind == _ADDS}


def added_by(reads: Sequence[Node]) -> Set[str]:
    """The names in what is added to a variable."""
    found = set[str]()
    for node in reads:
        holder = node.parent
        todo = [value] if holder is not None and holder.kind == _ADDS and (value := holder.child("right")) else []
        while todo:
            each = todo.pop()
            todo += each.children
            if each.kind == "identifier":
                found.add(each.label)
    return found


def scope_key(scope: NameScope | None) -> ScopeKey | None:
    """Identity of a scope, if there is one."""
    return scope.key if scope is not None else None


def how_bound(scope: NameScope, name: str) -> str:
    """By what a scope binds a name: definition, import or variable; a variable where it is by several."""
    kinds = set()
    for node in scope.bindings.get(name, ()):
        statement = node.statement()
        parent = node.parent
        if parent is not None and parent.kind in ("function_definition", "class_definition"):
            kinds.add("definition")
        elif statement is not None and statement.kind.startswith("import"):
            kinds.add("import")
        else:
            kinds.add("variable")
    return kinds.pop() if len(kinds) == 1 else "variable"


def same_value(newer: Node, older: Node) -> bool:
    """Whether two statements that bind a variable bind it to the same: they differ by variables only, or by little."""
    words: list[Counter[str]] = []
    statements = newer.statement(), older.statement()
    if statements[0] is not None and statements[1] is not None and _form(statements[0]) == _form(statements[1]):
        return newer.parent is not None and newer.parent.kind != "parameters"
    for bound in (newer, older):
        statement = bound.statement()
        if statement is None or bound.parent is None or bound.parent.kind == "parameters":
            return False
        end = next((child.start for child in statement.children if child.kind == "block"), statement.end)
        words.append(Counter(_leaves(statement, end, bound)))
    common = (words[0] & words[1]).total()
    return 2 * common > (words[0].total() + words[1].total()) * _SAME_VALUE


def is_computed_otherwise(newer: Node, older: Node) -> bool:
    """Whether what two assignments bind differs by more than the names in it: `seconds = t` is not `ms = 1000 * t`."""
    values = value_of(newer), value_of(older)
    return values[0] is not None and values[1] is not None and _arithmetic(values[0]) != _arithmetic(values[1])


def _arithmetic(value: Node) -> Counter[str]:
    """The operators and numbers in a value, and the method that it is the result of."""
    found, todo = Counter[str](), [value]
    while todo:
        node = todo.pop()
        todo += node.children
        if node.kind in _OPERATIONS or node.kind in _NUMBERS:
            found[node.label] += 1
    function = value.children[0] if value.kind == "call" and value.children else None
    if function is not None and function.kind == "attribute":
        found[function.children[-1].label] += 1
    return found


def _form(statement: Node) -> tuple[str, list[int]]:
    """What a statement is, but for names of variables; of a loop or the like its header."""
    return statement.kind, [child.shape for child in statement.children if child.kind != "block"]


def have_common_words(newer: Node, older: Node) -> bool:
    """Whether two statements that bind a variable have a word in common, beyond their form: `x = f()` of `y = g()`."""
    words: list[set[str]] = []
    for bound in (newer, older):
        statement = bound.statement()
        if statement is None:
            return False
        end = next((child.start for child in statement.children if child.kind == "block"), statement.end)
        words.append(set(_leaves(statement, end, bound)) - {""})
    return not words[0].isdisjoint(words[1])


def value_of(bound: Node) -> Node | None:
    """What an assignment binds an identifier to; for one of `a, b = f(), g()`, the call of its own."""
    holder = bound.parent
    if holder is None or holder.kind == "assignment":
        return holder.child("right") if holder is not None and bound.role == "left" else None
    whole = holder.parent.child("right") if holder.kind in PATTERNS and holder.parent is not None else None
    if whole is None or whole.kind not in DISPLAYS or len(whole.children) != len(holder.children):
        return None
    return whole.children[holder.children.index(bound)]


def below(node: Node) -> Iterator[Node]:
    """The node and all that is in it, in no order that matters."""
    todo = [node]
    while todo:
        each = todo.pop()
        todo += each.children
        yield each


def are_exchanged_places(bound: Node, other: Node) -> bool:
    """Whether of two tuples of variables one has elsewhere what the other has here: `a, b` of `b, a`."""
    holder = other.parent
    if bound.parent is None or holder is None or not (bound.parent.kind in PATTERNS and holder.kind in PATTERNS):
        return False
    return any(each.kind == "identifier" and each.label == bound.label for each in holder.children)


def is_given(bound: Node, other: Node) -> bool:
    """Whether what a name is bound to is given to a call that makes the value of another: `f(x)` of `g(f(x), y)`."""
    value, whole = (each.parent.child("right") if each.parent is not None else None for each in (bound, other))
    if value is None or whole is None or value.kind != "call":
        return False
    todo = list(whole.children)
    while todo:
        node = todo.pop()
        todo += node.children
        if node.fingerprint == value.fingerprint and node.parent is not None and node.parent.kind == "argument_list":
            return True
    return False


def _leaves(statement: Node, end: int, without: Node) -> Iterator[str]:
    todo = list(statement.children)
    while todo:
        node = todo.pop()
        if node.start < end:
            todo += node.children
            if not node.children and node is not without:
                yield node.label


def holder_of(attribute: Node) -> str:
    """The variable that an attribute is one of: `self` of `self.net.weight`, "" for one of a call's result."""
    node = attribute.parent
    while node is not None and node.kind == "attribute" and node.children:
        node = node.children[0]
    return node.label if node is not None and node.kind == "identifier" else ""


def attribute_names(names: Names) -> frozenset[str]:
    """Attributes that a source mentions, and what its classes define."""
    mentioned = {node.label for node in names.tree.of_kind("attribute_name")}
    return frozenset(mentioned.union(*(scope.bindings for scope in names.scopes.values() if scope.is_class)))


def are_the_only_ones(a: Node, b: Node, left: NameScope | None, right: NameScope | None) -> bool:
    """Whether two identifiers are the only parameters, beside `self`, of functions of one name."""
    if left is None or right is None or not (is_parameter(a) and is_parameter(b)):
        return False
    named = [scope.node.child("name") for scope in (left, right)]
    if named[0] is None or named[1] is None or named[0].label != named[1].label:
        return False
    return parameters(left) == [a.label] and parameters(right) == [b.label]


def have_one_place(a: Node, b: Node, left: NameScope, right: NameScope) -> bool:
    """Whether two identifiers are parameters of functions of one name, of which all others are called the same, and
    have the same default."""
    named = [scope.node.child("name") for scope in (left, right)]
    if named[0] is None or named[1] is None or named[0].label != named[1].label:
        return False
    if not (is_parameter(a) and is_parameter(b)) or a.parent is None or b.parent is None:
        return False
    if [b.label if each == a.label else each for each in parameters(left)] != parameters(right):
        return False
    defaults = [each.child("value") for each in (a.parent, b.parent)]
    prints = [each.fingerprint if each is not None else None for each in defaults]
    return a.parent.kind == b.parent.kind and prints[0] == prints[1]


def parameters(scope: NameScope) -> list[str]:
    """The parameters of a function, without `self`."""
    bound = sorted((n for nodes in scope.bindings.values() for n in nodes if is_parameter(n)), key=lambda n: n.index)
    names = [node.label for node in bound]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def set_attributes(names: Names) -> frozenset[str]:
    """Attributes that a source itself sets."""
    return frozenset(
        node.label
        for node in names.tree.of_kind("attribute_name")
        if node.parent is not None and node.parent.role == "left" and node.parent.children[-1] is node
    )


def is_parameter(node: Node) -> bool:
    return node.parent is not None and node.parent.kind in _PARAMETERS
