"""What a curve looks like on so many pixels: reduced, smoothed, grouped, with its peak and its end. Pure; numpy only.

    all points of a range ──> columns of one pixel ──> of each: first, least, greatest, last, and what is no number

A line through these points covers the pixels that one through all of them covers, since within a column nothing but
its ends and extremes shows. Where there are no more points than that, nothing is left out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_MOST_GROWTH = 1e4  # of a weight within one chunk of a smoothed curve: four of sixteen digits go


class PointState(IntEnum):
    """What there is at a point."""

    NUMBER = 0
    NAN = 1  # was logged
    PLUS_INFINITY = 2
    MINUS_INFINITY = 3
    GAP = 4  # no value is there
    OTHER = 5  # a value that is no number: a text, an array, a picture


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points in the order of x, as parallel arrays."""

    x: Floats  # finite
    y: Floats  # what PointState says where it is no finite number
    state: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, points: Integers) -> Curve:
        """Some of its points."""
        return Curve(self.x[points], self.y[points], self.state[points])


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the x axis that is shown, on so many pixels."""

    first: float
    last: float
    pixels: int
    is_log: bool = False

    @property
    def edges(self) -> Floats:
        """Where columns begin, but for the first."""
        if self.is_log:
            return np.geomspace(self.first, self.last, self.pixels + 1)[1:-1]
        return np.linspace(self.first, self.last, self.pixels + 1)[1:-1]

    def columns(self, x: Floats) -> Integers:
        """In which column each x lies; -1 before the first, `pixels` after the last."""
        found: Integers = (
            np.searchsorted(self.edges, x, "right") if self.last > self.first else np.zeros(len(x), np.int64)
        )
        return np.where(x < self.first, -1, np.where(x > self.last, self.pixels, found))


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Which points of a curve are sent to a screen."""

    points: Integers  # positions, ascending
    shown: int  # points that lie in the window
    is_reduced: bool  # some of these were left out


def curve(
    x: Floats,
    y: Floats,
    missing: npt.NDArray[np.bool_] | None = None,
    others: npt.NDArray[np.bool_] | None = None,
) -> Curve:
    """A curve of these values; there is none where they are `missing`, and no number where they are `others`."""
    state = np.zeros(len(y), np.uint8)
    state[np.isnan(y)] = PointState.NAN
    state[np.isposinf(y)] = PointState.PLUS_INFINITY
    state[np.isneginf(y)] = PointState.MINUS_INFINITY
    if others is not None:
        state[others] = PointState.OTHER
    if missing is not None:
        state[missing] = PointState.GAP
    return Curve(np.asarray(x, np.float64), np.asarray(y, np.float64), state)


def window(curves: Sequence[Curve], pixels: int, first: float | None, last: float | None, is_log: bool) -> Window:
    """What is asked for, or else as far as the curves reach; on a log axis nothing at or below 0 is in it."""
    xs = [c.x for c in curves if len(c)]
    lows = [float(x[x > 0][0]) if is_log and (x > 0).any() else float(x[0]) for x in xs if not is_log or (x > 0).any()]
    low = min(lows, default=1.0) if first is None or (is_log and first <= 0) else first
    high = max((float(x[-1]) for x in xs), default=low) if last is None else last
    if is_log and low <= 0:
        low = 1.0
    return Window(low, max(low, high), max(1, pixels), is_log)


def reduced(of: Curve, seen: Window, marks: npt.NDArray[np.integer] | None = None) -> Reduced:
    """The points that a line in this window needs, and one beyond either end, to which it leads.

    Of each column these are the first, last, least and greatest, one of each other state, and one of each of `marks`,
    which say what is to be seen of points beside their place.
    """
    first, after = int(np.searchsorted(of.x, seen.first, "left")), int(np.searchsorted(of.x, seen.last, "right"))
    start, end = max(0, first - 1), min(len(of), after + 1)
    shown = after - first
    if shown <= 4 * seen.pixels:
        return Reduced(np.arange(start, end), shown, False)
    columns = np.searchsorted(of.x[start:end], seen.edges)
    starts = np.unique([0, first - start, *columns[columns < end - start], *([after - start] * (after < end))])
    y, state = of.y[start:end], of.state[start:end]
    number = state == PointState.NUMBER
    all_numbers = bool(number.all())
    kept = [starts, np.append(starts[1:], end - start) - 1]
    for extreme, other in ((np.minimum, np.inf), (np.maximum, -np.inf)):
        of_numbers = y if all_numbers else np.where(number, y, other)
        best = np.repeat(extreme.reduceat(of_numbers, starts), np.diff(np.append(starts, end - start)))
        kept.append(_firsts(starts, of_numbers == best if all_numbers else number & (of_numbers == best)))
    if not all_numbers:
        kept += [_firsts(starts, state == other) for other in PointState if other is not PointState.NUMBER]
    if marks is not None:
        of_points = marks[start:end]
        kept += [_firsts(starts, of_points == mark) for mark in np.flatnonzero(np.bincount(of_points))]
    points = np.unique(np.concatenate(kept))
    return Reduced(points + start, shown, len(points) < end - start)


