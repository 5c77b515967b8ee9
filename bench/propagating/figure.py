"""Figure 2 of the paper, for propagation, as an SVG: accuracy, latency, and whether the confidence can be believed.

    +--- accuracy ----------------------------------------+   one bar for each system and group, from left to right
    | history, easy   ours  [ exact ][equiv][refused][wrong]   exact, equivalent, refused, wrong
    +--- latency -------------------+--- reliability -----+   median and 99th percentile, logarithmic;
    | ours  o------|                | share wrong by bin  |   share of wrong placements for bins of confidence
    +-------------------------------+---------------------+

Pure: numbers in, text out. Written by hand because the project has no plotting library, and three panels need none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from propagating.measuring import Bin

_COLOURS = {"exact": "#2b6cb0", "equivalent": "#90cdf4", "refused": "#d9d9d9", "wrong": "#c53030"}
_WIDTH, _MARGIN, _LABELS, _BAR, _GAP = 900, 24, 230, 13, 10
_TEXT = 'font-family="Helvetica, Arial, sans-serif"'


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Per cent of the statements to insert; the four add up to 100."""

    exact: float
    equivalent: float  # in an equivalent place, without the exact ones
    refused: float
    wrong: float


@dataclass(frozen=True, slots=True)
class Times:
    ms_median: float
    ms_p99: float


def draw(
    title: str,
    accuracy: Mapping[str, Mapping[str, Accuracy]],  # group -> system -> accuracy
    times: Mapping[str, Times],  # system -> latency
    reliability: Sequence[Bin],
) -> str:
    """The figure as the text of an SVG file."""
    top, parts = 64, [_text(_MARGIN, 26, title, size=16, weight="bold"), *_legend(46)]
    bars, height = _accuracy(accuracy, top)
    below = top + height + 34
    left, right = _latency(times, _MARGIN, below, 420), _reliability(reliability, 500, below, 376)
    parts += [*bars, *left, *right]
    total = below + 220
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{total}" {_TEXT}>'
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{total}" fill="white"/>', *parts, "</svg>"]) + "\n"


def _legend(y: float) -> list[str]:
    parts, x = [], float(_LABELS)
    for name, colour in _COLOURS.items():
        parts += [_box(x, y - 9, 10, 10, colour), _text(x + 15, y, name)]
        x += 95
    return parts


def _accuracy(groups: Mapping[str, Mapping[str, Accuracy]], top: float) -> tuple[list[str], float]:
    """The bars, and how high they are together."""
    parts, y, scale = list[str](), top, (_WIDTH - _LABELS - _MARGIN - 130) / 100
    for group, systems in groups.items():
        parts.append(_text(_MARGIN, y + _BAR - 3, group, weight="bold"))
        for system, row in systems.items():
            parts.append(_text(_LABELS - 8, y + _BAR - 3, system, anchor="end"))
            x = float(_LABELS)
            for name, colour in _COLOURS.items():
                width = getattr(row, name) * scale
                parts.append(_box(x, y, width, _BAR, colour))
                x += width
            right = f"{row.exact + row.equivalent:.1f} % right, {row.wrong:.1f} % wrong"
            parts.append(_text(_LABELS + 100 * scale + 6, y + _BAR - 3, right, size=9))
            y += _BAR + 3
        y += _GAP
    return parts, y - top


def _latency(times: Mapping[str, Times], x: float, y: float, width: float) -> list[str]:
    parts = [_text(x, y, "Latency, ms: median (dot) to 99th percentile", weight="bold")]
    values = [value for each in times.values() for value in (each.ms_median, each.ms_p99) if value > 0]
    low = math.floor(math.log10(min(values, default=1.0)))
    high = max(math.ceil(math.log10(max(values, default=10.0))), low + 1)
    start, long = x + 110, width - 130

    def at(ms: float) -> float:
        return start + long * (math.log10(max(ms, 10.0**low)) - low) / (high - low)

    bottom = y + 24 + 24 * len(times)
    for power in range(low, high + 1):
        parts += [_line(at(10.0**power), y + 12, at(10.0**power), bottom, "#dddddd")]
        parts += [_text(at(10.0**power), bottom + 14, f"{10.0**power:g}", anchor="middle", size=10)]
    for row, (system, each) in enumerate(times.items()):
        middle = y + 28 + 24 * row
        parts += [
            _text(start - 10, middle + 4, system, anchor="end"),
            _line(at(each.ms_median), middle, at(each.ms_p99), middle, "#2b6cb0", 2),
            _line(at(each.ms_p99), middle - 5, at(each.ms_p99), middle + 5, "#2b6cb0", 2),
            f'<circle cx="{at(each.ms_median):.1f}" cy="{middle:.1f}" r="4" fill="#2b6cb0"/>',
        ]
    return parts


def _reliability(bins: Sequence[Bin], x: float, y: float, width: float) -> list[str]:
    """Bars of the share that is wrong, beside the share that the confidence admits: what their mean lacks to 1."""
    parts = [_text(x, y, "Wrong placements, %, by confidence", weight="bold")]
    shown = [(each, _upper(bins, at)) for at, each in enumerate(bins) if each.placed]
    bottom, high, column = y + 160, 120.0, width / max(len(shown), 1)
    most = max([10.0, *(100 * each.wrong / each.placed for each, _ in shown)])
    for row, (each, upper) in enumerate(shown):
        left, wrong = x + row * column, 100 * each.wrong / each.placed
        admitted = min(100 * (1 - each.confidence), most)
        size, line = high * wrong / most, bottom - high * admitted / most
        label = f"{each.least:.2f}" if each.least == upper else f"{each.least:.2f}-{upper:.2f}"
        parts += [
            _box(left + 6, bottom - size, column - 12, size, _COLOURS["wrong"]),
            _line(left + 2, line, left + column - 2, line, "#555555"),
            _text(left + column / 2, bottom - size - 4, f"{wrong:.1f}", anchor="middle", size=10),
            _text(left + column / 2, bottom + 14, label, anchor="middle", size=9),
            _text(left + column / 2, bottom + 27, f"n={each.placed}", anchor="middle", size=9),
        ]
    parts += [_line(x, bottom, x + width, bottom, "#000000")]
    return [*parts, _text(x, bottom + 44, "grey lines: what the confidence admits", size=9)]


def _upper(bins: Sequence[Bin], at: int) -> float:
    return bins[at + 1].least if at + 1 < len(bins) else 1.0


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 11, weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _line(x: float, y: float, to_x: float, to_y: float, colour: str, width: int = 1) -> str:
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'
