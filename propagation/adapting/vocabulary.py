"""Names that the newer version knows and the older does not: what uses them may not belong there.

newer   ema = EMA(net)              older   (nothing of that name)
        self.ema.update(net)  <--   would fail, or stand for something that is done under another name
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence, Set

from flor_ray.propagation.adapting.adaptation import Adaptation, Declined
from flor_ray.propagation.adapting.bindings import attribute_names
from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.reading.effects import root_of
from flor_ray.propagation.reading.names import BUILTINS
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import IMPORTS, Node

NAMES = frozenset({"identifier", "attribute_name", "keyword_name"})
_OPTION = re.compile(r"--?[a-zA-Z][\w-]+")
_TYPED = frozenset({"generic_type", "subscript", "type"})  # `dict[str, int]` was `Dict[str, int]` once


def strangeness(
    newer: Program, older: Program, statement: Node, adaptation: Adaptation, requested: Set[int]
) -> set[Doubt]:
    """Doubts about names in a statement of the newer program that the older does not know at all.

    What else is `requested` (first bytes), or observes, does not tell what the script is made of. What is set for
    something that is requested, too, is read; and what is carried to set a name is no stranger.
    """
    scopes = newer.written_names
    is_import = statement.kind in IMPORTS
    nodes = [
        node
        for node in newer.written.subtree(statement)
        if node.kind in NAMES
        and node.label != "_"
        and (node.start, node.end) not in adaptation.replacements
        and not ((owner := scopes.owner(node)) is not None and statement.contains(owner.node))
    ]
    here = Counter(node.label for node in nodes)
    if is_import:
        nodes = [node for node in nodes if scopes.binds(node)]
    there = {node.label for node in older.written.of_kind(*NAMES)} | _options(older)
    typed = {node.label for node in nodes if node.parent is not None and node.parent.kind in _TYPED}
    unknown = {
        name for name in {node.label for node in nodes} if name not in there and (name not in BUILTINS or name in typed)
    }
    unknown -= {name for name, owner in adaptation.lacking if owner is not None}
    unknown -= _of_modules(newer, nodes)
    found = {Doubt.NAME} if any(is_set(n) and n.label in unknown & adaptation.renamed.keys() for n in nodes) else set()
    if not unknown:
        return found
    elsewhere = _vocabulary(newer.written.of_kind(*NAMES), adaptation.renamed)
    along = requested | {log.statement.start for log in newer.logs}
    asked = set[str]()
    for other in newer.written.statements:
        if other.start in along and other is not statement:
            words = _vocabulary(newer.written.subtree(other), adaptation.renamed)
            elsewhere.subtract(words)
            asked |= words.keys() if other.start in requested else set()
    elsewhere.subtract(here)
    is_part = (
        is_import and len(requested) > 1
    )  # an import that is all that is asked for serves nobody, and harms nobody
    set_here = {node.label for node in nodes if node.role == "left" or is_set(node) or is_part}
    elsewhere.update({name: min(elsewhere[name], 1) - elsewhere[name] for name in _inherited(newer, nodes)})
    elsewhere.update({name: min(elsewhere[name], 1) - elsewhere[name] for name in _methods(newer, nodes)})
    most = max((elsewhere[name] for name in unknown - set_here), default=0)
    if most > 0:
        found.add(Doubt.STRANGE if most > 1 else Doubt.STRANGE_ONCE)
    if any(elsewhere[name] > 0 for name in (unknown & set_here) - asked):
        found.add(Doubt.UNREAD)
    return found


def _inherited(newer: Program, nodes: Sequence[Node]) -> set[str]:
    """Attributes of `self` that the newer file neither sets nor defines: that it says them tells nothing of them."""
    own = {n.label for n in nodes if n.kind == "attribute_name" and n.parent is not None and _is_self(n.parent)}
    names = newer.written_names
    made = {node.label for node in newer.written.of_kind("attribute_name") if node.label in own and is_set(node)}
    return own - made - {name for scope in names.scopes.values() if scope.is_class for name in scope.bindings}


def _methods(newer: Program, nodes: Sequence[Node]) -> set[str]:
    """Methods that are called and that the newer file neither sets nor defines: most are a library's."""
    called, others = set[str](), set[str]()
    for node in nodes:
        is_method = node.kind == "attribute_name" and node.parent is not None and node.parent.role == "function"
        (called if is_method else others).add(node.label)
    made = {node.label for node in newer.written.of_kind("attribute_name") if node.label in called and is_set(node)}
    defined = {name for scope in newer.written_names.scopes.values() for name in scope.bindings}
    return called - others - made - defined


