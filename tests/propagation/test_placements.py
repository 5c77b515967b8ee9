"""What a placement says of itself: its line, its confidence, its renames; and what a refusal says."""

from __future__ import annotations

import pytest

from flor_ray import propagation
from flor_ray.propagation import propagate
from flor_ray.propagation.matching.mapping import Mapping, NotABijection
from flor_ray.propagation.reading.parse import parse
from flor_ray.records import Placement, Propagation, Refusal

NEWER = """\
import flor_ray as flor
from tools import net, data
for epoch in flor.loop("epoch", range(3)):
    for batch in flor.loop("step", data):
        loss = net(batch)
        flor.log("loss", loss.item())
        loss.backward()
"""
OLDER = """\
import flor_ray as flor
from tools import net, data
for epoch in flor.loop("epoch", range(3)):
    for batch in flor.loop("step", data):
        total_loss = net(batch)
        total_loss.backward()
"""


def test_the_public_names_are_these() -> None:
    assert propagation.__all__ == [
        "NOTEBOOK",
        "as_sources",
        "collecting_later",
        "find_args",
        "find_statements",
        "has_main_loop",
        "propagate",
        "propagate_tree",
        "propagate_tree_through",
    ]


def test_a_placement_tells_where_why_and_under_which_names() -> None:
    assert propagate(NEWER, OLDER, [6]).placed == (
        Placement(6, 6, 0.995, {"loss": "total_loss"}, "between lines 5 and 6 of the older version"),
    )


def test_a_present_statement_is_told_with_its_line() -> None:
    assert propagate(NEWER, NEWER, [6]) == Propagation(
        NEWER, (Placement(6, 6, 1.0, why="the older version has it there already", present=True),)
    )


def test_one_neighbour_gives_less_confidence_than_two() -> None:
    one_sided = OLDER.replace("        total_loss.backward()\n", "        train(total_loss)\n        finish()\n")
    both = propagate(NEWER, OLDER, [6]).placed[0].confidence
    one = propagate(NEWER, one_sided, [6]).placed[0].confidence
    assert one < both


def test_a_placement_below_the_least_confidence_is_refused_with_its_guess() -> None:
    assert propagate(NEWER, OLDER, [6], min_confidence=0.999) == Propagation(
        OLDER, refused=(Refusal(6, "the confidence of the best place (0.995) is below 0.999", 5, 0.995),)
    )


def test_a_line_in_the_middle_of_a_statement_means_the_statement() -> None:
    newer = NEWER.replace(
        'flor.log("loss", loss.item())', 'flor.log(\n            "loss",\n            loss.item(),\n        )'
    )
    expected = propagate(newer, OLDER, [6]).source
    assert [propagate(newer, OLDER, [line]).source for line in (7, 8, 9)] == [expected] * 3
    assert propagate(newer, OLDER, [8]).placed[0].placed_line == 6


def test_the_header_of_a_guard_means_the_logs_in_it() -> None:
    newer = NEWER.replace('        flor.log("loss"', '        if epoch:\n            flor.log("loss"')
    assert propagate(newer, OLDER, [6]).source == propagate(newer, OLDER, [7]).source
    assert "        if epoch:\n            flor.log(" in propagate(newer, OLDER, [6]).source
    assert [propagate(newer, OLDER, [line]).placed[0].placed_line for line in (6, 7)] == [7, 7]


def test_the_line_of_a_log_is_told_however_far_above_it_was_asked_for() -> None:
    older = "import flor_ray as flor\nfor epoch in flor.loop('epoch', range(3)):\n" + "    f()\n" * 9 + "    last()\n"
    newer = older + "    flor.log('x', epoch)\n"
    assert [(each.line, each.placed_line) for each in propagate(newer, older, [2]).placed] == [(2, 13)]


def test_one_refusal_does_not_stop_the_others() -> None:
    newer = NEWER.replace("        loss.backward()\n", '        loss.backward()\n        flor.log("x", missing)\n')
    result = propagate(newer, OLDER, [6, 8])
    assert [each.line for each in result.placed] == [6]
    assert result.refused == (Refusal(8, "it reads `missing`, which neither version defines", 6),)


