"""Timelines: what they tell, how they are kept, and how they look."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flor_ray.errors import FlorWarning, StoreError, UsageError
from flor_ray.records import Ending, Operator, Segment, SegmentCost, Stint
from flor_ray.reports import timeline_page, timelines
from flor_ray.reports.timelines import Timeline, Use
from flor_ray.scheduler.packing import pack
from flor_ray.scheduler.problem import Slot
from flor_ray.store import collecting, live_replays
from flor_ray.store.store import Store
from tests.pace import slowness

SVG = "{http://www.w3.org/2000/svg}"
A, B = "a" * 40, "b" * 40


def segment(version: str, first: int, last: int) -> Segment:
    return Segment(version, first, last, Operator.DP_I, restore=first - 1, names=("loss",))


TIMELINE = Timeline(
    "replay-20260102T030405.000000Z-abcd",
    ("loss",),
    (
        Stint("node-10", segment(B, 1, 4), 0.0, 6.0, Ending.DONE, 2.0, 5.0, "A100", 4),
        Stint("node-2", segment(A, 1, 8), 0.0, 8.0, Ending.DONE, 2.0, 9.0, "A100", 8),
        Stint("node-10", segment(A, 9, 9), 6.0, 7.0, Ending.FAILED, 0.5, 1.0, "A100"),
        Stint("node-2", segment(A, 9, 9), 8.0, 10.0, Ending.DONE, 0.0, 1.0, "A100", 1),
    ),
    workers=3,
    planned_makespan_seconds=9.0,
    runs={A: "first & last"},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def test_all_worker_time_is_busy_wasted_or_idle() -> None:
    assert timelines.use(TIMELINE) == Use(
        busy_seconds=16.0, setup_seconds=4.0, wasted_seconds=1.0, idle_seconds=13.0, wasted_stints=1
    )


def test_the_text_has_a_line_per_worker_an_axis_and_the_figures() -> None:
    assert timeline_page.text(TIMELINE, 48) == "\n".join(
        [
            "Replay replay-20260102T030405.000000Z-abcd: loss on 3 workers",
            "",
            "node-2  =======##########################  100%",
            "node-10 =======############xxxxx.........   60%",
            "        |0              |5 s             |10 s",
            "        = set-up   # run   . idle   x failed or lost   / cancelled   right: share of busy time",
            "",
            "It took 10.0 s; 9.0 s had been estimated (+11%).",
            "Worker time: 16.0 s busy (53%), of it 4.0 s set-up; 13.0 s idle; 1.0 s wasted on 1 failed, lost or "
            "cancelled attempt.",
            "Longest idle time: 3.0 s of node-10, from 7 s to 10 s: nothing was left for it while node-2 ended version "
            "aaaaaaaa, epoch 9.",
            "1 worker has run nothing.",
        ]
    )


def test_a_gap_before_work_that_another_worker_lost_says_so() -> None:
    stints = (
        Stint("w1", segment(A, 1, 2), 0.0, 2.0, Ending.DONE),
        Stint("w2", segment(A, 3, 9), 0.0, 5.0, Ending.LOST),
        Stint("w1", segment(A, 3, 9), 5.0, 12.0, Ending.DONE),
    )
    gap = timelines.longest_gap(replace(TIMELINE, stints=stints[:1] + stints[2:] + stints[1:2]))
    assert gap is not None
    assert (gap.worker, gap.began, gap.ended) == ("w2", 5.0, 12.0)
    gap = timelines.longest_gap(replace(TIMELINE, stints=(*stints, Stint("w2", segment(B, 1, 1), 5, 12, Ending.DONE))))
    assert gap is not None
    assert (gap.worker, gap.began, gap.ended) == ("w1", 2.0, 5.0)
    assert gap.why == "nothing was left for it until version aaaaaaaa, epochs 3-9 was lost on w2"


def test_many_workers_are_shown_in_groups() -> None:
    text = timeline_page.text(big(1024, 10_000), 100)
    lines = text.splitlines()
    assert len(lines) < 52
    assert all(len(line) <= 100 for line in lines[1:-8])
    assert "(a line shows what most of its 26 workers do)" in text


def test_failures_are_shown_however_short_they_are() -> None:
    stints = (
        Stint("w", segment(A, 1, 1), 0.0, 50.0, Ending.DONE),
        Stint("w", segment(A, 2, 2), 50.0, 50.01, Ending.FAILED),
        Stint("w", segment(A, 3, 3), 50.01, 100.0, Ending.DONE),
    )
    assert "#x#" in timeline_page.text(replace(TIMELINE, stints=stints))


def test_a_replay_that_ran_nothing_has_no_chart() -> None:
    empty = replace(TIMELINE, stints=())
    assert timeline_page.text(empty).endswith("on 3 workers. Nothing has run.")
    ElementTree.fromstring(timeline_page.page(empty))


def test_a_page_is_well_formed_and_has_a_bar_with_a_tooltip_for_each_stint() -> None:
    page = timeline_page.page(TIMELINE)
    root = ElementTree.fromstring(page)
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles == [
        "version aaaaaaaa, epochs 1-8: 8.0 s, estimated 9.0 s, set-up 2.0 s",
        "version aaaaaaaa, epoch 9: 2.0 s, estimated 1.0 s",
        "version bbbbbbbb, epochs 1-4: 6.0 s, estimated 5.0 s, set-up 2.0 s",
        "version aaaaaaaa, epoch 9, failed: 1.0 s, estimated 1.0 s, set-up 0.5 s",
    ]
    bars = [bar for bar in root.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]
    places = [(bar.get("class"), float(bar.get("x", "")), float(bar.get("width", ""))) for bar in bars]
    assert places == [("c1", 120, 767.4), ("c1", 888, 191.4), ("c0", 120, 575.4), ("failed", 696, 95.4)]
    assert "first &amp; last" in page
    assert not re.search(r"(src|href)=|@import|<script", page)


def test_everything_on_a_page_is_inside_the_picture() -> None:
    root = ElementTree.fromstring(timeline_page.page(big(30, 200)))
    (svg,) = root.iter(f"{SVG}svg")
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    for rect in svg.findall(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height


def test_ten_thousand_stints_make_a_page_of_a_few_megabytes_in_a_moment() -> None:
    timeline = big(1024, 10_000)
    began = time.process_time()
    page = timeline_page.page(timeline)
    assert time.process_time() - began < 4 * slowness()
    assert len(page) < 4e6
    assert len(list(ElementTree.fromstring(page).iter(f"{SVG}title"))) == 10_000


def test_a_plan_becomes_a_timeline_with_set_ups_where_they_are_paid() -> None:
    costs = [SegmentCost(segment(A, n, n), 2.0, 3.0) for n in (1, 2)]
    timeline = timelines.planned(pack(costs, 1), ["loss"])
    assert [(s.worker, s.began, s.ended, s.setup_seconds) for s in timeline.stints] == [
        ("worker 1", 0.0, 5.0, 2.0),
        ("worker 1", 5.0, 8.0, 0.0),
    ]
    assert timeline_page.figures(timeline)[0] == "It would take 8.0 s."
    slow = Slot(slowness=2.0, ready_seconds=1.0, warm=frozenset((A,)))
    assert [(s.began, s.ended) for s in timelines.planned(pack(costs, [slow])).stints] == [(1.0, 7.0), (7.0, 13.0)]


def test_timelines_are_kept_whole_and_found_by_the_replays_id(store: Store) -> None:
    with pytest.raises(UsageError, match="No replay of p r/o has a timeline"):
        timelines.find(store.files, "p r/o")
    later = replace(TIMELINE, origin="replay-20260103T000000.000000Z-0001", complete=False)
    for timeline in (later, TIMELINE):
        timelines.keep(store.files, "p r/o", timeline)
    timelines.keep(store.files, "p r/o", replace(TIMELINE, names=("other",)))  # what was written first stands
    assert list(timelines.every(store.files, "p r/o")) == [later, TIMELINE]
    assert timelines.newest(store.files, "p r/o") == later
    assert timelines.newest(store.files, "other") is None
    assert timelines.find(store.files, "p r/o", "20260102") == TIMELINE
    assert timelines.find(store.files, "p r/o", "replay-20260103") == later
    with pytest.raises(UsageError, match=r"2 replays .* begin with '2026'; they are replay-20260102"):
        timelines.find(store.files, "p r/o", "2026")
    with pytest.raises(UsageError, match=r"No replay .* begins with 'x'; the newest are replay-20260102"):
        timelines.find(store.files, "p r/o", "x")
    assert [row[-2:] for row in timeline_page.listing([later, TIMELINE])] == [
        ["10.0 (stopped)", "53%"],
        ["10.0", "53%"],
    ]


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"format": 2}', b"\xff"])
def test_a_damaged_timeline_is_named_and_left_out(store: Store, data: bytes) -> None:
    timelines.keep(store.files, "p", TIMELINE)
    path = "timelines/p/replay-20260105T000000~2E000000Z-0001.json"
    store.files.write(path, data)
    with pytest.warns(FlorWarning, match=re.escape(path)):
        assert timelines.newest(store.files, "p") == TIMELINE
    with pytest.raises(StoreError, match=re.escape(path)):
        timelines.find(store.files, "p", "20260105")


def test_tidying_a_store_takes_no_notice_of_timelines(store: Store) -> None:
    timelines.keep(store.files, "p", TIMELINE)
    found = collecting.survey(store)
    assert (found.versions, found.live, found.damage) == ((), (), ())
    assert live_replays.live(store.files, time.time()) == ()
    assert store.projects() == ()


def test_ten_thousand_stints_are_kept_in_less_than_a_megabyte(store: Store) -> None:
    timeline = big(1024, 10_000)
    timelines.keep(store.files, "p", timeline)
    (info,) = store.files.infos("timelines").values()
    assert info.bytes < 1e6
    assert timelines.newest(store.files, "p") == timeline


def big(workers: int, count: int) -> Timeline:
    """Stints of uneven lengths, some of which failed."""
    ends = [0.0] * workers
    stints = []
    for number in range(count):
        worker = number % workers
        taken = 60.0 + number * 37 % 101
        ending = Ending.FAILED if number % 97 == 5 else Ending.DONE
        own = segment(f"{number % 300:040x}", number // 300 + 1, number // 300 + 2)
        stints.append(Stint(f"worker-{worker}", own, ends[worker], ends[worker] + taken, ending, 7.5, 100.0, "H200", 9))
        ends[worker] += taken
    return Timeline("replay-1", ("loss",), tuple(stints), workers, 900.0)
