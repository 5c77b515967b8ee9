"""Statements that name columns whose names differ in case only: DuckDB takes one for the other, and we do not.

Pure: of a statement's words it needs where they are, as DuckDB's own tokenizer says it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flor_ray.errors import BadStatement
from flor_ray.relational.naming import folded, quoted, twins, unquoted


@dataclass(frozen=True, slots=True)
class Word:
    """An identifier, or a word of the language, in a statement."""

    start: int  # in the statement's UTF-8
    text: str  # as it is written, with its quotes

    @property
    def name(self) -> str:
        return unquoted(self.text)


def words(text: str, starts: Sequence[tuple[int, bool]]) -> Iterator[Word]:
    """The words of a statement whose tokens begin at these bytes; of each, whether it is a word."""
    data = text.encode("utf-8", "surrogatepass")
    ends = [start for start, _ in starts[1:]] + [len(data)]
    for (start, is_word), end in zip(starts, ends, strict=True):
        if is_word:
            yield Word(start, _cut(data[start:end].decode("utf-8", "surrogatepass")))


def _cut(text: str) -> str:
    """An identifier without what follows it before the next token."""
    if not text.startswith('"'):
        return text.split(maxsplit=1)[0] if text.split() else text
    end = 1
    while end < len(text):
        if text[end] == '"':
            if text[end + 1 : end + 2] != '"':
                return text[: end + 1]
            end += 1
        end += 1
    return text


def inner_text(text: str, found: Sequence[Word], inner: Mapping[str, str]) -> str:
    """A statement with the names that twins have inside the database (`naming.inner_names`).

    Raises:
        BadStatement: it names one of them without saying which.
    """
    same = twins(inner)
    data = text.encode("utf-8", "surrogatepass")
    for word in reversed(found):
        meant = same.get(folded(word.name))
        if meant is None:
            continue
        if not word.text.startswith('"') or word.name not in inner:
            either = " or ".join(map(quoted, meant))
            raise BadStatement(
                f"{word.name} may be {' or '.join(meant)}: these names differ in case only",
                f"Write the one that is meant in quotes, as it was logged: {either}.",
            )
        instead = quoted(inner[word.name]).encode("utf-8", "surrogatepass")
        data = data[: word.start] + instead + data[word.start + len(word.text.encode("utf-8", "surrogatepass")) :]
    return data.decode("utf-8", "surrogatepass")
