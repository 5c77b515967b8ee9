"""Which branches never run in the same case, by what they ask."""

from __future__ import annotations

import pytest

from flor_ray.propagation.reading.conditions import contradict, follows
from flor_ray.propagation.reading.parse import parse
from flor_ray.propagation.reading.tree import Node


def branch(source: str) -> Node:
    """The branch that holds a call of `here`."""
    tree = parse(source)
    call = next(node for node in tree.of_kind("call") if node.children[0].label == "here")
    kinds = ("if_statement", "elif_clause", "else_clause", "while_statement", "for_statement")
    return next(node for node in call.ancestors() if node.kind in kinds)


def asked(condition: str) -> str:
    return f"if {condition}:\n    here()\n"


OPPOSITES = [
    ("a", "not a"),
    ("a", "not (a)"),
    ("a.b[0]", "not a.b[0]"),
    ("f(a)", "not f(a)"),
    ("a is None", "a is not None"),
    ("a is None", "a"),
    ("a == True", "not a"),
    ("a != None", "not a"),
    ("a == b", "a != b"),
    ("a in b", "a not in b"),
    ("a in b", "not a in b"),
    ("a < b", "a > b"),
    ("a < b", "a >= b"),
    ("a <= b", "a > b"),
    ("a and b", "not a"),
    ("a and b", "not (a and b)"),
    ("a and not b", "a and b"),
    ("a and b > 3 and c", "b < 3"),
    ("not (a or b)", "b"),
]


@pytest.mark.parametrize(("left", "right"), OPPOSITES)
def test_a_condition_and_its_opposite_contradict(left: str, right: str) -> None:
    for newer, older in ((left, right), (right, left)):
        assert contradict(branch(asked(newer)), branch(asked(older)), {})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a", "a"),
        ("a", "b"),
        ("a", "not b"),
        ("a is None", "not a"),
        ("a < b", "a <= b"),
        ("a < b", "b > a"),
        ("a < b", "a > c"),
        ("0 < a < b", "0 > a > b"),
        ("a or b", "not a"),
        ("a and b", "a"),
        ("f(a)", "not f(b)"),
        ("step % 100 == 0", "step % 50 == 0"),
        ("step % 100 == 0", "step % 50 != 0"),
    ],
)
def test_conditions_that_may_both_hold_do_not(left: str, right: str) -> None:
    for newer, older in ((left, right), (right, left)):
        assert not contradict(branch(asked(newer)), branch(asked(older)), {})


def test_what_is_asked_before_does_not_hold_in_a_branch() -> None:
    first = branch(asked("a"))
    other = branch("if a:\n    pass\nelse:\n    here()\n")
    third = branch("if a:\n    pass\nelif b:\n    pass\nelif c:\n    here()\n")
    last = branch("if a:\n    pass\nelif b:\n    pass\nelse:\n    here()\n")
    for newer, older in ((first, other), (first, third), (first, last), (branch(asked("b")), third)):
        assert contradict(newer, older, {})
        assert contradict(older, newer, {})
    for newer, older in (
        (other, third),
        (other, last),
        (third, last),
        (branch(asked("not a")), other),
        (branch(asked("c")), third),
    ):
        assert not contradict(newer, older, {})


def test_a_loop_is_no_branch_and_neither_is_its_else() -> None:
    for source in ("while not a:\n    here()\n", "for a in b:\n    pass\nelse:\n    here()\n"):
        assert not contradict(branch(asked("a")), branch(source), {})


def test_variables_have_their_older_names_where_they_are_compared_but_a_flag_may_be_named_the_other_way() -> None:
    assert contradict(branch(asked("loss < best")), branch(asked("total > best")), {"loss": "total"})
    assert not contradict(branch(asked("loss < best")), branch(asked("total > best")), {})
    assert not contradict(branch(asked("not no_cuda")), branch(asked("cuda")), {"no_cuda": "cuda"})


def test_a_branch_follows_from_others_if_they_ask_for_all_that_it_does() -> None:
    last = branch("if a:\n    pass\nelse:\n    here()\n")
    assert follows(last, [branch(asked("not a"))])
    assert not follows(branch(asked("a and not b")), [branch(asked("b is None")), branch(asked("a"))])
    assert follows(branch(asked("a and not b")), [branch(asked("not b and a and c"))])
    assert follows(branch(asked("a")), [branch(asked("b")), branch(asked("a and c"))])
    assert not follows(branch(asked("a")), [branch(asked("a is not None"))])
    assert not follows(last, [branch(asked("a"))])
    assert not follows(branch("for a in b:\n    here()\n"), [last])
