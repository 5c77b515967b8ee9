"""The tree-sitter door: Python source in, `Tree` out. No other module may import tree-sitter.

What the matching does not need is left out: comments, brackets, commas, keywords. Operators become part of their
parent's label. Attribute and keyword-argument names get kinds of their own, because they live in other name spaces than
variables do and must never be paired with one.
"""

from __future__ import annotations

import ast
import gc
import re
import symtable
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import tree_sitter
import tree_sitter_python

from flor_ray.propagation.reading.tree import BLOCKS, STATEMENT_ENDINGS, Node, Tree, copied, measure

_LANGUAGE = tree_sitter.Language(tree_sitter_python.language())
_NUMBERS = range(_LANGUAGE.node_kind_count)
_NAMED = frozenset(_LANGUAGE.node_kind_for_id(n) for n in _NUMBERS if _LANGUAGE.node_kind_is_named(n))


def _kind_of(number: int) -> str:
    kind = _LANGUAGE.node_kind_for_id(number) or ""
    return f"'{kind}'" if kind in _NAMED and not _LANGUAGE.node_kind_is_named(number) else kind  # keyword `lambda`


_KINDS = [_kind_of(number) for number in _NUMBERS]
_KIND_COUNT = len(_KINDS)
# Anonymous tokens that change what their parent means; all others follow from the parent's kind.
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "@", "//", "**", "<<", ">>", "&", "|", "^", "~", ":="})
_COMPARISONS = frozenset({"<", "<=", "==", "!=", ">=", ">", "<>", "in", "not in", "is", "is not"})
_OPERATORS = _ARITHMETIC | _COMPARISONS | {f"{operator}=" for operator in _ARITHMETIC} | {"not", "and", "or", "async"}
_ALWAYS_SAID = frozenset({"for_statement", "for_in_clause", "not_operator"})  # `in`, `not` say nothing new there
# Kinds whose children's fields are looked up; elsewhere a child's place says enough.
_WITH_ROLES = frozenset(
    {
        *("aliased_import", "as_pattern", "assignment", "attribute", "augmented_assignment", "call", "case_clause"),
        *("class_definition", "class_pattern", "decorated_definition", "default_parameter", "elif_clause"),
        *("else_clause", "except_clause", "finally_clause", "for_in_clause", "for_statement", "function_definition"),
        *("if_statement", "import_from_statement", "import_statement", "keyword_argument", "keyword_pattern"),
        *("lambda", "match_statement", "named_expression", "subscript", "try_statement", "typed_default_parameter"),
        *("while_statement", "with_item", "with_statement"),
    }
)
_SAID = frozenset(n for n in _NUMBERS if _KINDS[n] in _OPERATORS | {":"})  # `:` for slices
_COMMENTS = {"comment", "line_continuation", "string_start", "string_end"}
_SKIPPED = frozenset(n for n in _NUMBERS if _KINDS[n] in _COMMENTS or _KINDS[n] not in _NAMED) - _SAID
_WORD_KINDS = {"false", "float", "identifier", "integer", "none", "true"}
_WORDS = frozenset(n for n in _NUMBERS if _KINDS[n] in _WORD_KINDS)  # nothing is looked for in them
_WHOLE = frozenset(n for n in _NUMBERS if _KINDS[n].endswith(STATEMENT_ENDINGS))  # statements, unless they have a role
_STRING, _INTERPOLATION = (_KINDS.index(kind) for kind in ("string", "interpolation"))
_QUOTES = frozenset({b'"', b"'"})  # a string that begins with one has no prefix, and so nothing to look for in it
_DOUBLE_QUOTED = re.compile(rb"""^([A-Za-z]*)"([^"'\\\\\n]*)"$""")  # formatters change quotes, and nothing else by that
_BARE_RETURN = re.compile(r"\r(?!\n)")


def encode(source: str) -> bytes:
    """Bytes of a source; whatever was read with `surrogateescape` survives the round trip through `decode`."""
    return source.encode("utf-8", "surrogatepass")


def decode(source: bytes) -> str:
    """The text of bytes that `encode` has made."""
    return source.decode("utf-8", "surrogatepass")


@lru_cache(maxsize=32)  # one newer source is carried to hundreds of older ones; trees do not change
def parse(source: str) -> Tree:
    """Syntax tree of a source. Never fails: what tree-sitter cannot read becomes ERROR nodes and `has_errors`."""
    data = encode(source)
    parsed = tree_sitter.Parser(_LANGUAGE).parse(data)
    with collecting_later():
        if parsed.root_node.has_error:
            return Tree(data, _nodes(parsed, data, None), True)
        tree = Tree(data, _nodes(parsed, data, _recent.statements()), False)
    _recent.remember(tree)
    return tree


