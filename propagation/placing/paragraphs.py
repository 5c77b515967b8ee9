"""Comments and blank lines: what people write between statements tells what belongs together.

        newer                         older
            x = load()                    x = load()
                                          y = other()
            # the optimizer
            opt = Adam(x)  <--            # the optimizer         the comment says which of the gaps is meant
            opt.zero_grad()               opt.zero_grad()

No meaning of the code hangs on them, so they decide only between places that are equally good for all else.
"""

from __future__ import annotations

import re
from operator import eq

from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.reading.tree import Node, Tree

_SHORTEST = 4  # letters of a comment that says something; a line of dashes has none


def gap_of_comment(newer: Tree, unit: Node, older: Tree, block: Node, low: int, high: int) -> int | None:
    """The only gap from `low` to `high` of an older block with a comment that stands beside the unit, too."""
    above, below = _around(newer, unit)
    there = [_comments(_between(older, block, gap)) for gap in range(low, high + 1)]
    own, next_ones = [*reversed(_comments(above))], _comments(below)
    if own or not _has_blank_line(above):
        next_ones = []  # it has a comment of its own, or the line above: that one is about what follows
    for is_same in (eq, _says_more):
        for comment in [*own, *next_ones]:
            found = [gap for gap, comments in enumerate(there, low) if any(is_same(comment, c) for c in comments)]
            if found:
                return found[0] if len(found) == 1 else None
    return None


def _says_more(comment: bytes, other: bytes) -> bool:
    """Whether one of two comments has all words of the other: `# inits` and `# inits and logging`."""
    mine, theirs = (set(re.findall(rb"\w+", each.lower())) for each in (comment, other))
    return mine <= theirs or theirs <= mine


def paragraph_side(newer: Tree, unit: Node) -> int:
    """-1 if a unit shares its paragraph with what stands before it only, 1 with what is behind it only, else 0."""
    above, below = (_has_blank_line(text) for text in _around(newer, unit))
    return int(above) - int(below)


def _around(tree: Tree, unit: Node) -> tuple[bytes, bytes]:
    """What stands between a statement and the ones before and behind it in its block, without code."""
    block = unit.parent
    if block is None:
        return b"", b""
    gap = statements_of(block).index(unit)
    return _between(tree, block, gap), _between(tree, block, gap + 1)


def _between(tree: Tree, block: Node, gap: int) -> bytes:
    """The text of a gap: between two statements of a block, or between its header and the first of them."""
    statements = statements_of(block)
    if gap:
        start = statements[gap - 1].end
    elif block.parent is not None:
        start = max(
            (child.end for child in block.parent.children if child.end <= block.start), default=block.parent.start
        )
    else:
        start = 0
    return tree.source[start : statements[gap].start if gap < len(statements) else block.end]


def _comments(text: bytes) -> list[bytes]:
    """Comments that have lines of their own."""
    lines = [line.strip() for line in text.split(b"\n")[1:]]
    return [line for line in lines if line.startswith(b"#") and sum(chr(byte).isalpha() for byte in line) >= _SHORTEST]


def _has_blank_line(text: bytes) -> bool:
    lines = text.split(b"\n")[1:-1]
    return any(not line.strip() for line in lines)
