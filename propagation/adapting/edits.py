"""Byte-exact edits: text is only ever inserted, as whole lines, and every other byte of the older source stays."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flor_ray.propagation.adapting.doubts import Doubt, confidence
from flor_ray.propagation.reading.tree import Node, Tree

_INDENT = b" \t\f"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Insertion:
    """Lines to insert at the start of a line of the older source (or at its very end)."""

    offset: int
    order: int  # first byte in the newer source: what goes to one place keeps its order
    lines: tuple[bytes, ...]
    newline: bytes
    newer_lines: tuple[int, ...]  # the newer line that each of them was


@dataclass(frozen=True, slots=True)
class Carried:
    """A statement with its place in the older source."""

    insertion: Insertion
    place: tuple[Node, int]
    doubts: frozenset[Doubt]
    why: str
    renames: dict[str, str]

    @property
    def confidence(self) -> float:
        """Of its place and its names, from 0 to 1."""
        return confidence(self.doubts)


class CannotEdit(Exception):
    """The place exists, but no line can be inserted there, or the text cannot be taken out of its lines."""


def statements_of(block: Node) -> list[Node]:
    """The statements that stand directly in a block."""
    return [child for child in block.children if child.is_statement]


def offset_before(tree: Tree, statement: Node) -> int:
    """Start of the line on which a statement starts, which it must start itself."""
    start = line_start(tree, statement)
    lead = tree.source[start : statement.start].removeprefix(_BOM)
    if lead.strip(_INDENT):
        raise CannotEdit(f"line {tree.line(start)} of the older version holds more than one statement")
    return start + (3 if tree.source.startswith(_BOM) and start == 0 else 0)


def offset_after(tree: Tree, statement: Node) -> int:
    """Start of the line after a statement (and after comments that belong to its body)."""
    end = _line_end(tree, statement.end)
    rest = tree.source[statement.end : end].strip(_INDENT + b"\r\n;")
    if rest and not rest.startswith(b"#"):
        raise CannotEdit(f"line {tree.line(statement.end)} of the older version holds more than one statement")
    if any(node.kind == "block" for node in tree.subtree(statement)[1:]):
        end = _skip_deeper_comments(tree, end, len(indentation(tree, statement)))
    return end


def indentation(tree: Tree, statement: Node) -> bytes:
    """The white space before a statement that starts its line."""
    start = line_start(tree, statement)
    lead = tree.source[start : statement.start].removeprefix(_BOM)
    if lead.strip(_INDENT):
        raise CannotEdit(f"line {tree.line(start)} of the older version holds more than one statement")
    return lead.replace(b"\f", b"")


def line_start(tree: Tree, node: Node) -> int:
    """Byte offset of the start of the line on which a node starts."""
    return tree.starts[tree.line(node.start) - 1]


def newline_of(tree: Tree, offset: int) -> bytes:
    """How the line before (or at) an offset ends; the file's first line decides where there is none."""
    before = tree.source[:offset].rfind(b"\n")
    end = before if before >= 0 else tree.source.find(b"\n")
    return b"\r\n" if end > 0 and tree.source[end - 1 : end] == b"\r" else b"\n"


def apply(tree: Tree, insertions: Sequence[Insertion]) -> tuple[bytes, dict[int, int]]:
    """The patched source, and where each newer line went: newer line -> line in the patched source, from 1."""
    source = tree.source
    parts: list[bytes] = []
    places: dict[int, int] = {}
    at, line = 0, 1
    for insertion in sorted(insertions, key=lambda each: (each.offset, each.order)):
        kept = source[at : insertion.offset]
        parts.append(kept)
        line += kept.count(b"\n")
        at = insertion.offset
        open_line = at == len(source) and _ends_open(parts)
        for number, text in zip(insertion.newer_lines, insertion.lines, strict=True):
            if open_line:
                line += 1
            places.setdefault(number, line)
            parts.append(insertion.newline + text if open_line else text + insertion.newline)
            if not open_line:
                line += 1
    parts.append(source[at:])
    return b"".join(parts), places


def _ends_open(parts: Sequence[bytes]) -> bool:
    for part in reversed(parts):
        if part:
            return not part.endswith(b"\n")
    return False


