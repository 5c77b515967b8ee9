"""How a replay stands while it runs, for people: who works, what is left, what takes longer than it should."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flor_ray.scheduler.overdue import OverdueStep
from flor_ray.wording import counted, duration, roughly

if TYPE_CHECKING:
    from flor_ray.cluster.driver import Progress


def overdue_steps(steps: Sequence[OverdueStep]) -> str:
    """version a1b2c3d4 epoch 4 has taken 12 min 0 s, expected 40 s: train.py:31; and 2 more. "" without any."""
    if not steps:
        return ""
    step, others = steps[0], len(steps) - 1
    at = f"epoch {step.epoch} has" if step.epoch else "has, outside its epochs,"
    return (
        f"version {step.version[:8]} {at} taken {roughly(step.seconds)}, expected {roughly(step.expected_seconds)}"
        + (f": {step.place}" if step.place else "")
        + (f"; and {others} more" if others else "")
    )


def standing(progress: Progress) -> str:
    """4 workers, 2 min 10 s of worker time, about 35 s left (30 s to 50 s). At first: starting 4 workers, ... left.
    What other replays do of it comes last."""
    return f"{_of_this_replay(progress)}{_of_others(progress)}"


def _of_others(progress: Progress) -> str:
    """; 12 segments are being replayed by ann@box (replay-...); beside other replays its share is 4 workers."""
    found = ""
    for who, segments in progress.elsewhere.items():
        found += f"; {counted(segments, 'segment')} {'is' if segments == 1 else 'are'} being replayed by {who}"
    if progress.share is not None:
        found += f"; beside other replays its share is {counted(progress.share, 'worker')}"
    return found


def _of_this_replay(progress: Progress) -> str:
    """While something is overdue nobody knows what is left: then it is named."""
    left = progress.left
    between = f"{roughly(left.low)} to {roughly(left.high)}"
    if not progress.workers and progress.awaited:
        return f"starting {counted(progress.awaited, 'worker')}, {between} left"
    workers = f"{counted(progress.workers, 'worker')}, " if progress.workers else ""  # at the end all may have left
    found = f"{workers}{duration(progress.busy_seconds)} of worker time"
    if progress.overdue:
        return f"{found}; {overdue_steps(progress.overdue)}"
    if progress.answered >= progress.wanted:
        return found
    if left.late:
        return f"{found}, longer than estimated: {between} more"
    return f"{found}, about {roughly(left.seconds)} left ({between})" if left.seconds else found
