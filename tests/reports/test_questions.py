"""What people are told of questions: what an answer lacks, and why epochs are needed or not."""

from __future__ import annotations

from flor_ray.records import Experiment, Status
from flor_ray.reports import questions
from flor_ray.reports.questions import Necessity, Shortfall

VERSIONS = [f"{letter * 8}0" for letter in "abc"]
A, B, C = VERSIONS
EXPERIMENTS = {v: Experiment("p", v, None, "train.py", f"run{v[0]}", 0.0, None, Status.FINISHED) for v in VERSIONS}
NEEDED = {"norm": {A: frozenset[int | None]({1, 2}), B: frozenset[int | None]({None})}}


def test_what_an_answer_lacks_is_told_by_feature_and_reason() -> None:
    reasons: dict[tuple[str, str, int | None], str] = {("norm", A, 2): "killed"}
    short = questions.shortfalls(NEEDED, reasons, "not asked for")
    assert set(short) == {
        Shortfall("norm", A, (1,), False, "not asked for"),
        Shortfall("norm", A, (2,), False, "killed"),
        Shortfall("norm", B, (), True, "not asked for"),
    }
    assert sorted(questions.incomplete(short)) == [
        "The answer is incomplete: it needs norm in 1 place of version aaaaaaaa, where there is no value: killed",
        "The answer is incomplete: it needs norm in 2 places of 2 versions: aaaaaaaa, bbbbbbbb, where there is no "
        "value: not asked for",
    ]
    assert questions.incomplete(questions.shortfalls({}, reasons, "")) == []


def test_an_explanation_says_of_each_version_what_is_needed_and_what_is_not() -> None:
    lacking = {"norm": {v: frozenset[int | None]({1, 2, 3, None}) for v in VERSIONS}}
    refused: dict[tuple[str, str, int | None], str] = {("norm", C, e): "no such variable" for e in (1, 2, 3, None)}
    rows = questions.kept(NEEDED, lacking, {"norm": ("it is shown where acc < 90",)}, refused)
    assert rows == (
        Necessity("norm", A, (1, 2), (3,), False, "it is shown where acc < 90"),
        Necessity("norm", B, (), (1, 2, 3), True, "it is shown where acc < 90"),
        Necessity("norm", C, (), (1, 2, 3), False, "no such variable"),
    )
    cells = questions.explained(rows, EXPERIMENTS)
    assert cells[:2] == [
        ["aaaaaaaa", "runa", "norm", "1-2", "3", "it is shown where acc < 90"],
        ["bbbbbbbb", "runb", "norm", "outside the loop", "1-3", "it is shown where acc < 90"],
    ]
    many = [Necessity("norm", A, (1,), (), False, str(n)) for n in range(23)]
    assert questions.explained(many, EXPERIMENTS)[20:] == [["...", "", "", "", "", "and 3 more"]]