def lift(
    tree: Tree,
    unit: Node,
    indent: bytes,
    units: tuple[bytes, bytes],
    renames: Mapping[tuple[int, int], bytes],
    dropped: Sequence[Node] = (),
) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    """Lines of a newer statement, re-indented and renamed, without the `dropped` statements in it; and their numbers.

    `units` are one level of indentation in the newer and in the older source. Lines inside a multi-line string are
    left as they are, whatever their indentation.
    """
    skipped = {number for node in dropped for number in _own_lines(tree, node)}
    inside_string = _string_lines(tree, unit)
    base = tree.source[line_start(tree, unit) : unit.start].removeprefix(_BOM)
    if base.strip(_INDENT):
        base = base[: len(base) - len(base.lstrip(_INDENT))]
    lines, numbers = [], []
    for number in range(tree.line(unit.start), tree.last_line(unit) + 1):
        if number in skipped:
            continue
        text = _renamed(tree, unit, number, renames)
        if number == tree.line(unit.start):
            text = indent + text
        elif number not in inside_string:
            text = _reindented(text, base, indent, units)
        lines.append(text)
        numbers.append(number)
    return tuple(lines), tuple(numbers)


def indent_unit(tree: Tree) -> bytes:
    """One level of indentation: that of the first block that stands in a block at module level."""
    for node in tree.nodes:
        if node.kind == "block" and node.children:
            lead = tree.source[line_start(tree, node) : node.start]
            outer = node.parent.statement() if node.parent is not None else None
            if lead and not lead.strip(b" \t") and outer is not None and line_start(tree, outer) == outer.start:
                return lead
    return b"    "


def _own_lines(tree: Tree, node: Node) -> range:
    start, end = line_start(tree, node), _line_end(tree, node.end)
    before, after = tree.source[start : node.start], tree.source[node.end : end].strip(_INDENT + b"\r\n;")
    if before.strip(_INDENT) or (after and not after.startswith(b"#")):
        raise CannotEdit(f"line {tree.line(node.start)} of the newer version holds more than one statement")
    return range(tree.line(node.start), tree.last_line(node) + 1)


def _string_lines(tree: Tree, unit: Node) -> set[int]:
    return {
        number
        for node in tree.subtree(unit)
        if node.kind == "string"
        for number in range(tree.line(node.start) + 1, tree.last_line(node) + 1)
    }


def _renamed(tree: Tree, unit: Node, number: int, renames: Mapping[tuple[int, int], bytes]) -> bytes:
    start = max(tree.starts[number - 1], unit.start)
    end = min(tree.starts[number] if number < len(tree.starts) else len(tree.source), unit.end)
    parts, at = [], start
    for (first, last), text in sorted(renames.items()):
        if start <= first and last <= end:
            parts += [tree.source[at:first], text]
            at = last
    return b"".join([*parts, tree.source[at:end]]).rstrip(b"\r\n")


def _reindented(text: bytes, base: bytes, indent: bytes, units: tuple[bytes, bytes]) -> bytes:
    if not text.strip():
        return b""
    body = text.lstrip(_INDENT)
    lead = text[: len(text) - len(body)].replace(b"\f", b"")
    extra = lead[len(base) :] if lead.startswith(base) else b""
    if units[0] != units[1] and extra == units[0] * (len(extra) // len(units[0])):
        extra = units[1] * (len(extra) // len(units[0]))
    return indent + extra + body


def _line_end(tree: Tree, offset: int) -> int:
    """Start of the line after the one that holds the byte before an offset."""
    following = bisect_right(tree.starts, max(offset - 1, 0))
    return tree.starts[following] if following < len(tree.starts) else len(tree.source)


def _skip_deeper_comments(tree: Tree, offset: int, depth: int) -> int:
    at = reached = offset
    while at < len(tree.source):
        end = _line_end(tree, at + 1)
        line = tree.source[at:end]
        body = line.lstrip(_INDENT)
        if body.strip() and not (body.startswith(b"#") and len(line) - len(body) > depth):
            break
        at = end
        if body.strip():
            reached = end
    return reached
