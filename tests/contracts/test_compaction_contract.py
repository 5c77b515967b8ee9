"""What compaction promises, whatever the file system below the store: readers see what they saw before."""

from __future__ import annotations

import functools
import os
import random
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flor_ray.errors import FlorWarning
from flor_ray.records import (
    Experiment,
    FileState,
    Level,
    LogRecord,
    Operator,
    Segment,
    SegmentReport,
    Status,
    WrittenFile,
)
from flor_ray.store import typed_values
from flor_ray.store.compacting import compaction
from flor_ray.store.compacting.compaction import Compactor
from flor_ray.store.store import Store

VERSIONS = [f"{number:02x}" * 20 for number in (7, 3, 250, 81)]
NOW = 1e6  # seconds; runs begin a little before
OLD, NEW = "replay-20261122T034100.123456Z-ab12", "replay-20261122T034100.123457Z-0000"


def run(version: str, status: Status = Status.FINISHED, started: float = NOW - 100.0) -> Experiment:
    ended = None if status is Status.RUNNING else started + 9
    return Experiment(
        "digits", version, None, "train.py", f"run {version[:2]}", started, ended, status, {"lr": 0.1}, epochs=3,
        environment={"host": "elsewhere", "pid": 1},
    )  # fmt: skip


def record(
    name: str, value: object, epoch: int | None = None, step: int | None = None, iteration: int = 0
) -> LogRecord:
    level = Level.DATA_PREP if epoch is None else Level.OUTER if step is None else Level.INNER
    return LogRecord(level, epoch, step, name, iteration, typed_values.encode(value), 5.0)


def recorded(version: str, count: int = 40) -> list[LogRecord]:
    """Names of all levels and types, not in the order of names."""
    made = [record("lr", 0.1), record("note", f"{version}'s \N{SNOWMAN}"), record("blob", np.arange(3))]
    for number in range(count):
        epoch, step = 1 + number // 10, number % 10
        made.append(record("loss", float(number), epoch, step))
        if step == 9:
            made += [record("loss", -1.0, epoch), record("acc", number, epoch), record("big", 2**80, epoch)]
    return made


def report(version: str, segment: Segment) -> SegmentReport:
    return SegmentReport(replace(segment, version=version), rows=1, setup_seconds=0.5, run_seconds=1.5)


FIRST = Segment("", 1, 2, Operator.DP_I, names=("grad",))
SECOND = Segment("", 2, 3, Operator.DP_I, names=("grad",))


def write_run(store: Store, version: str, parts: Sequence[int] = (40,), ends: bool = True) -> None:
    """A run whose log is in as many fragments as there are parts, and what two replays made of it."""
    store.begin_run(run(version, Status.RUNNING))
    rows, first = recorded(version), 0
    for length in [*parts, len(rows)]:
        store.append_logs("digits", version, "recorded", first, rows[first : first + length])
        first += length
    store.write_files("digits", version, [WrittenFile("out.txt", (FileState(1, kept="k" * 64),))])
    for origin, segment, value in ((OLD, FIRST, 1.0), (OLD, SECOND, 2.0), (NEW, SECOND, 3.0)):
        rows = [record("grad", value, epoch) for epoch in range(segment.first, segment.last + 1)]
        rows.append(record("loss", 99.0, segment.first, 0))  # a recorded value goes before it
        store.write_replay("digits", version, origin, segment.id, rows, report(version, segment))
    if ends:
        store.end_run(run(version))


def seen(store: Store) -> dict[str, Any]:
    """All that readers see."""
    logged = store.logged("digits")
    kinds = store.kinds("digits", ["loss", "grad", "blob"])
    several: dict[tuple[str, str, str], tuple[frozenset[str], frozenset[str]]] = {}
    for version, origin, name, kind in kinds:  # fragments of one origin become one file
        levels, types = several.get((version, origin, name), (frozenset(), frozenset()))
        several[version, origin, name] = (levels | kind.levels, types | kind.types)
    return {
        "projects": store.projects(),
        "rows": logged.rows.to_pylist(),
        "names": logged.names,
        "reports": logged.reports,
        "runs": store.experiments("digits", now=NOW),
        "listed": [(one.version, one.status, one.run, one.args) for one in store.listed_runs("digits", now=NOW)],
        "one": {v: (store.experiment("digits", v, NOW), store.names("digits", [v])) for v in VERSIONS},
        "loss": store.logs("digits", ["loss"], VERSIONS[1:]).to_pylist(),
        "kinds": several,
        "blobs": store.blob_keys(),
        "files": {version: store.written_files("digits", version) for version in VERSIONS},
        "all files": store.all_written_files("digits"),
    }


