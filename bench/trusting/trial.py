"""One case: recorded, asked for more, and compared bit for bit with a run that had the statements from the start."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from replaying.recording import Repository, Row

from trusting.cases import TrustCase


@dataclass(slots=True)
class Verdict:
    """What became of the values that a case asks for. Each is counted once."""

    case: str
    exact: int = 0
    warned: int = 0  # wrong, with a sentence that says so
    refused: int = 0  # not there, with a sentence that says so
    wrong_unwarned: int = 0  # wrong, or not there, and nobody was told
    first: str = ""  # the first that is not exact
    sentences: list[str] = field(default_factory=list)  # all that a user was told


def judge(case: TrustCase, plain: Repository, truth: Repository) -> Verdict:
    """Record the case twice, without and with its statements, and replay the former."""
    for repository, files in ((plain, case.recorded()), (truth, case.newest())):
        repository.write(files)
        for command in case.commands:
            repository.run(command, seeded=True)
    verdict = Verdict(case.name)
    _check_defaults(plain, truth)
    plain.write(case.newest())
    for where in case.where:
        drive = plain.replay(case.names, where)
        verdict.sentences += [*drive.failures, *drive.problems]
    for ours, theirs in zip(plain.experiments(), truth.experiments(), strict=True):
        for name in case.names:
            wanted = [row for row in truth.values(name, theirs.version) if _asked(row, case.where)]
            _compare(verdict, case, name, wanted, plain.values(name, ours.version))
    return verdict


def _check_defaults(plain: Repository, truth: Repository) -> None:
    """Both records must agree, or the truth is none."""
    for ours, theirs in zip(plain.experiments(), truth.experiments(), strict=True):
        table = plain.project.store.logs(plain.project.name, versions=[ours.version])
        for name in sorted(set(table["name"].to_pylist())):
            if plain.values(name, ours.version) != truth.values(name, theirs.version):
                raise ValueError(f"{name}: the two records differ, so there is no truth to compare with")


def _asked(row: Row, where: tuple[str | None, ...]) -> bool:
    return any(text is None or eval(text, {"epoch": row[0], "step": row[1]}) for text in where)


def _compare(verdict: Verdict, case: TrustCase, name: str, wanted: list[Row], got: list[Row]) -> None:
    found, right = {row[:3]: row[3] for row in got}, {row[:3]: row[3] for row in wanted}
    told = any(_tells(sentence, name, case.names) for sentence in verdict.sentences)
    for place in sorted(found.keys() | right.keys(), key=str):
        if place in found and place in right and found[place] == right[place]:
            verdict.exact += 1
            continue
        verdict.first = verdict.first or (
            f"{name} at (epoch, step, iteration) {place}: {str(found.get(place, 'nothing'))[:60]} instead of "
            f"{str(right.get(place, 'nothing'))[:60]}"
        )
        if not told:
            verdict.wrong_unwarned += 1
        elif place in found:
            verdict.warned += 1
        else:
            verdict.refused += 1


def _tells(sentence: str, name: str, names: tuple[str, ...]) -> bool:
    """Whether a sentence is about a feature: names it, or names none."""
    words = set(re.findall(r"\w+", sentence))
    return name in words or words.isdisjoint(names)
