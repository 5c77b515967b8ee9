"""Places that the user has chosen by line.

10  for x in xs:          after 10: at the start of this body
11      if x:
12          f(x)          after 12: at the end of the `if`; with indent 4: of the loop; with indent 0: behind it
13  g()
"""

from __future__ import annotations

from flor_ray.propagation.adapting.adaptation import Declined
from flor_ray.propagation.adapting.edits import CannotEdit, indentation, statements_of
from flor_ray.propagation.placing.places import BlockGap
from flor_ray.propagation.reading.tree import BLOCKS, Node, Tree
from flor_ray.records import Pin


def pinned_place(tree: Tree, pin: Pin) -> BlockGap:
    """The gap of a block that a pin means. Raises Declined if it means none."""
    found = [each for each in _places(tree) if each[0] <= pin.after < each[1]]
    if pin.indent is not None:
        found = [each for each in found if _column(tree, each[2]) == pin.indent]
    if not found:
        which = f" with an indentation of {pin.indent}" if pin.indent is not None else ""
        raise Declined(
            f"it is pinned after line {pin.after}, where no block{which} of the older version goes on or ends"
        )
    _, _, block, gap = max(found, key=lambda each: (_column(tree, each[2]), each[2].index))
    return BlockGap(block, gap, gap > 0, (), "pinned by hand")


def _places(tree: Tree) -> list[tuple[int, int, Node, int]]:
    """Every gap of every block, with the lines after which it starts and before which it ends."""
    found = []
    for block in tree.nodes:
        statements = statements_of(block) if block.kind in BLOCKS else []
        for gap in range(len(statements) + 1) if statements else ():
            if gap:
                first = tree.last_line(statements[gap - 1])
            else:
                first = tree.line(block.parent.start) if block.parent is not None else 0
            last = tree.line(statements[gap].start) if gap < len(statements) else _line_behind(tree, block)
            found.append((first, last, block, gap))
    return found


def _line_behind(tree: Tree, block: Node) -> int:
    """Line of the next statement behind a block."""
    index = block.index + block.size
    return tree.line(tree.nodes[index].start) if index < len(tree.nodes) else len(tree.starts) + 1


def _column(tree: Tree, block: Node) -> int:
    """Of a block's statements; -1 for a block on its header's line, where no line can be inserted."""
    try:
        return len(indentation(tree, statements_of(block)[0]))
    except CannotEdit:
        return -1
