"""Six real training scripts, none of them helped by a seed: what is asked of them later is what they would have logged.

The scripts, the statements and the truth are those of bench/replay.py, smaller. Statements stand before, in and after
the loops, in helper functions and in other files, and some of them draw random numbers or change modes.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flor_ray.cluster.worker import Worker
from tests.bench_modules import bench_module, bench_repository
from tests.conftest import warm_servers

NAMES = ("mlp", "cnn", "language_model", "gan", "ppo", "schedule")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """What became of each script, two at a time. Replays of each of the two have one worker, and so one warm server."""
    cases, exactness = bench_module("replaying.cases"), bench_module("replaying.exactness")
    folder = tmp_path_factory.mktemp("scripts")
    workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for servers in warm_servers():
        workers.put(Worker(servers=servers))

    def check(case: Any) -> Any:
        worker = workers.get()  # two threads, two workers: there always is one
        try:
            plain = bench_repository(folder / case.name / "plain", worker)
            truth = bench_repository(folder / case.name / "truth")
            fidelity = exactness.Fidelity(case, plain, truth, case.tiny)
            fidelity.record()
            return fidelity.check(tuple(cases.Group))
        finally:
            workers.put(worker)

    with ThreadPoolExecutor(2) as pool:
        yield {case.name: pool.submit(check, case) for case in cases.CASES}
    for _ in range(2):
        workers.get().close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_a_real_script_is_replayed_bit_for_bit_in_any_order_and_from_the_middle(
    checked: dict[str, Future[Any]], name: str
) -> None:
    found = checked[name].result()
    assert found.wrong == []
    assert found.compared == found.exact > 20
    assert found.recomputed > 20
    assert {("DP", "inner"), ("DP_i", "inner"), ("DP_i", "outer")} <= found.kinds


def test_every_script_is_tested() -> None:
    assert tuple(case.name for case in bench_module("replaying.cases").CASES) == NAMES


def test_statements_are_written_after_the_one_line_that_is_meant() -> None:
    insert = bench_module("replaying.cases").insert
    assert insert("a\nfor x in y:\n    b\n", "    b", ["c", "d"]) == "a\nfor x in y:\n    b\n    c\n    d\n"
    assert insert("a\nb\n", "a", ["c"]) == "a\nc\nb\n"
    assert insert("a\n", "", ["b"]) == "a\nb\n"
    with pytest.raises(ValueError, match="not exactly one line 'a'"):
        insert("a\na\n", "a", ["b"])


@pytest.mark.parametrize("index", range(2))
def test_a_planted_divergence_is_detected(tmp_path: Path, index: int) -> None:
    planted = bench_module("replaying.planted")
    worker = Worker(servers=warm_servers()[0])
    try:
        noticed = planted.notice(planted.PLANTED[index], bench_repository(tmp_path / "project", worker))
    finally:
        worker.close()
    assert noticed.is_detected, noticed.told
    assert noticed.is_named, noticed.told
