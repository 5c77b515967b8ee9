"""What the versions between are worth: agreement, disagreement, and walks that see what the direct way cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.propagation import propagate, propagate_tree, propagate_tree_through
from flor_ray.propagation.histories.files import PropagatePair
from flor_ray.propagation.matching.thresholds import MIN_CONFIDENCE
from flor_ray.records import Placement, Propagation, Refusal, TreePropagation, TreeRefusal
from tests.propagation.forgetting import forget

BARE = """\
import flor_ray as flor
from lib import build, batches, criterion

model, optimizer = build()
for epoch in flor.loop("epoch", range(10)):
    for inputs, targets in flor.loop("step", batches()):
        optimizer.zero_grad(set_to_none=True)
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
"""
LOGGED = BARE.replace("        loss.backward()\n", '        flor.log("loss", loss.item())\n        loss.backward()\n')
LOSS = 10
RENAMED = BARE.replace("loss", "objective").replace("outputs", "logits").replace("(set_to_none=True)", "()")
INLINED = RENAMED.replace("        logits = model(inputs)\n", "").replace("criterion(logits", "criterion(model(inputs)")


def through(
    lineage: Sequence[str],
    lines: Sequence[int],
    *,
    min_confidence: float = MIN_CONFIDENCE,
    propagate_pair: PropagatePair | None = None,
) -> Propagation:
    """`propagate_tree_through` for trees of one file, as if it were `propagate`."""
    result = propagate_tree_through(
        [{"source.py": source} for source in lineage],
        {"source.py": lines},
        min_confidence=min_confidence,
        propagate_pair=propagate_pair,
    )
    source = result.sources.get("source.py", lineage[-1] if lineage else "")
    return Propagation(source, tuple(p.placement for p in result.placed), tuple(r.refusal for r in result.refused))


class Scripted:
    """Stands in for `propagate`: places a line of the older source after the line that is said for it, or refuses.

    Answers are (after, confidence), keyed by what the first lines of both sources say; "*" is any newer source.
    """

    def __init__(self, answers: Mapping[tuple[str, str], tuple[int, float] | None], more: int = 0) -> None:
        self.answers, self.more = answers, more
        self.asked: list[tuple[str, str]] = []

    def __call__(self, newer: str, older: str, lines: tuple[int, ...]) -> Propagation:
        pair = newer.split("\n")[0], older.split("\n")[0]
        self.asked.append(pair)
        found = self.answers.get(pair, self.answers.get(("*", pair[1])))
        if found is None:
            return Propagation(older, refused=tuple(Refusal(line, "nowhere") for line in lines))
        after, confidence = found
        kept = older.splitlines(keepends=True)
        more = ["y = 1\n"] * (self.more if pair[1] == "# v1" else 0)
        source = "".join([*kept[:after], *more, "log(x)\n", *kept[after:]])
        return Propagation(source, (Placement(lines[0], after + 1 + len(more), confidence, why="so"),))


def version(number: int, text: str = "a = 1\nx = 2\nc = 3\n") -> str:
    return f"# v{number}\n{text}"


NEWEST = "# v3\nlog(x)\na = 1\n"
THREE = [NEWEST, version(2), version(1)]


# --- both ways place it ---------------------------------------------------------------------------------------------


def test_agreement_gives_more_confidence_than_the_direct_way() -> None:
    other = BARE.replace("range(10)", "range(20)")
    result = through([LOGGED, BARE, other], [LOSS])
    direct = propagate(LOGGED, other, [LOSS])
    assert result.source == direct.source
    assert result.placed[0].confidence > direct.placed[0].confidence
    assert result.placed[0].why == "between lines 9 and 10 of the older version, as version by version too"


def test_agreement_takes_away_a_part_of_the_doubt() -> None:
    pair = Scripted({("*", "# v2"): (2, 0.9), ("*", "# v1"): (2, 0.7)})
    result = through(THREE, [2], propagate_pair=pair)
    assert result.placed == (Placement(2, 3, 0.79, why="so, as version by version too"),)
    assert pair.asked == [("# v3", "# v1"), ("# v3", "# v2"), ("# v2", "# v1")]


def test_disagreement_is_a_refusal_that_names_both_places() -> None:
    pair = Scripted({("*", "# v2"): (2, 0.9), ("# v3", "# v1"): (2, 0.95), ("# v2", "# v1"): (3, 0.95)})
    reason = "directly it belongs after line 2 of the older version, but version by version after line 3"
    assert through(THREE, [2], propagate_pair=pair) == Propagation(THREE[-1], refused=(Refusal(2, reason, 2, 0.475),))


def test_who_accepts_doubt_gets_the_direct_place_of_two() -> None:
    pair = Scripted({("*", "# v2"): (2, 0.9), ("# v3", "# v1"): (2, 0.95), ("# v2", "# v1"): (3, 0.95)})
    result = through(THREE, [2], min_confidence=0.4, propagate_pair=pair)
    assert [(each.placed_line, each.confidence) for each in result.placed] == [(3, 0.475)]


def test_a_place_that_makes_no_difference_is_no_disagreement() -> None:
    pair = Scripted({("*", "# v2"): (2, 0.9), ("# v3", "# v1"): (2, 0.95), ("# v2", "# v1"): (3, 0.95)})
    for text, confidences in (("a = 1\nb = 2\n", [0.95]), ("a = 1\nx += 2\n", []), ("a = 1\noptimizer.step()\n", [])):
        result = through([NEWEST, version(2), version(1, text)], [2], propagate_pair=pair)
        assert [each.confidence for each in result.placed] == confidences


def test_either_side_of_what_was_put_there_before_is_one_place() -> None:
    pair = Scripted({("*", "# v2"): (2, 0.9), ("# v3", "# v1"): (3, 0.95), ("# v2", "# v1"): (2, 0.95)})
    trees = [{"a.py": NEWEST}, {"a.py": version(2)}, {"a.py": version(1, "a = 1\nlog(x, 2)\nx = 2\nc = 3\n")}]
    lines = {"a.py": [2]}
    (refused,) = propagate_tree_through(trees, lines, propagate_pair=pair).refused
    assert "after line 3 of the older version, but version by version after line 2" in refused.refusal.reason
    own = {"a.py": version(1)}
    (placed,) = propagate_tree_through(trees, lines, own=own, propagate_pair=pair).placed
    assert placed.placement == Placement(2, 4, 0.965, why="so, as version by version too")


def test_another_text_at_the_same_place_is_a_disagreement() -> None:
    def other_name(newer: str, older: str, lines: tuple[int, ...]) -> Propagation:
        name = "x" if newer == NEWEST else "y"
        return Propagation(f"{older}log({name})\n", (Placement(lines[0], older.count("\n") + 1, 0.95),))

    (refusal,) = through(THREE, [2], propagate_pair=other_name).refused
    assert refusal.reason.endswith("but version by version it becomes `log(y)`")


def test_agreement_lifts_a_placement_above_a_high_threshold() -> None:
    pair = Scripted({("*", "# v2"): (2, 0.9), ("*", "# v1"): (2, 0.9)})
    assert through(THREE, [2], min_confidence=0.92, propagate_pair=pair).placed[0].confidence == 0.93
    refused = through(THREE, [2], min_confidence=0.94, propagate_pair=pair).refused
    assert refused == (Refusal(2, "the confidence of the best place (0.93) is below 0.94", 2, 0.93),)


# --- one of them does not -------------------------------------------------------------------------------------------


def test_a_walk_that_is_refused_on_its_way_changes_nothing() -> None:
    pair = Scripted({("# v3", "# v1"): (2, 0.8)})
    result = through(THREE, [2], propagate_pair=pair)
    assert result == pair("# v3", THREE[-1], (2,))


def test_a_walk_of_sure_steps_is_believed_where_the_direct_way_is_refused() -> None:
    pair = Scripted({("*", "# v2"): (2, 0.95), ("# v2", "# v1"): (3, 0.9), ("# v3", "# v1"): None})
    result = through(THREE, [2], propagate_pair=pair)
    assert result.placed == (Placement(2, 4, 0.84, why="version by version: so"),)
    assert result.source == "# v1\na = 1\nx = 2\nlog(x)\nc = 3\n"


def test_a_walk_with_an_unsure_step_is_not_believed() -> None:
    pair = Scripted({("*", "# v2"): (2, 0.8), ("# v2", "# v1"): (3, 0.95), ("# v3", "# v1"): None})
    assert through(THREE, [2], propagate_pair=pair) == Propagation(THREE[-1], refused=(Refusal(2, "nowhere"),))


def test_a_walk_on_which_ever_more_comes_along_is_not_believed() -> None:
    answers = {("*", "# v2"): (2, 0.95), ("# v2", "# v1"): (3, 0.95), ("# v3", "# v1"): None}
    assert through(THREE, [2], propagate_pair=Scripted(answers, more=1)).placed == ()


def test_two_refactorings_in_a_row_are_seen_one_by_one() -> None:
    expected = INLINED.replace(
        "        objective.backward()\n", '        flor.log("loss", objective.item())\n        objective.backward()\n'
    )
    result = through([LOGGED, BARE, RENAMED, INLINED], [LOSS])
    assert result.source == expected
    assert [each.placed_line for each in result.placed] == [9]


def test_a_believed_walk_moves_the_lines_that_were_placed_before() -> None:
    logged = LOGGED + '    flor.log("last", epoch)\n'
    result = through([logged, BARE, RENAMED, INLINED], [LOSS, 13])
    assert {each.line for each in result.placed} == {LOSS, 13}
    for each in result.placed:
        expected = {LOSS: 'flor.log("loss", objective.item())', 13: 'flor.log("last", epoch)'}[each.line]
        assert result.source.splitlines()[each.placed_line - 1].strip() == expected


# --- which versions are asked ---------------------------------------------------------------------------------------


def test_versions_that_repeat_the_one_before_are_not_asked() -> None:
    pair = Scripted({("*", f"# v{number}"): (2, 0.9) for number in (1, 2)})
    through([NEWEST, NEWEST, version(2), version(2), version(1), version(1)], [2], propagate_pair=pair)
    assert pair.asked == [("# v3", "# v1"), ("# v3", "# v2"), ("# v2", "# v1")]


def test_versions_that_are_not_python_are_not_asked() -> None:
    pair = Scripted({("*", f"# v{number}"): (2, 0.9) for number in (1, 2)})
    through([NEWEST, version(7, "<<<<<<< HEAD\n"), version(2), version(1)], [2], propagate_pair=pair)
    assert pair.asked == [("# v3", "# v1"), ("# v3", "# v2"), ("# v2", "# v1")]


def test_a_long_lineage_costs_what_eight_versions_between_cost() -> None:
    for length in (3, 9, 10, 11, 40, 300):
        lineage = [NEWEST, *(version(1000 + number) for number in range(length))]
        pair = Scripted({("*", text.split("\n")[0]): (2, 0.95) for text in lineage})
        through(lineage, [2], propagate_pair=pair)
        assert min(length, 5) <= len(pair.asked) <= 10


def test_walks_to_neighbouring_targets_share_their_steps() -> None:
    lineage = [NEWEST, *(version(1000 + number) for number in range(100))]
    answers: dict[tuple[str, str], tuple[int, float] | None]
    answers = {("*", text.split("\n")[0]): (2, 0.95) for text in lineage}
    first, second = Scripted(answers), Scripted(answers)
    through(lineage[:80], [2], propagate_pair=first)
    through(lineage[:81], [2], propagate_pair=second)
    assert len(set(second.asked) - set(first.asked)) == 2  # the direct way and the last step


@pytest.mark.parametrize("lineage", [[LOGGED], [LOGGED, LOGGED], [LOGGED, LOGGED, LOGGED]])
def test_a_version_has_its_own_statements_already(lineage: list[str]) -> None:
    assert through(lineage, [LOSS]) == propagate(LOGGED, LOGGED, [LOSS])


def test_two_versions_have_nothing_between_them() -> None:
    assert through([LOGGED, BARE], [LOSS]) == propagate(LOGGED, BARE, [LOSS])
    newer, older = {"fit.py": LOGGED}, {"train.py": BARE}
    by_trees = propagate_tree_through([newer, older], {"fit.py": [LOSS]})
    assert by_trees == propagate_tree(newer, older, {"fit.py": [LOSS]})


def test_an_empty_lineage_refuses_everything() -> None:
    assert through([], [3, 1, 3]).refused == (
        Refusal(1, "there is no older version"),
        Refusal(3, "there is no older version"),
    )
    assert propagate_tree_through([], {"a.py": [1]}).refused == (
        TreeRefusal("a.py", Refusal(1, "there is no older version")),
    )
    assert propagate_tree_through([{}], {}) == TreePropagation()


# --- trees ----------------------------------------------------------------------------------------------------------

HELP = (
    "def norm(values):\n    total = 0.0\n    for value in values:\n        total += value * value\n    return total\n"
)


def test_a_renamed_file_that_the_versions_between_confirm_is_trusted_more() -> None:
    other = BARE.replace("range(10)", "range(20)")
    lineage = [{"fit.py": LOGGED}, {"fit.py": BARE}, {"train.py": BARE}, {"train.py": other}]
    direct = propagate_tree(lineage[0], lineage[-1], {"fit.py": [LOSS]})
    compared = propagate_tree_through(lineage, {"fit.py": [LOSS]})
    assert compared.sources == direct.sources == {"train.py": LOGGED.replace("range(10)", "range(20)")}
    assert compared.placed[0].placement.confidence > direct.placed[0].placement.confidence


def test_a_fork_of_a_file_that_was_deleted_later_is_not_that_file_renamed() -> None:
    lineage = [{"fork.py": LOGGED}, {"fork.py": BARE, "train.py": BARE}, {"train.py": BARE}]
    assert propagate_tree(lineage[0], lineage[-1], {"fork.py": [LOSS]}).placed
    (refusal,) = propagate_tree_through(lineage, {"fork.py": [LOSS]}).refused
    assert refusal.older_path == "train.py"
    assert refusal.refusal.reason.endswith("but version by version nothing leads to that file")


def test_a_script_keeps_being_the_script_under_all_its_names() -> None:
    other = HELP + RENAMED
    lineage = [{"a.py": LOGGED}, {"b.py": BARE, "c.py": BARE}, {"c.py": RENAMED, "d.py": RENAMED}, {"e.py": other}]
    result = propagate_tree_through(lineage, {"a.py": [LOSS]}, scripts=["a.py", "b.py", "d.py", "e.py"])
    (placed,) = result.placed
    assert (placed.older_path, placed.placement.confidence) == ("e.py", 0.996)


def test_statements_of_several_files_are_compared_one_by_one() -> None:
    logged = HELP.replace("    return", '    flor.log("total", total)\n    return')
    logged = "import flor_ray as flor\n" + logged
    lineage = [
        {"train.py": LOGGED, "help.py": logged},
        {"train.py": RENAMED, "help.py": HELP},
        {"train.py": INLINED, "help.py": HELP.replace("value * value", "value**2")},
    ]
    result = propagate_tree_through(lineage, {"train.py": [LOSS], "help.py": [6]})
    assert sorted(result.sources) == ["help.py", "train.py"]
    assert result.refused == ()
    forget()
    again = propagate_tree_through(lineage, {"train.py": [LOSS], "help.py": [6]})
    assert again == result


# --- whatever is given ----------------------------------------------------------------------------------------------

PARTS = st.sampled_from([LOGGED, BARE, RENAMED, INLINED, HELP, "x = 1\n", "def f(:\n", "\udce9", "", "a\rb\n"])
SOURCES = st.lists(PARTS, max_size=2).map("".join)


@given(st.lists(SOURCES, min_size=1, max_size=5), st.lists(st.integers(-1, 25), max_size=3))
@settings(max_examples=30, deadline=None)
def test_every_line_is_answered_once_and_nothing_but_lines_is_inserted(lineage: list[str], lines: list[int]) -> None:
    result = through(lineage, lines)
    assert sorted([*(p.line for p in result.placed), *(r.line for r in result.refused)]) == sorted(set(lines))
    rest = iter(result.source.splitlines())
    assert all(any(line == other for other in rest) for line in lineage[-1].splitlines())
    forget()
    assert through(lineage, lines) == result
