"""What gc keeps, drops and deletes, as values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.errors import UsageError
from flor_ray.records import Checkpoint, Point
from flor_ray.store import retention
from flor_ray.store.retention import RULES, Place, Rule, StoredVersion, Sweep, choose, parse_rule
from flor_ray.wording import parse_seconds

END, EXIT = Point.EPOCH_END, Point.NESTED_EXIT
DAY = 86400.0


@dataclass(frozen=True)
class Info:
    bytes: int
    modified: float = 0.0


def checkpoint(
    version: str, epoch: int, point: Point = END, key: str = "", uncaptured: Iterable[str] = ()
) -> Checkpoint:
    key = key or f"{version}-{epoch}-{point}"
    return Checkpoint(version, "t.py", 1, epoch, point, key, 100, 0.1, uncaptured=frozenset(uncaptured))


def version(
    name: str, places: Iterable[Place], started: float = 0.0, run: str | None = "", live: bool = False
) -> StoredVersion:
    checkpoints = tuple(checkpoint(name, *place) for place in places)
    needs = {c.key: (f"{c.key}-tensor", "shared") for c in checkpoints}
    return StoredVersion("p", name, run, started, 0, live, checkpoints, needs, frozenset({f"{name}-log"}))


def both(*epochs: int) -> list[Place]:
    return [(epoch, point) for epoch in epochs for point in (EXIT, END)]


def kept(versions: Sequence[StoredVersion], *words: str, now: float = 100 * DAY) -> dict[str, list[int]]:
    """Epochs that keep their end, by version."""
    dropped = choose(versions, [parse_rule(word) for word in words], now)
    return {
        v.version: [
            c.epoch for c in v.checkpoints if c.point is END and (c.epoch, END) not in dropped.get(v.version, ())
        ]
        for v in versions
    }


RUN = version("a", [(0, END), *both(*range(1, 11))])


@pytest.mark.parametrize(
    ("words", "epochs"),
    [
        ([], [*range(11)]),
        (["last"], [0, 10]),
        (["every:4"], [0, 4, 8, 10]),
        (["every:4", "every:5"], [0, 4, 5, 8, 10]),
        (["every:4", "last"], [0, 4, 8, 10]),
        (["newest:1", "last"], [*range(11)]),
    ],
)
def test_a_checkpoint_stays_if_any_rule_keeps_it(words: list[str], epochs: list[int]) -> None:
    assert kept([RUN], *words) == {"a": epochs}


def test_spaced_checkpoints_are_thinned_by_distance_not_by_number() -> None:
    """The recorder has left epochs out, and a replay cannot start after epoch 9."""
    states = [checkpoint("a", e, uncaptured=["graph"] if e == 9 else []) for e in (0, 3, 7, 9, 11, 13, 19)]
    sparse = StoredVersion("p", "a", "", checkpoints=tuple(states))
    assert kept([sparse], "every:5") == {"a": [0, 7, 13, 19]}
    assert kept([sparse], "every:8") == {"a": [0, 11, 19]}
    assert kept([sparse], "every:100") == {"a": [0, 19]}


def test_the_last_epoch_keeps_its_nested_exit_and_others_lose_theirs_with_their_end() -> None:
    dropped = choose([RUN], [parse_rule("every:4")], 0.0)["a"]
    assert dropped == frozenset(both(1, 2, 3, 5, 6, 7, 9))


def test_rules_about_versions_keep_or_thin_them_whole() -> None:
    old = version("aa1", [(e, END) for e in range(5)], started=1 * DAY, run="baseline")
    middle = version("ab2", [(e, END) for e in range(5)], started=60 * DAY, run="paper_lr")
    new = version("cc3", [(e, END) for e in range(5)], started=99 * DAY)
    everything, ends = [0, 1, 2, 3, 4], [0, 4]

    def result(*words: str) -> list[list[int]]:
        return list(kept([old, middle, new], *words).values())

    assert result("newest:1") == [ends, ends, everything]
    assert result("newest:2") == [ends, everything, everything]
    assert result("within:30d") == [ends, ends, everything]
    assert result("within:7w") == [ends, everything, everything]
    assert result("run:paper*") == [ends, everything, ends]
    assert result("run:paper*", "newest:1") == [ends, everything, everything]
    assert result("run:Paper*") == [ends, ends, ends]
    assert result("version:a") == [everything, everything, ends]
    assert result("version:ab", "every:2") == [[0, 2, 4], everything, [0, 2, 4]]


def test_live_versions_and_those_without_a_row_in_e_lose_nothing() -> None:
    places = [(e, END) for e in range(5)]
    live, unknown = version("a", places, live=True), version("b", places, run=None)
    assert choose([live, unknown], [parse_rule("last")], 0.0) == {}


def test_the_last_complete_checkpoint_stays_beside_the_last_one() -> None:
    states = [checkpoint("a", e, uncaptured=["graph"] if e > 2 else []) for e in range(6)]
    states.append(checkpoint("a", 6, EXIT))  # of an epoch that never ended
    crashed = StoredVersion("p", "a", "", checkpoints=tuple(states))
    assert choose([crashed], [parse_rule("last")], 0.0) == {"a": {(1, END), (3, END), (4, END)}}


@pytest.mark.parametrize(
    "word",
    [
        "",
        "best",
        "last:3",
        "every",
        "every:",
        "every:0",
        "every:-1",
        "every:1.5",
        "newest:x",
        "run:",
        "version:",
        "within:",
    ],
)
def test_what_is_no_rule_is_answered_with_all_rules(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rule(word)
    assert all(rule in str(caught.value) for rule in RULES)


def test_each_documented_rule_is_one() -> None:
    words = [word.replace(":N", ":3") for word in RULES if word != "run:NAME"]
    assert [parse_rule(word).kind for word in words] == ["last", "every", "newest", "within", "version"]
    assert parse_rule("run:a:b*") == Rule("run", text="a:b*")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90s", 90), ("30m", 1800), ("12h", 43200), ("1d", DAY), ("2w", 14 * DAY), ("1.5h", 5400)],
)
def test_time_spans(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "d", "-1d", "1 d", "1y", "1d12h", "٣d", "0x1d"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a time span.*12h"):
        parse_seconds(text)


def test_a_rule_that_names_nothing_is_found() -> None:
    versions = [version("aa1", [(0, END)], run="baseline"), version("bb2", [(0, END)], run=None)]
    words = ["last", "newest:1", "run:base*", "version:bb", "run:basline", "version:c"]
    assert retention.idle_rule(versions, [parse_rule(word) for word in words]) == Rule("run", text="basline")
    assert retention.idle_rule(versions, [parse_rule(word) for word in words[:4]]) is None


# --- objects --------------------------------------------------------------------------------------------------------


def test_old_objects_that_nobody_needs_go_and_young_ones_stay() -> None:
    infos = {"need": Info(1), "old": Info(2, 9.0), "b-old": Info(4, 9.9), "young": Info(8, 10.0), "new": Info(16, 99.0)}
    assert retention.sweep(infos, {"need", "absent"}, 10.0) == Sweep(("b-old", "old"), 6, 2, 24)


def test_live_runs_stretch_the_grace_to_what_they_may_rely_on() -> None:
    assert retention.cutoff(1000.0, 100.0, [], 50.0) == 900.0
    assert retention.cutoff(1000.0, 100.0, [999.0, 400.0], 50.0) == 350.0
    assert retention.cutoff(1000.0, 800.0, [999.0], 50.0) == 200.0


def infos_of(versions: Iterable[StoredVersion], extra: Iterable[str] = ()) -> dict[str, Info]:
    return {key: Info(10) for v in versions for key in v.objects()} | {key: Info(1) for key in extra}


def test_a_plan_says_what_goes_for_whom_and_what_was_left_over_before() -> None:
    ours, other = version("a", [(e, END) for e in range(4)]), version("b", [(1, END)], started=1.0)
    infos = infos_of([ours, other], ["lost"])
    planned = retention.plan("p", [other, ours], infos, [parse_rule("last")], 0.0, 1.0)
    gone = [f"a-{e}-epoch_end{end}" for e in (1, 2) for end in ("", "-tensor")]
    assert planned.sweep == Sweep(tuple(sorted([*gone, "lost"])), 41, 0, 0)
    assert planned.already == Sweep(("lost",), 1, 0, 0)
    assert [(p.version.version, p.dropped, p.bytes) for p in planned.versions] == [
        ("a", {(1, END), (2, END)}, 40),
        ("b", frozenset(), 0),
    ]
    assert planned.dropped == 2


def test_what_two_versions_let_go_together_counts_for_the_older_one() -> None:
    places = [(e, END) for e in range(3)]
    versions = [version("new", places, started=2.0), version("old", places, started=1.0)]
    states = {
        v.version: StoredVersion(
            "p",
            v.version,
            "",
            v.started,
            checkpoints=v.checkpoints,
            needs={c.key: (f"t{c.epoch}",) for c in v.checkpoints},
        )
        for v in versions
    }
    planned = retention.plan("p", list(states.values()), infos_of(states.values()), [parse_rule("last")], 0.0, 1.0)
    assert [(p.version.version, p.bytes) for p in planned.versions] == [("old", 20), ("new", 10)]
    assert planned.sweep.keys == ("new-1-epoch_end", "old-1-epoch_end", "t1")


def test_another_projects_versions_are_neither_thinned_nor_robbed() -> None:
    ours = version("a", [(e, END) for e in range(4)])
    theirs = StoredVersion(
        "q", "a", "", checkpoints=(checkpoint("a", 1), checkpoint("a", 2), checkpoint("a", 3)), needs=ours.needs
    )
    planned = retention.plan("p", [ours, theirs], infos_of([ours]), [parse_rule("last")], 0.0, 1.0)
    assert planned.dropped == 2
    assert planned.sweep.keys == ()


def test_storage_says_who_needs_what() -> None:
    a, b = version("a", [(0, END), (1, END)], started=1.0), version("b", [(0, END)], started=0.0)
    other = StoredVersion("q", "c", "", others=frozenset({"a-log"}))
    infos = infos_of([a, b], ["lost"])
    del infos["b-0-epoch_end-tensor"]
    found = retention.storage("p", [a, b, other], infos)
    assert [(u.version.version, u.logical_bytes, u.own_bytes, u.shared_bytes) for u in found.usages] == [
        ("b", 100, 20, 10),  # its manifest and log; "shared"
        ("a", 200, 40, 20),  # two manifests and tensors; "shared" and the log that c needs too
    ]
    assert (found.objects, found.bytes, found.unneeded, found.unneeded_bytes) == (9, 81, 1, 1)
    assert (found.logical_bytes, found.checkpoint_bytes, found.ratio) == (300, 60, 5.0)
    assert found.missing == ("b-0-epoch_end-tensor",)
    assert retention.storage("p", [], {}).ratio is None


# --- whatever the policy --------------------------------------------------------------------------------------------

KEYS = [f"k{n}" for n in range(12)]
rules = st.lists(
    st.one_of(
        st.just("last"),
        st.integers(1, 4).map(lambda n: f"every:{n}"),
        st.integers(1, 3).map(lambda n: f"newest:{n}"),
        st.integers(0, 200).map(lambda n: f"within:{n}d"),
        st.sampled_from(["run:x*", "run:y", "version:v1", "version:nobody"]),
    ),
    max_size=3,
)


@st.composite
def a_version(draw: st.DrawFn, number: int) -> StoredVersion:
    places = draw(st.sets(st.tuples(st.integers(0, 8), st.sampled_from(Point)), max_size=10))
    name = f"v{number}"
    checkpoints = tuple(
        checkpoint(name, epoch, point, draw(st.sampled_from(KEYS)), draw(st.sampled_from([(), (), ("x",)])))
        for epoch, point in sorted(places, key=lambda place: (place[0], place[1] is END))
    )
    needs = {c.key: tuple(draw(st.lists(st.sampled_from(KEYS), max_size=3))) for c in checkpoints}
    run = draw(st.sampled_from(["x1", "y", "", None]))
    others = frozenset(draw(st.lists(st.sampled_from(KEYS), max_size=1)))
    project = draw(st.sampled_from("pq"))
    return StoredVersion(
        project, name, run, draw(st.integers(0, 100)) * DAY, 8, draw(st.booleans()), checkpoints, needs, others
    )


@st.composite
def stores(draw: st.DrawFn) -> tuple[list[StoredVersion], dict[str, Info]]:
    versions = [draw(a_version(number)) for number in range(draw(st.integers(0, 4)))]
    present = draw(st.sets(st.sampled_from([*KEYS, "lost1", "lost2"])))
    return versions, {key: Info(draw(st.integers(0, 9)), draw(st.integers(0, 100)) * DAY) for key in sorted(present)}


@given(stores(), rules, st.integers(0, 100))
def test_whatever_the_policy_what_must_stay_stays_with_all_that_it_needs(
    store: tuple[list[StoredVersion], dict[str, Info]], words: list[str], before_day: int
) -> None:
    versions, infos = store
    before = before_day * DAY
    planned = retention.plan("p", versions, infos, [parse_rule(word) for word in words], 100 * DAY, before)
    dropped = {item.version.version: item.dropped for item in planned.versions}
    for v in versions:
        gone = dropped.get(v.version, frozenset())
        stays = [c for c in v.checkpoints if (c.epoch, c.point) not in gone]
        ends = [c for c in v.checkpoints if c.point is END]
        if v.live or v.run is None or v.project != "p" or not words:
            assert gone == frozenset()
        if ends:
            assert ends[-1] in stays
            assert [c for c in v.checkpoints if c.epoch == ends[-1].epoch] == [
                c for c in stays if c.epoch == ends[-1].epoch
            ]
        assert [c for c in v.checkpoints if c.epoch == 0] == [c for c in stays if c.epoch == 0]
        for c in stays:
            assert not {c.key, *v.needs[c.key]} & set(planned.sweep.keys)
        assert not v.others & set(planned.sweep.keys)
    assert all(infos[key].modified < before for key in planned.sweep.keys)
    assert set(planned.already.keys) <= set(planned.sweep.keys)


@given(stores(), rules)
def test_gc_done_twice_is_gc_done_once(store: tuple[list[StoredVersion], dict[str, Info]], words: list[str]) -> None:
    versions, infos = store
    policy = [parse_rule(word) for word in words]
    first = retention.plan("p", versions, infos, policy, 100 * DAY, 1e12)
    dropped = {item.version.version: item.dropped for item in first.versions}
    after = [
        StoredVersion(
            *(v.project, v.version, v.run, v.started, v.epochs, v.live),
            tuple(c for c in v.checkpoints if (c.epoch, c.point) not in dropped.get(v.version, ())),
            *(v.needs, v.others),
        )
        for v in versions
    ]
    left = {key: info for key, info in infos.items() if key not in first.sweep.keys}
    second = retention.plan("p", after, left, policy, 100 * DAY, 1e12)
    assert (second.dropped, second.sweep) == (0, Sweep())
