"""The bench of propagation measures what it says: its cases are true by construction, its scores are right."""

from __future__ import annotations

import ast
import difflib
import json
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from tests.bench_modules import BENCH, bench_module

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = """\
import torch

model = make()
for epoch in range(3):
    loss = train(model)
    print(loss)
    save(model)
"""
LINE = 5  # of the statement that is carried
WITHOUT = SCRIPT.replace("    loss = train(model)\n", "")


@pytest.fixture(scope="module")
def bench() -> Any:
    """The modules of bench/propagating by name."""
    names = (
        "baselines",
        "cases",
        "edits",
        "figure",
        "drafts",
        "histories",
        "measuring",
        "scoring",
        "shares",
        "synthetic",
    )
    return _Modules({name: bench_module(f"propagating.{name}") for name in names})


class _Modules:
    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self._modules = modules

    def __getattr__(self, name: str) -> Any:
        return self._modules[name]


@pytest.fixture(scope="module")
def made(bench: Any) -> list[Any]:
    found = list(bench.synthetic.cases(24))
    assert {case.stratum for case in found} == {"insert", "renamed", "present", "absent"}
    return found


# --- the generator ------------------------------------------------------------------------------------------------


def test_the_scripts_are_python_with_lines_of_their_own(bench: Any) -> None:
    scripts = bench.synthetic.scripts()
    assert len(scripts) == 8
    for source in scripts.values():
        assert 60 <= source.count("\n") <= 170
        draft = bench.drafts.Draft(source)
        for block in draft.blocks:
            lines = [(draft.start(s), s.end_lineno) for s in block.statements]
            assert all(end < start for (_, end), (start, _) in pairwise(lines))


def test_cases_depend_on_seed_stratum_and_number_only(bench: Any, made: list[Any]) -> None:
    assert list(bench.synthetic.cases(5)) == made[:5]
    assert [bench.synthetic.case("renamed", 2), bench.synthetic.case("absent", 1)] == [
        [c for c in made if c.stratum == "renamed"][2],
        [c for c in made if c.stratum == "absent"][1],
    ]
    assert next(iter(bench.synthetic.cases(1, seed=1))) != made[0]


def test_every_version_parses_and_differs_from_the_other(made: list[Any]) -> None:
    for case in made:
        for source in (case.newer, case.older, case.expected or ""):
            ast.parse(source)
            assert "#@" not in source
        assert case.newer != case.older


def test_the_answer_is_the_older_version_with_the_statement_in_it(bench: Any, made: list[Any]) -> None:
    inserted = [case for case in made if case.expected is not None]
    assert {case.stratum for case in inserted} == {"insert", "renamed"}
    for case in inserted:
        diff = list(difflib.ndiff(case.older.split("\n"), case.expected.split("\n")))
        assert not [line for line in diff if line.startswith("-")]
        added = [line[2:].strip() for line in diff if line.startswith("+")]
        carried = bench.baselines.statement_at(case.newer, case.line)
        assert len(added) == carried.end_lineno - carried.lineno + 1
        if case.stratum == "insert":
            lines = case.newer.split("\n")[carried.lineno - 1 : carried.end_lineno]
            assert sorted(added) == sorted(line.strip() for line in lines)
        assert case.renamed == (case.stratum == "renamed")
        assert bench.scoring.keeps_bytes(case.older, case.expected)


def test_nothing_is_expected_of_what_is_there_or_has_no_context(bench: Any, made: list[Any]) -> None:
    assert any(case.stratum == "present" and not case.renamed for case in made)
    for case in made:
        carried = ast.unparse(bench.baselines.statement_at(case.newer, case.line))
        if case.stratum == "present" and not case.renamed:
            assert case.expected is None
            assert carried in "\n".join(
                ast.unparse(s) for s in ast.walk(ast.parse(case.older)) if isinstance(s, ast.stmt)
            )
        if case.stratum == "absent":
            assert case.expected is None
            gone = set(bench.drafts.loads([ast.parse(carried)])) - bench.drafts.Draft(case.older).taken
            assert gone


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        ("swap_neighbours", "a = 1\n# of b\nb = 2\n", "# of b\nb = 2\na = 1\n"),
        ("unwrap", "with lock:\n    # why\n    a()\n    b()\n", "# why\na()\nb()\n"),
        ("inline_function", "def f(x):\n    y = x + 1\n    return y\n\n\nz = f(3)\n", "x = 3\ny = x + 1\nz = y\n"),
        (
            "rename_attribute",
            "class A:\n    def f(self):\n        self.model = 1\n        return self.model\n",
            "class A:\n    def f(self):\n        self.net = 1\n        return self.net\n",
        ),
    ],
)
def test_edits_work_on_lines_and_tokens(bench: Any, edit: str, before: str, after: str) -> None:
    changed = bench.edits.EDITS[edit](bench.drafts.Draft(before), random.Random(0))
    assert changed.strip("\n") == after.strip("\n")


