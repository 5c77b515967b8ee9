"""Pictures of replays that run: what is shown comes back, costs little, and is gone when the replay is over."""

from pathlib import Path

import pytest

from flor_ray.records import Ending, Operator, RunningStint, Segment, Stint
from flor_ray.reports import live
from flor_ray.reports.live import LiveStanding, Painter, Picture
from flor_ray.reports.timelines import Timeline
from flor_ray.store import heartbeats
from flor_ray.store.files import Files

SEGMENT = Segment("a" * 40, 1, 4, Operator.DP_I, names=("acc",))
DONE = Stint("worker 1", SEGMENT.part(1, 2), 0.5, 2.0, Ending.DONE, 0.25, 1.25, "cpu", 2)
TIMELINE = Timeline("replay-1", ("acc",), (DONE,), 2, 9.5, False, {"a" * 40: "first"}, 7.5)
PICTURE = Picture(
    TIMELINE,
    (RunningStint("worker 1", SEGMENT.part(3, 4), 2.0, 3.0, 3),),
    LiveStanding(2.5, 2, 4, 2, 1, 1, 2.5, 3.0, 2.0, 5.0, "epoch 3 is late"),
)


def test_a_picture_comes_back_as_it_was() -> None:
    assert live.of_json(live.to_json(PICTURE), "replay-1") == PICTURE


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"timeline": {}}', b'{"timeline": 3}', b"\xff"])
def test_what_is_no_picture_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        live.of_json(data, "replay-1")


def test_pictures_take_no_more_than_their_share_of_the_time() -> None:
    moments = iter([0.0, 1.0, 10.0, 50.9, 51.1, 52.1])  # the first one took a second
    shown: list[bytes] = []
    painter = Painter(shown.append, lambda: next(moments))
    painter.paint(lambda: PICTURE)
    painter.paint(lambda: PICTURE)
    painter.paint(lambda: PICTURE)
    assert len(shown) == 1
    painter.paint(lambda: PICTURE)
    assert len(shown) == 2


def test_a_replay_shows_itself_while_it_runs_and_no_more_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "_HERE_SECONDS", 0.01)
    files = Files(str(tmp_path))
    pulse = heartbeats.Pulse(files, "p", "replay-1", heartbeats.of_this_process(("acc",), 1, ""))
    assert live.read(files, "p", "replay-1") is None
    with pulse:
        pulse.shows(live.to_json(PICTURE))
        while (found := live.read(files, "p", "replay-1")) is None:
            pass
        assert found == PICTURE
    assert live.read(files, "p", "replay-1") is None
    (known,) = heartbeats.known(files, "p")
    assert known.state is heartbeats.ReplayState.FINISHED


def test_a_damaged_picture_shows_nothing(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    files.write("jobs/p/replay-1.live", b"half of a pict")
    assert live.read(files, "p", "replay-1") is None
