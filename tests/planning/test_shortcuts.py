"""What is known of a new log statement's values without running anything, and what is not."""

from __future__ import annotations

import ast
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from flor_ray.analysis.evaluating import FUNCTIONS, NoValue, evaluate
from flor_ray.planning import shortcuts
from flor_ray.planning.shortcuts import Answer, RecordedRow
from flor_ray.records import ADOPTED, Experiment, Fidelity, Level, Region, Status, Value
from flor_ray.store import typed_values

PYTHON = platform.python_version()
VALUES: Mapping[str, object] = {"lr": 0.1, "n": 7, "name": "adam", "flag": True, "nothing": None, "sizes": (3, 4)}
EXPERIMENT = Experiment(
    "p",
    "v1",
    None,
    "train.py",
    "",
    0.0,
    9.0,
    Status.FINISHED,
    args={"lr": 0.1, "n": 7, "name": "adam", "rates": [1, 2]},
    main_loop="epoch",
    nested_loop="step",
    epochs=3,
    environment={"python": PYTHON},
)


def value_of(name: str) -> object:
    return VALUES[name] if name in VALUES else FUNCTIONS[name]


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "-2.5",
        "'adam'",
        "None",
        "lr * 2",
        "n // 2 + n % 3 - n / 4",
        "n ** 2",
        "2 ** -1",
        "-n",
        "not flag",
        "~n",
        "n & 3 | 8",
        "(lr, n)",
        "[lr, [n, 1]]",
        "{'lr': lr, 'n': n}",
        "lr < 1 <= n",
        "name == 'adam' and lr > 0.01",
        "nothing or n",
        "nothing is None",
        "name is not None",
        "'a' in name",
        "n not in (1, 2)",
        "lr if flag else n",
        "f'{name}-{lr:.3f}-{n!r:>4}'",
        "name[0] + name[1:3]",
        "sizes[-1]",
        "{'adam': 1}[name]",
        "len(name) * 'x'",
        "min(lr, n) + max(sizes)",
        "round(lr / 3, 4)",
        "abs(-n) + int('3') + float('2.5')",
        "str(n) + name",
        "bool(n)",
        "sum([lr, lr, lr])",
        "sorted(sizes)",
        "float('nan')",
        "0.0 * -1",
    ],
)
def test_an_expression_has_the_value_that_python_gives_it(text: str) -> None:
    found = evaluate(ast.parse(text, mode="eval").body, value_of)
    truth = eval(text, {"__builtins__": dict(FUNCTIONS)}, dict(VALUES))
    assert type(found) is type(truth)
    if isinstance(truth, float):
        assert (math.isnan(found) and math.isnan(truth)) or found.hex() == truth.hex()
    else:
        assert found == truth


@pytest.mark.parametrize(
    "text",
    [
        "unknown",
        "10 ** 10 ** 10",
        "2 ** 10000",
        "'x' * 100000",
        "[0] * 100000",
        "100000 * (0,)",
        "f'{n:100000000}'",
        "'%100000000d' % n",
        "n << 3",
        "1 / 0",
        "name + 1",
        "sizes[9]",
        "open('x')",
        "lr.hex()",
        "lambda: 1",
        "[x for x in sizes]",
        "{1, 2}",
        "{**{}}",
        "(*sizes, 1)",
        "b'bytes'",
        "2j",
        "(-8) ** 0.5",
        "...",
        "lr is n",
        "sorted(sizes, reverse=True)",
        "len",
        "(x := 3)",
        "int('1' * 9999)",
    ],
)
def test_an_expression_that_python_would_have_to_run_has_no_value(text: str) -> None:
    with pytest.raises(NoValue):
        evaluate(ast.parse(text, mode="eval").body, value_of)


# --- places ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import flor_ray as flor
lr = flor.arg("lr", 0.5)
n = flor.arg("n", 1)
name = flor.arg("name", "sgd")
rates = flor.arg("rates", (1, 2))
double = lr * 2
PREFIX
for epoch in flor.loop("epoch", range(3)):
    HEAD
    for step in flor.loop("step", range(2)):
        w = step
        INNER
        flor.log("w", w + 1)
        BESIDE
    TAIL
    acc = epoch / 3
    if epoch == 1:
        flor.log("acc", round(acc, 2))
        BRANCH
