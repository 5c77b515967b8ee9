"""What is known of all runs is looked at anew where files have come or gone, and no more often."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray.errors import StoreError, UnknownVersion, UsageError
from flor_ray.records import Status
from flor_ray.store.compacting.compacted_runs import ListedRun
from flor_ray.store.project import Project
from flor_ray.store.store import Store
from flor_ray.ui import notices
from flor_ray.ui.runs.table import arguments_of
from flor_ray.ui.snapshots import RunsSnapshot, Snapshots
from tests.ui import worlds


class Watch:
    """Snapshots of a project whose clock only goes on when it is told to, and how often its runs were listed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.listings = 0.0, 0
        listed_runs = Project.listed_runs

        def counted(project: Project) -> tuple[ListedRun, ...]:
            self.listings += 1
            return listed_runs(project)

        monkeypatch.setattr(Project, "listed_runs", counted)
        self.snapshots = Snapshots(Project.open(str(root)), lambda: self.now)

    def later(self) -> RunsSnapshot:
        """What is known once another look was made."""
        self.now += 1000
        self.snapshots.latest()
        deadline = time.monotonic() + 30
        while self.snapshots._refreshing and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.snapshots.latest()


def test_runs_are_listed_anew_only_where_files_have_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = worlds.folder(tmp_path / "project")
    worlds.record(root, 0, "first", {"lr": 0.1}, {"loss": [1.0]})
    watch = Watch(root, monkeypatch)
    assert [run.run for run in watch.snapshots.latest().runs] == ["first"]
    assert (watch.later().number, watch.listings) == (1, 1)
    worlds.record(root, 1, "second", {}, {"acc": [1.0]})
    found = watch.later()
    assert ([run.run for run in found.runs], found.number, watch.listings) == (["first", "second"], 2, 2)
    assert found.features == {"loss", "acc"}


def test_what_was_known_is_shown_on_while_the_store_is_away_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = worlds.folder(tmp_path / "project")
    worlds.record(root, 0, "first")
    watch = Watch(root, monkeypatch)
    watch.snapshots.latest()

    def away(store: Store, project: str) -> int:
        raise StoreError("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "stamp", away)
        found = watch.later()
        assert ([run.run for run in found.runs], found.notices) == (["first"], ("the store is away",))
    assert watch.later().notices == ()


def test_versions_are_found_by_how_they_begin_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    root = worlds.folder(tmp_path / "project")
    versions = [worlds.record(root, number, f"run{number}") for number in range(3)]
    snapshots = Snapshots(Project.open(str(root)))
    named = [versions[2], versions[0][:8].upper(), versions[2][:10]]
    assert [run.version for run in snapshots.chosen(named, 5)] == [versions[2], versions[0]]
    late = worlds.record(root, 3, "late")
    assert [run.version for run in snapshots.chosen([late[:8]], 1)] == [late]
    for wrong in ("", "zz", "f" * 40):
        with pytest.raises(UnknownVersion):
            snapshots.chosen([wrong], 1)
    with pytest.raises(UsageError, match="3 versions are chosen, and 2 can be shown"):
        snapshots.chosen(versions, 2)


def test_damaged_arguments_of_one_run_do_not_become_those_of_another() -> None:
    run = ListedRun("a" * 40, "run", "train.py", 1.0, 2.0, Status.FINISHED, 1, None, '{"lr": 1}')
    texts = ['{"lr": 1}', "{},{}", '{"lr": 2', "7", '{"lr": 3}']
    with notices.collecting() as told:
        found = arguments_of([replace(run, args_json=text) for text in texts])
    assert found == {"lr": [1, None, None, None, 3]}
    assert told == ["The arguments of version aaaaaaaa are damaged in the store, and are not shown."]
