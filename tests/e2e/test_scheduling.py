"""What a replay is planned and carried out on: budgets, orders, several queries, tails that change hands, timelines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from flor_ray import pipeline
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.environment import hardware
from flor_ray.errors import UsageError
from flor_ray.planning import calibrations
from flor_ray.planning.missing import Request
from flor_ray.planning.terms import First, Peak, Query, Terms
from flor_ray.records import Operator, Outcome, Segment
from flor_ray.reports import timelines
from flor_ray.scheduler.budget import NothingFits
from tests.conftest import Lab

EPOCHS = 8
SCRIPT = f"""
import time
import flor_ray as flor

slow = flor.arg("slow", 0)
state = {{"weight": 1.0}}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range({EPOCHS})):
    for step in flor.loop("step", range(2)):
        state["weight"] += epoch
        time.sleep(0.05)
    flor.log("height", -abs(epoch - 2))
"""
INSIDE = '        flor.log("seen", (epoch, step, time.sleep(0.15 * slow)))\n'
OUTSIDE = '    flor.log("other", epoch)\n'


@pytest.fixture
def recorded(lab: Lab) -> Lab:
    """Two versions; replaying the second takes far longer than anybody could know."""
    lab.record(SCRIPT)
    lab.record(SCRIPT, "--kwargs", "slow=1")
    lines = SCRIPT.replace('    flor.log("height"', f'{OUTSIDE}    flor.log("height"')
    lab.write("train.py", lines.replace("        time.sleep", f"{INSIDE}        time.sleep"))
    return lab


def epochs(outcome: Outcome, version: str) -> list[int]:
    """Those that were replayed, in the order of epochs; each segment's."""
    found = [report.segment for report in outcome.reports if report.segment.version == version]
    return sorted(epoch for segment in found for epoch in range(segment.first, segment.last + 1))


def planned(segments: Sequence[Segment], version: str) -> set[int]:
    return {e for s in segments if s.version == version for e in range(s.first, s.last + 1)}


def test_a_worker_without_work_takes_the_rest_of_a_running_segment(recorded: Lab) -> None:
    quick, slow = (experiment.version for experiment in recorded.experiments())
    prepared = recorded.prepare(["seen"], workers=2)
    assert len(prepared.costs) == 2  # nothing is cut: both are thought to be short
    outcome = pipeline.run(prepared, ThreadExecutor())
    assert outcome.failures == []
    assert epochs(outcome, quick) == epochs(outcome, slow) == list(range(1, EPOCHS + 1))
    assert len([report for report in outcome.reports if report.segment.version == slow]) > 1
    assert len({stint.worker for stint in outcome.stints if stint.segment.version == slow}) == 2
    assert len(recorded.values("seen", slow)) == EPOCHS * 2


def test_a_budget_takes_what_comes_first_and_the_same_call_goes_on_with_the_rest(recorded: Lab) -> None:
    quick, slow = (experiment.version for experiment in recorded.experiments())
    everything = pipeline.explained(recorded.prepare(["seen"])).totals.gpu_seconds
    terms = Terms(1, gpu_seconds=0.8 * everything, first=First((Peak("height"),)))
    prepared = pipeline.prepare(recorded.project, ["seen"], terms=terms)
    chosen = [cost.segment for cost in prepared.costs]
    assert {3, EPOCHS} <= planned(chosen, quick) & planned(chosen, slow)  # the peak and the end of both
    assert len(planned(chosen, quick)) + len(planned(chosen, slow)) < 2 * EPOCHS
    assert any(re.search(r"\d+ of 16 epochs of 2 versions do not fit into", note) for note in prepared.notes)
    first = pipeline.run(prepared, ThreadExecutor())
    rest = pipeline.run(pipeline.prepare(recorded.project, ["seen"]), ThreadExecutor())
    for version in (quick, slow):
        assert sorted(epochs(first, version) + epochs(rest, version)) == list(range(1, EPOCHS + 1))