SUFFIX
"""
REGIONS = {
    "PREFIX": Region.PREFIX,
    "HEAD": Region.HEAD,
    "INNER": Region.INNER,
    "BESIDE": Region.INNER,
    "TAIL": Region.TAIL,
    "BRANCH": Region.TAIL,
    "SUFFIX": Region.SUFFIX,
}


def with_statement(place: str, statement: str, script: str = SCRIPT) -> tuple[str, str]:
    """The script without any of the places, and with a statement at one of them."""
    texts = []
    for chosen in ("", place):
        lines = [
            line.replace(line.strip(), statement) if line.strip() == chosen else line
            for line in script.split("\n")
            if line.strip() not in REGIONS or line.strip() == chosen
        ]
        texts.append("\n".join(lines))
    return texts[0], texts[1]


def rows(name: str) -> list[RecordedRow]:
    """What the script records."""
    if name == "w":
        return [
            RecordedRow(Level.INNER, epoch, step, 0, Value("int", integer=step + 1))
            for epoch in (1, 2, 3)
            for step in range(2)
        ]
    return [RecordedRow(Level.OUTER, 2, None, 0, Value("float", 0.33))] if name == "acc" else []


def answer(
    place: str,
    statement: str,
    script: str = SCRIPT,
    experiment: Experiment = EXPERIMENT,
    files: Mapping[str, str] | None = None,
    epochs: Sequence[int] = (1, 2, 3),
    python: str = PYTHON,
) -> Answer | None:
    before, after = with_statement(place, statement, script)
    others = dict(files or {})
    found = shortcuts.ways(
        "train.py", {**others, "train.py": before}, {**others, "train.py": after}, "x", REGIONS[place]
    )
    outside = REGIONS[place] in (Region.PREFIX, Region.SUFFIX)
    recorded = {name: rows(name) for name in found.names}
    return shortcuts.records(found, experiment, "x", recorded, () if outside else epochs, outside, python, 5.0)


def values(found: Answer | None) -> list[tuple[int | None, int | None, object]]:
    assert found is not None
    return [(r.epoch, r.step, typed_values.decode(r.value, lambda key: b"")) for r in found.records]


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("PREFIX", "3", [(None, None, 3)]),
        ("PREFIX", "lr * 2", [(None, None, 0.2)]),
        ("PREFIX", "double + n", [(None, None, 7.2)]),
        ("PREFIX", "f'{name}!'", [(None, None, "adam!")]),
        ("SUFFIX", "[double, n]", [(None, None, [0.2, 7])]),
        ("HEAD", "double", [(1, None, 0.2), (2, None, 0.2), (3, None, 0.2)]),
        ("TAIL", "n if lr < 1 else 0", [(1, None, 7), (2, None, 7), (3, None, 7)]),
        ("INNER", "n", [(e, s, 7) for e in (1, 2, 3) for s in (0, 1)]),
        ("BESIDE", "w + 1", [(e, s, s + 1) for e in (1, 2, 3) for s in (0, 1)]),
        ("INNER", "w + 1", [(e, s, s + 1) for e in (1, 2, 3) for s in (0, 1)]),
        ("BRANCH", "round(acc, 2)", [(2, None, 0.33)]),
    ],
)
def test_a_value_is_known_at_all_of_its_places(place: str, value: str, expected: list[object]) -> None:
    assert values(answer(place, f'flor.log("x", {value})')) == expected


@pytest.mark.parametrize(
    "statement", ['flor.log("x", value=n)', 'flor.log(value=n, name="x")', 'flor.MTK.log("x", n)', 'record("x", n)']
)
def test_a_statement_is_known_however_it_calls_us(statement: str) -> None:
    script = SCRIPT.replace("import flor_ray as flor\n", "import flor_ray as flor\nrecord = flor.log\n")
    assert values(answer("HEAD", statement, script)) == [(1, None, 7), (2, None, 7), (3, None, 7)]


def test_only_the_places_that_were_asked_for_are_answered() -> None:
    assert values(answer("HEAD", 'flor.log("x", n)', epochs=(2,))) == [(2, None, 7)]
    assert values(answer("BESIDE", 'flor.log("x", w + 1)', epochs=(3,))) == [(3, 0, 1), (3, 1, 2)]
    assert values(answer("BRANCH", 'flor.log("x", round(acc, 2))', epochs=(1, 3))) == []  # it logged nothing there


@pytest.mark.parametrize(
    ("place", "statement"),
    [
        ("PREFIX", 'flor.log("x", rates)'),  # a list can be changed; JSON does not tell it from a tuple
        ("PREFIX", 'flor.log("x", acc)'),  # it is bound later, in a loop
        ("PREFIX", 'y = flor.log("x", 3)'),
        ("PREFIX", 'flor.log(*["x", 3])'),
        ("PREFIX", 'flor.log("x", *[3])'),
        ("PREFIX", 'if n: flor.log("x", 3)'),
        ("HEAD", 'flor.log("x", epoch)'),
        ("HEAD", 'if epoch: flor.log("x", 3)'),
        ("HEAD", 'flor.log("x", n); flor.log("x", n)'),
        ("HEAD", 'other.log("x", n)'),
        ("INNER", 'flor.log("x", step)'),
        ("BESIDE", 'flor.log("x", w + 2)'),
        ("BRANCH", 'flor.log("x", 3)'),
        ("TAIL", 'flor.log("x", acc)'),
        ("HEAD", 'flor.log("x", __name__)'),
    ],
)
def test_what_may_come_otherwise_is_not_known(place: str, statement: str) -> None:
    assert answer(place, statement) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("double = lr * 2", "lr = 3\ndouble = lr * 2"),
        ("double = lr * 2", "lr += 1\ndouble = lr * 2"),
        ("double = lr * 2", "double = lr * 2\ndel lr"),
        ("double = lr * 2", "if n:\n    double = lr * 2"),
        ("double = lr * 2", "for i in range(2):\n    double = lr * 2"),
        ("double = lr * 2", "def f():\n    global double\n    double = 3\ndouble = lr * 2"),
        ("double = lr * 2", "double = lr * 2\nexec('double = 3')"),
        ("double = lr * 2", "double = lr * 2\nglobals()['double'] = 3"),
        ("double = lr * 2", "double = lr * 2\nfrom other import *"),
        ("double = lr * 2", "import sys\ndouble = lr * 2\nsetattr(sys.modules['__main__'], 'double', 3)"),
        ("double = lr * 2", "double = lr * 2\nwith open('f') as double: pass"),
        ("double = lr * 2", "double = lr * 2\ntry: pass\nexcept OSError as double: pass"),
        ("double = lr * 2", "double = make(lr)"),
        ("double = lr * 2", "double = [lr]"),
        ("double = lr * 2", "double = missing = lr * 2"),
        ("        w = step", "        w = step\n        if w: continue"),
        ("        w = step", "        w = step\n        if w: break"),
        ("    HEAD", "    if epoch == 2: continue\n    HEAD"),
        ("    HEAD", "    if epoch == 2: break\n    HEAD"),
        ("for epoch in flor.loop", "for epoch in zip(flor.loop"),
        ('flor.loop("epoch", range(3))', 'iter(flor.loop("epoch", range(3)))'),
        ("    TAIL", "    TAIL\n    import sys; sys.exit(0)"),
    ],
)
def test_a_value_is_not_known_if_a_variable_or_the_loop_may_be_otherwise(old: str, new: str) -> None:
    script = SCRIPT.replace(old, new, 1)
    assert script != SCRIPT
    assert answer("INNER", 'flor.log("x", double)') is not None
    assert answer("INNER", 'flor.log("x", double)', script) is None


def test_a_variable_of_the_same_name_in_another_function_is_another_one() -> None:
    script = SCRIPT.replace("double = lr", "def f(double):\n    lr = 3\n    return [n for n in double]\ndouble = lr")
    assert values(answer("PREFIX", 'flor.log("x", double)', script)) == [(None, None, 0.2)]


MAIN = """
import flor_ray as flor
lr = flor.arg("lr", 0.5)
def main():
    scale = 3
    PREFIX
    with flor.checkpointing(x=[]):
        for epoch in flor.loop("epoch", range(3)):
            HEAD
            work(epoch)
    SUFFIX
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(("place", "count"), [("PREFIX", 1), ("HEAD", 3), ("SUFFIX", 1)])
def test_the_function_that_a_script_runs_is_read_like_the_script(place: str, count: int) -> None:
    found = values(answer(place, 'flor.log("x", scale * lr)', MAIN))
    assert [value for *_, value in found] == [3 * 0.1] * count


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    main()", "    main()\n    main()"),
        ("    SUFFIX", "    if lr: return\n    SUFFIX"),
        ("            work(epoch)", "            if lr: return"),
        ("def main():", "@timed\ndef main():"),
        ("lr = flor.arg", "lr = 0\nlr = flor.arg"),
        ("    main()", "    run(main)"),
    ],
)
def test_a_function_that_may_run_otherwise_is_not_read(old: str, new: str) -> None:
    assert answer("SUFFIX", 'flor.log("x", scale * lr)', MAIN) is not None
    assert answer("SUFFIX", 'flor.log("x", scale * lr)', MAIN.replace(old, new, 1)) is None