def compact(store: Store, **given: Any) -> compaction.Compacted:
    return Compactor(store, "digits", **given).compact(now=NOW)


def test_a_compacted_store_reads_as_before_from_few_files(url: str) -> None:
    store = Store(url)
    for number, version in enumerate(VERSIONS):
        write_run(store, version, [1] * number)
    before = seen(store)
    done = compact(store)
    assert seen(store) == seen(Store(url)) == before
    assert [path.rpartition("/")[2][:9] for path in store.files.list("compacted")] == ["logs-0001", "runs-0001"]
    assert store.files.list("experiments") == store.files.list("log_records") == []
    assert (done.runs, done.written) == (4, 2)
    assert done.records == sum(len(recorded(version)) + 3 * 3 for version in VERSIONS)
    assert compact(store).written == 0
    assert seen(store) == before


def test_what_comes_after_a_compaction_is_read_beside_it(url: str) -> None:
    plain, store = Store(f"{url}/plain"), Store(f"{url}/compacted")
    for one in (plain, store):
        write_run(one, VERSIONS[0])
        write_run(one, VERSIONS[1], [1, 2])
    compact(store)
    for one in (plain, store):
        newest = "replay-20271122T034100.123457Z-0000"
        one.write_replay("digits", VERSIONS[0], newest, "s", [record("grad", 9.0, 2)], report(VERSIONS[0], FIRST))
        between = replace(FIRST, first=1, last=3)  # its id lies between those of FIRST and SECOND
        rows = [record("grad", 7.0, epoch) for epoch in (1, 2, 3)]
        one.write_replay("digits", VERSIONS[1], OLD, between.id, rows, report(VERSIONS[1], between))
        write_run(one, VERSIONS[2])
    expected = seen(plain)
    assert seen(store) == expected
    compact(store)
    assert seen(store) == expected


