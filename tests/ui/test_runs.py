"""The table of runs, asked as its page asks: rows, order, filters, columns, and what is said of mistakes."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest

from flor_ray.records import Status
from tests import page
from tests.ui import worlds


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = worlds.folder(tmp_path_factory.mktemp("runs") / "project")
    worlds.record(root, 0, "first", {"lr": 0.1, "layers": 2, "status": "mine"}, {"loss": [3.0, 1.0, 2.0]})
    worlds.record(root, 1, "second", {"lr": 0.01, "layers": 3}, {"loss": [3.0, math.nan], "Loss": [5.0], "lr": [7]})
    worlds.record(root, 2, "third", {"lr": 1, "mixed": "a"}, {"note": ["x", "y" * 1000]})
    worlds.record(root, 3, "", {"lr": None, "mixed": 2}, status=Status.FAILED, error="boom")
    (root / "train.py").write_text(
        "import flor_ray as flor\nfor epoch in flor.loop('epoch', range(3)):\n"
        "    flor.log('loss', 1)\n    flor.log('new', epoch)\n"
    )
    return root


@pytest.fixture(scope="module")
def client(root: Path) -> Any:
    return page.client(str(root))


def asked(client: Any, **parameters: object) -> dict[str, Any]:
    answer = client.get("/api/runs", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def runs(found: dict[str, Any]) -> list[Any]:
    return [row["cells"][0] for row in found["rows"]]


def test_the_newest_run_comes_first_with_what_it_is_its_arguments_and_features(client: Any) -> None:
    found = asked(client)
    assert [column["name"] for column in found["columns"]] == [
        *("run", "version", "status", "started", "seconds", "epochs"),  # as many as fit beside each other
        *("layers", "lr", "mixed", "status_logged", "Loss", "loss", "new", "note"),
    ]
    assert [row["version"] for row in found["rows"]] == [worlds.version_of(n) for n in (3, 2, 1, 0)]
    assert (found["total"], found["every"]) == (4, 4)
    assert found["rows"][3]["cells"][:8] == ["first", worlds.version_of(0), "finished", 1.7e9, 10.0, 3, 2, 0.1]


def test_a_feature_is_its_last_value_its_least_and_its_greatest(client: Any) -> None:
    columns = ["run", "loss", "loss_min", "loss_max"]
    found = asked(client, columns=columns, sort="started")
    assert [row["cells"] for row in found["rows"]] == [
        ["first", 2.0, 1.0, 3.0],
        ["second", {"number": "NaN"}, 3.0, 3.0],
        ["third", None, None, None],
        ["", None, None, None],
    ]


def test_a_long_text_is_told_by_its_beginning_and_its_length(client: Any) -> None:
    found = asked(client, columns=["note"], where="run = 'third'")
    assert found["rows"][0]["cells"] == [{"text": "y" * 400, "cut": 1000}]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("lr < 0.5", ["second", "first"]),
        ("status = 'failed'", [""]),
        ("layers = 3 or mixed = 'a'", ["third", "second"]),
        ('"loss_min" < 2 -- a comment', ["first"]),
        ("started < TIMESTAMPTZ '2023-11-14 22:13:22+00'", ["second", "first"]),
        ("run IN (SELECT run FROM runs WHERE epochs = 3)", ["first"]),
        ('"Loss" = 5', ["second"]),
        ('"loss" = 2 OR lr_logged = 7', ["second", "first"]),
        ("new IS NULL AND verdict IS NULL", ["", "third", "second", "first"]),
    ],
)
def test_a_filter_is_a_condition_over_any_column(client: Any, where: str, expected: list[str]) -> None:
    found = asked(client, columns=["run"], where=where)
    assert (runs(found), found["total"]) == (expected, len(expected))


def test_rows_are_sorted_by_any_column_and_those_without_a_value_come_last(client: Any) -> None:
    assert runs(asked(client, columns=["run"], sort="lr")) == ["second", "first", "third", ""]
    assert runs(asked(client, columns=["run"], sort="-lr")) == ["third", "first", "second", ""]
    assert runs(asked(client, columns=["run"], sort="-loss_min", count=2)) == ["second", "first"]


def test_a_page_is_a_part_of_the_table(client: Any) -> None:
    found = asked(client, columns=["run"], first=1, count=2)
    assert (runs(found), found["total"]) == (["third", "second"], 4)
    assert runs(asked(client, columns=["run"], first=100)) == []


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("los < 1", "Did you mean loss"),
        ("loss < 1", "Loss"),  # and loss: which is meant?
        ("lr <", "syntax error"),
        ("1) UNION SELECT 1 --", "The filter is a condition"),
        ("1); DROP TABLE runs; --", "The filter is a condition"),
        ("run = (SELECT content FROM read_text('/etc/passwd'))", "it calls read_text"),
        ("run = getenv('HOME')", "it calls getenv"),
        ("version IN (SELECT version FROM experiments)", "experiments"),
        ("lr = 'x' || chr(0) || '\x00'", "The filter is a condition"),
    ],
)
def test_what_is_no_condition_over_the_table_is_said_in_words(client: Any, where: str, said: str) -> None:
    answer = client.get("/api/runs", params={"where": where})
    found = answer.json()
    assert (answer.status_code, found["kind"]) == (400, "BadStatement")
    assert said in found["error"]
    assert "Traceback" not in found["error"]


def test_a_column_that_is_not_there_is_said_with_those_that_are(client: Any) -> None:
    found = client.get("/api/runs", params={"columns": "lose"}).json()
    assert found["error"].startswith("There is no column 'lose'. There are run, version,")
    assert client.get("/api/runs", params={"first": -1}).json()["error"].startswith("first: ")


def test_a_column_of_the_newest_code_stands_there_with_what_share_of_it_is_answered(client: Any) -> None:
    found = client.get("/api/runs/columns").json()
    new = next(one for one in found["virtual"] if one["name"] == "new")
    assert new == {
        "column": "new",
        "name": "new",
        "shown": "new",
        "levels": ["o"],
        "at": ["train.py:4"],
        "answered": 0,
        "places": 7,
        "exact": True,
    }
    rows = asked(client, columns=["run", "new"])["rows"]
    assert [row.get("shares") for row in rows] == [{"new": [0, n]} for n in (0, 2, 2, 3)]


def test_a_run_that_is_recorded_meanwhile_comes_into_the_table(tmp_path: Path) -> None:
    root = worlds.folder(tmp_path / "project")
    client = page.client(str(root))
    assert asked(client)["every"] == 0
    worlds.record(root, 0, "first", {"lr": 0.1})
    deadline = time.monotonic() + 30
    while (found := asked(client))["every"] == 0 and time.monotonic() < deadline:
        time.sleep(0.3)
    assert runs(found) == ["first"]
    assert found["snapshot"] == 2
