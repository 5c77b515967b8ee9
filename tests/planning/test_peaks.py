"""Which epochs are peaks, and how users say what comes first and what may be spent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import pytest

from flor_ray.errors import UsageError
from flor_ray.planning.peaks import peak_epochs, peaks, ranks
from flor_ray.planning.terms import First, Peak, parse_budget, parse_first
from flor_ray.records import Experiment, Level, LogRecord, Status
from flor_ray.store import typed_values
from flor_ray.store.project import Project
from flor_ray.store.repository import Repository
from flor_ray.store.store import Store

A, B = "a" * 40, "b" * 40


def test_what_comes_first_is_written_in_words() -> None:
    assert parse_first(None) == parse_first("") == parse_first("end") == First()
    assert parse_first("peak:accuracy") == First((Peak("accuracy"),))
    assert parse_first("peak:-loss, newest") == First((Peak("loss", "min"),), newest=True)
    assert parse_first("coarse") == First(end=False)
    assert parse_first("end,coarse") == First()
    assert parse_first(["peak:val:acc", "peak:val:acc", "coarse"]) == First((Peak("val:acc"),), end=False)


@pytest.mark.parametrize("text", ["last", "peak", "peak:", "peak:-", "end:loss", "newest,fine"])
def test_other_words_are_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(UsageError, match=r"--first .* is not known.*peak:NAME"):
        parse_first(text)


def test_budgets_are_written_as_people_do() -> None:
    assert parse_budget("2h", "30m") == (7200.0, 1800.0)
    assert parse_budget(90, None) == (90, None)
    assert parse_budget(None, None) == (None, None)


@pytest.mark.parametrize(("budget", "deadline"), [("0", None), (-1, None), (None, "soon"), (None, math.nan)])
def test_a_budget_that_is_none_is_refused(budget: float | str | None, deadline: float | str | None) -> None:
    with pytest.raises(UsageError, match="Write a"):
        parse_budget(budget, deadline)


def test_a_peak_is_the_first_epoch_with_the_best_value() -> None:
    rows = [(A, 1, 0.5), (A, 2, 0.9), (A, 3, 0.9), (B, 1, 3), (B, 2, True), (B, 3, math.inf)]
    assert peaks(rows, "accuracy") == {A: 2, B: 3}
    assert peaks(rows, "accuracy", "min") == {A: 1, B: 2}
    assert peaks(reversed(rows), "accuracy") == {A: 2, B: 3}


def test_missing_values_are_no_peak() -> None:
    assert peaks([(A, 1, math.nan), (A, 2, 0.1), (A, 3, None), (B, 1, math.nan)], "accuracy") == {A: 2}
    assert peaks([(A, None, 9.0), (A, 2, 0.1)], "accuracy") == {A: 2}
    assert peaks([], "accuracy") == {}


def test_a_feature_of_the_nested_loop_peaks_where_a_step_does() -> None:
    assert peaks([(A, 1, 5.0), (A, 1, 1.0), (A, 2, 3.0), (A, 2, 4.0)], "loss") == {A: 1}
    assert peaks([(A, 1, 5.0), (A, 1, 1.0), (A, 2, 3.0), (A, 2, 4.0)], "loss", "min") == {A: 1}


def test_what_has_no_peak_is_named() -> None:
    with pytest.raises(UsageError, match="'model' has values that are not numbers"):
        peaks([(A, 1, "resnet")], "model")
    with pytest.raises(UsageError, match="'seed' is logged outside the main loop"):
        peaks([(A, None, 7), (B, None, 8)], "seed")


def run(version: str, started: float) -> Experiment:
    return Experiment("digits", version, None, "train.py", "", started, None, Status.FINISHED, epochs=3)


def test_peaks_are_read_from_the_store(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for version, values in ((A, [0.1, 0.8, 0.3]), (B, [0.1, math.nan, 2**70])):
        for epoch, value in enumerate(values, start=1):
            rows = [
                LogRecord(Level.OUTER, epoch, None, "accuracy", 0, typed_values.encode(value), 0.0),
                LogRecord(Level.OUTER, epoch, None, "matrix", 0, typed_values.encode(b"bytes"), 0.0),
            ]
            store.append_logs("digits", version, "recorded", epoch, rows)
    project = Project(cast(Repository, None), store, "digits")
    first = parse_first("peak:accuracy,peak:-accuracy,newest")
    found = peak_epochs(project, first)
    assert found == {A: {1, 2}, B: {1, 3}}
    wanted = {A: frozenset({1, 2, 3}), B: frozenset({1, 2, 3})}
    by_rank = ranks(first, found, wanted, {A: run(A, 1.0), B: run(B, 2.0)})
    in_order = sorted((rank, v[0], e) for v, of in by_rank.items() for e, rank in of.items())
    assert [(v, e) for _, v, e in in_order] == [("b", 1), ("a", 1), ("b", 3), ("a", 2), ("b", 2), ("a", 3)]
    with pytest.raises(UsageError, match="'matrix' has values that are not numbers"):
        peak_epochs(project, parse_first("peak:matrix"))
    with pytest.raises(UsageError, match=r"values of 'loss'.*accuracy, matrix"):
        peak_epochs(project, parse_first("peak:loss"))
