"""Versions beside each other: lines, the first value that differs, facts, and where a statement would land."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from flor_ray.store.store import Store
from flor_ray.ui.comparing import side_by_side
from tests import page
from tests.conftest import Lab
from tests.ui import worlds

SCRIPT = """
import flor_ray as flor
lr = flor.arg("lr", 0.1)
weight = 1.0
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(4)):
        weight -= lr
        flor.log("weight", weight if epoch else 0.5)
    flor.log("loss", weight * weight)
"""


def kinds(left: str, right: str) -> list[tuple[str, int | None, int | None]]:
    return [(row.kind, row.left, row.right) for row in side_by_side.pairs(left, right, None)]


def test_lines_stand_beside_those_that_they_became() -> None:
    assert kinds("a\nlr = 1\nb\n", "a\nlr = 2\nb\nc\n") == [
        ("same", 1, 1),
        ("changed", 2, 2),
        ("same", 3, 3),
        ("added", None, 4),
    ]
    assert kinds("loss = x\n", "print(42)\n") == [("removed", 1, None), ("added", None, 1)]
    assert kinds("", "") == []


def test_what_is_far_from_any_difference_is_counted_only() -> None:
    text = "\n".join(f"line {number}" for number in range(40))
    rows = side_by_side.pairs(text, text.replace("line 20", "other"))
    assert [rows[0].skipped, rows[-1].skipped] == [16, 15]
    assert len(rows) == 2 + 2 + 8
    assert side_by_side.pairs(text, text) == [side_by_side.LinePair("skipped", skipped=40)]


def test_a_file_of_many_lines_is_not_compared_line_by_line() -> None:
    many = "x\n" * (side_by_side.MOST_LINES + 1)
    assert side_by_side.pairs(many, "") == [side_by_side.LinePair("skipped", skipped=side_by_side.MOST_LINES + 1)]


def features(client: Any, *numbers: int) -> list[dict[str, Any]]:
    answer = client.get("/api/compare", params={"versions": [worlds.version_of(n) for n in numbers]})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["diverging"][0]["features"]
    return found


def test_values_are_compared_where_both_have_one_and_as_what_they_are(tmp_path: Path) -> None:
    root = worlds.folder(tmp_path / "project")
    nan = math.nan
    worlds.record(
        root, 0, "a", {}, {"x": [1.0, nan, 2.0], "one": [1, 2], "text": ["a", "b"], "mine": [1], "z": [2**70]}
    )
    worlds.record(root, 1, "b", {}, {"x": [1, nan, 3.0, 4.0], "one": [1.0, True], "text": ["a", None], "z": [2**70]})
    found = {one["name"]: one for one in features(page.client(str(root)), 0, 1)}
    assert [one["name"] for one in features(page.client(str(root)), 0, 1)] == ["one", "text", "x", "z"]
    x = found["x"]
    assert (x["common"], x["differing"], x["only_right"], x["epoch"], x["left"], x["right"]) == (3, 1, 1, 3, 2.0, 3.0)
    assert (found["one"]["epoch"], found["one"]["left"], found["one"]["right"]) == (2, 2, True)
    assert (found["text"]["epoch"], found["text"]["right"]) == (2, None)
    assert (found["z"]["differing"], found["z"]["common"]) == (0, 1)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("comparing") / "project")
    lab.record_forked(SCRIPT, "--flor", "first")
    lab.record_forked(SCRIPT.replace("weight * weight", "abs(weight)"), "--flor", "second", "--kwargs", "lr=0.2")
    lab.write(
        "train.py", SCRIPT.replace("        weight -= lr\n", "        weight -= lr\n        flor.log('step', lr)\n")
    )
    return lab


def test_two_versions_tell_what_differs_in_code_arguments_and_values(lab: Lab) -> None:
    client, versions = page.client(str(lab.root)), [e.version for e in lab.experiments()]
    found = client.get("/api/compare", params={"versions": [version[:10] for version in versions]}).json()
    assert [run["run"] for run in found["versions"]] == ["first", "second"]
    assert found["arguments"] == [{"name": "lr", "values": [0.1, 0.2], "differs": True}]
    assert found["files"] == [{"path": "train.py", "shown": "train.py", "states": ["same", "changed"], "differs": True}]
    assert {"name": "script", "values": ["train.py", "train.py"], "differs": False} in found["environment"]
    first = next(one for one in found["diverging"][0]["features"] if one["epoch"] is not None)
    assert (first["name"], first["epoch"], first["step"], first["differing"]) == ("loss", 1, None, 3)
    weight = next(one for one in found["diverging"][0]["features"] if one["name"] == "weight")
    assert (weight["epoch"], weight["step"]) == (2, 0)
    rows = client.get(
        "/api/compare/code", params={"left": versions[0], "right": versions[1], "path": "train.py"}
    ).json()["rows"]
    (changed,) = [row for row in rows if row["kind"] == "changed"]
    assert (changed["left"], changed["right_text"]) == (9, '    flor.log("loss", abs(weight))')


def test_a_statement_lands_where_propagation_has_it(lab: Lab) -> None:
    client, versions = page.client(str(lab.root)), [e.version for e in lab.experiments()]
    found = client.get("/api/compare/landing", params={"versions": versions, "name": "step"}).json()
    assert [one["version"] for one in found["landings"]] == versions
    for one in found["landings"]:
        assert [(finding["fate"], finding["where"]) for finding in one["findings"]] == [("placed", "train.py:8")]
        (file,) = one["files"]
        assert [row["right_text"] for row in file["rows"] if row["kind"] == "added"] == ["        flor.log('step', lr)"]


@pytest.mark.parametrize(
    ("path", "parameters", "said"),
    [
        ("", {"versions": ["ffffffff"]}, "ffffffff"),
        ("", {"versions": [""]}, "versions"),
        ("", {"versions": [str(n) for n in range(13)]}, "13 versions are chosen, and 12"),
        ("/code", {"left": "0", "right": "0", "path": "../../etc/passwd"}, ""),
        ("/landing", {"name": "nobody_logs_this"}, "logs 'nobody_logs_this'"),
    ],
)
def test_what_cannot_be_compared_is_said_in_words(lab: Lab, path: str, parameters: dict[str, Any], said: str) -> None:
    first = lab.experiments()[0].version
    if path:
        parameters = {**parameters, "versions": [first], "left": first, "right": first}
    answer = page.client(str(lab.root)).get(f"/api/compare{path}", params=parameters)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_a_version_without_code_and_one_whose_values_are_damaged_are_shown_for_what_they_are(tmp_path: Path) -> None:
    root = worlds.folder(tmp_path / "project")
    versions = [worlds.record(root, 0, "a", {}, {"x": [1.0]}), worlds.record(root, 1, "b", {}, {"x": [1.0]})]
    for file in (root / ".flor/log_records/project" / versions[1]).iterdir():
        file.write_bytes(b"PAR1 no more")
    found = page.client(str(root)).get("/api/compare", params={"versions": versions}).json()
    assert found["files"] == []
    assert found["diverging"][0]["features"] == []
    assert any("damaged" in one or "does not hold" in one or "Parquet" in one for one in found["notices"]), found
    assert Store(str(root / ".flor")).names("project") == {"x"}


def test_a_page_that_may_not_write_leaves_the_store_as_it_is_also_where_sources_come_from_git(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "project")
    lab.record_forked(SCRIPT, "--flor", "first")
    lab.record_forked(SCRIPT.replace("-= lr", "-= 2 * lr"), "--flor", "second")
    lab.write("train.py", SCRIPT + '    flor.log("new", epoch)\n')
    versions = [run.version for run in lab.experiments()]
    for version in versions:  # as of runs that were killed before their files were mirrored
        for mirror in (lab.root / ".flor").rglob(f"source_code/**/{version}*"):
            mirror.unlink()

    def files() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in (lab.root / ".flor").rglob("*") if path.is_file()}

    before, client = files(), page.client(str(lab.root), read_only=True)
    code = {"left": versions[0], "right": versions[1], "path": "train.py"}
    for asked, parameters in (
        ("compare", {"versions": versions}),
        ("compare/code", code),
        ("compare/landing", {"versions": versions, "name": "new"}),
        ("placement", {"version": versions[0], "name": "new"}),
        ("plan", {"name": "new"}),
        ("runs/columns", {}),
        ("replays", {}),
    ):
        answer = client.get(f"/api/{asked}", params=parameters)
        assert (answer.status_code, answer.json()["notices"]) == (200, []), answer.text
        assert files() == before, asked
    assert page.client(str(lab.root)).get("/api/compare", params={"versions": versions}).status_code == 200
    assert files() != before  # one that may write mirrors them
