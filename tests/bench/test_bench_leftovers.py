"""The soak that looks for what is left of many segments, in small."""

from __future__ import annotations

import pytest

from tests.bench_modules import bench_module


def test_nothing_is_left_of_some_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    leftovers = bench_module("clustering.leftovers")
    monkeypatch.setattr(leftovers, "QUICK", leftovers.Sizes(2, 15, 2, 0))
    found = leftovers.measure(quick=True)
    assert (found["segments"], found["temp_left"], found["processes_left"]) == (60, 0, 0)
    assert found["descriptors_grown"] <= 1
    assert found["rss_growth_mb"] < 30


def test_growth_is_of_one_process_after_its_beginning() -> None:
    samples = bench_module("clustering.leftovers").Samples()
    assert samples.growth({1: [0, 50, 90, *[100] * 30], 2: [9]}) == 0
    assert samples.growth({1: [0, 0, 0, *range(100, 127)], 2: [0, 50, 90]}) == 14
