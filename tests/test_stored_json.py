"""JSON in stores: what earlier code wrote is read, and written again byte for byte; what is no such file is named.

The files in cases/stored were written before msgspec read them. NaN and infinities, lone surrogates and numbers of any
size are in them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from flor_ray import processes
from flor_ray.errors import StoreError
from flor_ray.patching import answers
from flor_ray.planning import calibrations
from flor_ray.records import (
    Ending,
    EpochTimes,
    Experiment,
    Fidelity,
    Mismatch,
    Operator,
    Pin,
    PinnedPlace,
    Placement,
    Profile,
    Propagation,
    Refusal,
    Segment,
    SegmentReport,
    Status,
    Stint,
    Variant,
)
from flor_ray.reports import timelines
from flor_ray.reports.timelines import Timeline
from flor_ray.scheduler.calibration import Calibration, Learned
from flor_ray.store import live_replays, pins, runs, segment_reports, typed_json
from flor_ray.store.files import Files

STORED = Path(__file__).parent / "cases" / "stored"
NOW = 1767323045.678901
A, B = "a" * 40, "b" * 40


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "store"))


def stored(name: str) -> bytes:
    return (STORED / f"{name}.json").read_bytes()


def only(files: Files, folder: str) -> bytes:
    (path,) = files.list(folder)
    return files.read(path)


# --- runs -----------------------------------------------------------------------------------------------------------

RUN = Experiment(
    project="digits",
    version=A,
    parent=None,
    script="train.py",
    run="first é",
    started=NOW,
    ended=1767323145.5,
    status=Status.FAILED,
    args={
        "z": math.nan,
        "lr": math.inf,
        "low": -math.inf,
        "n": 2**70,
        "flag": True,
        "none": None,
        "list": [1, (2.5, "x")],
        "map": {"b": 1, "a": {"c": 0.1}},
        "text": "\udcff",
        "set": {"b", "a"},
        "object": Pin(1),
        "bytes": b"x",
        "int keys": {1: 2, None: 3},
    },
    argv=("--fast", "\udcff"),
    cwd="sub",
    main_loop="epoch",
    nested_loop="step",
    epochs=2,
    profile=Profile(7.25, (EpochTimes(1, 0.1, 2.0, 0.3), EpochTimes(2, 1e-9, math.nan, 0.0)), 0.5, 6.5, 120.0),
    environment={"python": "3.11", "gpus": [], "threads": None, "pid": 7, "inputs": [{"path": "d.csv", "hash": "ff"}]},
    error="ValueError: \u2028",
)
READ_BACK = replace(
    RUN,
    args={
        **RUN.args,
        "list": [1, [2.5, "x"]],
        "set": ["a", "b"],
        "object": "Pin(after=1, indent=None)",
        "bytes": "b'x'",
        "int keys": {"1": 2, "null": 3},
    },
)
BARE = Experiment("digits", B, A, "train.py", "", 1000.0, None, Status.RUNNING)


@pytest.mark.parametrize(("name", "run", "read"), [("run", RUN, READ_BACK), ("run_bare", BARE, BARE)])
def test_a_run_is_written_and_read_as_ever(name: str, run: Experiment, read: Experiment) -> None:
    assert runs.to_json(run) == stored(name)
    # NaN is equal to nothing, and says its name.
    assert repr(runs.from_json(stored(name), "it", "digits", run.version)) == repr(read)


def test_a_run_of_the_first_release_has_no_import_seconds_and_one_of_a_later_one_more_fields() -> None:
    row = json.loads(stored("run_bare"))
    row["profile"] = {
        "setup_seconds": 2,
        "epochs": [[1, 0, 1.5, 0.25], [2, 0, 1.5, 0.25, 7, "more"]],
        "suffix_seconds": 0.5,
    }
    found = runs.from_json(json.dumps({**row, "new": [1], "environment": {"x": {}}}).encode(), "it", "digits", B)
    epochs = EpochTimes(1, 0.0, 1.5, 0.25), EpochTimes(2, 0.0, 1.5, 0.25, steps=7)
    assert found == replace(BARE, profile=Profile(2.0, epochs, 0.5), environment={"x": {}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "odd"}, "status"),
        ({"profile": None}, "NoneType"),
        ({"profile": {"epochs": [[1, 2.0]], "setup_seconds": 1.0, "suffix_seconds": 1.0}}, "inner_seconds"),
        ({"started": "now"}, "started"),
        ({"argv": "a b"}, "argv"),
        ({"version": "-x"}, "version '-x'"),
        ({"project": "other"}, "of 'other'"),
        ({"epochs": 10**12}, "1000000000000 epochs"),
        ({"epochs": -1}, "-1 epochs"),
        ({"started": 1e300}, "in no year"),
        ({"started": math.nan}, "in no year"),
        ({"script": "/etc/passwd"}, "leads out of its folder"),
        ({"script": "a/../../x.py"}, "leads out of its folder"),
        ({"environment": {"variables": ["x"]}}, "variables"),
        ({"environment": {"distributions": {"numpy": 1}}}, "distributions"),
    ],
)
def test_what_is_no_run_is_refused_with_the_field(change: Mapping[str, object], words: str) -> None:
    row = json.loads(stored("run_bare")) | change
    with pytest.raises(StoreError, match=rf"runs/x\.json does not hold a recorded run .*{words}.*Restore that file"):
        runs.from_json(json.dumps(row).encode(), "runs/x.json", "digits", B)


# --- decisions --------------------------------------------------------------------------------------------------------

PLACE = PinnedPlace("norm", 'flor.log("norm", \udcff, "é")', 0, "train.py", "ab12", Pin(7, 4), "v" * 40)


def test_a_pin_is_written_and_read_as_ever(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "_user", lambda: "ada@lab")
    monkeypatch.setattr("time.time", lambda: NOW)
    done = pins.keep(files, "p q", PLACE)
    assert only(files, "pins") == stored("pin")
    assert done == replace(PLACE, who="ada@lab", created=NOW)
    assert pins.kept(files, "p q") == (done,)
    pins.remove(files, "p q", PLACE)
    assert files.read(files.list("pins")[-1]) == stored("pin_removed")
    assert pins.kept(files, "p q") == ()


def test_a_calibration_is_written_and_read_as_ever(files: Files) -> None:
    slowness = {"GPU Y / é": Learned(2.0, 0.3, 5), "": Learned(1.0, 0.0, 1)}
    older = Calibration(prepare=Learned(0.25, 0.1, 3), slowness=slowness)
    known = {"CPU X / 3 GHz": replace(older, starts={"new ray": Learned(12.5, 2.0, 4)}, off=Learned(0.04, 0.02, 9))}
    calibrations.keep(files, known)
    assert only(files, "calibrations") == stored("calibration")
    assert calibrations.kept(files) == known
    newer = files.list("calibrations")[0].rpartition("/")[0] + "/99999999999999999-ab.json"
    files.create(newer, stored("calibration_without_starts"))
    assert calibrations.kept(files) == {"CPU X / 3 GHz": older}


TIMELINE = Timeline(
    "replay-20260102T030405.000000Z-abcd",
    ("loss",),
    (
        Stint("node-10", Segment(B, 1, 4, Operator.DP_I, restore=0, names=("loss",)), 0.0, 6.0, Ending.DONE, 2.0, 5.0),
        Stint("w é", Segment("c", 0, 0, Operator.DP, suffix=True), 0.333, 0.667, Ending.LOST, kind="A100", rows=8),
    ),
    workers=3,
    planned_makespan_seconds=9.0,
    runs={B: "first & last"},
)


def test_a_timeline_is_written_and_read_as_ever(files: Files) -> None:
    begun = replace(TIMELINE.stints[1], began=1 / 3, ended=2 / 3)
    timelines.keep(files, "p q", replace(TIMELINE, stints=(TIMELINE.stints[0], begun)))  # it is kept to the millisecond
    assert only(files, "timelines") == stored("timeline")
    assert timelines.newest(files, "p q") == TIMELINE


def test_what_a_later_release_adds_to_a_timeline_is_left_out(files: Files) -> None:
    timelines.keep(files, "p", TIMELINE)
    (path,) = files.list("timelines")
    plain = json.loads(files.read(path))
    for of in ("segment", "stint"):
        plain[f"{of}_columns"].insert(1, "new")
        for row in plain[f"{of}s"]:
            row.insert(1, {"any": "thing"})
    files.write(path, json.dumps({**plain, "more": 1}).encode())
    assert timelines.newest(files, "p") == TIMELINE


# --- replays ----------------------------------------------------------------------------------------------------------


def test_the_mark_of_a_replay_is_written_and_read_as_ever(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    monkeypatch.setattr("os.getpid", lambda: 4711)
    monkeypatch.setattr("socket.gethostname", lambda: "lab")
    monkeypatch.setattr(processes, "started", lambda pid: 12345)
    with live_replays.replaying(files, "p q", "replay-1", ["b", "a", "b"]):
        assert only(files, "replays") == stored("replay_mark")
        monkeypatch.setattr(processes, "is_running", lambda pid, since: (pid, since) == (4711, 12345))
        (found,) = live_replays.live(files, NOW)
    assert (found.project, found.origin, found.versions, found.started) == ("p q", "replay-1", frozenset("ab"), NOW)


REPORT = SegmentReport(
    Segment(A, 3, 7, Operator.DP_I, Variant.OUTER, 2, True, ("x", "y")),
    rows=5,
    setup_seconds=0.25,
    run_seconds=1.5,
    compared=4,
    states_compared=1,
    mismatch=Mismatch("loss", 3, None, "0.1", "nan"),
    warnings=("w",),
    doubtful={"x": "sock"},
    verdict=Fidelity.DIVERGED,
    exact=3,
    clocked=2,
    measured=("y",),
    cause="because",
    kind="GPU",
    start_seconds=2.5,
    read_seconds=math.inf,
    read_bytes=1024,
)


@pytest.mark.parametrize(
    ("name", "report"),
    [("report", REPORT), ("report_bare", SegmentReport(Segment("a", 0, 0, Operator.DP), 0, 0.0, 0.0))],
)
def test_a_report_says_what_it_ever_said(name: str, report: SegmentReport) -> None:
    assert json.loads(json.dumps(segment_reports.to_plain(report))) == json.loads(stored(name))
    of_store = replace(report, segment=replace(report.segment, restore=None))  # where it began is not kept
    assert segment_reports.from_plain(json.loads(stored(name)), report.segment.version) == of_store


def test_a_report_says_that_its_segment_began_further_back() -> None:
    report = replace(REPORT, further_back=True)
    plain = json.loads(json.dumps(segment_reports.to_plain(report)))
    assert plain["further_back"] is True
    assert segment_reports.from_plain(plain, A).further_back


def test_reports_of_older_releases_are_read() -> None:
    older = {
        "operator": "DP_i",
        "first": 1,
        "last": 2,
        "names": ["x"],
        "rows": 2,
        "setup_seconds": 0.5,
        "run_seconds": 1,
    }
    segment = Segment(A, 1, 2, Operator.DP_I, names=("x",))

    def read(**more: object) -> SegmentReport:
        return segment_reports.from_plain(older | more, A)

    assert read() == SegmentReport(segment, 2, 0.5, 1.0)
    assert read(compared=2).verdict is Fidelity.EXACT
    assert read(states_compared=1).verdict is Fidelity.EXACT
    mismatch = {"name": "loss", "epoch": 3, "step": None, "recorded": "0.1", "replayed": "nan"}
    assert read(compared=2, mismatch=mismatch).verdict is Fidelity.DIVERGED
    assert read(compared=2, verdict="within tolerance").verdict is Fidelity.WITHIN_TOLERANCE


def test_what_an_older_release_copied_is_known() -> None:
    copied = {"operator": "copied", "first": 0, "last": 0, "names": ["x"]}
    segment = Segment(A, 0, 0, Operator.KNOWN, names=("x",))
    assert segment_reports.from_plain(copied, A) == SegmentReport(segment, 0, 0.0, 0.0)


@pytest.mark.parametrize("plain", [{}, {"operator": "DP"}, {"operator": "DQ", "first": 0, "last": 0}])
def test_what_is_no_report_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"operator|first"):
        segment_reports.from_plain(plain, A)


def test_an_answer_of_propagation_is_written_and_read_as_ever() -> None:
    refused = (Refusal(3, "no", 4, 0.25), Refusal(5, "none"))
    answer = Propagation("x = '\udcff'\r\n", (Placement(1, 2, 0.95, {"a": "b"}, "why"),), refused)
    assert json.dumps(typed_json.to_plain(answer)).encode() == stored("propagation")
    assert typed_json.from_plain(json.loads(stored("propagation")), Propagation) == answer
    assert answers.from_bytes(answers.to_bytes(answer)) == answer


# --- in general -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inner:
    number: float
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outer:
    inner: Inner
    status: Status = Status.RUNNING
    anything: Mapping[str, object] = field(default_factory=dict)
    count: int | None = None


def test_values_come_back_as_they_were_through_json() -> None:
    value = Outer(Inner(0.1 + 0.2, ("a", "\udcff")), Status.CRASHED, {"n": 2**70, "deep": [{"x": None}]}, 3)
    plain = json.loads(json.dumps(typed_json.to_plain(value)))
    assert typed_json.from_plain(plain, Outer) == value
    assert typed_json.from_plain({"inner": {"number": 1}, "unknown": 1}, Outer) == Outer(Inner(1.0))


@pytest.mark.parametrize("number", [math.inf, -math.inf, 5e-324, -0.0, 1e308, math.nan])
def test_floats_come_back_bit_for_bit(number: float) -> None:
    plain, row = json.loads(json.dumps([typed_json.to_plain(Inner(number)), typed_json.to_row(Inner(number))]))
    for found in (typed_json.from_plain(plain, Inner), typed_json.from_row(row, Inner)):
        assert found.number.hex() == number.hex()


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({}, "inner"),
        ({"inner": {"number": "x"}}, "inner.number"),
        ({"inner": {"number": None}}, "inner.number"),
        ({"inner": {"number": 1, "words": "abc"}}, "inner.words"),
        ({"inner": {"number": 1}, "status": "odd"}, "status"),
        ({"inner": {"number": 1}, "count": 1.5}, "count"),
        ([], "object"),
        (None, "object"),
    ],
)
def test_what_is_of_another_kind_is_refused_with_the_field(plain: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        typed_json.from_plain(plain, Outer)


def test_a_row_may_be_of_another_release() -> None:
    assert typed_json.from_row([1.5, ["a"], "more"], Inner) == Inner(1.5, ("a",))
    assert typed_json.from_row([1.5], Inner) == Inner(1.5)
    with pytest.raises(ValueError, match="number"):
        typed_json.from_row([], Inner)
