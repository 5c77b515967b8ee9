"""To which file of an older tree a definition has gone, if the file that corresponds does not have it.

    line -> the definitions around it, innermost first -> same name elsewhere, and a body that does not deny it

What may live here: choosing among definitions. Nothing here propagates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flor_ray.propagation.histories.partners import MARGIN, NoPartner, Partner
from flor_ray.propagation.histories.profiles import Definition, definitions
from flor_ray.propagation.histories.profiles import likeness as alike

MIN_DEFINITION_LIKENESS = 0.3
"""Likeness of two definitions of one name path: the name says it, the body must only not deny it."""

MIN_HOMONYM_LIKENESS = 0.7
"""Likeness of two definitions that only share their last name, such as a method that has gone to another class: every
model has a `forward`, and most of those are alike."""

MAX_HOMES = 16
"""Files that are parsed in search of one definition. A name that more of them have (`main`, `forward`) says nothing."""


def defines(source: str, names: tuple[str, ...]) -> bool:
    """Whether a source has a definition with this path of names."""
    return any(found.names == names for found in definitions(source))


def definition_partner(
    newer: Mapping[str, str], path: str, line: int, older: Mapping[str, str], present: str | None
) -> tuple[tuple[str, ...], Partner | NoPartner | None]:
    """The older file to which the definition around a line of `path` has gone, and its names, outermost first.

    A definition that its file has in the newer version too has not gone there. `present` is the text of the file that
    corresponds; definitions that it has have gone nowhere. Of a method both its class and it alone may have gone, so
    the longest path of names that some file has decides. None: no file has any.
    """
    around = [each for each in definitions(newer[path]) if each.first <= line <= each.last]
    for definition in reversed(around):
        if present is not None and defines(present, definition.names):
            break
        found = _home(definition, newer, older) if definition.names[-1] else None
        if found is not None:
            return definition.names, found
    return (around[-1].names if around else ()), None


def _home(definition: Definition, newer: Mapping[str, str], older: Mapping[str, str]) -> Partner | NoPartner | None:
    scores: list[tuple[float, str]] = []
    for path in _candidates(definition.names, older):
        for other in definitions(older[path]):
            if path in newer and defines(newer[path], other.names):
                continue
            if other.names[-1] == definition.names[-1] and other.kind == definition.kind:
                likeness = alike(definition.profile, other.profile)
                least = MIN_DEFINITION_LIKENESS if other.names == definition.names else MIN_HOMONYM_LIKENESS
                scores += [(likeness, path)] if likeness >= least else []
    if not scores:
        return None
    best, home = max(scores)
    rivals = sorted({path for likeness, path in scores if likeness > best - MARGIN})
    if len(rivals) > 1:
        name = ".".join(definition.names)
        return NoPartner(f"`{name}` could be that of {' or '.join(rivals)} in the older version")
    return Partner(home, best)


def _candidates(names: tuple[str, ...], older: Mapping[str, str]) -> list[str]:
    """Files that seem to define all of the names, and those that seem to define the last, unless they are many."""
    patterns = [re.compile(rf"\b(?:def|class)\s+{re.escape(name)}\b") for name in reversed(names)]
    last = [path for path, source in sorted(older.items()) if names[-1] in source and patterns[0].search(source)]
    if len(last) <= MAX_HOMES:
        return last
    whole = [path for path in last if all(pattern.search(older[path]) for pattern in patterns[1:])]
    return whole if len(whole) <= MAX_HOMES else []