def test_a_run_that_did_not_finish_is_answered_as_far_as_it_came() -> None:
    failed = replace(EXPERIMENT, status=Status.FAILED, epochs=2)
    crashed = replace(failed, status=Status.CRASHED)
    assert values(answer("HEAD", 'flor.log("x", n)', experiment=failed, epochs=(1, 2))) == [(1, None, 7), (2, None, 7)]
    assert answer("HEAD", 'flor.log("x", n)', experiment=failed, epochs=(1, 2, 3)) is None
    assert values(answer("PREFIX", 'flor.log("x", n)', experiment=failed)) == [(None, None, 7)]
    assert answer("SUFFIX", 'flor.log("x", n)', experiment=failed) is None
    assert answer("PREFIX", 'flor.log("x", n)', experiment=replace(failed, epochs=0)) is None
    assert answer("PREFIX", 'flor.log("x", n)', experiment=crashed) is None  # nobody knows its arguments
    assert values(answer("PREFIX", 'flor.log("x", 3)', experiment=crashed)) == [(None, None, 3)]
    assert answer("BESIDE", 'flor.log("x", w + 1)', experiment=crashed, epochs=(1, 2)) is None  # rows may be lost


def test_an_argument_counts_only_if_it_was_recorded_with_the_type_of_its_default() -> None:
    for args in ({}, {"n": "7"}, {"n": 7.0}, {"n": True}, {"n": None}):
        assert answer("PREFIX", 'flor.log("x", n)', experiment=replace(EXPERIMENT, args=args)) is None


