"""Several people ask at once: work is shared, whoever goes leaves it to the others, and different statements are not
the same work. Drivers are processes of their own."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flor_ray import pipeline
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.planning.terms import Terms
from flor_ray.records import Operator
from flor_ray.store import claims
from flor_ray.store.project import Project
from tests.bench_modules import bench_module
from tests.conftest import environment

sleeping = bench_module("clustering.sleeping")

VERSIONS, EPOCHS, SECONDS = 2, 6, 1.0


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("users") / "project"
    sleeping.record(root, VERSIONS, EPOCHS, SECONDS)
    return root


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "project"))


class Driver:
    """Somebody who asks, in a terminal."""

    def __init__(self, root: Path, *options: str, **variables: str) -> None:
        words = [sys.executable, "-m", "flor_ray.cli", "replay", sleeping.NAME, "--workers", "1", "--local", "--yes"]
        self._process = subprocess.Popen(
            [*words, *options],
            cwd=root,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, pattern: str) -> str:
        """The first line from now on in which this is."""
        for line in self._said():
            if re.search(pattern, line):
                return line
        raise AssertionError(f"{pattern} was not said: {self.lines}")

    def _said(self) -> Iterator[str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            yield line

    def end(self, by: signal.Signals | None = None) -> int:
        """Its exit status, after this signal if one is given."""
        if by is not None:
            self._process.send_signal(by)
        for _ in self._said():
            pass
        return self._process.wait(60)


def answered(project: Project) -> Counter[tuple[str, int]]:
    """How often each epoch was replayed."""
    found: Counter[tuple[str, int]] = Counter()
    for kept in project.store.logged(project.name, []).reports:
        segment = kept.report.segment
        assert segment.operator is Operator.DP_I
        found.update((segment.version, epoch) for epoch in range(segment.first, segment.last + 1))
    return found


def values(project: Project) -> list[tuple[int, int, int]]:
    rows = project.store.logs(project.name, [sleeping.NAME])
    columns = (rows[name].to_pylist() for name in ("epoch", "step", "integer"))
    return sorted(zip(*columns, strict=True), key=lambda row: (*row[:2], abs(row[2])))


EXPECTED = sorted(row[1:] for row in sleeping.expected(VERSIONS, EPOCHS))


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT, None])
def test_what_one_replays_others_wait_for_and_take_over_when_it_goes(root: Path, by: signal.Signals | None) -> None:
    project = Project.open(str(root))
    first = Driver(root, "--where", "epoch <= 5")
    first.until("Replaying: 0")  # which it says when it begins to start workers
    (running,) = (one.id for one in claims_of(project))
    second = Driver(root)
    assert running in second.until("being replayed by")
    status = first.end(by)
    assert second.end() == 0, second.lines
    assert status == {signal.SIGKILL: -9, signal.SIGINT: 130, None: 0}[by] if by else status == 0, first.lines
    assert values(project) == EXPECTED
    assert set(answered(project).values()) == {1}
    assert len(answered(project)) == VERSIONS * EPOCHS
    assert project.store.files.list("claims") == []


def claims_of(project: Project) -> list[claims.Other]:
    return [one for one in claims.live(project.store.files) if one.project == project.name]


def test_two_who_log_different_things_under_one_name_both_run_theirs_and_are_told(root: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(root, tmp_path / "elsewhere" / "project"))
    script = other / "train.py"
    script.write_text(script.read_text().replace('or state["number"]', 'or -state["number"]'))
    project = Project.open(str(root))
    first = Driver(root)
    second = Driver(other, FLOR_RAY_STORE=project.store.url)
    assert (first.end(), second.end()) == (0, 0)
    assert "is replaying before with other statements" in "".join([*first.lines, *second.lines])
    assert not any("being replayed by" in line for line in [*first.lines, *second.lines])
    assert [(epoch, step, abs(value)) for epoch, step, value in values(project)] == EXPECTED
    assert len({value < 0 for *_, value in values(project)}) == 1  # those of the replay that began later
    assert set(answered(project).values()) == {2}


def test_what_others_have_answered_since_the_plan_was_made_is_not_run_again(root: Path) -> None:
    project = Project.open(str(root))
    prepared = pipeline.prepare(project, [sleeping.NAME], "epoch >= 4", Terms(1))
    again = pipeline.prepare(project, [sleeping.NAME], "epoch >= 4", Terms(1), again=True)
    pipeline.run(pipeline.prepare(project, [sleeping.NAME], "epoch >= 5", Terms(2)), ThreadExecutor())
    outcome = pipeline.run(prepared, ThreadExecutor())
    assert {(r.segment.first, r.segment.last) for r in outcome.reports} == {(4, 4)}
    assert {e for r in outcome.shared for e in range(r.segment.first, r.segment.last + 1)} == {5, 6}
    outcome = pipeline.run(again, ThreadExecutor())
    assert (sum(r.segment.last - r.segment.first + 1 for r in outcome.reports), outcome.shared) == (6, [])