def test_an_extracted_function_takes_what_it_reads_and_gives_what_it_binds(bench: Any) -> None:
    source = "def train(model, data):\n    x = data + 1\n    y = model(x)\n    return y\n"
    draft = bench.drafts.Draft(source)
    changed = bench.edits.EDITS["extract_function"](draft, random.Random(0))
    head, call = changed.split("\n\n\ndef train(model, data):\n")
    assert head.startswith("def ")
    assert head.split("\n", 1)[1] == "    x = data + 1\n    y = model(x)\n    return y  #@edge"
    assert call.split(" = ")[0].strip() == "y"


# --- scoring ------------------------------------------------------------------------------------------------------


def _score(bench: Any, source: str | None, expected: str | None = SCRIPT) -> str:
    case = bench.cases.Case("insert", SCRIPT, WITHOUT, LINE, expected)
    score: str = bench.scoring.score(case, bench.cases.Answer(source)).value
    return score


def test_answers_are_scored(bench: Any) -> None:
    assert _score(bench, SCRIPT) == "exact"
    assert _score(bench, SCRIPT.replace("train(model)", "train( model )  # a comment")) == "exact"
    assert _score(bench, None) == "refused"
    assert _score(bench, SCRIPT.replace("loss = train", "lost = train")) == "wrong"
    assert _score(bench, "for") == "wrong"
    assert _score(bench, None, expected=None) == "declined"
    assert _score(bench, SCRIPT, expected=None) == "wrong"


def test_an_equivalent_place_is_one_reached_over_statements_that_commute(bench: Any) -> None:
    older = "a = 1\nb = 2\nc = f(a)\nd = 4\n"
    expected = "a = 1\nlog = a\nb = 2\nc = f(a)\nd = 4\n"
    found = bench.scoring.equivalents(older, expected)

    def dump(source: str) -> str:
        return ast.dump(ast.parse(source))

    assert dump("a = 1\nb = 2\nlog = a\nc = f(a)\nd = 4\n") in found
    assert dump("a = 1\nb = 2\nc = f(a)\nd = 4\nlog = a\n") in found
    assert dump("log = a\na = 1\nb = 2\nc = f(a)\nd = 4\n") not in found


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a = 1", "b = a"),
        ("a = b", "b = 1"),
        ("loss.backward()", "optimizer.step()"),
        ("items.append(1)", "n = len(items)"),
        ("for x in y:\n    items.append(x)", "n = len(items)"),
        ("return 1", "a = 1"),
    ],
)
def test_dependent_statements_do_not_commute(bench: Any, left: str, right: str) -> None:
    first, second = ast.parse(left).body[0], ast.parse(right).body[0]
    assert not bench.scoring.commute(first, second)
    assert not bench.scoring.commute(second, first)


def test_bytes_are_kept_where_lines_were_only_inserted(bench: Any) -> None:
    kept = bench.scoring.keeps_bytes
    assert kept("a\r\nb", "a\r\nx\r\nb\r\n")
    assert not kept("a = 1  # why\nb\n", "a = 1\nx\nb\n")
    assert not kept("a\nb\n", "b\na\n")


def test_totals_tell_inserting_from_declining(bench: Any) -> None:
    case, answer = bench.cases.Case, bench.cases.Answer
    insert, absent = case("insert", SCRIPT, WITHOUT, LINE, SCRIPT), case("absent", SCRIPT, WITHOUT, LINE, None)
    answers = [answer(SCRIPT, 0.95), answer(None), answer(None, 1.0, "", True), answer(WITHOUT, 0.95)]
    results = [bench.measuring.ask("ours", lambda *_, a=each: a, insert) for each in answers]
    results.append(bench.measuring.ask("ours", lambda *_: answer(None), absent))
    row = bench.measuring.totals(results)
    chosen = ("exact_pct", "wrong_pct", "refused_pct", "dropped_pct", "decline_right_pct", "confident_wrong_pct")
    assert [row[name] for name in chosen] == [25.0, 50.0, 25.0, 25.0, 100.0, 50.0]


