"""Which places are open in a round, which are asked for, and why some are not got."""

from __future__ import annotations

from flor_ray.planning import rounds
from flor_ray.planning.missing import Catalogue, Request
from flor_ray.planning.rounds import Whereabouts
from flor_ray.records import Experiment, Operator, Region, Segment, Status

EVERYWHERE = frozenset({1, 2, 3, None})


def experiment(version: str, status: Status = Status.FINISHED) -> Experiment:
    return Experiment("p", version, None, "train.py", "", 0.0, None, status, main_loop="epoch", epochs=3)


def catalogue(have: dict[tuple[str, str], frozenset[int | None]] | None = None) -> Catalogue:
    return Catalogue({v: experiment(v) for v in "abc"}, have or {}, {})


def test_a_version_that_was_not_looked_at_lacks_a_value_everywhere() -> None:
    assert rounds.lacking(["norm"], catalogue(), Whereabouts()) == {"norm": dict.fromkeys("abc", EVERYWHERE)}


def test_what_was_seen_of_a_version_says_where_it_lacks_a_value() -> None:
    regions = {("a", "norm"): Region.TAIL, ("b", "norm"): Region.PREFIX}
    seen = Whereabouts(regions, own=frozenset({("c", "norm")}))
    assert rounds.lacking(["norm"], catalogue(), seen) == {"norm": {"a": frozenset({1, 2, 3}), "b": frozenset({None})}}
    have = {("a", "norm"): frozenset[int | None]({2}), ("b", "norm"): frozenset[int | None]({None})}
    assert rounds.lacking(["norm"], catalogue(have), seen) == {"norm": {"a": frozenset({1, 3})}}


def test_where_an_earlier_replay_has_answered_all_nothing_is_looked_at_again() -> None:
    have = {
        ("a", "norm"): frozenset[int | None]({1, 2, 3}),
        ("b", "norm"): frozenset[int | None]({None}),
        ("c", "norm"): frozenset[int | None]({1}),
    }
    assert rounds.lacking(["norm"], catalogue(have), Whereabouts()) == {"norm": {"c": frozenset({2, 3, None})}}


def test_a_refused_or_running_version_lacks_its_values_until_they_are_given_up() -> None:
    seen = Whereabouts(refused={("a", "norm"): "there is no such variable"})
    running = Catalogue({"a": experiment("a"), "b": experiment("b", Status.RUNNING)}, {}, {})
    lacking = rounds.lacking(["norm"], running, seen)
    assert lacking == {"norm": dict.fromkeys("ab", EVERYWHERE)}
    assert rounds.minus(lacking, rounds.each({"norm": {"a": EVERYWHERE}})) == {"norm": {"b": EVERYWHERE}}
    assert rounds.minus(lacking, rounds.each(lacking)) == {}


def test_rows_want_the_places_of_their_epoch_and_those_outside_of_the_loop() -> None:
    places = {"norm": {"a": frozenset({1, 2, None}), "b": frozenset({3})}}
    rows = [("a", 2), ("a", 3), ("b", 1), ("c", 1)]
    assert rounds.wanted(places, "norm", rows) == {"a": frozenset({2, None})}
    assert rounds.wanted(places, "norm", [("b", 3), ("a", None)]) == {"a": frozenset({None}), "b": frozenset({3})}
    assert rounds.wanted(places, "other", rows) == {}


def test_names_that_are_wanted_at_the_same_places_are_one_request() -> None:
    same = {"a": frozenset[int | None]({1, 2}), "b": frozenset[int | None]({None})}
    places = {"norm": same, "f1": dict(reversed(same.items())), "size": {"a": frozenset[int | None]({None})}}
    assert rounds.requests(places) == [
        Request(("f1", "norm"), {"a": frozenset({1, 2}), "b": frozenset()}),
        Request(("size",), {"a": frozenset()}),
    ]


def test_what_several_requirements_want_is_wanted_once() -> None:
    one = {"norm": {"a": frozenset[int | None]({1})}}
    other = {"norm": {"a": frozenset[int | None]({2, None})}, "f1": {"b": frozenset[int | None]({1})}}
    found = rounds.merged([one, other])
    assert found == {"norm": {"a": frozenset({1, 2, None})}, "f1": {"b": frozenset({1})}}
    assert rounds.each(found) == {("norm", "a", 1), ("norm", "a", 2), ("norm", "a", None), ("f1", "b", 1)}


def test_why_a_place_was_not_answered_is_known_or_the_terms_left_no_room_for_it() -> None:
    refused, skipped = {("a", "norm"): "no such variable"}, {"b": "it is still running"}
    failures = [(Segment("c", 2, 3, Operator.DP_I, names=("norm",)), "killed")]
    why = [
        rounds.why_not("norm", v, e, refused, skipped, failures) for v, e in (("a", 1), ("b", None), ("c", 3), ("c", 1))
    ]
    assert why == ["no such variable", "it is still running", "killed", None]
    assert rounds.why_not("f1", "c", 3, refused, skipped, failures) is None
    assert rounds.why_not("norm", "c", None, refused, skipped, failures) == "killed"
