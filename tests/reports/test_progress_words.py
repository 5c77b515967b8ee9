"""How what is overdue is said."""

from __future__ import annotations

import pytest

from flor_ray.cluster.driver import Progress
from flor_ray.reports.progress import overdue_steps, standing
from flor_ray.scheduler.overdue import OverdueStep
from flor_ray.scheduler.remaining import TimeLeft

LATE = OverdueStep("3fa2c81d" * 5, 4, 720.0, 40.0, "train.py:31")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((), ""),
        ((LATE,), "version 3fa2c81d epoch 4 has taken 12 min 0 s, expected 40 s: train.py:31"),
        (
            (OverdueStep("3fa2c81d" * 5, 0, 720.0, 40.0), LATE),
            "version 3fa2c81d has, outside its epochs, taken 12 min 0 s, expected 40 s; and 1 more",
        ),
    ],
)
def test_what_is_overdue_has_a_name(steps: tuple[OverdueStep, ...], said: str) -> None:
    assert overdue_steps(steps) == said


def test_no_time_is_told_that_is_known_to_be_false() -> None:
    left = TimeLeft(100.0, 50.0, 200.0, late=True)
    progress = Progress(12, 40, 12, 60.0, left, workers=4, awaited=0, overdue=(LATE,))
    said = standing(progress)
    assert said == (
        "4 workers, 1 min 0 s of worker time; version 3fa2c81d epoch 4 has taken 12 min 0 s, expected 40 s: train.py:31"
    )