# --- baselines, figure, command line ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["git_merge_file", "difflib_statements"])
def test_baselines_insert_and_see_what_is_there(bench: Any, name: str) -> None:
    baseline = getattr(bench.baselines, name)
    assert baseline(SCRIPT, WITHOUT, LINE).source == SCRIPT
    assert baseline(SCRIPT, SCRIPT, LINE).present


def test_difflib_takes_the_majority_of_names_and_git_refuses(bench: Any) -> None:
    older = WITHOUT.replace("model", "net")
    assert bench.baselines.difflib_statements(SCRIPT, older, LINE).source == SCRIPT.replace("model", "net")
    conflict = bench.baselines.git_merge_file(SCRIPT, WITHOUT.replace("range(3)", "range(5)"), LINE)
    assert (conflict.source, conflict.why) == (None, "conflict")


def test_the_figure_is_well_formed(bench: Any) -> None:
    draw, times, row = bench.figure.draw, bench.figure.Times(12.0, 80.0), bench.figure.Accuracy(80.0, 10.0, 8.0, 2.0)
    bins = [bench.measuring.Bin(0.9, 100, 1, 0.93), bench.measuring.Bin(1.0, 0, 0, 0.0)]
    text = draw("a < b", {"insert, easy": {"ours": row}}, {"ours": times}, bins)
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "90.0 % right, 2.0 % wrong" in text


def test_histories_give_cases_of_a_clone(bench: Any, tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--quiet", ".")
    for number in range(5):
        (tmp_path / "train.py").write_text(SCRIPT.replace("range(3)", f"range({number})"))
        git("add", ".")
        git("commit", "--quiet", "-m", str(number))
    found = list(bench.histories.cases(tmp_path, 4, 0))
    assert {case.stratum for case in found} >= {"history", "present"}
    assert list(bench.histories.cases(tmp_path, 4, 0)) == found


def test_the_bench_ends_in_one_json_line() -> None:
    command = [sys.executable, "bench/propagation.py", "--quick", "--cases", "20"]
    done = subprocess.run(command, cwd=BENCH.parent, capture_output=True, text=True, check=True)
    line = json.loads(done.stdout.splitlines()[-1])
    wanted = {"exact_pct", "equivalent_pct", "wrong_pct", "refused_pct", "decline_right_pct", "ms_median", "ms_p99"}
    assert line["n"] == 20
    assert {name for name in wanted if isinstance(line[name], float)} == wanted
    assert line["bytes_kept_pct"] == 100.0


# --- shares of doubts ---------------------------------------------------------------------------------------------


def test_shares_that_fit_are_those_that_the_cases_were_made_with(bench: Any) -> None:
    doubts = bench.shares.Doubt
    rare, often, unmet = doubts.WEAK_NEIGHBOUR, doubts.TORN, doubts.STATE
    true = {rare: 0.02, often: 0.3}
    chance = random.Random(5)
    seen = []
    for _ in range(20_000):
        has = frozenset(each for each in true if chance.random() < 0.5)
        seen.append(bench.shares.Seen(has, any(chance.random() < true[each] for each in has)))
    start = dict.fromkeys(doubts, 0.1)
    found = bench.shares.fit(seen, start)
    assert found[rare] == pytest.approx(0.02, abs=0.006)
    assert found[often] == pytest.approx(0.3, abs=0.015)
    assert found[unmet] == 0.1


def test_a_doubt_that_was_hardly_met_keeps_its_share(bench: Any) -> None:
    torn = bench.shares.Doubt.TORN
    few = [bench.shares.Seen(frozenset({torn}), True)] * (bench.shares.ENOUGH - 1)
    start = {each: each.share for each in bench.shares.Doubt}
    assert bench.shares.fit(few, start)[torn] == torn.share
    assert bench.shares.fit([*few, few[0]], start)[torn] > 0.7