@contextmanager
def collecting_later() -> Iterator[None]:
    """Let the cyclic collector look less often: it would walk the growing trees again and again, and free nothing."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(max(young, _YOUNG_OBJECTS) if young else 0, middle, old)  # 0: it is switched off
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)


_YOUNG_OBJECTS = 200_000  # two trees of two thousand lines


class _Recent:
    """The statements of the sources parsed last: two versions of a file have most of theirs in common, and what stands
    in one of them need not be taken from the parser node by node again."""

    def __init__(self) -> None:
        self._trees: list[Tree] = []
        self._statements: list[_Known] = []  # of the first of them, in order: looked for once they are asked for

    def statements(self) -> list[_Known]:
        """The statements of each source, the last source first."""
        missing = len(self._trees) - len(self._statements)
        fresh = [(t, {t.text(n): n for n in t.nodes if _is_whole(n)}) for t in self._trees[:missing]]
        self._statements = [*fresh, *self._statements][:_REMEMBERED]
        return self._statements

    def remember(self, tree: Tree) -> None:
        self._trees = [tree, *self._trees[: _REMEMBERED - 1]]
        self._statements = self._statements[: _REMEMBERED - 1]

    def cache_clear(self) -> None:
        self._trees, self._statements = [], []


def _is_whole(node: Node) -> bool:
    """Whether a node is a statement that may stand in any block."""
    return not node.role and node.kind.endswith(STATEMENT_ENDINGS)


_Known = tuple[Tree, dict[bytes, Node]]
"""A tree and its statements by their text."""
_REMEMBERED = 2  # sources; one newer source is carried to many older ones, each much like the one before
_recent = _Recent()


def has_bare_returns(source: str) -> bool:
    """Whether some line ends in a carriage return alone: for Python that ends a line, for tree-sitter it does not."""
    return _BARE_RETURN.search(source) is not None


@lru_cache(maxsize=4096)  # a history asks of each of its versions, for each version that something is carried to
def has_errors(source: str) -> bool:
    """Whether there is anything in a source that tree-sitter cannot read."""
    return tree_sitter.Parser(_LANGUAGE).parse(encode(source)).root_node.has_error


def error_count(source: str) -> int:
    """ERROR and MISSING nodes that tree-sitter finds in a source."""
    root = tree_sitter.Parser(_LANGUAGE).parse(encode(source)).root_node
    if not root.has_error:
        return 0
    stack, count = [root], 0
    while stack:
        node = stack.pop()
        count += node.is_error or node.is_missing
        stack.extend(child for child in node.children if child.has_error or child.is_missing)
    return count


def is_python(source: str) -> bool:
    """Whether this interpreter would accept the source."""
    text = (
        source.removeprefix("\ufeff").encode("utf-8", "replace").decode("utf-8")
    )  # as text: no encoding cookie counts
    try:
        symtable.symtable(text, "", "exec")  # parses as `ast.parse` does, and makes no objects of what it has parsed
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _has_syntax_tree(text)  # it asks for more than syntax: that `nonlocal` finds a variable, say
    return True


def _has_syntax_tree(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


_Plan = tuple[str, tuple[str, ...], tuple[tuple[int, str], ...]]
"""What children of certain kinds make of their parent and of themselves: its label, the roles of those that stay (none
where no child has one), and the place and kind of those that are names of a kind of their own."""

_MAX_PLANNED = 12  # longer lists of children hardly ever occur twice
_MOST_PLANS = 20_000  # a file needs some 200, of which most are every file's
_plans: dict[tuple[int, ...], _Plan] = {}  # what the grammar says, whatever the file


def _nodes(parsed: tree_sitter.Tree, data: bytes, recent: list[_Known] | None) -> list[Node]:
    """All nodes that stay, in preorder; a statement that a `recent` source has, too, is copied from there.

    One walk with a cursor, which keeps no object of tree-sitter alive. A node's label and its children's roles follow
    from its kind and theirs, so they are worked out once for each combination, when the walk leaves the node. Only
    after an error (`recent` is None) is a tree not what the grammar says; then every node is looked at by itself.
    With `measure`, the hottest loop there is: written flat, one attribute at a time.
    """
    if len(_plans) > _MOST_PLANS:
        _plans.clear()
    plans = {} if recent is None else _plans
    words: dict[bytes, str] = {}  # a name is said many times in a file
    nodes: list[Node] = []
    fresh: list[Node] = []  # of them, those that are not copies
    around: list[tuple[Node | None, int, list[int], list[Node]]] = []  # what the walk is in, from the root on
    parent: Node | None = None
    above, numbers, children = -1, list[int](), list[Node]()  # its kind, its children's, and those of them that stay
    is_block = False
    new = Node.__new__
    cursor = parsed.walk()
    enter, step, leave = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    while True:
        at = cursor.node
        assert at is not None  # the cursor never leaves the tree
        number = at.kind_id
        if number in _SAID:
            numbers.append(number)
        elif number not in _SKIPPED:
            numbers.append(number)
            kind = _KINDS[number] if number < _KIND_COUNT else "ERROR"
            start, end = at.start_byte, at.end_byte
            known: list[Node] = []
            is_whole = number in _WHOLE
            if is_whole and recent and cursor.field_id is None:
                known = _known(recent, data[start:end], kind)
            if known:
                children.append(copied(known, start, parent, nodes))
            else:
                node = new(Node)
                node.kind = kind
                node.role = ""
                node.start = start
                node.end = end
                node.index = len(nodes)
                node.is_statement = is_whole and is_block
                node.parent = parent
                nodes.append(node)
                fresh.append(node)
                children.append(node)
                is_word = number in _WORDS or (number == _STRING and data[start : start + 1] in _QUOTES)
                if not is_word and enter():
                    around.append((parent, above, numbers, children))
                    parent, above, numbers, children = node, number, [], []
                    is_block = kind in BLOCKS
                    continue
                text = data[start:end]
                label = words.get(text) if number != _STRING else _quoted(text)
                if label is None:
                    label = words[text] = text.decode("utf-8", "replace")
                node.label = label
                node.children = ()
        while not step():
            if parent is None:
                measure(reversed(fresh))
                return nodes
            leave()
            if above == _STRING and _INTERPOLATION not in numbers:
                del fresh[len(fresh) - len(nodes) + parent.index + 1 :], nodes[parent.index + 1 :]
                parent.label = _quoted(data[parent.start : parent.end])
                parent.children = ()
            else:
                key = (above, *numbers)
                plan = plans.get(key)
                if plan is None:
                    plan = _plan(cursor.node, parent.kind, numbers)
                    if recent is not None and len(numbers) <= _MAX_PLANNED:
                        plans[key] = plan
                parent.label, roles, names = plan
                parent.children = children
                if roles:
                    for child, role in zip(children, roles, strict=True):
                        child.role = role
                    for place, other in names:
                        children[place].kind = other
            parent, above, numbers, children = around.pop()
            is_block = parent is not None and parent.kind in BLOCKS


def _quoted(text: bytes) -> str:
    """What a string says, whatever its quotes."""
    return _DOUBLE_QUOTED.sub(rb"\1'\2'", text).decode("utf-8", "replace")


def _known(recent: list[_Known], text: bytes, kind: str) -> list[Node]:
    """The subtree of a statement that stands in one of these trees, too."""
    for tree, statements in recent:
        node = statements.get(text)
        if node is not None and node.kind == kind:
            return tree.subtree(node)
    return []


def _plan(node: tree_sitter.Node | None, kind: str, below: list[int]) -> _Plan:
    roles = _roles(node) if node is not None and kind in _WITH_ROLES else [""] * len(below)
    stay = [(_kind(number), role) for number, role in zip(below, roles, strict=True) if number not in _SAID]
    names = [(place, _name_kind(kind, role)) for place, (each, role) in enumerate(stay) if each == "identifier"]
    told = tuple(role for _, role in stay)
    own = tuple((place, each) for place, each in names if each != "identifier")
    return _label(kind, [_kind(number) for number in below]), told if any(told) else (), own


def _roles(node: tree_sitter.Node) -> list[str]:
    """Field names of the children, without those that are skipped. With a cursor: asked for one child, tree-sitter
    counts from the first."""
    cursor = node.walk()
    cursor.goto_first_child()
    roles = []
    while True:
        if cursor.node is not None and cursor.node.kind_id not in _SKIPPED:
            roles.append(cursor.field_name or "")
        if not cursor.goto_next_sibling():
            return roles


def _kind(number: int) -> str:
    return _KINDS[number] if number < _KIND_COUNT else "ERROR"


def _name_kind(parent: str, role: str) -> str:
    if parent == "attribute" and role == "attribute":
        return "attribute_name"
    if parent in ("keyword_argument", "keyword_pattern") and role != "value":
        return "keyword_name"
    return "identifier"


def _label(kind: str, below: list[str]) -> str:
    if kind == "slice":  # a[1:] and a[:1] differ in nothing but the colon's place
        return "".join(":" if child == ":" else "_" for child in below)
    words = [child for child in below if child in _OPERATORS]
    return " ".join(words) if words and (kind not in _ALWAYS_SAID or "async" in words) else ""
