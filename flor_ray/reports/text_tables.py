"""Tables in plain text. What is in them, and what it means, is for others to say."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from flor_ray.redaction import shown
from flor_ray.store.typed_values import text_of

_WIDTH = 118  # where there is no terminal
_GAP = "   "  # between columns
_CELL_CHARACTERS = 300  # of a value that are shown; files get all
_LEAST = 8  # no column is made narrower


def render(
    columns: Iterable[str], rows: Iterable[Iterable[str]], width: int = _WIDTH, whole: Collection[str] = ()
) -> str:
    """A table with its columns side by side. Where they need more than `width`, texts of the widest ones go on in the
    next line, but for the columns that `whole` names; what cannot be made narrow enough is wider."""
    names = list(columns)
    cells = [[shown(cell) for cell in row] for row in (names, *rows)]
    sizes = [list(map(_size, row)) for row in cells]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    gaps = len(_GAP) * (len(widths) - 1)
    if sum(widths) + gaps > width:
        widths = _shrunk(cells, widths, [i for i, name in enumerate(names) if name not in whole], width - gaps)
    head, *body = (_lines(row, own, widths) for row, own in zip(cells, sizes, strict=True))
    return "\n".join([*head, "─" * (sum(widths) + gaps), *itertools.chain(*body)])


def _shrunk(cells: Sequence[Sequence[str]], widths: Sequence[int], which: Sequence[int], room: int) -> list[int]:
    """Widths that fit into the room: the widest is made narrower first, and no word is cut unless that must be."""
    found = list(widths)
    words = [max(_size(word) for row in cells for word in row[i].split() or [""]) for i in range(len(widths))]
    for least in (words, [_LEAST] * len(widths)):
        while sum(found) > room:
            wide = [i for i in which if found[i] > least[i]]
            if not wide:
                break
            found[max(wide, key=found.__getitem__)] -= 1
    return found


def _lines(row: Sequence[str], sizes: Sequence[int], widths: Sequence[int]) -> list[str]:
    """A row in as many lines as its longest cell needs."""
    parts: Iterable[Sequence[str]] = [row]
    if any("\n" in cell for cell in row) or any(size > width for size, width in zip(sizes, widths, strict=True)):
        parts = itertools.zip_longest(*map(_folded, row, widths), fillvalue="")
    return [_GAP.join(map(_padded, part, widths)).rstrip() for part in parts]


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _size(cell))


def _folded(cell: str, width: int) -> list[str]:
    """A text in lines of so many columns, parted between words where that is possible."""
    lines = []
    for line in cell.split("\n"):
        if _size(line) <= width:
            lines.append(line)
            continue
        current = ""
        for word in line.split():
            longer = f"{current} {word}" if current else word
            if _size(longer) <= width:
                current = longer
                continue
            if current:
                lines.append(current)
            while _size(word) > width:
                cut = next(n for n in range(len(word), 0, -1) if n == 1 or _size(word[:n]) <= width)
                lines.append(word[:cut])
                word = word[cut:]
            current = word
        lines.append(current)
    return lines


def _size(text: str) -> int:
    """Columns of a terminal that a text takes; of several lines the longest."""
    if "\n" in text:
        return max(map(_size, text.split("\n")))
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def cell(value: Any) -> str:
    """A logged value as people read it in a table: NaN for what is missing, the shape of an array."""
    if isinstance(value, float):
        return "NaN" if value != value else f"{value:.6g}"
    shape = getattr(value, "shape", None)
    if shape:
        return f"<{type(value).__name__} {'x'.join(map(str, shape))}>"
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    text = "NaN" if value is None else text_of(value, str)
    if text in ("<NA>", "NaT"):
        return "NaN"
    return text if len(text) <= _CELL_CHARACTERS else f"{text[:_CELL_CHARACTERS]} ..."
