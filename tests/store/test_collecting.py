"""gc on real stores: what it may never touch; and a kill, a reader, a merge or another gc at a bad moment."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flor_ray import records, wording
from flor_ray.cli import progress
from flor_ray.errors import StoreError, UsageError
from flor_ray.records import (
    Checkpoint,
    EpochTimes,
    Experiment,
    Level,
    LogRecord,
    Operator,
    Point,
    Segment,
    SegmentReport,
    SourceFile,
    Status,
)
from flor_ray.reports import disk_space
from flor_ray.store import collecting, live_replays, manifests, retention, typed_values
from flor_ray.store.collecting import Done
from flor_ray.store.manifests import Manifest, Part
from flor_ray.store.objects import GRACE_SECONDS
from flor_ray.store.retention import parse_rule
from flor_ray.store.store import Store
from flor_ray.wording import parse_seconds

A, B = "a" * 40, "b" * 40
EPOCHS = 6
LAST = (parse_rule("last"),)


def run(version: str, project: str = "digits", **fields: Any) -> Experiment:
    return replace(Experiment(project, version, None, "t.py", "", 1000.0, None, Status.RUNNING), **fields)


def take(store: Store, version: str, epoch: int, parts: Iterable[str], project: str = "digits") -> None:
    """Write a checkpoint whose manifest refers to these objects."""
    manifest = Manifest(f"{project} {version} {epoch}".encode(), tuple(Part(key, 0, 1, "", 1) for key in parts), ())
    key = store.objects.put(manifests.to_bytes(manifest, b"pack")[0])
    row = Checkpoint(version, "t.py", 1, epoch, Point.EPOCH_END, key, 1000, 0.1)
    store.append_checkpoint(project, row, EpochTimes(epoch, 1.0, 2.0, 3.0) if epoch else None)


def record(store: Store, version: str, project: str = "digits", ended: bool = True) -> None:
    """A version with six epochs. Each checkpoint has a tensor of its own, one of all, and a part of the one before."""
    rng = store.objects.put(f"rng {project} {version}".encode())
    begun = run(
        version, project, environment={"rng": rng, "lock": store.objects.put(f"lock {project} {version}".encode())}
    )
    store.begin_run(begun)
    shared = store.objects.put(b"frozen")
    before: list[str] = []
    for epoch in range(EPOCHS + 1):
        own = store.objects.put(f"{project} {version} {epoch}".encode())
        take(store, version, epoch, [shared, own, *before], project)
        before = [store.checkpoints(project, version)[-1].key]
    blob = typed_values.encode(f"{project} {version} logged".encode())
    report = SegmentReport(Segment(version, 1, 1, Operator.DP_I, names=("x",)), 2, setup_seconds=0.5, run_seconds=1.5)
    for origin in ("recorded", "replay-1", "replay-2"):
        value = typed_values.encode(f"{project} {version} {origin}".encode())
        rows = [LogRecord(Level.OUTER, 1, None, name, 0, value, 0.0) for name in ("x", origin)]
        if origin == "recorded":
            store.append_logs(project, version, origin, 0, [*rows, LogRecord(Level.OUTER, 1, None, "b", 0, blob, 0.0)])
        else:
            store.write_replay(project, version, origin, "s", rows, report)
    store.write_sources(project, version, None, {"t.py": SourceFile(f"{version}".encode(), "100644", version)})
    if ended:
        store.end_run(replace(begun, ended=2000.0, status=Status.FINISHED, epochs=EPOCHS))


def gc(store: Store, *words: str, grace: float = 0.0, done: Done | None = None) -> Done:
    found = collecting.survey(store)
    planned = collecting.plan(found, "digits", [parse_rule(word) for word in words], grace)
    done = Done() if done is None else done
    collecting.carry_out(store, "digits", planned, found, grace, done)
    return done


def epochs(store: Store, version: str = A, project: str = "digits") -> list[int]:
    return [c.epoch for c in store.checkpoints(project, version)]


def check_whole(store: Store) -> None:
    """Everything that any table refers to is there, and reads back."""
    for project in store.projects():
        for experiment in store.experiments(project):
            store.objects.get_many(str(experiment.environment[part]) for part in ("rng", "lock"))
            assert store.sources(project, experiment.version)
            for c in store.checkpoints(project, experiment.version):
                store.objects.get_many(manifests.references(store.objects.get(c.key)))
        for row in store.logs(project).to_pylist():
            typed_values.decode(records.Value(row["type"], text=row["text"]), store.objects.get)
    for keys in store.blob_keys().values():
        store.objects.get_many(keys)


@pytest.fixture(params=["local", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "store")
    unique = uuid.uuid4().hex
    return f"memory://{unique}" if request.param == "memory" else f"s3://{request.getfixturevalue('bucket')}/{unique}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "store"))
    record(store, A)
    return store


# --- what goes and what stays ---------------------------------------------------------------------------------------


def test_gc_deletes_what_nothing_needs_and_nothing_else(url: str) -> None:
    store = Store(url)
    record(store, A)
    record(store, B)
    record(store, A, "letters")
    before = set(store.objects.infos())
    lost = {store.objects.put(f"left by a killed writer {n}".encode()) for n in range(3)}
    done = gc(store)
    assert (done.dropped, done.deleted, done.left) == (0, 3, 0)
    assert done.bytes == sum(len(f"left by a killed writer {n}") for n in range(3))
    assert set(store.objects.infos()) == before
    assert lost.isdisjoint(before)
    check_whole(store)


def test_dropping_keeps_what_kept_checkpoints_and_other_projects_need(url: str) -> None:
    store = Store(url)
    for version, project in ((A, "digits"), (B, "digits"), (A, "letters")):
        record(store, version, project)
    manifest_of = {c.epoch: c.key for c in store.checkpoints("digits", A)}
    done = gc(store, "every:4")
    assert [epochs(store, v, p) for v, p in ((A, "digits"), (B, "digits"), (A, "letters"))] == [
        [0, 4, 6],
        [0, 4, 6],
        [*range(EPOCHS + 1)],
    ]
    left = store.objects.infos()
    assert done.dropped == 8
    assert done.deleted == 2 * (4 + 2)  # tensors of epochs 1, 2, 3, 5; manifests of 1, 2: 3 and 5 hold parts of 4 and 6
    assert {epoch for epoch, key in manifest_of.items() if key in left} == {0, 3, 4, 5, 6}
    check_whole(store)
    assert gc(store, "every:4") == Done()


@pytest.mark.parametrize("word", ["run:basline", "version:c"])
def test_a_rule_that_names_nothing_drops_nothing(store: Store, word: str) -> None:
    store.begin_run(run(B, run="baseline"))
    with pytest.raises(UsageError, match=rf"--keep {word} keeps nothing.*Runs: baseline\. "):
        gc(store, word)
    assert epochs(store) == [*range(EPOCHS + 1)]


def test_measured_seconds_of_epochs_outlive_their_checkpoints(store: Store) -> None:
    record(store, B, ended=False)

    def measured() -> tuple[EpochTimes, ...]:
        return next(e for e in store.experiments("digits") if e.version == B).profile.epochs  # it has crashed

    times = tuple(EpochTimes(epoch, 1.0, 2.0, 3.0) for epoch in range(1, EPOCHS + 1))
    assert measured() == times
    gc(store, "last")
    assert (epochs(store, B), measured()) == ([0, 6], times)
    store.merge_checkpoints("digits", B)
    assert (epochs(store, B), measured()) == ([0, 6], times)


def test_versions_without_a_row_in_e_keep_everything(store: Store) -> None:
    for path in store.files.list("experiments"):
        store.files.delete(path)
    record(store, B)
    assert gc(store, "last").dropped == 5
    assert epochs(store) == [*range(EPOCHS + 1)]
    assert (store.checkpoints("digits", A), epochs(store, B)) != ((), [])


def test_young_objects_stay_until_they_are_older_than_the_grace(store: Store) -> None:
    old, young = (store.objects.put(data) for data in (b"old", b"young"))
    path = Path(store.url, "objects", old[:2], old[2:])
    os.utime(path, (time.time() - GRACE_SECONDS - 60,) * 2)
    found = collecting.survey(store)
    planned = collecting.plan(found, "digits", [], GRACE_SECONDS)
    assert (planned.sweep.keys, planned.sweep.young, planned.sweep.young_bytes) == ((old,), 1, 5)
    assert gc(store, grace=GRACE_SECONDS).deleted == 1
    assert (store.objects.exists(old), store.objects.exists(young)) == (False, True)


def test_files_that_killed_writers_left_half_written_go_after_a_day(store: Store) -> None:
    folder = Path(store.url, "objects", "ab")
    folder.mkdir(exist_ok=True)
    for name, age in ((".tmp-1-2-old", 2 * GRACE_SECONDS), (".tmp-1-2-new", 0.5 * GRACE_SECONDS)):
        (folder / name).write_bytes(b"ha")
        os.utime(folder / name, (time.time() - age,) * 2)
    assert gc(store) == Done(unfinished=1)
    assert [path.name for path in folder.glob(".tmp*")] == [".tmp-1-2-new"]


def test_the_default_grace_is_the_one_that_writers_count_on() -> None:
    from flor_ray.cli.storage import gc as command

    (grace,) = [option for option in command.params if option.name == "grace"]
    assert parse_seconds(str(grace.default)) == GRACE_SECONDS


# --- live runs ------------------------------------------------------------------------------------------------------


def live(version: str, project: str = "digits") -> Experiment:
    return run(version, project, started=time.time(), run="going")


@pytest.mark.parametrize("project", ["digits", "letters"])
def test_a_short_grace_is_refused_while_a_run_is_live(store: Store, project: str) -> None:
    store.begin_run(live(B, project))
    with pytest.raises(UsageError, match=rf"version b{{8}} \(going\) of {project} is being recorded.*--grace 1h"):
        gc(store, "last", grace=3599.0)
    assert epochs(store) == [*range(EPOCHS + 1)]


def test_a_live_run_keeps_its_checkpoints_and_all_that_it_may_rely_on(store: Store) -> None:
    """It may rely on what was younger than half of GRACE_SECONDS when it looked, without making it younger."""
    ages = {"hours": 3 * 3600.0, "a day": GRACE_SECONDS * 0.6}
    keys = {name: store.objects.put(name.encode()) for name in ages}
    for name, key in keys.items():
        os.utime(Path(store.url, "objects", key[:2], key[2:]), (time.time() - ages[name],) * 2)
    begun = live(B)
    store.begin_run(begun)
    for epoch in range(3):
        take(store, B, epoch, [])
    done = gc(store, "last", grace=2 * 3600.0)
    assert (epochs(store), epochs(store, B)) == ([0, 6], [0, 1, 2])
    assert {name for name, key in keys.items() if store.objects.exists(key)} == {"hours"}
    assert (done.dropped, done.deleted) == (5, 1)


def test_what_is_being_replayed_keeps_its_checkpoints_and_refuses_a_short_grace(store: Store) -> None:
    record(store, B)
    with live_replays.replaying(store.files, "digits", "replay-3", [A]):
        with pytest.raises(UsageError, match=r"1 version of digits are being replayed \(.*replay-3\.json.*--grace 1h"):
            gc(store, "last")
        assert gc(store, "last", grace=3600.0).dropped == 5
        assert (epochs(store), epochs(store, B)) == ([*range(EPOCHS + 1)], [0, 6])
    assert gc(store, "last").dropped == 5
    assert store.files.list("replays") == []


def test_a_replay_that_begins_after_the_plan_loses_nothing(store: Store) -> None:
    found = collecting.survey(store)
    planned = collecting.plan(found, "digits", LAST, 0.0)
    before = store.files.list()
    with (
        live_replays.replaying(store.files, "digits", "replay-3", [A, B]),
        pytest.raises(UsageError, match=r"2 versions of digits are being replayed .* since this was planned"),
    ):
        collecting.carry_out(store, "digits", planned, found, 0.0, Done())
    assert store.files.list() == before


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, True),
        ({"pid_started": 1}, False),
        ({"host": "elsewhere", "pid_started": 1}, True),
        ({"host": "elsewhere", "started": time.time() - 2 * 86400}, False),
    ],
)
def test_a_replay_that_was_killed_counts_no_more(store: Store, change: dict[str, object], counts: bool) -> None:
    with live_replays.replaying(store.files, "digits", "replay-3", [A, B]):
        (path,) = store.files.list("replays")
        store.files.write(path, json.dumps(json.loads(store.files.read(path)) | change).encode())
        found = live_replays.live(store.files, time.time())
    assert [(r.project, r.origin, r.versions) for r in found] == [("digits", "replay-3", frozenset({A, B}))] * counts


@pytest.mark.parametrize(("quiet", "counts"), [(20.0, True), (290.0, True), (310.0, False), (86_000.0, False)])
def test_a_replay_of_another_host_counts_while_its_heart_beats(
    store: Store, monkeypatch: pytest.MonkeyPatch, quiet: float, counts: bool
) -> None:
    with live_replays.replaying(store.files, "digits", "replay-3", [A]):
        (path,) = store.files.list("replays")
        mark = json.loads(store.files.read(path)) | {"host": "elsewhere", "started": time.time() - 3600}
        store.files.write(path, json.dumps(mark).encode())
        store.files.write("jobs/digits/replay-3.json", b"{}")
        now = store.files.now()
        monkeypatch.setattr(store.files, "now", lambda: now + quiet)
        assert bool(live_replays.live(store.files, time.time())) == counts


def test_a_mark_that_says_nothing_stops_gc(store: Store) -> None:
    store.files.write("replays/digits/replay-3.json", b"{}")
    with pytest.raises(StoreError, match=r"replay-3\.json does not say which replay is running.*Delete it"):
        gc(store)


def test_a_run_that_begins_after_the_plan_is_respected(store: Store) -> None:
    store.objects.put(b"lost")
    found = collecting.survey(store)
    planned = collecting.plan(found, "digits", LAST, 0.0)
    store.begin_run(live(B))
    before = store.objects.infos().keys()
    with pytest.raises(UsageError, match="is being recorded"):
        collecting.carry_out(store, "digits", planned, found, 0.0, Done())
    assert store.objects.infos().keys() == before


def test_an_object_that_is_put_again_while_gc_deletes_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_DELETIONS", 1)
    monkeypatch.setattr(collecting, "_TRUSTED_SECONDS", 0.0)
    lost = sorted(store.objects.put(f"{n}".encode()) for n in range(5))
    blobs = {store.objects.put(f"{n}".encode()): f"{n}".encode() for n in range(5)}
    long_ago = time.time() - 2 * GRACE_SECONDS
    for key in lost:
        os.utime(Path(store.url, "objects", key[:2], key[2:]), (long_ago, long_ago))

    def tell(what: str, count: int, total: int) -> None:
        if what == "Deleting objects" and count == 2:
            Store(store.url).objects.put(blobs[lost[3]])  # by another process, which has not seen it yet

    found = collecting.survey(store)
    done = Done()
    collecting.carry_out(store, "digits", collecting.plan(found, "digits", [], 60.0), found, 60.0, done, tell)
    assert [key for key in lost if store.objects.exists(key)] == [lost[3]]
    assert (done.deleted, done.left) == (4, 0)


# --- damage ---------------------------------------------------------------------------------------------------------

Damage = Callable[[Store], object]


def spoil(folder: str, pattern: str) -> Damage:
    def do(store: Store) -> None:
        path = next(Path(store.url, folder).rglob(pattern))
        path.write_bytes(path.read_bytes()[:-7])

    return do


def _manifest(store: Store) -> str:
    return store.checkpoints("digits", A)[2].key


def _forge(store: Store) -> None:
    row = replace(store.checkpoints("digits", A)[2], key=store.objects.put(b"no manifest"))
    store.append_checkpoint("digits", row, None)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "E": (spoil("experiments", "*.end.json"), "does not hold a recorded run"),
    "F": (spoil("log_records", "recorded*"), "is not a whole Parquet file"),
    "F replayed": (spoil("log_records", "replay-1*"), "is not a whole Parquet file"),
    "C": (spoil("checkpoints", "000003*"), "is not a whole Parquet file"),
    "G": (spoil("source_code", "*.parquet"), "is not a whole Parquet file"),
    "a manifest is gone": (lambda s: s.objects.delete(_manifest(s)), "a{8}, epoch 2: .*is referred to but is not in"),
    "a manifest is cut": (lambda s: spoil("objects", _manifest(s)[2:])(s), "a{8}, epoch 2: .*is corrupt"),
    "a manifest is none": (_forge, "a{8}, epoch 2: .*is not the manifest"),
}


@pytest.mark.parametrize("damaged", DAMAGES)
def test_damage_stops_gc_before_anything_is_deleted(store: Store, damaged: str) -> None:
    do, words = DAMAGES[damaged]
    do(store)
    store.objects.put(b"lost")
    before = store.files.list()
    with pytest.raises(StoreError, match=words):
        gc(store, "last")
    assert store.files.list() == before


def test_damage_that_comes_up_between_plan_and_deletion_stops_the_deletion(store: Store) -> None:
    found = collecting.survey(store)
    planned = collecting.plan(found, "digits", LAST, 0.0)
    objects = store.objects.infos().keys()
    spoil("log_records", "recorded*")(store)
    with pytest.raises(StoreError, match="is not a whole Parquet file"):
        collecting.carry_out(store, "digits", planned, found, 0.0, Done())
    assert store.objects.infos().keys() == objects


def test_strangers_in_the_folders_stop_nothing(store: Store) -> None:
    for path in ("log_records/x.txt", "log_records/digits/x.txt", "source_code/x.txt", "source_code/digits/.DS_Store"):
        store.files.write(path, b"mine")
    assert gc(store, "last").dropped == 5


# --- kills, readers, merges and others' gcs at bad moments ----------------------------------------------------------


@dataclass
class Killed:
    """A store whose n-th write or deletion never happens, nor any after it."""

    store: Store
    left: int

    def __enter__(self) -> Store:
        for name in ("write", "delete"):
            setattr(self.store.files, name, self._counted(getattr(self.store.files, name)))
        return self.store

    def __exit__(self, *error: object) -> None:
        del self.store.files.write, self.store.files.delete

    def _counted(self, do: Callable[..., None]) -> Callable[..., None]:
        def counted(*arguments: Any) -> None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            do(*arguments)

        return counted


def test_a_gc_that_is_killed_anywhere_leaves_whole_checkpoints_and_the_next_one_finishes(tmp_path: Path) -> None:
    reference = Store(str(tmp_path / "reference"))
    record(reference, A)
    record(reference, B)
    gc(reference, "last")
    expected = reference.files.list("objects")
    for steps in itertools.count():
        store = Store(str(tmp_path / f"{steps}"))
        record(store, A)
        record(store, B)
        try:
            with Killed(store, steps):
                gc(store, "last")
        except KeyboardInterrupt:
            pass
        else:
            break
        check_whole(store)
        assert all({0, 6} <= set(epochs(store, v)) for v in (A, B))
        gc(store, "last")
        assert store.files.list("objects") == expected
        assert [epochs(store, v) for v in (A, B)] == [[0, 6], [0, 6]]
        check_whole(store)
    assert steps == 2 + 2 * (5 + 4)  # two rows' files; per version five tensors and the manifests of 1 to 4


def test_what_was_stopped_is_said_in_figures(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_DELETIONS", 1)
    done = Done()
    with pytest.raises(KeyboardInterrupt), Killed(store, 1 + 3):
        gc(store, "last", done=done)
    assert (done.dropped, done.deleted, done.left) == (5, 3, 6)
    assert disk_space.done(done, complete=False) == (
        f"Stopped. Dropped 5 checkpoints, deleted 3 objects: {done.bytes} B freed. 6 objects more are still to be "
        "deleted. The store is whole; run the same command again to finish."
    )


def test_a_reader_always_sees_kept_rows_and_dropped_ones_do_not_come_back(store: Store) -> None:
    seen: list[list[int]] = []
    failures: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        other = Store(store.url)
        try:
            while not over.is_set():
                seen.append(epochs(other))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test has to see it
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for words in (["every:3", "every:4"], ["every:3"], ["last"]):
            gc(store, *words)
            store.merge_checkpoints("digits", A)
    finally:
        over.set()
        reader.join()
    assert failures == []
    assert {0, 6} <= set.intersection(*map(set, seen))
    assert all(set(later) <= set(earlier) for earlier, later in itertools.pairwise(seen))
    assert epochs(store) == [0, 6]


def during_first_write(store: Store, what: Callable[[], object]) -> None:
    """Do something just before the next file is written, when all reading for it is over."""
    write = store.files.write

    def hooked(*arguments: Any) -> None:
        setattr(store.files, "write", write)  # noqa: B010 - mypy knows that methods are not to be assigned
        what()
        write(*arguments)

    setattr(store.files, "write", hooked)  # noqa: B010


@pytest.mark.parametrize("merged_before", [False, True])
def test_a_merge_that_read_before_a_drop_brings_nothing_back(store: Store, merged_before: bool) -> None:
    if merged_before:
        store.merge_checkpoints("digits", A)
        take(store, A, 7, [])
    during_first_write(store, lambda: gc(Store(store.url), "last"))
    store.merge_checkpoints("digits", A)
    assert epochs(store) == [0, 7 if merged_before else 6]
    store.merge_checkpoints("digits", A)
    assert epochs(store) == [0, 7 if merged_before else 6]
    check_whole(store)


def test_a_merge_in_the_middle_of_a_drop_brings_nothing_back(store: Store) -> None:
    during_first_write(store, lambda: Store(store.url).merge_checkpoints("digits", A))
    gc(store, "last")
    assert epochs(store) == [0, 6]
    check_whole(store)


@pytest.mark.parametrize("words", [["every:2", "every:5"], ["last", "every:5"]])
def test_of_two_gcs_with_different_rules_each_drops_what_it_planned(store: Store, words: list[str]) -> None:
    mine, others = words
    found = collecting.survey(store)
    planned = collecting.plan(found, "digits", [parse_rule(mine)], 0.0)
    during_first_write(store, lambda: gc(Store(store.url), others))
    collecting.carry_out(store, "digits", planned, found, 0.0, Done())
    assert epochs(store) == [0, 6]
    check_whole(store)


def test_a_gc_whose_plan_is_old_deletes_nothing_that_came_since(store: Store) -> None:
    lost = store.objects.put(b"found again")
    found = collecting.survey(store)
    planned = collecting.plan(found, "digits", LAST, 0.0)
    assert lost in planned.sweep.keys
    store.end_run(run(B, ended=2000.0, status=Status.FINISHED))
    take(store, B, 1, [lost])
    collecting.carry_out(store, "digits", planned, found, 0.0, Done())
    assert store.objects.get(lost) == b"found again"
    assert epochs(store, B) == [1]


# --- storage --------------------------------------------------------------------------------------------------------


def test_storage_counts_what_is_on_disk(store: Store) -> None:
    record(store, B)
    lost = store.objects.put(b"lost")
    found = collecting.survey(store)
    what = retention.storage("digits", found.versions, found.infos)
    assert what.bytes == sum(p.stat().st_size for p in Path(store.url, "objects").rglob("*") if p.is_file())
    assert what.objects == len(store.files.list("objects"))
    assert (what.unneeded, what.unneeded_bytes) == (1, len(store.objects.get(lost)))
    assert what.logical_bytes == 2 * (EPOCHS + 1) * 1000
    for usage in what.usages:
        folder = Path(store.url, "log_records/digits", usage.version.version)
        assert usage.version.log_bytes == sum(p.stat().st_size for p in folder.iterdir())
        assert usage.shared_bytes == len(b"frozen")
        assert (usage.version.epochs, len(usage.version.checkpoints)) == (EPOCHS, EPOCHS + 1)
    assert sum(u.own_bytes for u in what.usages) + len(b"frozen") + len(b"lost") == what.bytes
    assert (what.missing, found.damage) == ((), ())


def test_damage_is_told_by_storage_and_does_not_stop_it(store: Store) -> None:
    key, tensor = _manifest(store), store.objects.put(b"frozen")
    store.objects.delete(key)
    store.objects.delete(tensor)
    found = collecting.survey(store)
    what = retention.storage("digits", found.versions, found.infos)
    assert what.missing == tuple(sorted([key, tensor]))
    assert len(found.damage) == 1
    assert f"Object {key} is referred to but is not in" in found.damage[0]


# --- words ----------------------------------------------------------------------------------------------------------


def test_sizes_are_in_decimal_units() -> None:
    figures = {0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 5 * 10**15: "5000.0 TB"}
    assert {count: wording.size(count) for count in figures} == figures


def test_long_lists_of_epochs_are_cut_in_the_middle() -> None:
    assert disk_space._spans([0, 1, 2, 7, 9, 10]) == "0-2, 7, 9-10"
    assert disk_space._spans(range(0, 200, 5)) == "0, 5, 10, 15, ..., 190, 195"


def test_where_there_is_no_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, lines in ((0.0, ["Reading: 1 of 9", "Reading: 2 of 9"]), (60.0, [])):
        monkeypatch.setattr(progress, "_PLAIN_SECONDS", seconds)
        with progress.counting() as tell:
            tell("Reading", 1, 9)
            tell("Reading", 2, 9)
        output = capsys.readouterr()
        assert (output.out, output.err.splitlines()) == ("", lines)
