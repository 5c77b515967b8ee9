"""`flor-ray demo`, as `make demo` runs it: the poster's table, without holes at the end."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from flor_ray import lookup
from tests.conftest import Lab


@pytest.mark.timeout(300)
def test_the_demo_fills_the_posters_table(lab: Lab, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flor_ray.cli", "demo", "--dir", str(tmp_path / "demo")]
    done = lab.run(command, lab.root, {}, seconds=280)
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
    confidence = lookup.dataframe("confidence", path=str(tmp_path / "demo"))["confidence"]
    assert confidence.notna().sum() == 3
    assert (tmp_path / "demo/train.py").exists()

    again = lab.cli("demo", "--dir", str(tmp_path / "demo"))
    assert again.returncode == 2
    assert "is not empty. Choose another folder with --dir" in again.stderr


def rows_of(table: str) -> list[list[str]]:
    return [re.split(r" {2,}", line.strip()) for line in table.splitlines()]
