"""A source while it is edited: its lines, its syntax tree, and the statement that is carried, marked by a comment.

Edits work on whole lines or on single tokens, so that comments and layout stay as they are. Every statement of the
scripts has lines of its own. Two comments travel with the lines and are taken off at the end:

    loss = criterion(logits, targets)  #@carried    the statement that a case is about
    with torch.autocast("cuda"):  #@edge            where a block began or ended that only one version has

A statement beside an edge could stand on either side of it and be right, so such a case is not asked.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

CARRIED = "  #@carried"
EDGE = "  #@edge"
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_NEAR = 6  # lines: about what a reader sees around a statement


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Statements in a row, and what they belong to."""

    statements: list[ast.stmt]
    owner: ast.AST  # the compound statement (or handler, or module) that has them
    scope: Scope  # where their variables live; a class body counts to what is around it
    klass: ast.ClassDef | None  # the class whose method they are in


@lru_cache(maxsize=16)
def read(source: str) -> Draft:
    """The draft of a source that is met again and again."""
    return Draft(source)


class Draft:
    """One state of an edited source. Never changed: an edit makes the text of the next."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tree = ast.parse(source)
        self.lines = source.split("\n")

    @cached_property
    def blocks(self) -> list[Block]:
        found: list[Block] = []

        def visit(owner: ast.AST, scope: Scope, klass: ast.ClassDef | None) -> None:
            inner = owner if isinstance(owner, Scope) else scope
            for name in ("body", "orelse", "finalbody", "handlers"):
                below = getattr(owner, name, None)
                if not isinstance(below, list) or not below:
                    continue
                if name != "handlers":
                    found.append(Block(below, owner, inner, klass))
                for child in below:
                    visit(child, inner, child if isinstance(child, ast.ClassDef) else klass)

        visit(self.tree, self.tree, None)
        return found

    @cached_property
    def carried(self) -> ast.stmt | None:
        return next((s for block in self.blocks for s in block.statements if self.is_carried(s)), None)

    @property
    def carried_names(self) -> frozenset[str]:
        return names(self.carried) if self.carried is not None else frozenset()

    def is_carried(self, statement: ast.stmt) -> bool:
        return CARRIED in self.lines[statement.lineno - 1]

    def is_edge(self, node: ast.AST) -> bool:
        line = getattr(node, "lineno", 0)
        return bool(line) and EDGE in self.lines[line - 1]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    def holds_carried(self, node: ast.AST) -> bool:
        """Whether the carried statement is this one or a part of it: lines tell, for each statement has its own."""
        return self.carried is not None and _covers(node, self.carried)

    def is_inside_carried(self, node: ast.AST) -> bool:
        return self.carried is not None and _covers(self.carried, node)

    def is_near(self, node: ast.AST) -> bool:
        """Whether a node begins within a few lines of the carried statement."""
        return self.carried is not None and abs(getattr(node, "lineno", 0) - self.carried.lineno) <= _NEAR

    def home(self) -> Block | None:
        """The block of the carried statement."""
        return next((b for b in self.blocks if any(s is self.carried for s in b.statements)), None)

    # Lines count from 1 and spans include both ends, as in `ast`.

    def span(self, statement: ast.stmt) -> tuple[int, int]:
        """Lines of a statement with its decorators and the comments right above it."""
        first = self.start(statement)
        while first > 1 and self.lines[first - 2].startswith(" " * statement.col_offset + "#"):
            first -= 1
        return first, end(statement)

    def start(self, statement: ast.stmt) -> int:
        decorators = statement.decorator_list if isinstance(statement, _DEFINITIONS) else []
        return min([statement.lineno, *(each.lineno for each in decorators)])

    def text(self, first: int, last: int) -> list[str]:
        return self.lines[first - 1 : last]

    def replaced(self, first: int, last: int, lines: Sequence[str]) -> str:
        """The source with other lines instead; `last` before `first` inserts."""
        return "\n".join([*self.lines[: first - 1], *lines, *self.lines[last:]])

    def with_tokens(self, tokens: Iterable[Token]) -> str:
        """The source with single tokens replaced."""
        lines = [line.encode() for line in self.lines]
        for token in sorted(set(tokens), reverse=True):
            line = lines[token.line - 1]
            assert line[token.column :].startswith(token.old.encode()), (token, line)
            head, tail = line[: token.column], line[token.column + len(token.old.encode()) :]
            lines[token.line - 1] = head + token.new.encode() + tail
        return b"\n".join(lines).decode()

    @cached_property
    def taken(self) -> frozenset[str]:
        """Every identifier that is met anywhere."""
        return frozenset(_identifiers(self.nodes)) | frozenset(dir(builtins))

    @cached_property
    def in_strings(self) -> frozenset[str]:
        """Identifiers within f-strings, whose columns `ast` does not know before Python 3.12."""
        found: set[str] = set()
        for node in self.nodes:
            if isinstance(node, ast.JoinedStr):
                found.update(_identifiers(ast.walk(node)))
        return frozenset(found)

    def fresh(self, *wanted: str) -> str | None:
        return next((name for name in wanted if name not in self.taken), None)


def _covers(outer: ast.AST, inner: ast.AST) -> bool:
    first, last = getattr(outer, "lineno", 0), getattr(outer, "end_lineno", None)
    line, until = getattr(inner, "lineno", 0), getattr(inner, "end_lineno", None)
    return isinstance(outer, ast.Module) or (last is not None and until is not None and first <= line <= until <= last)


@dataclass(frozen=True, slots=True, order=True)
class Token:
    line: int
    column: int  # in bytes
    old: str
    new: str


def unmarked(source: str) -> str:
    return source.replace(CARRIED, "").replace(EDGE, "")


def end(node: ast.stmt | ast.expr) -> int:
    return node.end_lineno or node.lineno


def indented(lines: Sequence[str], by: int) -> list[str]:
    """Lines moved to the right by so many columns, or to the left."""
    return [line if not line.strip() else " " * by + line if by >= 0 else line[-by:] for line in lines]


def has_long_string(nodes: Sequence[ast.AST]) -> bool:
    """Whether a string goes over several lines, so that the lines must not be indented otherwise."""
    strings = (ast.Constant, ast.JoinedStr)
    return any(isinstance(n, strings) and n.lineno != n.end_lineno for node in nodes for n in ast.walk(node))


def names(node: ast.AST) -> frozenset[str]:
    return frozenset(each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def loads(nodes: Sequence[ast.AST]) -> list[str]:
    """Variables that are read, in the order of the text."""
    found = [n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    changed = [n.target for node in nodes for n in ast.walk(node) if isinstance(n, ast.AugAssign)]
    found += [target for target in changed if isinstance(target, ast.Name)]
    ordered = sorted(found, key=lambda n: (n.lineno, n.col_offset))
    private = comprehension_names(nodes)
    return list(dict.fromkeys(n.id for n in ordered if n.id not in private))


def stores(nodes: Sequence[ast.AST]) -> list[str]:
    """Variables that are bound, in the order of the text; those of comprehensions are their own."""
    found = [n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    private = comprehension_names(nodes)
    ordered = sorted(found, key=lambda n: (n.lineno, n.col_offset))
    return list(dict.fromkeys(n.id for n in ordered if n.id not in private))


def comprehension_names(nodes: Sequence[ast.AST]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        for each in ast.walk(node):
            if isinstance(each, _COMPREHENSIONS):
                found.update(name for generator in each.generators for name in names(generator.target))
    return found


def bound(scope: Scope) -> set[str]:
    """Variables of a scope: what it binds and, for a function, its parameters."""
    found: set[str] = set()
    if not isinstance(scope, ast.Module):
        found.update(parameters(scope))
    nodes = list(own(scope))
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    private = {name for n in nodes if isinstance(n, ast.comprehension) for name in names(n.target)}
    return found | (stored - private)


def imported(tree: ast.Module) -> set[str]:
    """Names that imports bind, anywhere."""
    aliases = [n for n in ast.walk(tree) if isinstance(n, ast.alias)]
    return {(alias.asname or alias.name).split(".")[0] for alias in aliases}


def own(scope: Scope) -> Iterator[ast.AST]:
    """The statements of a scope and all they consist of, without the definitions nested in it."""
    todo: list[ast.AST] = [s for s in scope.body if not isinstance(s, _DEFINITIONS)]
    while todo:
        node = todo.pop()
        yield node
        todo += [child for child in ast.iter_child_nodes(node) if not isinstance(child, _DEFINITIONS)]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = function.args
    extra = [each for each in (given.vararg, given.kwarg) if each is not None]
    return [each.arg for each in [*given.posonlyargs, *given.args, *given.kwonlyargs, *extra]]


def _identifiers(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
            yield node.arg
        elif isinstance(node, _DEFINITIONS):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]
