"""What was replayed, against runs that had the statements from the start, bit for bit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from replaying.recording import Repository

from evaluating.histories import LoopLevel, System


@dataclass(slots=True)
class Values:
    """How many values of a system are right. `wrong`: other than they should be, or not there and nobody was told."""

    compared: int = 0
    exact: int = 0
    wrong: int = 0
    refused: int = 0  # not there, and a sentence says so
    told: list[str] = field(default_factory=list)  # what was seen of the wrong and the refused

    @property
    def is_exact(self) -> bool:
        return self.compared == self.exact > 0


def compare(
    system: System, level: LoopLevel, plain: Repository, truth: Repository, sentences: Sequence[str], found: Values
) -> None:
    """Count the values of a level."""
    for ours, theirs in zip(plain.experiments(), truth.experiments(), strict=True):
        for name in system.names(level):
            got = {row[:3]: row[3] for row in plain.values(name, ours.version)}
            wanted = {row[:3]: row[3] for row in truth.values(name, theirs.version)}
            said = any(_tells(sentence, name, system) for sentence in sentences)
            _count(found, f"{system.name} {ours.run}: {name}", got, wanted, said)


def differing_defaults(plain: Repository, truth: Repository) -> list[str]:
    """What both records should agree on and do not: then there is no truth to compare with."""
    found = []
    for ours, theirs in zip(plain.experiments(), truth.experiments(), strict=True):
        table = plain.project.store.logs(plain.project.name, versions=[ours.version])
        for name in sorted(set(table["name"].to_pylist())):
            if plain.values(name, ours.version) != truth.values(name, theirs.version):
                found.append(f"{ours.run}: {name} of the two records differs, so there is no truth to compare with")
    return found


_Place = tuple[int | None, int | None, int | None]


def _count(found: Values, what: str, got: dict[_Place, object], wanted: dict[_Place, object], said: bool) -> None:
    first = ""
    for place in sorted(got.keys() | wanted.keys(), key=lambda place: tuple(-1 if p is None else p for p in place)):
        found.compared += 1
        if place in got and place in wanted and got[place] == wanted[place]:
            found.exact += 1
            continue
        if place not in got and said:
            found.refused += 1
        else:
            found.wrong += 1
        first = first or (
            f"{what} at (epoch, step, iteration) {place}: {str(got.get(place, 'nothing'))[:80]} instead of "
            f"{str(wanted.get(place, 'nothing'))[:80]}"
        )
    if first:
        found.told.append(first)


def _tells(sentence: str, name: str, system: System) -> bool:
    """Whether a sentence is about a feature: names it, or names none."""
    words = set(re.findall(r"\w+", sentence))
    return name in words or words.isdisjoint(statement.name for statement in system.statements)
