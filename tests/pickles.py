"""What is in a pickle, without loading it."""

from __future__ import annotations

import io
import pickletools


def names_in(pickles: bytes) -> set[str]:
    """The classes and functions that pickles (of protocol 4 or 5), one after the other, name, with their modules."""
    found, file = set[str](), io.BytesIO(pickles)
    while file.tell() < len(pickles):
        found |= _names_in_one(file)
    return found


def _names_in_one(pickle: io.BytesIO) -> set[str]:
    found = set[str]()
    words: list[str] = []  # as they are pushed
    memo: list[str] = []  # what was memoized; of what is no word, the last one before it
    for operation, argument, _ in pickletools.genops(pickle):
        if operation.name in ("SHORT_BINUNICODE", "BINUNICODE"):
            words.append(str(argument))
        elif operation.name == "MEMOIZE":
            memo.append(words[-1] if words else "")
        elif operation.name in ("BINGET", "LONG_BINGET"):
            words.append(memo[int(str(argument))])
        elif operation.name == "STACK_GLOBAL":
            found.add(".".join(words[-2:]))
    return found
