"""What a propagation costs: coarse guards that only a wrong order of growth can break, on any machine however busy.

Growth is counted in calls of functions, which are the same in every run. What those cannot show, such as long copies,
takes processor time: of that, no input may take many times what an ordinary script takes in the same process.
bench/propagation.py measures milliseconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

import pytest

from flor_ray.propagation import propagate, propagate_tree_through
from flor_ray.propagation.matching.gumtree import match
from flor_ray.propagation.reading.parse import parse
from flor_ray.records import Propagation
from tests.propagation.forgetting import forget

HEAD = "import flor_ray as flor\n"
LOG = 'flor.log("z", x)\n'
MOST = 150  # times the processor time of a script of 500 lines; all cases take less than 30 times as much


def script(functions: int, every: int) -> str:
    """Functions of ten lines, and a loop; in every so-manieth function a statement differs."""
    parts = [
        f"def part_{i}(net, data):\n    total = {i}\n    for x, y in data:\n        out = net(x)\n"
        f"        loss = criterion_{i % 7}(out, y)\n        if loss > {i % every}:\n            loss.backward()\n"
        f"        total += loss.item() / len(data[{i // every}])\n    return total\n\n"
        for i in range(functions)
    ]
    return HEAD + "".join(parts)


def pair(functions: int) -> tuple[str, str, int]:
    """Two versions of a script, and the line of a log at the end of the newer one."""
    newer = script(functions, 5) + "x = 1\n" + LOG
    return newer, script(functions, 7) + "x = 1\n", newer.count("\n")


def seconds(newer: str, older: str, line: int) -> float:
    """Processor time of a propagation that remembers nothing."""
    forget()
    started = time.process_time()
    propagate(newer, older, [line])
    return time.process_time() - started


def calls(asked: Callable[[], object]) -> int:
    """How many functions are called, those of C included, by what is asked when nothing is remembered."""
    count = 0

    def counted(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    forget()
    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        asked()
    finally:
        sys.setprofile(before)
    return count


def history(versions: int) -> list[dict[str, str]]:
    """As many versions of a script and a module, newest first; each differs from the one before in a number."""
    scripts = [
        HEAD + f"x = {i}\nfor epoch in flor.loop('epoch', range(3)):\n    x += {i % 2}\n" for i in range(versions)
    ]
    newest = scripts[0] + "    " + LOG
    return [{"train.py": text, "module.py": f"y = {i // 5}\n"} for i, text in enumerate([newest, *scripts[1:]])]


def carry_to_all(versions: int) -> None:
    """A log into each version of a history, with those between as evidence."""
    newest_first = history(versions)
    line = newest_first[0]["train.py"].count("\n")
    answers: dict[object, Propagation] = {}

    def kept(newer: str, older: str, lines: Sequence[int]) -> Propagation:
        key = newer, older, tuple(lines)
        if key not in answers:
            answers[key] = propagate(newer, older, lines)
        return answers[key]

    for last in range(1, versions):
        found = propagate_tree_through(newest_first[: last + 1], {"train.py": [line]}, propagate_pair=kept)
        assert found.placed, found.refused


@pytest.fixture(scope="module")
def ordinary() -> float:
    """Processor time for a script of 500 lines."""
    return min(seconds(*pair(50)) for _ in range(5))


def test_four_times_the_lines_cost_at_most_five_times_the_calls() -> None:
    (newer, older, line), (longer, longer_older, last) = pair(25), pair(100)
    small, large = (
        calls(lambda: propagate(newer, older, [line])),
        calls(lambda: propagate(longer, longer_older, [last])),
    )
    assert 0 < large <= 5 * small


def test_four_times_the_versions_cost_at_most_six_times_the_calls() -> None:
    """Each version asks about all between it and the newest: what is asked of them must be remembered."""
    small, large = calls(lambda: carry_to_all(20)), calls(lambda: carry_to_all(80))
    assert 0 < large <= 6 * small


def lines(pattern: str, count: int, shift: int = 0) -> str:
    return "".join(pattern.format(i, i + shift) for i in range(count))


def nested(header: str, depth: int) -> str:
    return "".join("  " * i + header for i in range(depth)) + "  " * depth


def cascade(extra: str) -> str:
    """Every function calls the two that come after it: 2 to the 1 000th calls."""
    return HEAD + "".join(f"def f{i}(x):\n    {extra}return f{i + 1}(x) + f{i + 2}(x)\n" for i in range(1_000))


PATHOLOGICAL = {
    "equal statements": (HEAD + "f(a, b)\n" * 1_500 + LOG + "f(a, b)\n" * 1_500, HEAD + "f(a, b)\n" * 3_000),
    "similar statements": (HEAD + lines("x{0} = f({0})\n", 3_000) + LOG, HEAD + lines("x{0} = f({1})\n", 3_000, 1)),
    "statements that occur twice": (
        HEAD + lines("f(a{0}, b)\n", 2_000) * 2 + LOG,
        HEAD + "k = 1\n" + lines("f(a{0}, b)\n", 2_000) * 2,
    ),
    "many gaps": (
        HEAD + "".join(f"at(one, two, {k}, {k})\n" + lines(f"x{k}_{{0}} = f({{0}})\n", 90) for k in range(30)) + LOG,
        HEAD + "".join(f"at(one, two, {k}, {k})\n" + lines(f"y{k}_{{0}} = g({{0}}, 1)\n", 90) for k in range(30)),
    ),
    "deep parentheses": (HEAD + f"x = {'(' * 280}1{')' * 280}\n" + LOG, HEAD + f"x = {'(' * 280}2{')' * 280}\n"),
    "deep lists": (
        HEAD + "x = " + "[" * 280 + lines("a{0}, ", 5_000) + "]" * 280 + "\n" + LOG,
        HEAD + "x = " + "[" * 280 + lines("b{0}, ", 5_000) + "]" * 280 + "\n",
    ),
    "deep conditions": (
        HEAD + nested("if a:\n", 90) + "x = f(1)\n" + LOG,
        HEAD + nested("if b:\n", 90) + "x = g(1)\n",
    ),
    "one long line": (
        HEAD + "x = [" + lines("{0}, ", 20_000) + "]\n" + LOG,
        HEAD + "x = [" + lines("{1}, ", 20_000, 1) + "]\n",
    ),
    "one long string": (HEAD + f'x = "{"q" * 1_000_000}"\n' + LOG, HEAD + f'x = "{"r" * 1_000_000}"\n'),
    "a dictionary of other keys": (
        HEAD + "x = dict(" + lines("key_{0}={0}, ", 2_000) + ")\n" + LOG,
        HEAD + "x = dict(" + lines("kei_{0}={1}, ", 2_000, 1) + ")\n",
    ),
    "keys that are texts": (
        HEAD + "x = {" + "".join(f"'{chr(97 + i) * 4_000}{'xyz' * 2_000}': 1, " for i in range(10)) + "}\n" + LOG,
        HEAD + "x = {" + "".join(f"'c{chr(97 + i) * 5_000}{'zxy' * 1_500}': 2, " for i in range(10)) + "}\n",
    ),
    "a chain of definitions": (HEAD + "x0 = 1\n" + lines("x{1} = x{0} + 1\n", 2_000, 1) + LOG, HEAD + "x0 = 1\n"),
    "a chain in a block": (
        HEAD + "if new:\n" + lines("    x{1} = x{0} + 1\n", 2_000, 1) + '    flor.log("z", x2000)\n',
        HEAD + "x0 = 1\n",
    ),
    "a cascade of calls": (cascade("x.eval(); ") + "x = f0(x)\n" + LOG, cascade("") + "x = f0(x)\n"),
    "many logs": (HEAD + lines("flor.log('a{0}', x)\n", 2_000) + LOG, HEAD + lines("flor.log('a{1}', x)\n", 2_000, 1)),
    "many names in an import": (
        HEAD + "from m import " + lines("a{0}, ", 5_000) + "x\n" + LOG,
        HEAD + "from m import " + lines("a{1}, ", 5_000, 1) + "x\n",
    ),
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_what_no_one_writes_is_not_waited_for(name: str, ordinary: float) -> None:
    newer, older = PATHOLOGICAL[name]
    line = newer[: newer.index('flor.log("z"')].count("\n") + 1
    assert seconds(newer, older, line) < MOST * ordinary


@pytest.mark.parametrize("name", ["similar statements", "many gaps"])
def test_limits_on_effort_keep_the_bijection(name: str) -> None:
    mapping = match(parse(PATHOLOGICAL[name][0]), parse(PATHOLOGICAL[name][1]))
    pairs = list(mapping.pairs())
    assert len({a.index for a, _ in pairs}) == len({b.index for _, b in pairs}) == len(pairs) > 0
