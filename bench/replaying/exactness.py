"""Are replayed values those of a run with the statements in it from the start, bit for bit?

plain    recorded without the statements, then replayed with them: some epochs alone, then all, in any order
truth    recorded with them from the start, in the same random state
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from replaying.cases import Case, Group
from replaying.recording import Drive, Repository, Row


@dataclass(slots=True)
class Exactness:
    """How many values of one script were compared with the truth, and what was wrong."""

    case: str
    compared: int = 0
    exact: int = 0
    told: int = 0  # of the others, those whose replay said that it did not compute what was recorded
    recomputed: int = 0  # recorded values that replays computed again and compared themselves
    kinds: set[tuple[str, str]] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)  # sentences

    @property
    def is_exact(self) -> bool:
        return self.compared == self.exact > 0 and not self.wrong


class Fidelity:
    """One script, recorded both ways."""

    def __init__(self, case: Case, plain: Repository, truth: Repository, arguments: Mapping[str, object]) -> None:
        self.case, self.plain, self.truth = case, plain, truth
        self._arguments = arguments

    def record(self) -> None:
        for repository, files in ((self.plain, self.case.files()), (self.truth, self.case.truth())):
            repository.write(files)
            repository.record(self._arguments, seeded=True)

    def check(self, groups: Iterable[Group], alone: bool = True) -> Exactness:
        """Replay the features of each group; `alone`: first those of an epoch in the middle of the training."""
        found = Exactness(self.case.name)
        self._check_defaults(found)
        groups = [group for group in groups if self.case.names(group)]
        for group in groups:
            names = self.case.names(group)
            self.plain.write(self.case.hindsight(group))
            middle = self._middle()
            if alone and group is Group.INNER:
                drive = self.plain.replay(names, f"epoch == {middle}")
                self._compare(found, drive, group, frozenset({middle}))
            drive = self.plain.replay(names, again=True, shuffle=len(names))
            self._compare(found, drive, group, None)
        return found

    @property
    def versions(self) -> tuple[str, str]:
        return self.plain.experiments()[-1].version, self.truth.experiments()[-1].version

    def _middle(self) -> int:
        return (self.plain.experiments()[-1].epochs + 1) // 2

    def _check_defaults(self, found: Exactness) -> None:
        """Both records must agree, or the truth is none."""
        plain, truth = self.versions
        store, name = self.plain.project.store, self.plain.project.name
        defaults = sorted(set(store.logs(name, versions=[plain])["name"].to_pylist()))
        for default in defaults:
            if self.plain.values(default, plain) != self.truth.values(default, truth):
                found.wrong.append(f"{default}: the two records differ, so there is no truth to compare with")

    def _compare(self, found: Exactness, drive: Drive, group: Group, epochs: frozenset[int] | None) -> None:
        where = f"{group}{'' if epochs is None else f', epoch {min(epochs)} alone'}"
        found.wrong += [f"{where}: {failure}" for failure in drive.failures]
        found.wrong += [f"{where}: {s.mismatch}" for s in drive.segments if s.mismatch is not None]
        found.recomputed += sum(segment.compared for segment in drive.segments)
        found.kinds |= set(drive.kinds)
        plain, truth = self.versions
        for name in self.case.names(group):
            wanted = [row for row in self.truth.values(name, truth) if epochs is None or row[0] in epochs]
            got = self.plain.values(name, plain)
            found.compared += max(len(wanted), len(got), 1)
            found.exact += (equal := _equal(wanted, got))
            if equal < max(len(wanted), len(got), 1):
                is_told = bool(drive.problems) or any(segment.mismatch is not None for segment in drive.segments)
                found.told += is_told * (max(len(wanted), len(got), 1) - equal)
                found.wrong.append(f"{where}: {name}: {equal} of {len(wanted)} as wanted, {_first(wanted, got)}")
                found.wrong += [f"{where}: {problem}" for problem in drive.problems if f"{name} was not" in problem]


def _equal(wanted: list[Row], got: list[Row]) -> int:
    places = {row[:3]: row[3] for row in got}
    return sum(row[:3] in places and places[row[:3]] == row[3] for row in wanted)


def _first(wanted: list[Row], got: list[Row]) -> str:
    places = {row[:3]: row[3] for row in got}
    for row in wanted:
        if row[:3] not in places:
            return f"first missing at (epoch, step, iteration) {row[:3]}"
        if places[row[:3]] != row[3]:
            return f"first different at {row[:3]}: {str(places[row[:3]])[:60]} instead of {str(row[3])[:60]}"
    return f"{len(got) - len(wanted)} that should not be there"