def _firsts(starts: Integers, chosen: npt.NDArray[np.bool_]) -> Integers:
    """Of each column the first point that is chosen; columns begin at `starts`."""
    at = np.flatnonzero(chosen)
    columns = np.searchsorted(starts, at, "right")
    found: Integers = at[np.diff(columns, prepend=-1) != 0]
    return found


def smoothed(y: Floats, state: npt.NDArray[np.uint8], weight: float) -> Floats:
    """An exponential moving mean without the bias of its beginning: each number counts `weight` times as much as the
    one after it. NaN where there is no number; it goes on behind that from the numbers before.

    Raises:
        ValueError: the weight is not from 0 to below 1.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"a weight of {weight} smooths nothing: it is from 0 to below 1")
    at = np.flatnonzero(state == PointState.NUMBER)
    result = np.full(len(y), np.nan)
    if not len(at) or weight == 0:
        result[at] = y[at]
        return result
    length = max(1, min(len(at), int(math.log(_MOST_GROWTH) / -math.log(weight))))
    rows = -(-len(at) // length)
    padded = np.zeros(rows * length)
    padded[: len(at)] = y[at]
    powers = weight ** np.arange(length)
    sums = np.cumsum(padded.reshape(rows, length) / powers, axis=1) * powers  # of each chunk alone
    carried, over = 0.0, weight**length
    carry = np.empty(rows)
    for row, last in enumerate(sums[:, -1].tolist()):
        carry[row] = carried
        carried = carried * over + last
    sums += carry[:, None] * (powers * weight)
    weights = -np.expm1(np.arange(1, len(at) + 1) * math.log(weight)) / (1 - weight)
    result[at] = sums.reshape(-1)[: len(at)] / weights
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """What the runs of a group have at each x, together. Runs without a number there do not count."""

    x: Floats
    mean: Floats  # NaN where no run has a number
    spread: Floats  # the standard deviation of a sample; NaN of fewer than two
    lowest: Floats
    highest: Floats
    runs: Integers  # that have a number there
    is_reduced: bool  # each x stands for a pixel's width, in which a run counts with its mean


def band(curves: Sequence[Curve], seen: Window) -> Band:
    """The mean of several runs' curves over x, and how far they are apart."""
    xs, ys, runs = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, np.int64)]
    for number, one in enumerate(curves):
        inside = (one.x >= seen.first) & (one.x <= seen.last) & (one.state == PointState.NUMBER)
        xs.append(one.x[inside])
        ys.append(one.y[inside])
        runs.append(np.full(int(inside.sum()), number))
    x, y, run = np.concatenate(xs), np.concatenate(ys), np.concatenate(runs)
    places, at = np.unique(x, return_inverse=True)
    is_reduced = len(places) > seen.pixels
    if is_reduced:
        column = seen.columns(places)
        width = np.bincount(column, minlength=seen.pixels)
        middle = np.bincount(column, places, minlength=seen.pixels)
        used = width > 0
        at = (np.cumsum(used) - 1)[column[at]]
        places = middle[used] / width[used]
    # one value per run and place first: a run that logs more often than others does not count more
    cells, cell = np.unique(at * max(1, len(curves)) + run, return_inverse=True)
    value = np.bincount(cell, y, minlength=len(cells)) / np.maximum(1, np.bincount(cell, minlength=len(cells)))
    place = cells // max(1, len(curves))
    return _band(places, place, value, is_reduced)


def _band(places: Floats, place: Integers, value: Floats, is_reduced: bool) -> Band:
    n = len(places)
    count = np.bincount(place, minlength=n)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(place, value, minlength=n) / count
        squares = np.bincount(place, (value - mean[place]) ** 2, minlength=n)
        spread = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
    lowest, highest = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(lowest, place, value)
    np.maximum.at(highest, place, value)
    return Band(places, mean, spread, lowest, highest, count, is_reduced)


def groups(values: Mapping[str, Hashable]) -> dict[Hashable, list[str]]:
    """Runs by the value that each of them has, values in order: numbers as numbers, then others as text."""
    found: dict[Hashable, list[str]] = {}
    for run, value in values.items():
        found.setdefault(value, []).append(run)
    return {value: found[value] for value in sorted(found, key=_order)}


def _order(value: object) -> tuple[int, float, str]:
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return 0, float(value), ""
    return 1, 0.0, str(value)


def peak(of: Curve, greatest: bool = True) -> int | None:
    """The position of the greatest (or least) number, the first of several; None if there is no number."""
    at = np.flatnonzero(of.state == PointState.NUMBER)
    if not len(at):
        return None
    found = np.argmax(of.y[at]) if greatest else np.argmin(of.y[at])
    return int(at[found])


def end(of: Curve) -> int | None:
    """The position of the last number; None if there is none."""
    at = np.flatnonzero(of.state == PointState.NUMBER)
    return int(at[-1]) if len(at) else None
