"""The tree-sitter door: Python source in, `Tree` out. No other module may import tree-sitter.

What the matching does not need is left out: comments, brackets, commas, keywords. Operators become part of their
parent's label. Attribute and keyword-argument names get kinds of their own, because they live in other name spaces than
variables do and must never be paired with one.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache

import tree_sitter
import tree_sitter_python

from flor_ray.propagation.tree import Token, Tree

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
_BARE_RETURN = re.compile(r"\r(?!\n)")


def encode(source: str) -> bytes:
    """Bytes of a source; whatever was read with `surrogateescape` survives the round trip through `decode`."""
    return source.encode("utf-8", "surrogatepass")


def decode(source: bytes) -> str:
    return source.decode("utf-8", "surrogatepass")


@lru_cache(maxsize=32)  # one newer source is carried to hundreds of older ones; trees do not change
def parse(source: str) -> Tree:
    """Syntax tree of a source. Never fails: what tree-sitter cannot read becomes ERROR nodes and `has_errors`."""
    data = encode(source)
    root = tree_sitter.Parser(_LANGUAGE).parse(data).root_node
    return Tree(data, _tokens(root, data), root.has_error)


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
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _tokens(root: tree_sitter.Node, data: bytes) -> list[Token]:
    tokens: list[Token] = []
    stack: list[tuple[tree_sitter.Node, str, str, int]] = [(root, _kind(root.kind_id), "", -1)]
    while stack:
        node, kind, role, parent = stack.pop()
        start, end = node.start_byte, node.end_byte
        below = node.children
        if kind == "identifier":
            kind = _name_kind(tokens[parent].kind, role)
        if not below:
            tokens.append(Token(kind, data[start:end].decode("utf-8", "replace"), role, start, end, parent))
            continue
        kinds = [_kind(child.kind_id) for child in below]
        if kind == "string" and "interpolation" not in kinds:
            tokens.append(Token(kind, data[start:end].decode("utf-8", "replace"), role, start, end, parent))
            continue
        index = len(tokens)
        tokens.append(Token(kind, _label(kind, kinds), role, start, end, parent))
        roles = kind in _WITH_ROLES
        for position in range(len(below) - 1, -1, -1):
            if kinds[position] not in _LEFT_OUT:
                field = (node.field_name_for_child(position) or "") if roles else ""
                stack.append((below[position], kinds[position], field, index))
    return tokens


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
