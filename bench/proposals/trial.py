"""One script: what is proposed for it, and whether it records and replays with that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from replaying.recording import Repository

from flor_ray.analysis.proposing.proposals import Proposed
from flor_ray.analysis.proposing.proposing import propose
from flor_ray.reports.proposed_calls import counts

CASES = Path(__file__).parents[2] / "tests" / "cases" / "init"
_LATER = re.compile(rb"# hindsight: (?=\w+\.log\()")  # a statement that is added when the run is over


@dataclass(frozen=True, slots=True)
class ScriptCase:
    """A script without calls, or with some: its files by path."""

    name: str
    script: str
    files: Mapping[str, bytes]

    @property
    def proposed(self) -> Proposed:
        return propose(self.files, self.script)

    @property
    def is_asked(self) -> bool:
        """Whether it has a statement to ask for when it was recorded."""
        return any(_LATER.search(data) for data in self.files.values())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a script: its values against those of a run that had the statement from the start."""

    name: str
    lines_added: int
    lines_changed: int
    refused: tuple[str, ...]
    values: int = 0
    exact: int = 0
    epochs: int = 0
    from_checkpoints: int = 0  # segments that began at one


def script_cases() -> list[ScriptCase]:
    """All of tests/cases/init: files, and folders of which `train.py` is the script."""
    found = [ScriptCase(path.stem, path.name, {path.name: path.read_bytes()}) for path in sorted(CASES.glob("*.py"))]
    for folder in sorted(each for each in CASES.iterdir() if each.is_dir()):
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.py"))}
        found.append(ScriptCase(folder.name, "train.py", files))
    return found


def with_calls(case: ScriptCase, later: bool) -> dict[str, str]:
    """The case's files with what is proposed in them; `later`: and with the statement that is asked for."""
    files = {**case.files, **case.proposed.edited}
    return {path: (_LATER.sub(b"", data) if later else data).decode() for path, data in files.items()}


def judge(case: ScriptCase, plain: Repository, truth: Repository) -> Outcome:
    """Record a case with what is proposed, ask for a value of each epoch, and compare."""
    outcome = proposals_of(case)
    for repository, later in ((plain, False), (truth, True)):
        repository.write(with_calls(case, later))
        repository.run([case.script], seeded=True)
    plain.write(with_calls(case, True))
    drive = plain.replay(["norm"])
    (ours,), (theirs,) = plain.experiments(), truth.experiments()
    wanted, got = truth.values("norm", theirs.version), plain.values("norm", ours.version)
    equal = sum(one == other for one, other in zip(wanted, got, strict=False))
    begun = sum(segment.operator != "DP*" for segment in drive.segments)
    return Outcome(
        case.name,
        outcome.lines_added,
        outcome.lines_changed,
        (*outcome.refused, *drive.failures),
        len(wanted),
        equal if len(wanted) == len(got) else 0,
        ours.epochs,
        begun,
    )


def proposals_of(case: ScriptCase) -> Outcome:
    """What is proposed for a case, without running it."""
    proposed = case.proposed
    sizes = [counts(case.files[path], data) for path, data in proposed.edited.items()]
    refused = tuple(f"{each.what}: {each.reason}" for each in proposed.refused)
    return Outcome(case.name, sum(one for one, _ in sizes), sum(one for _, one in sizes), refused)
