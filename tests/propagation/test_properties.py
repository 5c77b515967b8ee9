"""What holds for all sources: the mapping is a bijection, nothing raises, nothing but insertion happens."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.analysis.phases.phases import phases_of
from flor_ray.propagation import find_args, find_statements, propagate
from flor_ray.propagation.matching.gumtree import match
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.reading.parse import is_python, parse
from tests.propagation.forgetting import forget

NAMES = st.sampled_from(["net", "loss", "x", "y", "optimizer", "total", "evaluate", "flor"])
VALUES = st.one_of(NAMES, st.sampled_from(["1", "net(x)", "loss.item()", "[x for x in y]", "lambda x: x + y", "'s'"]))
SIMPLE = st.one_of(
    st.builds("{} = {}".format, NAMES, VALUES),
    st.builds("{} += {}".format, NAMES, VALUES),
    st.builds("{}.backward()".format, NAMES),
    st.builds('flor.log("{}", {})'.format, NAMES, VALUES),
    st.builds('print("{}", flor.log("{}", {}))'.format, NAMES, NAMES, VALUES),
    st.builds('{} = flor.log("{}", {})'.format, NAMES, NAMES, VALUES),
    st.sampled_from(["pass", "import math", "from a import b as c", "global q", "print(net); net.eval()"]),
)
HEADERS = st.one_of(
    st.builds("if {}:".format, VALUES),
    st.builds("for {} in {}:".format, NAMES, VALUES),
    st.builds('for {} in flor.loop("{}", {}):'.format, NAMES, NAMES, VALUES),
    st.builds("with {} as {}:".format, VALUES, NAMES),
    st.builds("def {}({}):".format, NAMES, NAMES),
    st.builds("class {}:".format, NAMES),
    st.builds("while {}:".format, VALUES),
)


def indented(block: list[str]) -> list[str]:
    return ["    " + line for line in block]


BLOCKS = st.recursive(
    st.lists(SIMPLE, min_size=1, max_size=4),
    lambda inner: st.lists(
        st.one_of(SIMPLE.map(lambda line: [line]), st.builds(lambda h, b: [h, *indented(b)], HEADERS, inner)),
        min_size=1,
        max_size=4,
    ).map(lambda parts: [line for part in parts for line in part]),
    max_leaves=8,
)
SOURCES = BLOCKS.map(lambda lines: "import flor_ray as flor\n" + "\n".join(lines) + "\n")


def is_subsequence(older: list[str], patched: list[str]) -> bool:
    rest = iter(patched)
    return all(any(line == other for other in rest) for line in older)


def assert_bijection(mapping: Mapping) -> None:
    pairs = list(mapping.pairs())
    assert len({id(a) for a, _ in pairs}) == len({id(b) for _, b in pairs}) == len(pairs) == len(mapping)
    for a, b in pairs:
        assert a.kind == b.kind
        assert mapping.older_of(a) is b
        assert mapping.newer_of(b) is a


@given(SOURCES, SOURCES)
@settings(max_examples=80, deadline=None)
def test_a_mapping_is_a_bijection_between_nodes_of_one_kind(newer: str, older: str) -> None:
    assert_bijection(match(parse(newer), parse(older)))


@given(SOURCES)
@settings(max_examples=30, deadline=None)
def test_a_source_is_mapped_wholly_to_itself(source: str) -> None:
    tree, again = parse(source), parse(source + "# same\n")
    assert len(match(tree, again)) == len(tree.nodes)


@given(SOURCES, SOURCES)
@settings(max_examples=120, deadline=None)
def test_older_sources_are_only_inserted_into_and_stay_python(newer: str, older: str) -> None:
    lines = list(range(1, newer.count("\n") + 1))
    result = propagate(newer, older, lines)
    assert is_subsequence(older.splitlines(), result.source.splitlines())
    assert sorted([*(each.line for each in result.placed), *(each.line for each in result.refused)]) == lines
    ast.parse(result.source)
    forget()
    assert propagate(newer, older, lines) == result


@given(st.text(), st.text(), st.lists(st.integers(-2, 9), max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_text_makes_it_raise(newer: str, older: str, lines: list[int]) -> None:
    result = propagate(newer, older, lines)
    assert len(result.placed) + len(result.refused) == len(set(lines))
    find_statements(newer, "a.py")
    find_args(newer)
    phases_of("a.py", {"a.py": newer}).names_read_in_tail()


HEAP = [
    "flor.log('a', x)",
    "import flor\n",
    "for ",
    "if x:",
    "\n",
    "    ",
    "\t",
    "(",
    ")",
    '"""',
    "f'{x}'",
    "\\\n",
    "é",
]
HEAP += ["=", "x", ";", ":", "#", "\r\n", "\x0c", "lambda", "class A:", "def f():", "async ", "match x:", "case y:"]
PIECES = st.lists(st.sampled_from(HEAP), max_size=25).map("".join)


@given(PIECES, PIECES)
@settings(max_examples=150, deadline=None)
def test_no_heap_of_python_pieces_makes_it_raise(newer: str, older: str) -> None:
    lines = list(range(1, newer.count("\n") + 2))
    result = propagate(newer, older, lines)
    assert len(result.placed) + len(result.refused) == len(lines)
    find_statements(newer, "a.py")
    phases_of("a.py", {"a.py": newer}).names_read_in_tail()


