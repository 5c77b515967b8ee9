"""How things are said to people: times, and the words of others at the end of our sentences."""

from __future__ import annotations

import pytest

from flor_ray import wording
from flor_ray.cli import terminal
from flor_ray.cluster.driver import Progress
from flor_ray.errors import BadWhere
from flor_ray.reports import progress as words
from flor_ray.scheduler.remaining import TimeLeft


@pytest.mark.parametrize(
    ("said", "sentence"),
    [("no module", "no module."), ("it is not there.", "it is not there."), ("gone.\n", "gone."), ("why?", "why?")],
)
def test_words_of_others_end_a_sentence_once(said: str, sentence: str) -> None:
    assert wording.ended(said) == sentence
    assert f"{sentence.rstrip('.')}. It is a pandas query" in str(BadWhere("a", said.strip(), []))


@pytest.mark.parametrize(
    ("seconds", "said"), [(2.54, "2.5 s"), (9.97, "10 s"), (35.2, "35 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s")]
)
def test_nobody_is_promised_tenths_of_many_seconds(seconds: float, said: str) -> None:
    assert wording.roughly(seconds) == said


def standing(left: TimeLeft, workers: int = 2, awaited: int = 0) -> str:
    return words.standing(Progress(3, 8, 3, 12.0, left, workers, awaited))


def test_a_line_of_progress_says_what_is_started_what_is_left_and_what_takes_too_long() -> None:
    left = TimeLeft(35.0, 20.0, 55.0)
    assert standing(left, 0, 2) == "starting 2 workers, 20 s to 55 s left"
    assert standing(left) == "2 workers, 12.0 s of worker time, about 35 s left (20 s to 55 s)"
    assert standing(left, 1, 1) == "1 worker, 12.0 s of worker time, about 35 s left (20 s to 55 s)"
    late = TimeLeft(35.0, 20.0, 55.0, late=True)
    assert standing(late) == "2 workers, 12.0 s of worker time, longer than estimated: 20 s to 55 s more"
    assert standing(TimeLeft(0.0, 0.0, 1.0), 0) == "12.0 s of worker time"
    all_there = words.standing(Progress(8, 8, 8, 12.0, late, 0, 0))
    assert all_there == "12.0 s of worker time"


def test_a_line_of_progress_says_what_others_are_at_and_what_is_left_to_this_replay() -> None:
    left = TimeLeft(0.0, 0.0, 1.0)
    theirs = {"ann@box (replay-1)": 12, "bob@box (replay-2)": 1}
    assert words.standing(Progress(3, 8, 3, 12.0, left, 2, 0, elsewhere=theirs, share=2)) == (
        "2 workers, 12.0 s of worker time; 12 segments are being replayed by ann@box (replay-1); 1 segment is being "
        "replayed by bob@box (replay-2); beside other replays its share is 2 workers"
    )


def test_a_frozen_replay_still_says_now_and_then_how_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    tell = terminal._plain_progress()
    for second in range(40):
        now = 100.0 + second
        tell(Progress(0, 8, 0, 0.0, TimeLeft(35.0, 20.0, 55.0), 0, 2, drift="It drifts."))
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("Replaying: 0 of 8 rows, starting 2 workers, 20 s to 55 s left") == 3
    assert lines.count("Note: It drifts.") == 1
