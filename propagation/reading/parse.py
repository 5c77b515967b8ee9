"""The tree-sitter door: Python source in, `Tree` out. No other module may import tree-sitter.

What the matching does not need is left out: comments, brackets, commas, keywords. Operators become part of their
parent's label. Attribute and keyword-argument names get kinds of their own, because they live in other name spaces than
variables do and must never be paired with one.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterator
from functools import lru_cache

import tree_sitter
import tree_sitter_python

from flor_ray.propagation.reading.tree import STATEMENT_ENDINGS, Node, Token, Tree, Twin

_LANGUAGE = tree_sitter.Language(tree_sitter_python.language())
_NUMBERS = range(_LANGUAGE.node_kind_count)
_NAMED = frozenset(_LANGUAGE.node_kind_for_id(n) for n in _NUMBERS if _LANGUAGE.node_kind_is_named(n))


def _kind_of(number: int) -> str:
    kind = _LANGUAGE.node_kind_for_id(number) or ""
    return f"'{kind}'" if kind in _NAMED and not _LANGUAGE.node_kind_is_named(number) else kind  # keyword `lambda`


_KINDS = [_kind_of(number) for number in _NUMBERS]
_LEFT_OUT = frozenset({"comment", "line_continuation", "string_start", "string_end"}) | (frozenset(_KINDS) - _NAMED)
# Anonymous tokens that change what their parent means; all others follow from the parent's kind.
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "@", "//", "**", "<<", ">>", "&", "|", "^", "~", ":="})
_COMPARISONS = frozenset({"<", "<=", "==", "!=", ">=", ">", "<>", "in", "not", "is", "and", "or", "async"})
_OPERATORS = _ARITHMETIC | _COMPARISONS | {f"{operator}=" for operator in _ARITHMETIC}
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
# Kinds whose own tokens are brackets, commas and keywords only: what is named in them is all that is asked for.
_PLAIN = frozenset(
    {
        *("argument_list", "assignment", "attribute", "block", "call", "class_definition", "concatenated_string"),
        *("default_parameter", "dictionary", "dotted_name", "expression_list", "expression_statement", "if_statement"),
        *("import_from_statement", "import_statement", "interpolation", "keyword_argument", "list", "module", "pair"),
        *("parameters", "parenthesized_expression", "pattern_list", "return_statement", "string", "subscript"),
        *("tuple", "tuple_pattern"),
    }
)
_WORDS = frozenset({"attribute_name", "false", "float", "identifier", "integer", "keyword_name", "none", "true"})
_INTERPOLATION = next(n for n in _NUMBERS if _LANGUAGE.node_kind_for_id(n) == "interpolation")
_DOUBLE_QUOTED = re.compile(rb"""^([A-Za-z]*)"([^"'\\\\\n]*)"$""")  # formatters change quotes, and nothing else by that
_MAX_PLANNED = 12  # longer lists of children hardly ever occur twice
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
    if parsed.root_node.has_error:
        return Tree(data, _tokens(parsed, data, None), True)
    tree = Tree(data, _tokens(parsed, data, _recent.statements()), False)
    _recent.remember(tree)
    return tree


class _Recent:
    """The statements of the sources parsed last: two versions of a file have most of theirs in common, and what stands
    in one of them need not be taken from the parser node by node again."""

    def __init__(self) -> None:
        self._trees: list[Tree] = []
        self._statements: list[_Statements] = []  # of the first of them, in order: looked for once they are asked for

    def statements(self) -> list[_Statements]:
        """The statements of each source by their text, the last source first."""
        missing = len(self._trees) - len(self._statements)
        fresh = [{t.text(n): n for n in t.nodes if _is_whole(n.kind, n.role)} for t in self._trees[:missing]]
        self._statements = [*fresh, *self._statements][:_REMEMBERED]
        return self._statements

    def remember(self, tree: Tree) -> None:
        self._trees = [tree, *self._trees[: _REMEMBERED - 1]]
        self._statements = self._statements[: _REMEMBERED - 1]

    def cache_clear(self) -> None:
        self._trees, self._statements = [], []


_Statements = dict[bytes, Node]
_REMEMBERED = 2  # sources; one newer source is carried to many older ones, each much like the one before
_recent = _Recent()