def test_another_python_is_not_asked_for_its_sums() -> None:
    assert answer("PREFIX", 'flor.log("x", n)', python="3.1.0") is None
    assert answer("BESIDE", 'flor.log("x", w + 1)', python="3.1.0") is not None  # nothing is computed


def test_what_is_known_of_an_adopted_run_is_not_called_exact() -> None:
    adopted = replace(EXPERIMENT, environment={"python": PYTHON, ADOPTED: {}})
    for place, value in (("PREFIX", "3"), ("HEAD", "4")):
        known, recorded = (
            answer(place, f'flor.log("x", {value})', experiment=adopted),
            answer(place, f'flor.log("x", {value})'),
        )
        assert known is not None
        assert recorded is not None
        assert (known.verdict, recorded.verdict) == (Fidelity.ADOPTED, Fidelity.EXACT)
        assert values(known) == values(recorded)


@pytest.mark.parametrize(
    "other",
    [
        'import flor_ray as flor\ndef helper():\n    flor.log("x", 1)\n',
        "def helper(flor, key):\n    flor.log(key, 1)\n",
        'import flor_ray as flor\ndef helper():\n    for i in flor.loop("data", range(3)): pass\n',
        "import __main__\n__main__.n = 3\n",
        "import flor_ray as flor\nflor.autolog()\n",
    ],
)
def test_other_files_that_the_script_imports_are_looked_at(other: str) -> None:
    script = "import helper\n" + SCRIPT
    found = answer("INNER", 'flor.log("x", n)', script, files={"helper.py": other})
    assert found is None
    assert answer("INNER", 'flor.log("x", n)', SCRIPT, files={"elsewhere.py": other}) is not None


@pytest.mark.parametrize(
    "between",
    ["w = 3", "w.step()", "del w", "flor.log('y', next(batches))", "if w: pass"],
)
def test_a_statement_between_that_may_change_something_hides_the_other_one(between: str) -> None:
    script = SCRIPT.replace('flor.log("w", w + 1)', f'flor.log("w", w + 1)\n        {between}')
    assert answer("BESIDE", 'flor.log("x", w + 1)', script) is None
    reading = SCRIPT.replace('flor.log("w", w + 1)', 'flor.log("w", w + 1)\n        print(w)\n        flor.log("z", w)')
    assert answer("BESIDE", 'flor.log("x", w + 1)', reading) is not None


def test_an_expression_that_does_something_is_not_taken_from_beside() -> None:
    script = SCRIPT.replace("w + 1", "random.random()")
    assert answer("BESIDE", 'flor.log("x", random.random())', script) is None


def test_nothing_is_known_of_a_name_that_was_recorded_or_has_another_region() -> None:
    before, after = with_statement("PREFIX", 'flor.log("x", 3)')
    found = shortcuts.ways("train.py", {"train.py": before}, {"train.py": after}, "x", Region.PREFIX)
    row = RecordedRow(Level.DATA_PREP, None, None, 0, Value("int", integer=3))
    assert shortcuts.records(found, EXPERIMENT, "x", {"x": [row]}, (), True, PYTHON, 5.0) is None
    assert shortcuts.ways("train.py", {"train.py": before}, {"train.py": after}, "x", Region.WHOLE).computed is None


def test_steps_must_all_have_been_recorded() -> None:
    before, after = with_statement("INNER", 'flor.log("x", n)')
    found = shortcuts.ways("train.py", {"train.py": before}, {"train.py": after}, "x", Region.INNER)
    for some in (rows("w")[:-2], [*rows("w")[:-2], rows("w")[-1]], []):
        assert shortcuts.records(found, EXPERIMENT, "x", {"w": some}, (1, 2, 3), False, PYTHON, 5.0) is None