CASES = sorted((Path(__file__).parent.parent / "cases" / "propagation").glob("*/*.py"))
REALISTIC = st.sampled_from([path.read_text() for path in CASES])
JUNK = [
    "\0",
    "\x0c",
    "\r",
    "\r\n",
    "\t",
    "\ufeff",
    "\udc80",
    "\x1a",
    "\x85",
    "\u2028",
    "é",
    '"""',
    "'",
    "(",
    ")",
    "\\\n",
]
JUNK += ["lambda:", "match x:\n", 'f"{', "}", ";", ":", "#", "async ", "print x\n", "`"]
WORDS = st.sampled_from(["x", "loss", "net", "epoch", "flor", "total", "step", "y", "model", "e"])
PLACES = st.integers(0, 400)


def moved(lines: list[str], i: int, j: int) -> list[str]:
    rest = lines[:i] + lines[i + 1 :]
    return [*rest[:j], lines[i], *rest[j:]]


LINE_EDITS: list[Callable[[list[str], int, int], list[str]]] = [
    lambda lines, i, j: lines[:i] + lines[i + 1 :],
    lambda lines, i, j: [*lines[:j], lines[i], *lines[j:]],
    moved,
    lambda lines, i, j: [*lines[:i], "\t" + lines[i].lstrip(), *lines[i + 1 :]],
    lambda lines, i, j: [*lines[:i], "    " + lines[i], *lines[i + 1 :]],
    lambda lines, i, j: [*lines[:i], lines[i][4:], *lines[i + 1 :]],
    lambda lines, i, j: [*lines[:i], lines[i] + "; pass", *lines[i + 1 :]],
    lambda lines, i, j: [*lines[:i], lines[i] + " \\", *lines[i + 1 :]],
    lambda lines, i, j: [*lines[:i], lines[i] + "\x0c", *lines[i + 1 :]],
]


@st.composite
def edited(draw: st.DrawFn, sources: st.SearchStrategy[str] = REALISTIC) -> str:
    """A source after one to four edits that a person, an editor or a broken disk might make."""
    source = draw(sources)
    for _ in range(draw(st.integers(1, 4))):
        how = draw(st.integers(0, 7))
        if how <= 3:
            lines = source.split("\n")
            i, j = draw(PLACES) % len(lines), draw(PLACES) % len(lines)
            source = "\n".join(draw(st.sampled_from(LINE_EDITS))(lines, i, j))
        elif how == 4:
            source = source.replace(draw(WORDS), draw(WORDS))
        elif how == 5:
            at = draw(PLACES) * 7 % (len(source) + 1)
            source = source[:at] + draw(st.sampled_from(JUNK)) + source[at:]
        elif how == 6:
            source = source[: draw(PLACES) * 7 % (len(source) + 1)]  # in the middle of a token, as like as not
        else:
            source = draw(
                st.sampled_from(
                    [source.replace("\n", "\r\n"), source.replace("    ", "\t"), "\ufeff" + source, source.rstrip("\n")]
                )
            )
    return source


def assert_only_insertions(older: str, patched: str) -> None:
    """Line by line; a byte order mark stays first, and the last line may have had no end to insert after."""
    assert older.startswith("\ufeff") == patched.startswith("\ufeff")
    before, after = older.removeprefix("\ufeff").split("\n"), patched.removeprefix("\ufeff").split("\n")
    assert is_subsequence([line.removesuffix("\r") for line in before], [line.removesuffix("\r") for line in after])
    assert patched.count("\r\n") - older.count("\r\n") in range(patched.count("\n") - older.count("\n") + 1)


@given(st.one_of(REALISTIC, edited()), edited(), st.lists(st.integers(-1, 60), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_edited_sources_get_one_answer_per_line_and_lose_no_byte(newer: str, older: str, lines: list[int]) -> None:
    result = propagate(newer, older, lines)
    answered = sorted([*(each.line for each in result.placed), *(each.line for each in result.refused)])
    assert answered == sorted(set(lines))
    assert_only_insertions(older, result.source)
    assert is_python(result.source) or not is_python(older)
    if not any(not each.present for each in result.placed):
        assert result.source == older


@given(st.one_of(REALISTIC, edited()), edited())
@settings(max_examples=80, deadline=None)
def test_edited_sources_are_mapped_by_a_bijection(newer: str, older: str) -> None:
    assert_bijection(match(parse(newer), parse(older)))
    find_statements(older, "a.py")
    find_args(older)
    phases_of("a.py", {"a.py": older}).names_read_in_tail()


REPEAT = """
import sys
from pathlib import Path
from flor_ray.propagation import propagate
from flor_ray.propagation.matching.gumtree import match
from flor_ray.propagation.reading.parse import parse
sources = [path.read_text() for path in sorted(Path(sys.argv[1]).glob("*/*.py"))][:100]
for newer, older in zip(sources, sources[1:]):
    print([(a.index, b.index) for a, b in match(parse(newer), parse(older)).pairs()])
    print(propagate(newer, older, range(1, newer.count("\\n") + 1)))
"""


def test_nothing_depends_on_the_order_of_hashes() -> None:
    answers = set()
    for seed in ("0", "4242"):
        command = [sys.executable, "-c", REPEAT, str(CASES[0].parent.parent)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        answers.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(answers) == 1
    assert "Placement" in answers.pop()
