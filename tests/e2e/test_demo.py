"""`flor-ray demo`, as `make demo` runs it: the poster's table, without holes at the end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flor_ray import lookup
from flor_ray.store.project import Project
from tests import page
from tests.conftest import Lab


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The demo's folder, and what it has printed."""
    lab = Lab(tmp_path_factory.mktemp("demo") / "project")
    root = lab.root.parent / "demo"
    command = [sys.executable, "-m", "flor_ray.cli", "demo", "--dir", str(root)]
    return root, lab.run(command, lab.root, {}, seconds=280)


@pytest.mark.timeout(300)
def test_the_demo_fills_the_posters_table(lab: Lab, demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    root, done = demo
    before, after = (
        rows_of(table) for table in re.findall(r"cf_matrix +hidden_size.*\n─+\n((?:.+\n){6})", done.stdout)
    )
    names = ["firstRun", "smallerModel", "smallerModel", "increaseLR", "smallerBatchSize", "EpicDemo"]
    assert [row[0] for row in before] == [row[0] for row in after] == names
    assert [row.count("NaN") for row in before] == [2, 2, 2, 2, 2, 0]
    assert [row.count("NaN") for row in after] == [0] * 6
    assert all(10 < float(row[-1]) <= 100 for row in after)
    assert re.search(
        r"Estimated time: [\d.]+ s on \d workers? \(no schedule can be faster than [\d.]+ s\)", done.stdout
    )
    assert len(re.findall(r"[\d.]+ +replayed", done.stdout)) == 5
    assert "Warning" not in done.stderr
    asked = done.stdout[done.stdout.index("A statement more") :]
    assert len(re.findall(r"confidence +[\d, -]+ ", asked)) >= 1
    best = rows_of(asked[asked.rindex("confidence\n") :].split("\n\n")[0])[2:5]
    assert [len(row) for row in best] == [4, 4, 4]
    assert all(0 < float(row[-1]) <= 1 for row in best)
    confidence = lookup.dataframe("confidence", path=str(root))["confidence"]
    assert confidence.notna().sum() == 3
    assert (root / "train.py").exists()

    again = lab.cli("demo", "--dir", str(root))
    assert again.returncode == 2
    assert "is not empty. Choose another folder with --dir" in again.stderr


@pytest.mark.timeout(300)
def test_each_page_shows_what_the_demo_has_done(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    root, _ = demo
    first, second, *_ = (run.version for run in Project.open(str(root)).listed_runs())
    with page.served(root) as url, page.browser() as chromium, page.looked_at(chromium, url) as seen:
        shown = seen.page

        def go(place: str) -> None:
            shown.evaluate("place => { location.hash = place; }", f"#/{place}")

        shown.get_by_text("6 runs", exact=True).wait_for()
        shown.get_by_role("cell", name="EpicDemo", exact=True).wait_for()
        shown.locator("td .mark").first.wait_for()  # replayed values say what they are worth
        go("curves?name=accuracy&name=cf_matrix")
        shown.get_by_text("Replayed values:").first.wait_for()
        shown.locator("table.matrix").nth(5).wait_for()  # of each run one
        go(f"compare?versions={first[:8]},{second[:8]}")
        shown.get_by_text("first different at epoch 1").wait_for()
        shown.locator("table.sides td.text.removed", has_text="hidden_size").first.wait_for()
        go("backfill?name=accuracy")
        shown.get_by_text("Nothing to replay for accuracy.").wait_for()
        go("backfill?name=confidence")
        shown.locator(".plan .gantt").wait_for()
        go("timeline")
        shown.get_by_label("The replay").locator(".gantt").wait_for()
        shown.get_by_text("Estimate and reality").wait_for()


def rows_of(table: str) -> list[list[str]]:
    return [re.split(r" {2,}", line.strip()) for line in table.splitlines()]