def has_bare_returns(source: str) -> bool:
    """Whether some line ends in a carriage return alone: for Python that ends a line, for tree-sitter it does not."""
    return _BARE_RETURN.search(source) is not None


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


_Plan = tuple[str, tuple[tuple[int, str, str], ...]]
"""What children of certain kinds make of their parent: its label, and the place, kind and role of those that stay, the
last one first."""


def _tokens(parsed: tree_sitter.Tree, data: bytes, recent: list[_Statements] | None) -> Iterator[Token | Twin]:
    """All nodes that stay, in preorder; a statement that a `recent` source has, too, is one token. The tree linked from
    them is built as they come: no list of them is kept, and tree-sitter's own objects, which hold on to their children,
    are let go one by one.

    A node's label and its children's roles follow from its kind and theirs, so they are worked out once for each
    combination: tree-sitter counts children from the first one each time that it is asked for a field. Only after an
    error (`recent` is None) is a tree not what the grammar says; then every node is looked at by itself.
    """
    plans: dict[tuple[int, ...], _Plan] | None = None if recent is None else {}
    words: dict[bytes, str] = {}  # a name is said many times in a file
    stack: list[tuple[tree_sitter.Node, str, str, int]] = [(parsed.root_node, _kind(parsed.root_node.kind_id), "", -1)]
    index = -1
    while stack:
        node, kind, role, parent = stack.pop()
        index += 1
        start = node.start_byte
        end = node.end_byte
        if recent and _is_whole(kind, role):
            known = _known(recent, data[start:end], kind)
            if known is not None:
                yield known, start, parent
                index += known.size - 1
                continue
        is_plain = plans is not None and kind in _PLAIN
        below = [] if kind in _WORDS else node.named_children if is_plain else node.children
        is_text = kind == "string" and all(child.kind_id != _INTERPOLATION for child in below)
        if is_text or not (below or is_plain):
            text = data[start:end]
            if kind == "string":
                text = _DOUBLE_QUOTED.sub(rb"\1'\2'", text)
            label = words.get(text)
            if label is None:
                label = words[text] = text.decode("utf-8", "replace")
            yield kind, label, role, start, end, parent
            continue
        if plans is None or len(below) > _MAX_PLANNED:
            label, places = _plan(node, kind, below)
        else:
            key = (node.kind_id, *[child.kind_id for child in below])
            found = plans.get(key)
            if found is None:
                found = plans[key] = _plan(node, kind, below)
            label, places = found
        yield kind, label, role, start, end, parent
        for place, inner, field in places:
            stack.append((below[place], inner, field, index))


def _is_whole(kind: str, role: str) -> bool:
    """Whether a node is a statement that may stand in any block."""
    return not role and kind.endswith(STATEMENT_ENDINGS)


def _known(recent: list[_Statements], text: bytes, kind: str) -> Node | None:
    for statements in recent:
        node = statements.get(text)
        if node is not None and node.kind == kind:
            return node
    return None


def _plan(node: tree_sitter.Node, kind: str, below: list[tree_sitter.Node]) -> _Plan:
    kinds = [_kind(child.kind_id) for child in below]
    roles = _roles(node, len(below)) if kind in _WITH_ROLES else [""] * len(kinds)
    places = [
        (place, _name_kind(kind, roles[place]) if kinds[place] == "identifier" else kinds[place], roles[place])
        for place in range(len(kinds) - 1, -1, -1)
        if kinds[place] not in _LEFT_OUT
    ]
    return _label(kind, kinds), tuple(places)


def _roles(node: tree_sitter.Node, count: int) -> list[str]:
    """Field names of the children, or of the named ones if there are so many. With a cursor: asked for one child,
    tree-sitter counts from the first."""
    only_named = count < node.child_count
    cursor = node.walk()
    cursor.goto_first_child()
    roles = []
    while True:
        if not only_named or (cursor.node is not None and cursor.node.is_named):
            roles.append(cursor.field_name or "")
        if not cursor.goto_next_sibling():
            return roles


def _kind(number: int) -> str:
    return _KINDS[number] if number < len(_KINDS) else "ERROR"


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
