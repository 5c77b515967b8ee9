"""What holds for all sources: the mapping is a bijection, nothing raises, nothing but insertion happens."""

from __future__ import annotations

import ast

from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.propagation import find_args, find_statements, names_read_after_nested_loop, propagate
from flor_ray.propagation.gumtree import match
from flor_ray.propagation.mapping import Mapping
from flor_ray.propagation.parse import parse

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
    assert propagate(newer, older, lines) == result


@given(st.text(), st.text(), st.lists(st.integers(-2, 9), max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_text_makes_it_raise(newer: str, older: str, lines: list[int]) -> None:
    result = propagate(newer, older, lines)
    assert len(result.placed) + len(result.refused) == len(set(lines))
    find_statements(newer, "a.py")
    find_args(newer)
    names_read_after_nested_loop(newer)


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
    names_read_after_nested_loop(newer)