def _of_modules(newer: Program, nodes: Sequence[Node]) -> set[str]:
    """Names in what an imported module has, `init` and `normal_` of `torch.nn.init.normal_`: a library's, and not the
    script's. The module's own name is none of them."""
    found, others = set[str](), set[str]()
    for node in nodes:
        root = node.parent if node.kind == "attribute_name" else _called(node) if node.kind == "keyword_name" else None
        while root is not None and root.kind == "attribute":
            root = root.children[0]
        is_module = root is not None and root.kind == "identifier" and _is_import(newer, root)
        (found if is_module else others).add(node.label)
    return found - others


def _called(keyword: Node) -> Node | None:
    """The function that is called with a keyword."""
    call = next((each for each in keyword.ancestors() if each.kind == "call"), None)
    return call.child("function") if call is not None else None


def _is_import(newer: Program, identifier: Node) -> bool:
    owner = newer.written_names.owner(identifier)
    bound = [node.statement() for node in owner.bindings.get(identifier.label, ())] if owner is not None else []
    return bool(bound) and all(each is not None and each.kind == "import_statement" for each in bound)


def _is_self(attribute: Node) -> bool:
    return attribute.children[0].kind == "identifier" and attribute.children[0].label == "self"


def check_attributes(
    newer: Program, older: Program, unit: Node, adaptation: Adaptation, dropped: Sequence[Node], moved: Set[int]
) -> None:
    """Raises Declined if a unit reads an attribute that the newer file sets, or adds as an option, and the older knows
    nothing of.

    `moved` are the first bytes of statements that come along.
    """
    tree = newer.written
    known = attribute_names(older.written_names) | _options(older)
    options = _options(newer)
    own = {
        node.label
        for node in tree.of_kind("attribute_name")
        if is_set(node) and ((s := node.statement()) is None or not (s.start in moved or unit.contains(s)))
    }
    for node in tree.subtree(unit):
        if node.kind != "attribute_name" or node.label in known or is_set(node):
            continue
        lacking = node.label in own or (node.label in options and not _is_of_a_module(newer, node))
        adapted = (node.start, node.end) in adaptation.replacements
        if lacking and not adapted and not any(each.contains(node) for each in dropped):
            raise Declined(f"it reads the attribute `{node.label}`, which the older version does not have")


def check_items(newer: Program, mapping: Mapping, unit: Node) -> None:
    """Raises Declined if a unit reads an item, `batch[2]`, where the older version has another one wherever the newer
    reads it."""
    for node in newer.tree.subtree(unit):
        key = _constant_key(node)
        if key is None:
            continue
        same = [
            n for n in newer.tree.of_kind("subscript") if n.fingerprint == node.fingerprint and not unit.contains(n)
        ]
        theirs = [found for n in same if (b := mapping.older_of(n)) is not None and (found := _constant_key(b))]
        if theirs and key.label not in {other.label for other in theirs}:
            text = f"the item `{key.label}` of `{root_of(node).label}`"
            raise Declined(f"it reads {text}, where the older version has `{theirs[0].label}`")


def _constant_key(node: Node) -> Node | None:
    """The number or text by which an item of a variable, or of an attribute, is taken."""
    if node.kind != "subscript" or len(node.children) != 2 or root_of(node).kind != "identifier":
        return None
    key = node.children[1]
    return key if key.kind in ("integer", "string") and not key.children else None


def _is_of_a_module(newer: Program, attribute: Node) -> bool:
    """Whether an attribute is what an imported module has: the `path` of `sys.path` is no option."""
    holder = attribute.parent.children[0] if attribute.parent is not None else attribute
    return holder.kind == "identifier" and _is_import(newer, holder)


def is_set(node: Node) -> bool:
    """Whether a name is what an assignment sets: `x`, `self.x`, one of `x, y`."""
    child, parent = node, node.parent
    while parent is not None and parent.kind in ("attribute", "pattern_list", "tuple_pattern"):
        if parent.kind == "attribute" and parent.children[-1] is not child:
            return False
        child, parent = parent, parent.parent
    return parent is not None and child.role == "left" and parent.kind in ("assignment", "augmented_assignment")


def _options(program: Program) -> set[str]:
    """What the options that a command line may give are called where they are read: `a_b` of `'--a-b'`."""
    texts = (node.label[1:-1] for node in program.written.of_kind("string"))
    return {text.lstrip("-").replace("-", "_") for text in texts if _OPTION.fullmatch(text)}


def _vocabulary(nodes: Iterable[Node], renamed: Container[str]) -> Counter[str]:
    """How often each name of an attribute, a keyword or a variable is met; of variables not those that are renamed."""
    return Counter(n.label for n in nodes if n.kind in NAMES and not (n.kind == "identifier" and n.label in renamed))
