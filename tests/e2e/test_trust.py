"""Scripts whose replayed values were once wrong or needlessly refused: tests/cases/trust, judged like bench/trust."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flor_ray.cluster.worker import Worker
from tests.bench_modules import bench_module, bench_repository
from tests.conftest import warm_servers

CASES = Path(__file__).parents[1] / "cases" / "trust"
NAMES = sorted(path.stem for path in CASES.iterdir() if path.is_dir() or path.suffix == ".py")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(servers=warm_servers()[0])
    yield worker
    worker.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_replayed_is_right_or_warned_of(name: str, worker: Worker, tmp_path: Path) -> None:
    (case,) = (case for case in bench_module("trusting.cases").every_case() if case.name == name)
    plain, truth = (bench_repository(tmp_path / which, worker, case.folder) for which in ("plain", "truth"))
    verdict = bench_module("trusting.trial").judge(case, plain, truth)
    told = f"{verdict.first}; told: {verdict.sentences}"
    assert verdict.wrong_unwarned == 0, told
    if case.warned:
        assert verdict.warned + verdict.refused > 0
    else:
        assert (verdict.warned, verdict.refused) == (0, 0), told
        assert verdict.exact > 0
