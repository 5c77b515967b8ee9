"""Answers of propagation that are kept: asked for once, never served for another question, never a crash."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from flor_ray import propagation
from flor_ray.patching import answers
from flor_ray.patching.answers import Propagations, from_bytes, to_bytes
from flor_ray.patching.donors import Revision, find_donors
from flor_ray.patching.patching import CarryingWays, patch_all
from flor_ray.records import Pin, Placement, Propagation, Refusal
from flor_ray.store import cache
from flor_ray.store.cache import ObjectCache

ANSWER = Propagation(
    "x = '\udcff'\r\n", (Placement(1, 2, 0.95, {"a": "b"}, "why"),), (Refusal(3, "no", 4, 0.25), Refusal(5, "none"))
)


class Counted:
    """Stands in for `propagate` and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, newer: str, older: str, lines: Sequence[int], *, pins: Mapping[int, Pin]) -> Propagation:
        self.calls += 1
        return propagation.propagate(newer, older, lines, pins=pins)


@pytest.fixture
def kept(cache_folder: Path) -> ObjectCache:
    found = cache.of_propagations()
    assert found is not None
    return found


def test_an_answer_survives_being_written_and_read() -> None:
    assert from_bytes(to_bytes(ANSWER)) == ANSWER


@pytest.mark.parametrize("cut", [0, 10, 32, 40, -1])
def test_what_was_cut_off_or_changed_is_no_answer(cut: int) -> None:
    data = to_bytes(ANSWER)
    assert from_bytes(data[:cut]) is None
    changed = bytearray(data)
    changed[cut] ^= 1
    assert from_bytes(bytes(changed)) is None


def test_each_question_is_computed_once_by_all_processes(kept: ObjectCache) -> None:
    compute = Counted()
    old, new = "import flor_ray as flor\nx = 1\n", 'import flor_ray as flor\nx = 1\nflor.log("x", x)\n'
    questions = [(new, old, (3,), {}), (new, old, (3,), {3: Pin(1)}), (new, old, (2,), {}), (new, new, (3,), {})]
    for calls in (4, 4):
        process = Propagations(kept, compute, {})
        found = [process(*question) for question in questions] + [process(*question) for question in questions]
        assert compute.calls == calls
        assert found[:4] == found[4:]
    assert found[0].source == new


def test_another_engine_gets_no_old_answers(kept: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = Counted()
    Propagations(kept, compute, {})("x = 1\n", "x = 1\n", (1,), {})
    monkeypatch.setattr(answers, "engine", lambda: "another")
    Propagations(kept, compute, {})("x = 1\n", "x = 1\n", (1,), {})
    assert compute.calls == 2
    assert len(answers.engine()) > 0


def test_any_file_of_the_engine_that_is_changed_added_or_moved_makes_another_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "propagation"
    copied_from = Path(propagation.__file__).parent
    shutil.copytree(copied_from, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "placing" / "inner").mkdir(parents=True)
    (package / "placing" / "inner" / "deep.py").write_text("x = 1\n")
    found = [answers.code(copied_from), answers.code(package)]
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        path.write_bytes(text + b"#")
        found.append(answers.code(package))
        path.write_bytes(text)
    assert answers.code(package) == found[1]
    (package / "placing" / "more.py").write_text("")
    found.append(answers.code(package))
    (package / "placing" / "more.py").rename(package / "more.py")
    found += [answers.code(package), answers.code(package, package / "more.py")]
    assert len(set(found)) == len(found) > 40

    before = answers.engine()
    answers.engine.cache_clear()
    monkeypatch.setattr(propagation, "__file__", str(package / "__init__.py"))
    assert answers.engine() != before
    answers.engine.cache_clear()


def test_entries_that_are_broken_are_computed_again(kept: ObjectCache, cache_folder: Path) -> None:
    compute = Counted()
    for broken in (b"", b"garbage" * 20, None):
        Propagations(kept, compute, {})("x = 1\n", "x = 1\n", (1,), {})
        (entry,) = [path for path in cache_folder.rglob("*") if path.is_file() and path.name != ".gitignore"]
        if broken is not None:
            entry.write_bytes(broken)
    assert compute.calls == 3


def test_a_folder_that_cannot_be_written_makes_the_cache_useless_and_not_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    compute = Counted()
    for _ in range(2):
        answer = Propagations(ObjectCache(str(tmp_path / "file/below"), 1 << 20), compute, {})("x\n", "x\n", (1,), {})
        assert answer.source == "x\n"
    assert compute.calls == 2


def test_the_environment_says_where_and_how_much(cache_folder: Path) -> None:
    Propagations(cache.of_propagations({"FLOR_RAY_CACHE": str(cache_folder)}), Counted(), {})("x\n", "x\n", (1,), {})
    assert [path.name for path in cache_folder.iterdir()] == ["propagations"]
    assert cache.of_propagations({"FLOR_RAY_CACHE_BYTES": "0"}) is None
    limited = cache.of_propagations({"FLOR_RAY_CACHE": str(cache_folder), "FLOR_RAY_CACHE_BYTES": "12000"})
    process = Propagations(limited, remembered={})
    for number in range(120):
        process(f"x = {number}\n", "x = 1\n", (1,), {})
    files = [path for path in (cache_folder / "propagations").rglob("*") if path.is_file()]
    assert 10 < len(files) < 120
    assert sum(path.stat().st_size for path in files) <= 13_000


# --- a thousand versions --------------------------------------------------------------------------------------------

SCRIPT = """
import flor_ray as flor
total = {number}
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(3)):
        total += step
    flor.log("total", total)
"""


def thousand() -> list[Revision]:
    """Versions of twenty different files, which come back now and then."""
    return [Revision(f"{n:040x}", "train.py", {"train.py": SCRIPT.format(number=n * 7 % 20)}) for n in range(1000)]


def test_a_thousand_versions_cost_what_their_distinct_files_cost(kept: ObjectCache) -> None:
    history = thousand()
    newest = SCRIPT.format(number=5) + '    flor.log("twice", 2 * total)\n'
    donors = find_donors(["twice"], [("the working tree", {"train.py": newest})], frozenset({"train.py"}))
    compute = Counted()
    for calls in (20, 20):  # the second process asks for nothing
        patched = patch_all(["twice"], donors, history, ways=CarryingWays(Propagations(kept, compute, {})))
        assert compute.calls == calls
    assert [patched[r.version].files for r in history] == [
        {"train.py": r.texts["train.py"] + '    flor.log("twice", 2 * total)\n'} for r in history
    ]


def test_evidence_of_the_versions_between_costs_some_questions_for_each_distinct_file(kept: ObjectCache) -> None:
    history = thousand()
    newest = SCRIPT.format(number=5) + '    flor.log("twice", 2 * total)\n'
    donors = find_donors(["twice"], [("the working tree", {"train.py": newest})], frozenset({"train.py"}))
    compute, told = Counted(), []
    for _ in range(2):
        ways = CarryingWays(Propagations(kept, compute, {}), propagation.propagate_tree_through)
        patched = patch_all(["twice"], donors, history, ways=ways, tell=lambda done, total: told.append((done, total)))
        assert compute.calls <= 20 * 10
        calls = compute.calls
    assert compute.calls == calls
    assert len({id(each) for each in patched.values()}) == 20
    assert (told[0], told[-1]) == ((0, 1000), (1000, 1000))
