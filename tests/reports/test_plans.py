"""Plans as people see them: short for three versions and for three hundred, as numbers, and as a page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from flor_ray import wording
from flor_ray.patching.patching import Patched
from flor_ray.planning import segmenting
from flor_ray.planning.replay_plan import Prepared, Scheduled
from flor_ray.planning.terms import Terms
from flor_ray.records import Experiment, Operator, Region, Segment, SegmentCost, Status
from flor_ray.reports import forecasts, plans
from flor_ray.reports.forecasts import Basis, Interval
from flor_ray.reports.plans import Explanation
from flor_ray.scheduler.calibration import CostModel
from flor_ray.scheduler.packing import Schedule, pack
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.tradeoff import TradeOff
from tests.conftest import Lab

SVG = "{http://www.w3.org/2000/svg}"
RECORDED = """
import flor_ray as flor
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        pass
    flor.log("loss", 1 / (epoch + 1))
"""


def version(number: int) -> str:
    return f"{number:08x}" + "0" * 32


def cost(number: int, first: int, last: int, **more: float) -> SegmentCost:
    segment = Segment(version(number), first, last, Operator.DP_I, restore=first - 1, names=("norm",))
    return SegmentCost(segment, 2.0, float(last - first + 1), read_bytes=1_500_000, **more)  # type: ignore[arg-type]


def prepared(lab: Lab, costs: list[SegmentCost], workers: int) -> Prepared:
    versions = sorted({c.segment.version for c in costs})
    experiments = {
        v: Experiment("project", v, None, "train.py", f"run{n}", float(n), n + 1.0, Status.FINISHED)
        for n, v in enumerate(versions)
    }
    return Prepared(
        project=lab.project,
        names=("norm",),
        experiments=experiments,
        patched={v: Patched(regions={"norm": Region.INNER}) for v in versions},
        checkpoints={},
        notes=("a note",),
        refusals=(),
        skipped=(),
        terms=Terms(workers),
        scheduled=Scheduled(pack(costs, workers), tuple(costs), Cutting(), CostModel({})),
        doubtful={},
    )


def within(low: float, high: float) -> Interval:
    """Everything takes `low` to `high` times what it is estimated to."""

    def interval(costs: Iterable[SegmentCost]) -> tuple[float, float]:
        costs = list(costs)
        setups = {c.segment.version: c.setup_seconds for c in costs}
        seconds = sum(setups.values()) + sum(c.run_seconds for c in costs)
        return low * seconds, high * seconds

    return interval


def cells(text: str) -> list[str]:
    """Lines of a text, with the cells of its tables apart and without the line under their heads."""
    return [re.sub(" {2,}", "|", line) for line in text.splitlines() if set(line) - set("─ ")]


def test_a_small_plan_is_a_table_of_its_versions_and_a_few_sentences(lab: Lab) -> None:
    costs = [cost(1, 1, 4), cost(1, 5, 8), cost(2, 3, 3)]
    basis = Basis(within(0.5, 2.0), "A100", calibrated=False, price_per_gpu_hour=3600.0)
    small = prepared(lab, costs, 2)
    assert cells(str(Explanation(small, basis))) == [
        "version|run|features|region|epochs|operator|pieces|set-up s|run s|all s|reads",
        "00000001|run0|norm|inner|1-8|DP_i inner|2|4.0|8.0|6.0-24.0|3.0 MB",
        "00000002|run1|norm|inner|3|DP_i inner|1|2.0|1.0|1.5-6.0|1.5 MB",
        "Estimated time: 9.0 s on 2 workers (no schedule can be faster than "
        f"{small.schedule.lower_bound_seconds:.1f} s); 15.0 s of worker time.",
        "In nine of ten cases: 4.5 s to 18.0 s, with 7.5 s to 30.0 s of worker time.",
        "No replay on A100 has been measured yet: this rests on the recorded seconds alone.",
        "Checkpoints to read: 4.5 MB.",
        "Price: 15.00 (0.00417 GPU-hours at 3600).",
        "Note: a note",
    ]


def test_three_hundred_versions_are_the_most_expensive_ones_and_a_sentence(lab: Lab) -> None:
    said = str(Explanation(prepared(lab, [cost(n, 1, n) for n in range(1, 301)], 8))).splitlines()
    assert len(said) < 30
    assert said[2].startswith(version(300)[:8])
    assert any(line.startswith("... and 280 versions more, 11 h") for line in said)


def test_nothing_to_replay_is_said_as_before(lab: Lab) -> None:
    empty = prepared(lab, [], 2)
    assert str(Explanation(empty)) == "Nothing to replay for norm.\nNote: a note"
    ElementTree.fromstring(Explanation(empty).to_html())
    assert Explanation(empty).to_frame().empty


def test_a_frame_has_a_row_of_numbers_per_segment(lab: Lab) -> None:
    costs = [cost(1, 1, 4), cost(1, 5, 8), cost(2, 3, 3)]
    basis = Basis(within(0.75, 1.25), price_per_gpu_hour=2.0)
    frame = Explanation(prepared(lab, costs, 1), basis).to_frame()
    assert frame.to_dict("records")[1] == {
        "version": version(1),
        "run": "run0",
        "features": "norm",
        "region": "inner",
        "operator": "DP_i",
        "variant": "inner",
        "first_epoch": 5,
        "last_epoch": 8,
        "worker": "worker 1",
        "begin_seconds": 6.0,
        "setup_seconds": 0.0,
        "run_seconds": 4.0,
        "gpu_seconds": 4.0,
        "low_seconds": 3.0,
        "high_seconds": 5.0,
        "read_bytes": 1_500_000,
        "known": True,
    }
    assert frame["gpu_seconds"].sum() == frame.attrs["gpu_seconds"] == frame.attrs["makespan_seconds"] == 13.0
    assert frame.attrs["price"] == pytest.approx(2.0 * 13 / 3600)


def test_intervals_are_of_what_is_paid_and_the_worker_that_ends_last_decides_on_the_makespan() -> None:
    costs = [cost(1, 1, 4, run_spread=3.0, setup_spread=4.0), cost(1, 5, 8, run_spread=3.0), cost(2, 1, 1)]
    schedule = Schedule((tuple(costs[:2]), (costs[2],)), 10.0, 10.0)
    rows = forecasts.segment_rows(schedule, {}, {}, ["norm"])
    found = [(row.seconds, row.high_seconds - row.seconds) for row in rows]
    assert found == [(6.0, pytest.approx(1.645 * 5)), (4.0, pytest.approx(1.645 * 3)), (3.0, 0.0)]
    one, two = forecasts.version_rows(rows, [version(1), version(2)])
    assert (one.low_seconds, one.high_seconds) == pytest.approx((10 - 1.645 * 34**0.5, 10 + 1.645 * 34**0.5))
    assert (two.low_seconds, two.high_seconds) == (3.0, 3.0)
    totals = forecasts.totals(rows, schedule, Basis())
    assert totals.makespan_high_seconds == one.high_seconds
    assert totals.gpu_high_seconds == pytest.approx(13 + 1.645 * 34**0.5)
    thrice = Schedule(((costs[0],), (costs[1],)), 6.0, 6.0)  # each worker sets the version up
    (both,) = forecasts.version_rows(forecasts.segment_rows(thrice, {}, {}, ()), [version(1)], within(0.5, 2.0))
    assert (both.low_seconds, both.seconds, both.high_seconds) == (6.0, 12.0, 24.0)


def test_the_trade_off_as_text_marks_the_knee_and_the_workers_at_hand() -> None:
    rows = (
        TradeOff(1, 90.0, 90.0, 90.0, 1.0),
        TradeOff(2, 50.0, 45.0, 100.0, 0.9, True),
        TradeOff(4, 50, 40, 100, 0.45),
    )
    assert cells(plans.tradeoff_text(rows, 1, Basis(gpus=False, price_per_gpu_hour=3600.0))) == [
        "workers|time|at best|worker-hours|speed-up|efficiency|price",
        "1|1 min 30 s|1 min 30 s|0.025|1.0|100%|90.00|at hand",
        "2|50.0 s|45.0 s|0.0278|1.8|90%|100.00|knee",
        "4|50.0 s|40.0 s|0.0278|1.8|45%|100.00",
        "The knee is at 2 workers: beyond it, one more gains less than half of what those before it have gained on "
        "average.",
    ]
    assert plans.tradeoff_text((), 1, Basis()) == "Nothing has to run, on however many workers."


def test_a_page_has_figures_versions_the_trade_off_the_schedule_and_its_segments(lab: Lab) -> None:
    whole = [cost(1, 1, 40), cost(2, 1, 20)]
    cutting = Cutting(lambda s: range(s.first + 1, s.last + 1), segmenting.cut, lambda s: replace(whole[0], segment=s))
    explanation = Explanation(prepared(lab, whole, 2), Basis(costs=tuple(whole), cutting=cutting))
    root = ElementTree.fromstring(explanation.to_html())
    assert [heading.text for heading in root.iter("h2")] == [
        "Versions, the most expensive first",
        "How many workers are worth having",
        "The schedule, if every estimate comes true",
        "Segments",
    ]
    curve, schedule = root.iter(f"{SVG}svg")
    assert len(curve.findall(f"{SVG}circle[@class='dot']")) == len(explanation.tradeoff)
    assert len(curve.findall(f"{SVG}circle[@class='knee']")) == 1
    assert [t.text for t in schedule.iter(f"{SVG}title")] == [
        "version 00000001, epochs 1-40: 42.0 s, set-up 2.0 s",
        "version 00000002, epochs 1-20: 22.0 s, set-up 2.0 s",
    ]


def test_a_recorded_run_is_explained_in_all_three_ways(lab: Lab) -> None:
    recorded = lab.record(RECORDED)
    lab.write("train.py", RECORDED.replace("        pass\n", '        flor.log("x", step)\n'))
    found = lab.prepare(["x"], workers=2)
    explanation = Explanation(found)
    assert "Estimated time: " in str(explanation)
    frame = explanation.to_frame()
    assert set(frame["version"]) == {recorded.version}
    assert set(frame["region"]) == {"inner"}
    assert recorded.version[:8] in explanation.to_html()
    assert wording.span(found.costs[0].segment)