def test_a_similar_statement_is_not_taken_for_the_log() -> None:
    older = OLDER.replace("        total_loss.backward()\n", '        flor.log("other", total_loss.item())\n')
    result = propagate(NEWER, older, [6])
    assert [each.present for each in result.placed] == [False]
    assert result.source.count("flor.log(") == 2


def test_twin_statements_that_alone_could_tell_the_place_do_not() -> None:
    newer = 'import flor\nfrom a import f, g\ndef h():\n    f()\n    flor.log("x", 1)\n'
    older = "import flor\nfrom a import f, g\ndef h():\n    f()\n    g()\n    f()\n"
    (refusal,) = propagate(newer, older, [5]).refused
    assert "two places are equally good" in refusal.reason


@pytest.mark.parametrize(("left", "right"), [("a in b", "a not in b"), ("a is b", "a is not b"), ("a < b", "a > b")])
def test_what_an_operator_says_is_part_of_a_tree(left: str, right: str) -> None:
    assert parse(left + "\n").root.fingerprint != parse(right + "\n").root.fingerprint


@pytest.mark.parametrize(("left", "right"), [("f(a, 1)", "f(b, 1)"), ("a.c[a]", "b.c[b]")])
def test_a_shape_is_blind_to_names_of_variables_only(left: str, right: str) -> None:
    trees = [
        parse(text + "\n").root for text in (left, right, right.replace("f", "h").replace("1", "2").replace("c", "d"))
    ]
    assert trees[0].shape == trees[1].shape
    assert trees[0].fingerprint != trees[1].fingerprint
    assert trees[2].shape != trees[0].shape


def test_a_statement_stays_out_of_the_way_of_what_must_come_first_in_a_module() -> None:
    newer = 'import flor_ray as flor\nx = 1\nflor.log("x", x)\n'
    older = '"""What it is."""\nfrom __future__ import annotations\nimport flor_ray as flor\n\nx = 1\n'
    result = propagate(newer, older, [3])
    assert result.source == older + 'flor.log("x", x)\n'


def test_a_mapping_refuses_to_link_a_node_twice() -> None:
    newer, older = parse("a\nb\n"), parse("a\nb\nc\n")
    mapping = Mapping(newer, older)
    mapping.link(newer.nodes[1], older.nodes[1])
    with pytest.raises(NotABijection):
        mapping.link(newer.nodes[1], older.nodes[3])
    with pytest.raises(NotABijection):
        mapping.link(newer.nodes[3], older.nodes[1])
    assert len(mapping) == 1


@pytest.mark.parametrize("terms", [100, 5_000])
def test_deep_expressions_end_in_an_answer(terms: int) -> None:
    older = OLDER + "y = " + " + ".join(["x"] * terms) + "\n"
    result = propagate(NEWER, older, [6])
    assert len(result.placed) + len(result.refused) == 1


def test_thousands_of_equal_blocks_end_in_an_answer_soon() -> None:
    newer = "import flor\n" + "if a:\n    b = 0\n" * 2_000 + 'flor.log("b", b)\n'
    older = "import flor\n" + "if a:\n    c = 0\n" * 1_900
    result = propagate(newer, older, [4_002])
    assert len(result.placed) + len(result.refused) == 1


def test_a_last_statement_far_from_what_it_follows_stays_last() -> None:
    newer = "import flor\n" + "total = 0\n" * 200 + 'flor.log("total", total)\n'
    older = "import flor\n" + "total = 0\n" * 190
    assert propagate(newer, older, [202]).source == older + 'flor.log("total", total)\n'


def test_a_parameter_is_made_by_who_calls_and_no_cause_of_doubt() -> None:
    older = (
        "import flor_ray as flor\nclass Net(Module):\n    def training_step(self, batch):\n        return batch.sum()\n"
    )
    newer = older.replace("        return", '        flor.log("size", len(batch))\n        return')
    (placement,) = propagate(newer, older, [4]).placed
    assert placement.why == "before line 4 of the older version"


