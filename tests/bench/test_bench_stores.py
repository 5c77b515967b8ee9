"""Readers during writers and compactors, as bench/querying/stores.py has them, with fewer checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench_modules import bench_module


@pytest.mark.timeout(300)
def test_readers_see_each_row_once_while_eight_writers_and_two_compactors_work(tmp_path: Path) -> None:
    said: list[str] = []
    found = bench_module("querying.stores").readers_see_each_row_once(tmp_path, 200, said.append)
    assert found["checks"] == 200
    assert found["checks_wrong"] == 0, said
