"""Random training scripts: no replayed value is wrong without a word. `make soak` tries many more."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from flor_ray.cluster.worker import Worker
from tests import soak
from tests.bench_modules import bench_module
from tests.conftest import warm_servers


@pytest.mark.timeout(600)
def test_no_value_of_a_random_script_is_wrong_without_a_word(tmp_path: Path) -> None:
    worker = Worker(servers=warm_servers()[0])
    judge = soak.Judge(tmp_path, worker)

    def check(case: Any) -> None:
        verdict = judge(case)
        assert verdict.wrong_unwarned == 0, soak.told(case, verdict)

    try:
        soak.soak(25, None, check)
    finally:
        worker.close()
    assert judge.counts["exact"] > 100


def test_a_wrong_value_is_found_and_its_script_made_small() -> None:
    """Whatever is wrong with a script that changes its recursion limit, nothing else is left of it."""

    def check(case: Any) -> None:
        assert "setrecursionlimit" not in case.marked["train.py"], case.marked["train.py"]

    with pytest.raises(AssertionError) as caught:
        soak.soak(2000, None, check)
    script = str(caught.value)
    assert "sys.setrecursionlimit(5000 + epoch)" in script
    assert len(script.splitlines()) < 45


def test_the_same_scripts_are_drawn_whatever_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> list[Any]:
        scripts: list[Any] = []
        soak.soak(40, None, lambda case: scripts.append(case.marked))
        return scripts

    before = drawn()
    numbers = "".join(f"N{n} = {n}\n" for n in range(120))
    (tmp_path / "of_a_test_that_ran_before.py").write_text(numbers)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("of_a_test_that_ran_before")
    assert drawn() == before


def test_every_part_makes_scripts_that_python_reads() -> None:
    composing, table = bench_module("trusting.composing"), bench_module("trusting.parts").every_part()
    assert len({part.name for part in table}) == len(table) > 100
    statements = tuple(composing.Statement(region, 1, region, region % 4) for region in range(5))
    for number in range(len(table)):
        for layout in range(7):
            choices = composing.Choices((number,), statements, (0, 1, 2), layout=layout, epochs=number, steps=layout)
            case = composing.composed(choices, table)
            for files in (case.recorded(), case.newest()):
                for path, text in files.items():
                    if path.endswith(".py"):
                        compile(text, path, "exec")
