"""Curves of a real store: axes, gaps, groups, what is no number, and single values; and replays that are asked for."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flor_ray import processes
from flor_ray.records import Level, LogRecord, Value
from flor_ray.store.project import Project
from flor_ray.store.store import Store
from flor_ray.ui.curves import charts, readings
from flor_ray.ui.curves.charts import ChartAsked
from flor_ray.ui.curves.readings import Readings
from flor_ray.ui.replays import launches
from flor_ray.ui.replays.plans import ReplayAsked
from flor_ray.ui.snapshots import Snapshots
from tests import page
from tests.ui import worlds


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = worlds.folder(tmp_path_factory.mktemp("charts") / "project")
    worlds.record(root, 1, "one", {"lr": 0.1}, {"loss": [3.0, math.nan, 1.0], "cm": [np.eye(2)] * 3})
    worlds.record(root, 2, "<b>two", {"lr": 0.5}, {"loss": [5.0, 4.0, math.inf, 2.0], "name": ["a", "b"]})
    worlds.record(root, 3, "three", {"lr": 0.1}, {"other": [1.0]})
    return root


@pytest.fixture(scope="module")
def client(root: Path) -> Any:
    return page.client(str(root))


def drawn(root: Path, **asked: Any) -> dict[str, Any]:
    project = Project(Project.open(str(root)).tree, Store(str(root / ".flor")), worlds.PROJECT)
    return charts.chart(Snapshots(project), Readings(project), ChartAsked(**asked))


def test_gaps_and_what_is_no_number_are_told_apart(root: Path) -> None:
    found = drawn(root, names=["loss"])
    one, two, three = found["curves"]
    assert (one["y"], one["state"]) == ([3.0, None, 1.0], [0, 1, 0])
    assert (two["y"], two["state"]) == ([5.0, 4.0, None, 2.0], [0, 0, 2, 0])
    assert (three["y"], three["state"], three["gaps"]) == ([None], [4], 1)
    assert one["peak"] == {"x": 1.0, "y": 3.0, "epoch": 1, "step": -1}
    assert one["end"] == {"x": 3.0, "y": 1.0, "epoch": 3, "step": -1}
    assert found["features"][0]["missing"] == 1


def test_time_is_what_the_run_had_measured(root: Path) -> None:
    (one,) = drawn(root, names=["loss"], axis="time", versions=[worlds.version_of(1)])["curves"]
    assert one["x"] == pytest.approx([1.6, 2.2, 2.8])


def test_groups_say_what_they_leave_out(root: Path) -> None:
    bands = drawn(root, names=["loss"], by="lr")["bands"]
    assert [band["group"] for band in bands] == ["0.1", "0.5"]
    assert bands[0]["x"] == [1.0, 3.0]
    assert bands[0]["left_out"] == "1 place without a value and 1 value that is no finite number"
    assert bands[1]["mean"] == [5.0, 4.0, 2.0]


def test_what_cannot_be_drawn_is_said_in_words(client: Any) -> None:
    for query, said in (
        ("axis=width", "give epoch, step, time"),
        ("smooth=1", "below 1"),
        ("pixels=0", "pixels=0"),
        ("version=zz", "No version begins with"),
        ("first=nan", "from a number to a number"),
    ):
        answer = client.get(f"/api/curves?name=loss&{query}")
        assert (answer.status_code, said in answer.json()["error"]) == (400, True), query


def test_values_are_opened_and_nothing_of_them_is_run(client: Any) -> None:
    version = worlds.version_of(1)
    found = client.get(f"/api/value?name=cm&version={version}&epoch=2").json()
    assert (found["kind"], found["rows"], found["trust"]) == ("matrix", [[1.0, 0.0], [0.0, 1.0]], "recorded")
    assert client.get(f"/api/value?name=cm&version={version}&epoch=9").status_code == 400
    assert client.get(f"/api/value?name=name&version={worlds.version_of(2)}&epoch=2").json()["text"] == "b"


def test_a_reading_is_kept_until_the_store_has_more(tmp_path: Path) -> None:
    root = worlds.folder(tmp_path / "project")
    version = worlds.record(root, 1, "one", {}, {"other": [1.0]})
    project = Project(Project.open(str(root)).tree, Store(str(root / ".flor")), worlds.PROJECT)
    kept, runs = Readings(project), project.store.experiments(worlds.PROJECT)
    first = kept.of("other", runs)
    assert kept.of("other", runs) is first
    more = LogRecord(Level.OUTER, 2, None, "other", 0, Value("float", 2.0), 0.0)
    project.store.append_logs(worlds.PROJECT, version, "recorded", 1, [more])
    assert kept.of("other", runs).y.tolist() == [1.0, 2.0]


def test_places_on_axes_are_those_of_steps_and_epochs(tmp_path: Path) -> None:
    root = worlds.folder(tmp_path / "project")
    version = worlds.record(root, 1, "one", {}, {"acc": [1.0, 2.0]})
    store = Store(str(root / ".flor"))
    steps = [
        LogRecord(Level.INNER, epoch, step, "loss", 0, Value("float", float(epoch * 10 + step)), 0.0)
        for epoch in (1, 2)
        for step in range(4)
    ]
    store.append_logs(worlds.PROJECT, version, "recorded", 100, steps)
    project = Project(Project.open(str(root)).tree, store, worlds.PROJECT)
    found = readings.read(project, "loss", store.experiments(worlds.PROJECT))
    assert found.curve(version, "epoch")[0].x.tolist() == [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
    assert found.curve(version, "step")[0].x.tolist() == list(range(8))
    assert found.level == "i"


def test_what_is_asked_becomes_a_command_line_that_nothing_can_break_out_of() -> None:
    asked = ReplayAsked(("--yes", "acc"), where="--store=evil", first="end", workers=2, executor="local", again=True)
    assert asked.arguments() == [
        *("--where=--store=evil", "--first=end", "--workers=2", "--local", "--again", "--", "--yes", "acc")
    ]


@pytest.mark.parametrize(
    "asked",
    [
        {"names": []},
        {"names": ["acc"], "workers": 0},
        {"names": ["acc"], "budget": "soon"},
        {"names": ["acc"], "executor": "x"},
    ],
)
def test_what_no_replay_can_be_asked_for_starts_nothing(client: Any, asked: dict[str, object]) -> None:
    assert client.post("/api/replays", json=asked).status_code == 400
    assert client.get("/api/replays").json()["replays"] == []


def test_a_replay_that_fails_says_so_and_is_found_by_a_new_server(root: Path, client: Any) -> None:
    started = client.post("/api/replays", json={"names": ["nobody_logs_this"]}).json()
    end = time.monotonic() + 60
    while (found := page.client(str(root)).get(f"/api/replays/{started['id']}").json())["state"] == "planning":
        assert time.monotonic() < end
        time.sleep(0.2)
    assert found["state"] == "failed"
    assert any("nobody_logs_this" in line for line in found["output"])
    assert client.post(f"/api/replays/{started['id']}/cancel").status_code == 400
    assert client.get("/api/replays/none").status_code == 400
    with client.stream("GET", f"/api/replays/{started['id']}/events") as events:
        assert next(events.iter_lines()) == "event: standing"


def test_a_note_that_somebody_has_planted_ends_no_process_and_reads_no_file(root: Path, client: Any) -> None:
    started = client.post("/api/replays", json={"names": ["nobody_logs_this"]}).json()
    kept = launches.Launches(Project(Project.open(str(root)).tree, Store(str(root / ".flor")), worlds.PROJECT), ".")
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    one = replace(kept.find(started["id"]), pid=other.pid, pid_started=processes.started(other.pid))
    kept.interrupt(one)
    assert other.poll() is None
    other.communicate(b"\n", timeout=30)
    assert other.returncode == 0
    planted = kept.folder / "page-planted.json"
    planted.write_text((kept.folder / f"{one.id}.json").read_text().replace(one.id, "../../secret"))
    assert planted.stem not in [found.id for found in kept.every()]
    assert "../../secret" not in [found.id for found in kept.every()]
    planted.unlink()


def test_a_read_only_page_starts_nothing(root: Path) -> None:
    looking = page.client(str(root), read_only=True)
    for path in ("replays", "replays/x/cancel", "replays/x/resume", "pins", "unpin"):
        assert looking.post(f"/api/{path}", json={"names": ["acc"]}).status_code == 403


def test_how_a_process_ended_is_written_whatever_it_is(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    launches.run(str(ended), lambda: None)
    assert ended.read_text() == "0"
    with pytest.raises(SystemExit):
        launches.run(str(ended), lambda: sys.exit(3))
    assert ended.read_text() == "3"
    with pytest.raises(KeyboardInterrupt):
        launches.run(str(ended), _interrupted)
    assert ended.read_text() == "1"


def _interrupted() -> None:
    raise KeyboardInterrupt
