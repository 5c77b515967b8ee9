"""What is in a pickle, without loading it."""

from __future__ import annotations

import pickletools


def names_in(pickle: bytes) -> set[str]:
    """The classes and functions that a pickle (of protocol 4 or 5) names, with their modules."""
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