def test_a_budget_that_nothing_fits_into_says_what_the_least_would_take(recorded: Lab) -> None:
    with pytest.raises(NothingFits, match=r"Nothing can be replayed in .*: the least, epochs? .* takes "):
        pipeline.prepare(recorded.project, ["seen"], terms=Terms(1, gpu_seconds=0.001))
    done = recorded.cli("explain", "seen", "--budget", "soon")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_several_queries_are_answered_in_one_replay_and_what_both_want_runs_once(recorded: Lab) -> None:
    quick, slow = (experiment.version for experiment in recorded.experiments())
    queries = [Query(["other"], "epoch <= 4"), Query(["other", "seen"], "slow == 0 and epoch >= 3", share=2)]
    prepared = pipeline.prepare_all(recorded.project, queries, Terms(2))
    outcome = pipeline.run(prepared, ThreadExecutor())
    assert outcome.failures == []
    assert epochs(outcome, quick) == list(range(1, EPOCHS + 1))
    assert epochs(outcome, slow) == [1, 2, 3, 4]
    assert [epoch for epoch, *_ in recorded.values("other", quick)] == list(range(1, EPOCHS + 1))
    assert {epoch for epoch, *_ in recorded.values("seen", quick)} == set(range(3, EPOCHS + 1))
    assert recorded.values("seen", slow) == []
    with pytest.raises(UsageError, match="cannot be given for several queries at once"):
        pipeline.prepare_all(recorded.project, queries, Terms(2, gpu_seconds=1.0), again=True)
    with pytest.raises(UsageError, match="positive"):
        Query(["seen"], share=0)


def test_exact_places_are_planned_as_where_picks_them_and_nothing_else_is_looked_at(recorded: Lab) -> None:
    quick, _ = (experiment.version for experiment in recorded.experiments())
    project = recorded.project
    by_where = pipeline.prepare(project, ["seen"], "slow == 0 and epoch >= 3", Terms(2))
    by_place = pipeline.prepare_places(project, [Request(("seen",), {quick: frozenset(range(3, 9))})], Terms(2))
    assert by_place.costs == by_where.costs
    assert by_place.patched == {quick: by_where.patched[quick]}
    everywhere = pipeline.prepare_places(project, [Request(("seen", "other"))], Terms(2))
    assert everywhere.costs == pipeline.prepare(project, ["seen", "other"], terms=Terms(2)).costs
    assert pipeline.prepare_places(project, [Request(("seen",), {"0" * 40: None})]).skipped[0].version == "0" * 40


def test_the_places_of_several_names_are_one_question_with_one_budget(recorded: Lab) -> None:
    quick, slow = (experiment.version for experiment in recorded.experiments())
    places = [
        Request(("other",), {quick: frozenset({1, 5}), slow: frozenset({2})}),
        Request(("seen",), {quick: frozenset({5, 6})}),
    ]
    whole = pipeline.prepare_places(recorded.project, places, Terms(2))
    segments = [cost.segment for cost in whole.costs]
    assert (planned(segments, quick), planned(segments, slow)) == ({1, 5, 6}, {2})
    most = 0.7 * pipeline.explained(whole).totals.gpu_seconds
    limited = pipeline.prepare_places(recorded.project, places, Terms(2, gpu_seconds=most))
    assert 0 < len(limited.costs) < len(whole.costs)
    outcome = pipeline.run(whole, ThreadExecutor())
    assert outcome.failures == []
    assert [epoch for epoch, *_ in recorded.values("other", slow)] == [2]
    assert {epoch for epoch, *_ in recorded.values("seen", quick)} == {5, 6}
    assert pipeline.prepare_places(recorded.project, places).is_empty


def test_a_replay_leaves_its_timeline_and_what_it_has_learned(recorded: Lab, tmp_path: Path) -> None:
    prepared, outcome = recorded.replay(["other"], workers=2)
    files = prepared.project.store.files
    kept = timelines.newest(files, prepared.project.name)
    assert kept is not None
    assert [stint.segment for stint in kept.stints] == [stint.segment for stint in outcome.stints]
    assert kept.complete
    learned = calibrations.kept(files)[hardware.kind_here(False)]
    assert learned.measured
    assert {report.segment.operator for report in outcome.reports} == {Operator.DP_I}
    shown = recorded.cli("timeline", "--html", "replay.html", check=True).stdout
    assert "other on 2 workers" in shown
    assert re.search(r"worker-0 .*\d+%", shown)
    assert "<svg" in (recorded.root / "replay.html").read_text()
    assert kept.origin in recorded.cli("timeline", "--list", check=True).stdout
    assert recorded.cli("timeline", "nonsense").returncode != 0


def test_replays_are_simulated_from_the_store(recorded: Lab) -> None:
    own = recorded.cli("simulate", "seen", "--workers", "1,2", check=True).stdout
    assert [line.split()[0] for line in own.splitlines()[-2:]] == ["1", "2"]
    words = ["simulate", "seen", "--workers", "16", "--noise", "0.2", "--html", "chart.html"]
    shown = recorded.cli(*words, check=True).stdout
    assert "The chart of 16 workers is in chart.html" in shown
    assert recorded.cli(*words, check=True).stdout == shown  # chance is seeded
    for wrong in ([], ["seen", "--workers", "few"]):
        done = recorded.cli("simulate", *wrong)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
