"""`flor-ray demo`, as `make demo` runs it: the poster's table, without holes at the end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Lab


@pytest.mark.timeout(300)
def test_the_demo_fills_the_posters_table(lab: Lab, tmp_path: Path) -> None:
    done = lab.cli("demo", "--dir", str(tmp_path / "demo"), check=True)
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
    assert (tmp_path / "demo/train.py").exists()

    again = lab.cli("demo", "--dir", str(tmp_path / "demo"))
    assert again.returncode == 2
    assert "is not empty. Choose another folder with --dir" in again.stderr


def rows_of(table: str) -> list[list[str]]:
    return [re.split(r" {2,}", line.strip()) for line in table.splitlines()]
