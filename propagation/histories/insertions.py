"""Reading a patch back: the older text and a patched one, which differ by inserted lines only.

        older       patched
        a           a
                    flor.log("x", x)      inserted, 1 older line above it
        b           b

Where an inserted line equals the older line after it, nobody can tell which of them is the inserted one, and it makes
no difference: the first is taken for the older one.
"""

from __future__ import annotations

from flor_ray.propagation.reading.parse import parse


def lines_above(older: str, patched: str, line: int) -> int:
    """How many lines of `older` stand above a line (from 1) of `patched`."""
    return sum(place < line for place in _places(older, patched))


def moved_line(older: str, patched: str, line: int) -> int:
    """Where a line of `older` is in `patched`."""
    places = _places(older, patched)
    return places[line - 1] if 1 <= line <= len(places) else line


def inserted_lines(older: str, patched: str) -> list[str]:
    """The lines that only `patched` has."""
    kept = set(_places(older, patched))
    return [text for number, text in enumerate(_split(patched), 1) if number not in kept]


def _places(older: str, patched: str) -> list[int]:
    """The line in `patched` of each line of `older`."""
    places: list[int] = []
    rest = iter(enumerate(_split(patched), 1))
    for text in _split(older):
        at = next((number for number, other in rest if other == text), None)
        if at is None:
            break
        places.append(at)
    return places


def _split(source: str) -> list[str]:
    """Lines without their ends: a last line without one gets it when something is put after it."""
    lines = [line.removesuffix("\r") for line in source.split("\n")]
    return lines if lines[-1] else lines[:-1]


def statement_text(source: str, line: int) -> str:
    """Text of the innermost statement that a line belongs to, "" if there is none."""
    tree = parse(source)
    found = [n for n in tree.nodes if n.is_statement and tree.line(n.start) <= line <= tree.last_line(n)]
    return tree.text(found[-1]).decode("utf-8", "replace") if found else ""