def test_tiers_of_files_are_merged_and_read_the_same(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_TIER", 2)
    plain, store = Store(f"{url}/plain"), Store(f"{url}/compacted")
    for version in VERSIONS:
        for one in (plain, store):
            write_run(one, version, [3])
        compact(store)
        assert seen(store) == seen(plain)
    assert len(store.files.list("compacted")) == 2
    assert "logs-0004" in store.files.list("compacted")[0]


def test_a_long_log_becomes_files_of_ranges(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(url)
    write_run(store, VERSIONS[0])
    store.merge_logs("digits", VERSIONS[0], "recorded")
    before = seen(store)
    monkeypatch.setattr(compaction, "LONG_ROWS", 20)
    monkeypatch.setattr(compaction, "_MERGED_ROWS", 20)
    compact(store)
    assert len(store.files.list("compacted")) == 1 + 1 + 3  # runs, replays, and 55 records
    assert seen(store) == before
    monkeypatch.undo()
    compact(store)
    assert len(store.files.list("compacted")) == 2
    assert seen(store) == before


def test_a_run_that_goes_on_is_left_alone(url: str) -> None:
    store = Store(url)
    write_run(store, VERSIONS[0], ends=False)
    store.beat("digits", VERSIONS[0], NOW)
    before, files = seen(store), store.files.list()
    compact(store)
    assert (seen(store), store.files.list()) == (before, files)


def test_a_crashed_run_is_kept_as_it_was_rebuilt_and_may_yet_live(url: str) -> None:
    plain, store = Store(f"{url}/plain"), Store(f"{url}/compacted")
    for one in (plain, store):
        one.begin_run(run(VERSIONS[0], Status.RUNNING, started=1000.0))
        one.beat("digits", VERSIONS[0], 2000.0)
        for first, row in enumerate(recorded(VERSIONS[0])):
            one.append_logs("digits", VERSIONS[0], "recorded", first, [row])
    before = seen(plain)
    assert before["runs"][0].status is Status.CRASHED
    assert seen(store) == before
    compact(store)
    assert seen(store) == before
    assert store.files.list("experiments") == store.files.list("log_records") == []
    for one in (plain, store):
        one.beat("digits", VERSIONS[0], NOW - 10)
    assert store.experiments("digits", NOW) == plain.experiments("digits", NOW)
    assert store.experiments("digits", NOW)[0].status is Status.RUNNING
    for one in (plain, store):  # it logs one more epoch, and is gone again
        one.append_logs("digits", VERSIONS[0], "recorded", len(recorded(VERSIONS[0])), [record("loss", 5.0, 9, 1)])
    later = NOW + 1e6
    assert store.experiments("digits", later) == plain.experiments("digits", later)
    Compactor(store, "digits").compact(now=later)
    assert store.files.list("experiments") == []
    assert store.experiments("digits", later) == plain.experiments("digits", later)
    for one in (plain, store):
        one.end_run(run(VERSIONS[0]))
    assert seen(store) == seen(plain)
    compact(store)
    assert seen(store) == seen(plain)


def test_what_was_said_first_of_a_compacted_run_stands(url: str) -> None:
    store = Store(url)
    write_run(store, VERSIONS[0])
    compact(store)
    with pytest.raises(Exception, match="another run was recorded as this version"):
        store.begin_run(run(VERSIONS[0], Status.RUNNING))
    store.end_run(run(VERSIONS[0], Status.FAILED))
    assert [one.status for one in store.experiments("digits")] == [Status.FINISHED]
    compact(store)
    assert [one.status for one in store.experiments("digits")] == [Status.FINISHED]


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_list_without_a_damaged_file_has_the_runs_of_the_others(url: str, damaged: int) -> None:
    store = Store(url)
    for versions in (VERSIONS[:1], VERSIONS[1:]):
        for version in versions:
            write_run(store, version)
        Compactor(store, "digits").compact(NOW)
    files = store.run_reader.compacted("digits")
    assert len(files) == 2
    data = store.files.read(files[damaged].path)
    store.files.write(files[damaged].path, data[:4] + bytes(300) + data[304:])
    with pytest.warns(FlorWarning, match="is left out"):
        listed = store.listed_runs("digits", now=NOW)
    assert {one.version for one in listed} == set(files[1 - damaged].versions)


def test_a_damaged_file_stays_and_is_told_as_before(url: str) -> None:
    store = Store(url)
    write_run(store, VERSIONS[0])
    write_run(store, VERSIONS[1])
    (path, *_) = [path for path in store.files.list(f"log_records/digits/{VERSIONS[0]}") if OLD in path]
    store.files.write(path, b"PAR1")
    store.files.write(f"experiments/digits/{VERSIONS[1]}.end.json", b"{}")
    with pytest.warns(FlorWarning, match="is left out"):
        before = store.logs("digits").to_pylist()
    with pytest.warns(FlorWarning, match="is left out"):
        compact(store)
    assert path in store.files.list()
    assert f"experiments/digits/{VERSIONS[1]}.end.json" in store.files.list()
    with pytest.warns(FlorWarning, match=r"is left out"):
        assert store.logs("digits").to_pylist() == before
    with pytest.warns(FlorWarning, match=r"does not hold a recorded run.*is left out"):
        assert [one.version for one in store.experiments("digits")] == [VERSIONS[0]]


def test_a_store_of_an_older_release_is_refused_by_it_once_it_is_compacted(url: str) -> None:
    Store(url).files.write("format.json", b'{"format": 2, "create_only": true}')
    store = Store(url)
    write_run(store, VERSIONS[0])
    assert compaction.by_itself(store, "digits") is None
    assert b'"format": 2' in store.files.read("format.json")
    compact(store)
    assert b'"format": 3' in store.files.read("format.json")
    assert b'"create_only": true' in store.files.read("format.json")
    assert compaction.by_itself(Store(url), "digits") is None  # there is nothing to do


def test_a_store_with_many_small_files_is_compacted_by_itself(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(url)
    monkeypatch.setattr(compaction, "SMALL_FILES", 11)
    for version in VERSIONS[:2]:
        write_run(store, version, [1])
    assert compaction.by_itself(store, "digits") is None  # ten fragments are no reason
    write_run(store, VERSIONS[2])
    before = seen(store)
    done = compaction.by_itself(store, "digits")
    assert done is not None
    assert done.fragments == 15
    assert seen(store) == before


# --- several at once ------------------------------------------------------------------------------------------------


OPERATIONS = ["read", "read_end", "read_range", "write", "create", "delete", "list", "infos", "folders", "prune"]


def meddle(store: Store, acts: Iterator[Callable[[], object] | None]) -> None:
    """From now on others act before this store's operations: before each one the next act that there is."""
    backend = store.files._backend

    def meddled(operation: Callable[..., object]) -> Callable[..., object]:
        def after_others(*given: object) -> object:
            act = next(acts, None)
            if act is not None:
                act()
            return operation(*given)

        return after_others

    for name in OPERATIONS:
        setattr(backend, name, meddled(getattr(backend, name)))


ACTS = ["compact", "compact again", "replay", "run", "merge", "read", "beat"]


@settings(
    max_examples=int(os.environ.get("FLOR_TEST_EXAMPLES", "10")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    acts=st.lists(st.tuples(st.integers(0, 25), st.sampled_from(ACTS)), max_size=6),
    parts=st.lists(st.integers(1, 30), max_size=3),
    seed=st.integers(0, 1000),
)
@pytest.mark.parametrize("kind", ["local", "memory"])
def test_whatever_happens_while_a_compactor_works_no_row_is_missing_or_twice(
    tmp_path: Any, kind: str, acts: list[tuple[int, str]], parts: list[int], seed: int
) -> None:
    """Another compactor, a writer, a merge or a reader acts between any two operations of a compactor, which has not
    seen it, and the reader between any two operations of these sees what was written."""
    luck = random.Random(seed)
    unique = uuid.uuid4().hex  # hypothesis tries some again
    root = str(tmp_path / unique) if kind == "local" else f"memory://{unique}"
    plain, store = Store(f"{root}/plain"), Store(f"{root}/compacted")
    for one in (plain, store):
        for version in VERSIONS[:2]:
            write_run(one, version, parts)

    def both(do: Callable[[Store], None]) -> None:
        do(plain)
        do(Store(store.url))

    unused = iter(VERSIONS[2:])

    def act(what: str) -> None:
        version = luck.choice(VERSIONS[:2])
        if what.startswith("compact"):
            compact(Store(store.url))
        elif what == "merge":
            both(lambda one: one.merge_logs("digits", version, "recorded"))
        elif what == "replay":
            segment = luck.choice([FIRST, SECOND, replace(FIRST, first=1, last=3)])
            origin = luck.choice([OLD, NEW, "replay-3"])
            rows = [record("grad", float(len(origin)), epoch) for epoch in range(segment.first, segment.last + 1)]
            if origin == "replay-3":  # what a replay has answered is answered with the same
                both(
                    lambda one: one.write_replay("digits", version, origin, segment.id, rows, report(version, segment))
                )
        elif what == "run" and (new := next(unused, None)) is not None:
            both(lambda one: write_run(one, new, parts))
        elif what == "beat":
            both(lambda one: one.beat("digits", version, NOW))
        assert seen(Store(store.url)) == seen(plain)

    places = sorted(acts, key=lambda one: one[0])
    numbered: dict[int, list[str]] = {}
    for number, what in places:
        numbered.setdefault(number, []).append(what)

    def all_of(number: int) -> None:
        for what in numbered[number]:
            act(what)

    def in_turn() -> Iterator[Callable[[], object] | None]:
        for number in range(max(numbered, default=-1) + 1):
            yield functools.partial(all_of, number) if number in numbered else None

    compactor = Store(store.url)
    meddle(compactor, in_turn())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compact(compactor)
        assert seen(Store(store.url)) == seen(plain)
        compact(Store(store.url))
        assert seen(Store(store.url)) == seen(plain)