def logged_behind(newer: str, older: str, log: str) -> Placement:
    """Where a log goes that stands at the end of a newer source."""
    newer += log + "\n"
    (placement,) = propagate(newer, older, [newer.count("\n")]).placed
    return placement


@pytest.mark.parametrize(
    ("newer", "older", "told"),
    [
        ("seconds = now() - begun", "elapsed = now() - begun", ""),
        ("seconds = now() - begun", "milliseconds = 1000 * (now() - begun)", "milliseconds"),
        ("loss_mean = losses.mean()", "loss_sum = losses.sum()", "loss_sum"),
        ("drop = 1 - keep", "dropped = keep", "dropped"),
        ("mean_loss = losses.mean()", "average_loss = losses.mean()", ""),
    ],
)
def test_who_gets_what_is_computed_otherwise_under_another_name_is_told(newer: str, older: str, told: str) -> None:
    newer, older = (f"import flor_ray as flor\nbegin()\n{each}\nshow({each.split()[0]})\n" for each in (newer, older))
    placement = logged_behind(newer, older, f'flor.log("x", {newer.splitlines()[2].split()[0]})')
    assert (placement.confidence < 0.9) is bool(told)
    assert placement.renames[newer.splitlines()[2].split()[0]] == older.splitlines()[2].split()[0]


def test_who_gets_what_the_older_version_alone_sets_anew_before_is_told() -> None:
    newer = "import flor_ray as flor\ntotal = 0\nfor batch in data:\n    total += loss(batch)\n"
    log = 'flor.log("mean", total / len(data))'
    assert logged_behind(newer, newer, log).confidence > 0.9
    older = newer + "    if full(batch):\n        show(total)\n        total = 0\n"
    assert logged_behind(newer, older, log).confidence < 0.9
    assert logged_behind(older, newer.replace("loss(batch)", "loss(net, batch)"), log).confidence > 0.9
    for anew in ("total = total / 2", "total = g(net)", "total.clear()", "total.reset()"):
        assert logged_behind(newer + "save(net)\n", f"{newer}{anew}\nsave(net)\n", log).confidence < 0.9
    other = older.replace("full(batch)", "len(batch)")
    assert logged_behind(other, older, log).confidence > 0.9


@pytest.mark.parametrize(
    ("gone", "refused"),
    [("out", True), ("x, out", True), ("(out, x)", True), ("out['x']", False), ("out.x", False), ("x[out]", False)],
)
def test_what_is_deleted_before_is_not_read_and_what_only_lacks_a_part_is(gone: str, refused: bool) -> None:
    newer = "import flor_ray as flor\nout, x = run()\nsave(net)\nflor.log('out', out)\ntell(net)\n"
    older = f"import flor_ray as flor\nout, x = run()\ndel {gone}\nsave(net)\ntell(net)\n"
    assert bool(propagate(newer, older, [4]).refused) is refused


def test_attributes_of_two_objects_may_have_one_name() -> None:
    older = (
        "class Run:\n    def go(self):\n        self.a.loss = fit(self.a)\n        show(self.a.loss)\n"
        "        self.b.loss = check(self.b)\n        show(self.b.loss)\n"
    )
    newer = "import flor_ray as flor\n" + older.replace("a.loss", "a.train_loss").replace("b.loss", "b.test_loss")
    log = '        flor.log("gap", self.b.test_loss - self.a.train_loss)'
    assert logged_behind(newer, "import flor_ray as flor\n" + older, log).placed_line == 8
    source = propagate(f"{newer}{log}\n", "import flor_ray as flor\n" + older, [8]).source
    assert source.endswith('flor.log("gap", self.b.loss - self.a.loss)\n')


