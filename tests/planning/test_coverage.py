"""How much of each feature is there."""

from __future__ import annotations

from flor_ray.patching.virtual_columns import VirtualColumn
from flor_ray.planning.coverage import Covered, Stored, coverage
from flor_ray.planning.missing import Catalogue
from flor_ray.records import Experiment, Level, Status

EXPERIMENTS = {
    v: Experiment("p", v, None, "train.py", "", 0.0, None, Status.FINISHED, main_loop="epoch", epochs=4) for v in "abc"
}
OUTER, PREP = frozenset({Level.OUTER}), frozenset({Level.DATA_PREP})


def test_a_column_without_a_value_is_there_and_covers_nothing() -> None:
    columns = {"norm": VirtualColumn("norm", OUTER, ("train.py:9",), "the working tree")}
    assert coverage({}, columns, Catalogue(EXPERIMENTS, {}, {}), ()) == [
        Covered("norm", (), (Level.OUTER,), True, 0, 0, 12, ("train.py:9",), "the working tree")
    ]


def test_what_was_replayed_or_is_logged_by_a_versions_own_code_is_covered() -> None:
    columns = {"norm": VirtualColumn("norm", OUTER, ("train.py:9",), "the working tree")}
    stored = {"norm": Stored({Level.OUTER}, {"float"}, recorded={"c"}, replayed={"a"})}
    have = {("a", "norm"): frozenset[int | None]({2, 3})}
    (found,) = coverage(stored, columns, Catalogue(EXPERIMENTS, have, {}), ())
    assert (found.is_hindsight, found.versions, found.answered, found.places) == (False, 2, 6, 12)
    assert found.coverage == 0.5
    (found,) = coverage(stored, columns, Catalogue(EXPERIMENTS, have, {}), {("b", "norm")})
    assert (found.answered, found.versions) == (10, 2)


def test_a_feature_outside_of_the_loop_has_one_place_in_each_version() -> None:
    columns = {"size": VirtualColumn("size", PREP, ("train.py:2",), "the working tree")}
    have = {("a", "size"): frozenset[int | None]({None})}
    (found,) = coverage(
        {"size": Stored(set(PREP), {"int"}, replayed={"a"})}, columns, Catalogue(EXPERIMENTS, have, {}), ()
    )
    assert (found.answered, found.places, found.is_hindsight) == (1, 3, True)


def test_what_no_source_logs_any_more_cannot_be_acquired_and_lacks_nothing() -> None:
    (found,) = coverage({"old": Stored({Level.INNER}, {"float"}, {"a"})}, {}, Catalogue(EXPERIMENTS, {}, {}), ())
    assert (found.coverage, found.versions, found.logged_at) == (1.0, 1, ())
