"""Which wanted values are missing, for every region and every kind of record."""

from __future__ import annotations

from collections.abc import Mapping

from flor_ray.planning.missing import Catalogue, Request, Skipped, gaps, skipped
from flor_ray.records import Experiment, Gap, Region, Status


def experiment(version: str, epochs: int = 4, started: float = 0.0, status: Status = Status.FINISHED) -> Experiment:
    return Experiment(
        "p", version, None, "train.py", "", started, None, status, main_loop="epoch", nested_loop="step", epochs=epochs
    )


def catalogue(
    *experiments: Experiment,
    regions: Mapping[str, Region],
    have: Mapping[tuple[str, str], frozenset[int | None]] | None = None,
) -> Catalogue:
    """Every version has the same statements."""
    return Catalogue(
        {e.version: e for e in experiments},
        have or {},
        {(e.version, name): region for e in experiments for name, region in regions.items()},
    )


def test_a_name_of_the_loop_lacks_the_epochs_without_a_value() -> None:
    known = catalogue(experiment("v"), regions={"acc": Region.TAIL}, have={("v", "acc"): frozenset({2, 3})})
    assert gaps(Request(("acc",)), known) == (Gap("v", ("acc",), (1, 4)),)


def test_a_name_outside_the_loop_lacks_nothing_once_it_has_a_value_there() -> None:
    regions = {"size": Region.PREFIX, "final": Region.SUFFIX}
    known = catalogue(experiment("v"), regions=regions, have={("v", "size"): frozenset({None})})
    assert gaps(Request(("size", "final")), known) == (Gap("v", ("final",), (), data_prep=True),)


def test_a_picked_version_wants_its_values_outside_the_loop_whichever_epochs_were_picked() -> None:
    known = catalogue(experiment("v"), regions={"size": Region.PREFIX, "acc": Region.HEAD})
    request = Request(("size", "acc"), {"v": frozenset({3, 9})})
    assert gaps(request, known) == (Gap("v", ("size",), (), data_prep=True), Gap("v", ("acc",), (3,)))


def test_none_picks_all_epochs_and_versions_that_are_not_picked_have_no_gap() -> None:
    known = catalogue(experiment("v", epochs=2), experiment("w"), regions={"acc": Region.INNER})
    assert gaps(Request(("acc",), {"v": None}), known) == (Gap("v", ("acc",), (1, 2)),)


def test_versions_come_in_the_order_in_which_they_started_and_names_as_requested() -> None:
    known = catalogue(
        experiment("b", epochs=1, started=1.0),
        experiment("c", epochs=1, started=0.0),
        experiment("a", epochs=1, started=1.0),
        regions={"loss": Region.INNER, "acc": Region.TAIL},
    )
    found = gaps(Request(("loss", "acc", "loss")), known)
    assert found == tuple(Gap(version, ("loss", "acc"), (1,)) for version in ("c", "a", "b"))


def test_names_that_lack_different_epochs_are_different_gaps() -> None:
    regions = {"loss": Region.INNER, "acc": Region.TAIL, "f1": Region.TAIL}
    known = catalogue(experiment("v", epochs=2), regions=regions, have={("v", "acc"): frozenset({1})})
    assert gaps(Request(("loss", "acc", "f1")), known) == (Gap("v", ("loss", "f1"), (1, 2)), Gap("v", ("acc",), (2,)))


def test_a_name_that_may_be_anywhere_and_has_no_value_lacks_everything() -> None:
    known = catalogue(experiment("v", epochs=2), regions={"norm": Region.WHOLE})
    assert gaps(Request(("norm",)), known) == (Gap("v", ("norm",), (1, 2), data_prep=True),)


def test_a_name_that_may_be_anywhere_and_was_seen_in_all_epochs_lacks_nothing() -> None:
    have: dict[tuple[str, str], frozenset[int | None]] = {("v", "norm"): frozenset({1, 2})}
    known = catalogue(experiment("v", epochs=2), regions={"norm": Region.WHOLE}, have=have)
    assert gaps(Request(("norm",)), known) == ()


def test_a_name_that_may_be_anywhere_and_was_seen_outside_the_loop_only_lacks_no_epochs() -> None:
    known = catalogue(experiment("v"), regions={"norm": Region.WHOLE}, have={("v", "norm"): frozenset({None})})
    assert gaps(Request(("norm",)), known) == ()


def test_a_name_that_may_be_anywhere_and_was_seen_in_some_epochs_lacks_the_others() -> None:
    known = catalogue(experiment("v"), regions={"norm": Region.WHOLE}, have={("v", "norm"): frozenset({1, 3})})
    assert gaps(Request(("norm",)), known) == (Gap("v", ("norm",), (2, 4), data_prep=True),)


def test_a_version_without_the_statement_has_no_gap() -> None:
    known = Catalogue({"v": experiment("v")}, {}, {})
    assert gaps(Request(("acc",)), known) == ()
    assert skipped(Request(("acc",)), known) == ()


def test_an_epoch_that_a_crash_cut_short_is_wanted_too() -> None:
    known = catalogue(experiment("v", epochs=2, status=Status.CRASHED), regions={"acc": Region.TAIL})
    assert gaps(Request(("acc",)), known) == (Gap("v", ("acc",), (1, 2)),)


def test_a_running_version_is_skipped_with_the_reason_instead_of_replayed() -> None:
    known = catalogue(experiment("v", epochs=0, status=Status.RUNNING), regions={"acc": Region.TAIL})
    assert gaps(Request(("acc",)), known) == ()
    assert skipped(Request(("acc",)), known) == (
        Skipped("v", "it is still running; ask for `acc` again when it has ended"),
    )


def test_a_running_version_that_lacks_nothing_is_not_mentioned() -> None:
    running = experiment("v", epochs=1, status=Status.RUNNING)
    known = catalogue(running, regions={"acc": Region.TAIL}, have={("v", "acc"): frozenset({1})})
    assert skipped(Request(("acc",)), known) == ()


def test_a_picked_version_that_is_not_recorded_is_skipped_with_the_reason() -> None:
    known = catalogue(experiment("v"), regions={"acc": Region.TAIL})
    request = Request(("acc",), {"gone": None})
    assert gaps(request, known) == ()
    assert skipped(request, known) == (Skipped("gone", "no run of this version is recorded"),)


def test_after_a_replay_answered_every_gap_nothing_is_asked_again() -> None:
    regions = {"a": Region.PREFIX, "b": Region.HEAD, "c": Region.INNER, "d": Region.SUFFIX, "e": Region.WHOLE}
    before = catalogue(experiment("v"), regions=regions)
    have: dict[tuple[str, str], frozenset[int | None]] = {}
    for gap in gaps(Request(tuple(regions)), before):
        for name in gap.names:
            have["v", name] = frozenset({*gap.epochs, *((None,) if gap.data_prep else ())})
    assert gaps(Request(tuple(regions)), catalogue(experiment("v"), regions=regions, have=have)) == ()
