"""A cost model starts from records and learns from reports: which of its parts moves, how far, and how sure it is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import pytest

from flor_ray.records import EpochTimes, Operator, Point, Profile, Segment, SegmentReport, Variant
from flor_ray.scheduler.calibration import Calibration, CostModel, Learned
from flor_ray.scheduler.costs import RecordedVersion

HERE, THERE = "CPU X", "GPU Y"


def recorded(seconds: float = 10.0, epochs: int = 8, kind: str = HERE, imports: float = 20.0) -> RecordedVersion:
    times = tuple(EpochTimes(e, 0.0, seconds * 0.9, seconds * 0.1) for e in range(1, epochs + 1))
    sizes = {(e, Point.EPOCH_END): 10**12 for e in range(epochs + 1)}  # too large to be compared
    return RecordedVersion(Profile(imports + 4.0, times, 0.0, imports), sizes, kind)


def piece(version: str, epoch: int, variant: Variant = Variant.INNER) -> Segment:
    return Segment(version, epoch, epoch, Operator.DP_I, variant, None if variant is Variant.END else epoch - 1)


def model(*versions: str, kind: str = HERE, **calibrations: Calibration) -> CostModel:
    free = Calibration(latency=Learned(0.0, 0.0, 1), bandwidth=Learned(1e15, 0.0, 1), overhead=Learned(0.0, 0.0, 1))
    return CostModel({v: recorded() for v in versions}, {HERE: free, **calibrations}, kind)


def report(
    segment: Segment, run_seconds: float, setup_seconds: float = 0.0, kind: str = HERE, start_seconds: float = 0.0
) -> SegmentReport:
    return SegmentReport(segment, 1, setup_seconds, run_seconds, kind=kind, start_seconds=start_seconds)


def observed(start: CostModel, reports: Iterable[SegmentReport]) -> CostModel:
    for one in reports:
        start = start.observe(one)
    return start


def run_seconds(of: CostModel, version: str, epoch: int = 8, variant: Variant = Variant.INNER) -> float:
    return of.cost(piece(version, epoch, variant)).run_seconds


def test_before_anything_runs_a_segment_takes_what_was_recorded() -> None:
    cost = model("a").cost(piece("a", 3))
    assert cost.run_seconds == pytest.approx(10.0, abs=0.01)
    assert cost.setup_seconds == pytest.approx(4.0 + Calibration().prepare.value)
    assert cost.known
    assert cost.run_spread > 0.5


def test_reading_takes_a_latency_for_each_state_and_its_bytes() -> None:
    slow = Calibration(latency=Learned(0.5, 0.1, 1), bandwidth=Learned(1e12, 0.1, 1))
    cost = CostModel({"a": recorded()}, {HERE: slow}, HERE).cost(Segment("a", 2, 4, Operator.DP_I, Variant.END))
    assert (cost.read_seconds, cost.read_bytes) == (3 * 0.5 + 3.0, 3 * 10**12)
    assert cost.run_seconds > cost.read_seconds


def test_a_version_follows_its_own_reports_and_others_follow_all() -> None:
    start = model("a", "b", "c")
    twice = observed(start, [report(piece("a", e), 20.0) for e in range(1, 6)])
    assert run_seconds(twice, "a") == pytest.approx(20.0, rel=0.03)
    assert run_seconds(twice, "c") == pytest.approx(20.0, rel=0.1)
    both = observed(twice, [report(piece("b", e), 17.0) for e in range(1, 6)])
    assert run_seconds(both, "a") == pytest.approx(20.0, rel=0.05)
    assert run_seconds(both, "b") == pytest.approx(17.0, rel=0.05)
    assert 17.0 < run_seconds(both, "c") < 20.0


def test_a_statement_that_costs_much_is_believed_at_once() -> None:
    assert run_seconds(model("a", "b").observe(report(piece("a", 1), 30.0)), "b") > 24.0


def test_a_first_report_that_is_a_little_off_is_taken_for_noise_in_part() -> None:
    off = run_seconds(model("a", "b").observe(report(piece("a", 1), 10.8)), "b")
    assert 10.1 < off < 10.7


def test_what_a_statement_costs_in_nested_loops_says_little_of_runs_without_them() -> None:
    learned = observed(model("a", "b"), [report(piece("a", e), 25.0) for e in range(1, 6)])
    before = run_seconds(model("a", "b"), "b", variant=Variant.OUTER)
    assert run_seconds(learned, "b", variant=Variant.OUTER) == pytest.approx(before, rel=0.12)


def test_corrections_are_of_the_original_estimates_however_often_they_are_asked_for() -> None:
    learned = model("a").observe(report(piece("a", 1), 20.0))
    costs = [model("a").cost(piece("a", e)) for e in (2, 3)]
    once = learned.corrected(costs)
    assert learned.corrected(once) == once
    assert [cost.segment for cost in once] == [cost.segment for cost in costs]


def test_no_reports_and_those_of_strangers_correct_nothing() -> None:
    start = model("a")
    assert start.observe(report(piece("z", 1), 99.0)) == start
    known = Segment("a", 1, 1, Operator.KNOWN)
    assert start.observe(report(known, 0.0)) == start


def test_a_short_segment_says_nothing_of_others() -> None:
    start = CostModel({"tiny": recorded(0.01), "a": recorded()}, {}, HERE)
    assert run_seconds(start.observe(report(piece("tiny", 1), 5.0)), "a") == pytest.approx(run_seconds(start, "a"))


def test_a_version_of_which_nothing_was_measured_counts_as_the_others_do_and_corrects_only_itself() -> None:
    start = CostModel({"a": recorded(), "bare": RecordedVersion(Profile(5.0), {}, HERE)}, {}, HERE)
    cost = start.cost(piece("bare", 1))
    assert not cost.known
    assert cost.run_seconds == pytest.approx(10.0, rel=0.02)
    learned = start.observe(report(piece("bare", 1), 60.0))
    assert run_seconds(learned, "bare") == pytest.approx(60.0, rel=0.15)
    assert run_seconds(learned, "a") == run_seconds(start, "a")
    alone = CostModel({"bare": RecordedVersion(Profile(5.0))})
    assert alone.cost(piece("bare", 1)).run_seconds == pytest.approx(1.0, abs=0.1)


def test_workers_of_another_class_are_compared_with_the_one_that_the_plan_is_for() -> None:
    start = model("a", THERE=Calibration())
    assert start.slowness()[HERE] == 1.0
    learned = observed(start, [report(piece("a", e), 10.0) for e in (1, 2, 3)])
    learned = observed(learned, [report(piece("a", e), 30.0, kind=THERE) for e in (4, 5, 6)])
    assert learned.slowness()[THERE] == pytest.approx(3.0, rel=0.1)
    assert run_seconds(learned, "a") == pytest.approx(10.0, rel=0.1)


def test_a_replay_on_another_class_starts_from_what_the_last_one_there_learned() -> None:
    free = model().calibrations[HERE]
    first = CostModel({"a": recorded()}, {THERE: free}, THERE)
    low, high = first.interval([first.cost(piece("a", 1))])
    assert high > 2 * low
    first = observed(first, [report(piece("a", e), 3.0, kind=THERE) for e in range(1, 8)])
    later = CostModel({"b": recorded()}, first.learned(), THERE)
    assert run_seconds(later, "b") == pytest.approx(3.0, rel=0.25)
    assert later.interval(10.0)[1] < first.interval(10.0)[1] * 1.5


def test_set_ups_tell_what_preparing_takes() -> None:
    start = CostModel({"a": RecordedVersion(Profile(20.5, recorded().profile.epochs, 0.0, 20.0))}, {}, HERE)
    learned = observed(start, [report(piece("a", 1), 10.0, setup_seconds=1.4) for _ in range(9)])
    assert learned.cost(piece("a", 2)).setup_seconds == pytest.approx(1.4, rel=0.05)
    assert learned.unknown_kinds([HERE, THERE]) == (THERE,)


def test_a_workers_start_tells_what_imports_take() -> None:
    start = model("a")
    assert start.start_seconds() == pytest.approx(20.0 * Calibration().imports.value)
    assert start.observe(report(piece("a", 1), 10.0, start_seconds=26.0)).start_seconds() == pytest.approx(26.0)


def test_reads_tell_of_latency_where_states_are_small_and_of_bandwidth_where_they_are_large() -> None:
    start = CostModel({"a": recorded()}, {}, HERE)
    large = SegmentReport(piece("a", 1), 1, 0.0, 30.0, kind=HERE, read_seconds=10.0, read_bytes=10**12)
    learned = observed(start, [large] * 5).calibrations[HERE]
    assert learned.bandwidth.value == pytest.approx(1e11, rel=0.2)
    assert learned.latency.value == pytest.approx(Calibration().latency.value, rel=0.2)
    small = SegmentReport(piece("a", 1), 1, 0.0, 30.0, kind=HERE, read_seconds=0.3, read_bytes=100)
    assert observed(start, [small] * 5).calibrations[HERE].latency.value == pytest.approx(0.3, rel=0.3)


def noisy(draw: random.Random, spread: float = 0.08) -> Callable[[float], float]:
    return lambda seconds: seconds * math.exp(draw.gauss(0.0, spread))


def test_the_interval_narrows_as_reports_come_in() -> None:
    start, noise = model(*"abcdefgh"), noisy(random.Random(1))
    left = [piece(v, e) for v in "efgh" for e in range(1, 9)]
    widths = []
    for version in "abcd":
        low, high = start.interval([start.cost(segment) for segment in left])
        widths.append(high / low)
        start = observed(start, [report(piece(version, e), noise(12.0)) for e in range(1, 9)])
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] - 1 < 0.6 * (widths[0] - 1)


def test_common_errors_do_not_average_out_and_own_ones_do() -> None:
    start = model(*"abcdefgh")
    one = start.interval([start.cost(piece("a", 1))])
    many = start.interval([start.cost(piece(v, e)) for v in "abcdefgh" for e in range(1, 9)])
    assert one[1] / one[0] > many[1] / many[0] > 1.2
    assert start.interval([]) == (0.0, 0.0) == start.interval(0.0)


def test_nine_of_ten_replays_end_within_their_interval() -> None:
    inside = 0
    for seed in range(300):
        draw = random.Random(seed)
        statement, machine = math.exp(draw.gauss(0.0, 0.1)), math.exp(draw.gauss(0.0, 0.05))
        noise, start = noisy(draw), model("a", "b", "c")
        costs = [start.cost(piece(v, e)) for v in "abc" for e in range(1, 9)]
        low, high = start.interval(costs)
        took = sum(noise(10.0) * statement * machine for _ in costs) + 3 * costs[0].setup_seconds
        inside += low <= took <= high
    assert 0.85 < inside / 300 < 0.97


def test_a_machine_that_gets_slower_is_reported_and_one_that_is_as_before_is_not() -> None:
    noise = noisy(random.Random(2), 0.04)
    steady = observed(model(*"abcd"), [report(piece("a", e), noise(10.0)) for e in range(1, 6)])
    assert steady.drift() is None
    slower = observed(steady, [report(piece("a", e), noise(16.0)) for e in (6, 7, 8)])
    assert f"The last 3 segments on {HERE} took 1.5x as long" in (slower.drift() or "")
    assert observed(steady, [report(piece("a", 6), 40.0)]).drift() is None
    faster = observed(steady, [report(piece(v, 1), noise(6.0)) for v in "bcd"])
    assert "took 0.6x as long" in (faster.drift() or "")


def test_a_version_that_is_slower_than_others_is_no_drift() -> None:
    steady = observed(model("a", "b"), [report(piece("a", e), 10.0) for e in range(1, 9)])
    assert observed(steady, [report(piece("b", e), 16.0) for e in (1, 2, 3)]).drift() is None


def test_one_strange_measurement_moves_a_calibration_no_further_than_three_of_its_spreads() -> None:
    learned = Learned(1.0, 0.1)
    for _ in range(10):
        learned = learned.learn(1.0)
    assert learned.learn(1000.0).value < 1.05
    assert learned.learn(math.nan) == learned
    assert Learned(1.0, 0.5).learn(5.0).value == 5.0


def test_observing_is_deterministic_and_changes_no_earlier_model() -> None:
    start, reports = model("a", "b"), [report(piece("a", e), 11.0 + e, 5.0) for e in range(1, 5)]
    before = run_seconds(start, "a")
    assert observed(start, reports) == observed(start, reports)
    assert run_seconds(start, "a") == before
