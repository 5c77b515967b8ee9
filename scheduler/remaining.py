"""How long it will still take, as an interval that holds in nine of ten cases. Pure.

    lane of a worker:   |── taken ──|── rest of its step ──|──────── after ────────|
                        began       now                                            its end

A step is what a worker is at: its own start, the set-up of a version with the first epoch, or a later epoch. How long
one really takes has a log-logistic distribution around its estimate. Two things make that the right one here. When a
step is not over although it should be, what is left is neither nothing nor a constant: it grows with what it has taken
(who has waited three times as long as was estimated may well wait as long again). And its quantiles, given what has
been taken, are one line.

What comes after the step has the estimates' common error. That is known beforehand from earlier replays, or a guess,
and shrinks with each step that has ended, since estimates follow what steps have taken; but never to nothing, since
other programs come and go on a machine. Ends of the interval are added as if all errors were one and the same: that is
how errors of estimates usually are, and where they are not, the interval is too wide and not too narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

LOW, HIGH = 0.05, 0.95  # of true times, what is below and above the interval is a twentieth each
_DRIFT = 0.2  # standard deviation of the logarithm of what is left when all about its like is known
_STEP = 0.3  # of one step: an epoch that a machine had something else to do in
_FAR = 30.0  # of the logarithm of the odds that a step should be over
_SLACK_SECONDS = 1.0  # until it is noticed here that something has ended, and for tidying up at the end


@dataclass(frozen=True, slots=True)
class Lane:
    """What one worker is at, and what waits for it. Seconds are of that worker, as estimated now."""

    taken: float  # since it began with its step
    step: float  # of the whole step; 0 if it has none
    after: float
    spread: float = 0.0  # of the step, where it is known to be another than that of steps in general: its own start's


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is left of a replay."""

    lanes: tuple[Lane, ...]  # of the workers that are there or on their way
    waiting: float  # seconds of what waits for whichever worker is free
    ended: int  # steps whose seconds estimates have followed
    spread: float  # standard deviation of the logarithm of true over estimated seconds, before any step has ended


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Seconds until the last segment ends: they are between `low` and `high` in nine of ten cases."""

    seconds: float  # as likely more as less
    low: float
    high: float
    late: bool = False  # something takes longer than it should in nine of ten cases

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a whole replay should take, before any of it has begun."""

    ready_seconds: float  # until the first worker can begin with a segment
    ready_spread: float  # standard deviation of that
    run_seconds: float  # from then on
    workers: int
    spread: float  # as in `Outlook`

    def outlook(
        self, now: float = 0.0, joined: int = 0, lanes: tuple[Lane, ...] = (), waiting: float = 0.0, ended: int = 0
    ) -> Outlook:
        """What is left at this time, when so many workers have ever joined: before the first has, what was expected."""
        start = Lane(
            now, self.ready_seconds, 0.0, self.ready_spread / self.ready_seconds if self.ready_seconds else 0.0
        )
        if not joined:
            return Outlook((replace(start, after=self.run_seconds),), 0.0, 0, self.spread)
        return Outlook((*lanes, *[start] * (self.workers - joined)), waiting, ended, self.spread)


def time_left(outlook: Outlook) -> TimeLeft:
    """How long what is left takes. A worker's step cannot be shared; what comes after it can, so all of it takes at
    least what it is on average."""
    if not any(lane.step or lane.after for lane in outlook.lanes) and not outlook.waiting:
        return TimeLeft(0.0, 0.0, _SLACK_SECONDS)
    of_estimates, of_step = _spreads(outlook)
    low, middle, high = (_left(outlook, share, of_estimates, of_step) for share in (LOW, 0.5, HIGH))
    return TimeLeft(middle, max(0.0, low - _SLACK_SECONDS), high + _SLACK_SECONDS, bool(late_lanes(outlook)))


def late_lanes(outlook: Outlook) -> tuple[int, ...]:
    """Numbers of the lanes whose step takes longer than it should in nine of ten cases."""
    _, of_step = _spreads(outlook)
    return tuple(
        number
        for number, lane in enumerate(outlook.lanes)
        if lane.step and lane.taken > _quantile(lane.step, lane.spread or of_step, HIGH)
    )


def _spreads(outlook: Outlook) -> tuple[float, float]:
    """Of estimates, and of the seconds of one step: standard deviations of their logarithms."""
    of_estimates = math.hypot(outlook.spread / math.sqrt(1 + outlook.ended), _DRIFT)
    return of_estimates, math.hypot(of_estimates, _STEP)


def _left(outlook: Outlook, share: float, of_estimates: float, of_step: float) -> float:
    factor = _quantile(1.0, of_estimates, share)
    steps = [_rest(lane, share, lane.spread or of_step) for lane in outlook.lanes]
    ends = [rest + lane.after * factor for rest, lane in zip(steps, outlook.lanes, strict=True)]
    average = (sum(ends) + outlook.waiting * factor) / max(1, len(ends))
    return max([average, *(steps if share < 0.5 else ends)])


def _quantile(middle: float, spread: float, share: float) -> float:
    """What a share of all times is below, of a log-logistic distribution."""
    return middle * math.pow(share / (1 - share), spread * math.sqrt(3) / math.pi)


def _rest(lane: Lane, share: float, spread: float) -> float:
    """What a share of all rests of a step is below, given what it has taken."""
    if not lane.step:
        return 0.0
    scale = spread * math.sqrt(3) / math.pi
    late = (math.log(lane.taken) - math.log(lane.step)) / scale if lane.taken else -math.inf
    if late > _FAR:  # the odds would be too large a number, and what is added to them means nothing
        return lane.taken * (math.pow(1 - share, -scale) - 1)
    return max(0.0, lane.step * math.pow((1 + math.exp(late)) / (1 - share) - 1, scale) - lane.taken)
