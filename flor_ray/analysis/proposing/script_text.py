"""One file of a script: bytes, text, tree, and where in the text a node begins and ends. Insertions leave all else."""

from __future__ import annotations

import ast
import codecs
import io
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import Source, read

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
_COOKIE = re.compile(r"^([ \t\f]*#.*?)coding(?=[:=])")
# What IPython reads and Python does not: %magic, !command, x = !command, name?
_MAGIC = re.compile(r"^([ \t]*)(?:[%!].*|\?{1,2}[\w.]+|[\w.]+\?{1,2})[ \t]*$")
_MAGIC_VALUE = re.compile(r"^([ \t]*[\w.]+[ \t]*=[ \t]*)[%!].*$")


class CannotPropose(Exception):
    """Why nothing is proposed for a place or a file; a sentence's part."""


@dataclass(frozen=True, slots=True)
class TextInsertion:
    """A text to put in at an offset of a file's text (in characters). At one offset, `order` decides."""

    offset: int
    text: str
    order: int = 0


class ScriptText:
    """A file's text, with the encoding and the line ends that it has.

    Raises:
        CannotPropose: it cannot be decoded, or it is no Python.
    """

    def __init__(self, data: bytes) -> None:
        self._mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
        try:
            plain = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            encoding, _ = tokenize.detect_encoding(io.BytesIO(plain).readline)
            self._encoding = "utf-8" if self._mark else encoding
            self.text: str = data[len(self._mark) :].decode(self._encoding)
            if self.encoded(self.text) != data:
                raise CannotPropose(f"its encoding ({self._encoding}) does not give the same bytes back")
        except (SyntaxError, UnicodeError, LookupError) as error:
            raise CannotPropose(f"it cannot be read: {error}") from None
        self.lines: list[str] = [line for line in _LINE.findall(self.text) if line]
        self.starts = [0, *accumulate(len(line) for line in self.lines)]
        self.has_magics = False
        self.source = self._parsed()

    def _parsed(self) -> Source:
        plain = [_COOKIE.sub(r"\1c0ding", line) for line in self.lines[:2]] + self.lines[2:]
        source = read("".join(plain))
        if source.tree is None:
            without = [_without_magic(line) for line in plain]
            source, self.has_magics = read("".join(without)), without != plain
        if source.tree is None:
            raise CannotPropose("it is no Python of this version" + _first_error("".join(plain)))
        return source

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree. Lines of IPython's own are `pass` in it."""
        assert self.source.tree is not None
        return self.source.tree

    def encoded(self, text: str) -> bytes:
        """A text of this file as its bytes."""
        return self._mark + text.encode(self._encoding)

    # --- places ---------------------------------------------------------------------------------------------------

    def line_start(self, line: int) -> int:
        """Offset of a line's first character; of the line after the last one: the text's end."""
        return self.starts[min(line, len(self.starts)) - 1]

    def _offset(self, line: int, column: int) -> int:
        before = self.lines[line - 1].encode("utf-8", "surrogatepass")[:column]
        return self.starts[line - 1] + len(before.decode("utf-8", "surrogatepass"))

    def begin(self, node: ast.expr | ast.stmt) -> int:
        """Offset of a node's first character, without the parentheses around it."""
        return self._offset(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt) -> int:
        """Offset behind a node's last character."""
        return self._offset(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def written(self, node: ast.expr | ast.stmt) -> str:
        """How a node is written."""
        return self.text[self.begin(node) : self.end(node)]

    def indentation(self, statement: ast.stmt) -> str:
        """The white space before a statement.

        Raises:
            CannotPropose: something else stands before it on its line.
        """
        first = first_line(statement)
        lead: str = self.text[self.line_start(first) : self._offset(first, statement.col_offset)]
        if lead.strip(" \t\f"):
            raise CannotPropose(f"line {first} holds more than one statement")
        return lead.replace("\f", "")

    def newline(self, line: int) -> str:
        """How lines end at a line: as the one before, else as the first one."""
        for each in (line - 1, 1):
            if 0 < each <= len(self.lines):
                written = self.lines[each - 1]
                if end := written[len(written.rstrip("\r\n")) :]:
                    return end
        return "\n"

    # --- insertions -----------------------------------------------------------------------------------------------

    def line_before(self, statement: ast.stmt, line: str, order: int = 0) -> TextInsertion:
        """A line of its own before a statement, as deeply indented."""
        first = first_line(statement)
        text = f"{self.indentation(statement)}{line}{self.newline(first)}"
        return TextInsertion(self.line_start(first), text, order)

    def line_after(self, statement: ast.stmt, line: str, order: int = 0) -> TextInsertion:
        """A line of its own after a statement, as deeply indented.

        Raises:
            CannotPropose: something else stands on its last line.
        """
        last = statement.end_lineno or statement.lineno
        rest = self.text[self.end(statement) : self.line_start(last + 1)].strip(" \t\f;\r\n")
        if rest and not rest.startswith("#"):
            raise CannotPropose(f"line {last} holds more than one statement")
        return self.line_below(last, f"{self.indentation(statement)}{line}", order)

    def line_below(self, line: int, text: str, order: int = 0) -> TextInsertion:
        """A line below a line (0: at the top)."""
        offset = self.line_start(line + 1)
        newline = self.newline(line + 1)
        is_open = line > 0 and line == len(self.lines) and not self.lines[-1].endswith(("\r", "\n"))
        return TextInsertion(offset, newline + text if is_open else text + newline, order)

    def around(self, node: ast.expr, before: str, after: str) -> tuple[TextInsertion, TextInsertion]:
        """Texts on both sides of an expression, which becomes one argument of a call."""
        if isinstance(node, ast.Tuple) and not self._is_parenthesised(node):
            before, after = f"{before}(", f"){after}"
        return TextInsertion(self.begin(node), before, -1), TextInsertion(self.end(node), after, 1)

    def _is_parenthesised(self, node: ast.Tuple) -> bool:
        """`(a, b)`, and not `(a), (b)`: behind a name, the first is a call."""
        try:
            return isinstance(ast.parse(f"f{self.written(node)}", mode="eval").body, ast.Call)
        except SyntaxError:
            return False

    def apply(self, insertions: Iterable[TextInsertion]) -> str:
        """The text with these in it."""
        parts, at = [], 0
        for each in sorted(insertions, key=lambda one: (one.offset, one.order)):
            parts += [self.text[at : each.offset], each.text]
            at = each.offset
        return "".join([*parts, self.text[at:]])

    @cached_property
    def lines_in_strings(self) -> frozenset[int]:
        """Lines that begin inside of a string: indenting them would change it."""
        return frozenset(
            line
            for node in walk(self.tree)
            if isinstance(node, ast.JoinedStr)
            or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
            for line in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)
        )


def first_line(statement: ast.stmt) -> int:
    """The line on which a statement begins, with its decorators."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(each.lineno for each in decorators)])


def _without_magic(line: str) -> str:
    body = line.rstrip("\r\n")
    end = line[len(body) :]
    if _MAGIC.match(body):
        return _MAGIC.sub(r"\1pass", body) + end
    return _MAGIC_VALUE.sub(r"\1None", body) + end


def _first_error(text: str) -> str:
    try:
        ast.parse(text)
    except SyntaxError as error:
        return f" (line {error.lineno}: {error.msg})"
    except (ValueError, RecursionError, MemoryError) as error:
        return f" ({error})"
    return ""