def test_a_variable_of_another_name_from_another_module_is_told() -> None:
    older = "import flor_ray as flor\nfrom helpers import get_accuracy\nx = get_accuracy(net)\n"
    newer = older.replace("helpers", "tools").replace("get_accuracy", "accuracy")
    assert logged_behind(newer, older, 'flor.log("x", accuracy(net))').confidence < 0.9
    newer = newer.replace("tools", "helpers")
    assert logged_behind(newer, older, 'flor.log("x", accuracy(net))').confidence > 0.9


def test_what_is_set_in_a_loop_in_one_version_and_before_it_in_the_other_is_told() -> None:
    loop = "for epoch in epochs:\n{}    for batch in data:\n        step(batch)\n        seen += len(batch)\n"
    inside, before = "import flor_ray as flor\n" + loop, "import flor_ray as flor\nseen = 0\n" + loop
    inside, before = inside.format("    seen = 0\n"), before.format("")
    log = '    flor.log("seen", seen)'
    assert logged_behind(inside, before, log).confidence < 0.9
    assert logged_behind(before, inside, log).confidence < 0.9
    assert logged_behind(inside, inside, log).confidence > 0.9
    assert logged_behind(before, before, log).confidence > 0.9


def test_what_only_the_newer_version_does_in_some_cases_is_told_to_run_more_often() -> None:
    older = "import flor_ray as flor\nfor epoch in data:\n    train(net)\n    save(net)\n    tell(net)\n"
    for around, told in (
        ("if epoch % 10 == 0:", True),
        ("try:\n        check()\n    except OSError:", True),
        ("with lock:", False),
    ):
        newer = older.replace("    save(net)\n    tell(net)\n", f"    {around}\n        save(net)\n        tell(net)\n")
        newer = newer.replace("        tell", '        flor.log("epoch", epoch)\n        tell')
        (placement,) = propagate(newer, older, [newer[: newer.index("flor.log")].count("\n") + 1]).placed
        assert (placement.confidence < 0.9) is told


@pytest.mark.parametrize(
    ("older", "expected"),
    [
        (
            "def f(x):\n    x = g(x); h(x)\n    return x\n",
            "def f(x):\n    x = g(x); h(x)\n    flor.log('x', x)\n    return x\n",
        ),
        ("def f(x):\n    x = g(x)\n    h(x); k(x); \n    return x\n", None),
        ("def f(x):\n    x = g(x)\n    h(x); return x\n", None),
        ("def f(x): x = g(x); h(x)\n", None),
        ("def f(x):\n    x = g((x,\n        1)); h(x)\n    return x\n", None),
    ],
    ids=["last of its line", "others between", "within a line", "on the header's line", "on a line that another began"],
)
def test_behind_a_line_of_several_statements_is_a_place_and_within_it_is_none(older: str, expected: str | None) -> None:
    newer = "def f(x):\n    x = g(x); h(x)\n    flor.log('x', x)\n    return x\n"
    found = propagate("import flor_ray as flor\n" + newer, "import flor_ray as flor\n" + older, [4])
    text = found.source.removeprefix("import flor_ray as flor\n")
    compile(text, "older", "exec")
    if expected is not None:
        assert text == expected
    elif found.placed:  # wherever it is put, no statement of the version is taken apart or goes elsewhere
        assert [line for line in text.splitlines() if "flor.log" not in line] == older.splitlines()
    else:
        assert text == older


def test_what_binds_a_variable_is_looked_up_as_it_is_matched_though_calls_to_us_stand_within_statements() -> None:
    # A log within a statement makes the written tree larger than the one that is matched, which lacks these calls.
    logged = "".join(f"note({key}, flor.log('{key}', {key}))\n" for key in "abcdefgh")
    newer = f"import flor\n{logged}x = make(1)\nuse(x)\nx = make(2)\nuse(x)\nflor.log('x', x)\nend(x)\n"
    plain = "".join(f"note({key}, {key})\n" for key in "abcdefgh")
    older = f"import flor\n{plain}first = make(1)\nuse(first)\nsecond = make(2)\nuse(second)\nend(second)\n"
    (placement,) = propagate(newer, older, [14]).placed
    assert placement.renames == {"x": "second"}
