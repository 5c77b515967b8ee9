"""How readers of a store cope with files that go while they read, and with files that are damaged."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from flor_ray.errors import Damaged, FlorWarning

T = TypeVar("T")
Key = TypeVar("Key")

RETRIES = 20  # of a reader that loses files to merges; each merge takes away most of what is left to merge


def retried(read: Callable[[], T]) -> T:
    """`read` lists and then reads; a file that is gone by then was merged into another one, so list again."""
    for _ in range(RETRIES):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()


def remembering(do: Callable[[Key], T]) -> Callable[[Key], T]:
    """`do`, which is done once for each item: who lists again need not read again what was there before. So even where
    files go all the time, there is less to read with every try."""
    known: dict[Key, T] = {}

    def done(item: Key) -> T:
        if item not in known:
            known[item] = do(item)
        return known[item]

    return done


def or_damaged(do: Callable[[Any], T]) -> Callable[[Any], T | Damaged]:
    """`do`, which answers with the error where a file does not hold what it should."""

    def tried(item: Any) -> T | Damaged:
        try:
            return do(item)
        except Damaged as error:
            return error

    return tried


def undamaged(found: Iterable[T | Damaged], whole: bool = False) -> list[T]:
    """What could be read; of the rest the user is told. For `whole`, its error is raised."""
    kept: list[T] = []
    for each in found:
        if isinstance(each, Damaged):
            leave_out(each, whole)
        else:
            kept.append(each)
    return kept


def leave_out(error: Damaged, never: bool = False) -> None:
    """Tell that a file is left out; raise its error where it may `never` be."""
    if never:
        raise error
    warnings.warn(f"{error} It is left out.", FlorWarning, stacklevel=3)
