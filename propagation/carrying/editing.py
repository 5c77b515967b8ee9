"""Writes what is carried: as lines of the older file, and where in it."""

from __future__ import annotations

from collections.abc import Sequence

from flor_ray.propagation.adapting.adaptation import Adaptation, Declined
from flor_ray.propagation.adapting.edits import (
    CannotEdit,
    Carried,
    Insertion,
    indent_unit,
    indentation,
    lift,
    line_start,
    newline_of,
    offset_after,
    offset_before,
    statements_of,
)
from flor_ray.propagation.carrying.imports import header_gap, import_text
from flor_ray.propagation.carrying.unnamed import Unnamed
from flor_ray.propagation.placing.places import BlockGap
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node

_DIRECTLY_ABOVE = 1 << 62  # the order of a line that the next one continues: below all else that is put there


class Editor:
    """Insertions into one older program. Holds what was carried so far, by the first byte of what moved as a unit."""

    def __init__(self, newer: Program, older: Program, unnamed: Unnamed) -> None:
        self._newer, self._older, self._unnamed = newer, older, unnamed
        self.carried: dict[int, Carried] = {}
        self._units = indent_unit(newer.written), indent_unit(older.written)

    def finish(self, written: Node, place: BlockGap, adaptation: Adaptation, dropped: Sequence[Node]) -> Carried:
        """Write a unit, under the names of the older program, at a place in it."""
        offset, indent = self._offset(place)
        try:
            lines, numbers = lift(self._newer.written, written, indent, self._units, adaptation.replacements, dropped)
        except CannotEdit as problem:
            raise Declined(str(problem)) from None
        insertion = Insertion(offset, written.start, lines, newline_of(self._older.tree, offset), numbers)
        doubts = {*place.doubts, *adaptation.doubts}.union(*(each.doubts for each in adaptation.carried))
        renames = dict(adaptation.renamed)
        for each in adaptation.carried:
            renames.update(each.renames)
        carried = Carried(insertion, (place.block, place.gap), frozenset(doubts), place.why, renames)
        self.carried[written.start] = carried
        return carried

    def bring_import(self, bound: Node, place: Node) -> Carried:
        """Write the import that binds a name, above what uses it."""
        if bound.start in self.carried:
            return self.carried[bound.start]
        text = import_text(self._newer.written, bound)
        gap = header_gap(self._older.tree, place)
        offset, indent = self._offset(gap)
        line = self._newer.written.line(bound.start)
        insertion = Insertion(offset, bound.start, (indent + text,), newline_of(self._older.tree, offset), (-line,))
        carried = Carried(insertion, (gap.block, gap.gap), frozenset(), "", {})
        self.carried[bound.start] = carried
        return carried

    def name_result(self, name: str, statement: Node, line: int) -> Carried:
        """Put `name = ` and a backslash above an older statement that is nothing but a call."""
        key = -1 - statement.start
        if key in self.carried:
            return self.carried[key]
        if not self._unnamed.is_free(name, statement):
            raise Declined(f"it binds `{name}`, which is another variable in the older version", statement, 0.3)
        block = statement.parent
        assert block is not None
        position = statements_of(block).index(statement)
        offset, indent = self._offset(BlockGap(block, position, False, (), ""))
        text = indent + name.encode("utf-8", "surrogatepass") + b" = \\"
        insertion = Insertion(offset, _DIRECTLY_ABOVE, (text,), newline_of(self._older.tree, offset), (-line,))
        self.carried[key] = Carried(insertion, (block, position + 1), frozenset(), "", {})
        return self.carried[key]

    def check_results(self, place: BlockGap, adaptation: Adaptation) -> None:
        """Raises Declined if a place is not behind all the calls whose results a statement reads."""
        statements = statements_of(place.block)
        at = statements[place.gap].start if place.gap < len(statements) else place.block.end
        for each in adaptation.carried:
            block, gap = each.place
            if each.insertion.order == _DIRECTLY_ABOVE and statements_of(block)[gap - 1].end > at:
                call = statements_of(block)[gap - 1]
                line = self._older.tree.line(call.start)
                raise Declined(f"it reads what line {line} of the older version makes, and would stand before it", call)

    def _offset(self, place: BlockGap) -> tuple[int, bytes]:
        tree = self._older.tree
        statements = statements_of(place.block)
        try:
            if not statements:
                return len(tree.source), b""
            anchor = statements[place.gap - 1] if place.after else statements[min(place.gap, len(statements) - 1)]
            # Of several statements on a line, only the first has an indentation, and the last has a line behind it.
            beside = (each for each in statements if line_start(tree, each) == line_start(tree, anchor))
            indent = indentation(tree, next(beside))
            if place.after or place.gap == len(statements):
                return offset_after(tree, statements[place.gap - 1]), indent
            return offset_before(tree, anchor), indent
        except CannotEdit as problem:
            raise Declined(str(problem), statements[max(place.gap - 1, 0)], 0.3) from None
