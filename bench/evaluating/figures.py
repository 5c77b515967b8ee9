"""Figures 7 to 10 of the paper with our numbers, as SVG. Pure; by hand, because no plotting library is needed for
bars and lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any
from xml.sax.saxutils import escape

_FONT = 'font-family="Helvetica, Arial, sans-serif" font-size="12"'
_COLOURS = {"inner": "#2b6cb0", "outer": "#dd6b20", "prefix": "#38a169", "start": "#718096"}
_WORDS = {
    "inner": "each step",
    "outer": "each epoch",
    "prefix": "before the loop",
    "start": "run again from the start",
}
_PANEL_WIDTH, _PANEL_HEIGHT, _COLUMNS = 216, 200, 5
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 900, 410, 60, 110, 90
_WIDE_LABEL = 5  # letters: longer ones stand upright above their bars
Systems = Mapping[str, Mapping[str, Any]]


def drawn(systems: Systems) -> dict[str, str]:
    """The figures for which there are numbers, by name."""
    measured = {name: found for name, found in systems.items() if "levels" in found}
    if not measured:
        return {}
    return {
        "figure-7": replay_times(measured),
        "figure-8": storage(measured),
        "figure-9": estimate_errors(measured),
        "figure-10": scale_out(measured),
    }


def replay_times(systems: Systems) -> str:
    """Figure 7: a panel per system; seconds over the number of versions, for each level and for running again."""
    rows = math.ceil(len(systems) / _COLUMNS)
    width, height = 40 + _COLUMNS * _PANEL_WIDTH, 70 + rows * _PANEL_HEIGHT
    parts = [
        _title("Figure 7. Replay times, by number of versions (processor seconds)"),
        *_legend(list(_COLOURS), _WORDS),
    ]
    for index, found in enumerate(systems.values()):
        left, top = 30 + index % _COLUMNS * _PANEL_WIDTH, 76 + index // _COLUMNS * _PANEL_HEIGHT
        lines = {level: list(accumulate(told["seconds"])) for level, told in found["levels"].items()}
        lines["start"] = list(accumulate(found["from_start_seconds"]))
        parts += _panel(found["title"], lines, left, top)
    return _svg(width, height, parts)


def _panel(title: str, lines: Mapping[str, Sequence[float]], left: float, top: float) -> list[str]:
    wide, high = _PANEL_WIDTH - 60, _PANEL_HEIGHT - 70
    most = max((value for line in lines.values() for value in line), default=1.0) or 1.0
    count = max(len(line) for line in lines.values())
    x0, y0 = left + 34, top + 22 + high
    parts = [
        f'<text x="{x0}" y="{top + 10}" font-weight="bold">{escape(title)}</text>',
        f'<path d="M{x0} {y0 - high}V{y0}H{x0 + wide}" stroke="#444" fill="none"/>',
        f'<text x="{x0 - 4}" y="{y0 - high + 4}" text-anchor="end" font-size="10">{most:.3g}</text>',
        f'<text x="{x0 - 4}" y="{y0}" text-anchor="end" font-size="10">0</text>',
        f'<text x="{x0}" y="{y0 + 14}" font-size="10" text-anchor="middle">1</text>',
        f'<text x="{x0 + wide}" y="{y0 + 14}" font-size="10" text-anchor="middle">{count}</text>',
        f'<text x="{x0 + wide / 2}" y="{y0 + 14}" font-size="10" text-anchor="middle" fill="#777">versions</text>',
    ]
    for kind, line in lines.items():
        places = [(x0 + wide * i / max(1, count - 1), y0 - high * value / most) for i, value in enumerate(line)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dashes = ' stroke-dasharray="5 3"' if kind == "start" else ""
        parts.append(f'<path d="M{path}" fill="none" stroke="{_COLOURS[kind]}" stroke-width="2"{dashes}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{_COLOURS[kind]}"/>' for x, y in places]
    return parts


def storage(systems: Systems) -> str:
    """Figure 8: bytes in the store, beside those of a torch.save after each epoch of each version; logarithmic."""
    kinds = {"stored": "#2b6cb0", "torch": "#a0aec0"}
    words = {"stored": "flor_ray's store, all versions", "torch": "torch.save after each epoch"}
    bars = {f["title"]: [("stored", f["bytes_stored"]), ("torch", f["bytes_saved"])] for f in systems.values()}
    values = [value for found in bars.values() for _, value in found]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def tall(value: float) -> float:
        return (math.log10(value) - low) / max(1, high - low)

    ticks = [(tall(10.0**power), _bytes(10.0**power)) for power in range(low, high + 1)]
    labelled = {title: [(k, tall(v), _bytes(v)) for k, v in found] for title, found in bars.items()}
    return _bars("Figure 8. Storage footprint", labelled, ticks, kinds, words)


def estimate_errors(systems: Systems) -> str:
    """Figure 9: how far off the estimates for a version were, on average and at most."""
    kinds = {"mean": "#2b6cb0", "max": "#90cdf4"}
    words = {"mean": "average error", "max": "maximum error"}
    errors = {
        f["title"]: [e for told in f["levels"].values() for e in told["estimate_errors_pct"]] for f in systems.values()
    }
    most, marks = _scale(max((max(found) for found in errors.values() if found), default=1.0))
    labelled = {
        title: [("mean", fmean(found) / most, f"{fmean(found):.0f}"), ("max", max(found) / most, f"{max(found):.0f}")]
        for title, found in errors.items()
        if found
    }
    ticks = [(mark / most, f"{mark:g} %") for mark in marks]
    return _bars("Figure 9. Errors of the cost estimate of a version's replay", labelled, ticks, kinds, words)


def scale_out(systems: Systems) -> str:
    """Figure 10: how much faster a column of each step is filled, with as many workers as are of use: by versions at
    once, and on top of that by parts of a version that start at checkpoints."""
    kinds = {"versions": "#2b6cb0", "parts": "#90cdf4"}
    words = {"versions": "versions beside each other", "parts": "and parts of versions, from checkpoints"}
    found: dict[str, list[tuple[str, float]]] = {}
    for told in systems.values():
        whole, cut = told["levels"]["inner"]["whole_makespans"], told["levels"]["inner"]["makespans"]
        versions, parts = whole["1"] / min(whole.values()), whole["1"] / min(cut.values())
        found[told["title"]] = [("versions", versions), ("parts", max(0.0, parts - versions))]
    most, marks = _scale(max(sum(value for _, value in bars) for bars in found.values()))
    labelled = {
        title: [
            (kind, value / most, "" if kind == "versions" else f"{sum(v for _, v in bars):.1f}") for kind, value in bars
        ]
        for title, bars in found.items()
    }
    ticks = [(mark / most, f"{mark:g}\N{MULTIPLICATION SIGN}") for mark in marks]
    return _bars("Figure 10. Greatest speedup on many workers (by the scheduler)", labelled, ticks, kinds, words, True)


def _scale(most: float) -> tuple[float, list[float]]:
    """The end of an axis up to some value, and where it is marked: four to eight times, in round numbers."""
    size = 10.0 ** math.floor(math.log10(most or 1.0))
    step = next(step for step in (size / 5, size / 2, size, 2 * size, 5 * size) if most <= 8 * step)
    count = max(1, math.ceil(most / step))
    return count * step, [round(step * index, 10) for index in range(count + 1)]


_Bar = tuple[str, float, str]  # kind, share of the height, label


def _bars(
    title: str,
    groups: Mapping[str, Sequence[_Bar]],
    ticks: Sequence[tuple[float, str]],
    colours: Mapping[str, str],
    words: Mapping[str, str],
    stacked: bool = False,
) -> str:
    high, y0 = _HEIGHT - _TOP - _BOTTOM, _HEIGHT - _BOTTOM
    step = (_WIDTH - _LEFT - 20) / max(1, len(groups))
    upright = any(len(label) > _WIDE_LABEL for bars in groups.values() for _, _, label in bars)
    parts = [_title(title), *_legend(list(colours), words, colours)]
    for share, label in ticks:
        y = y0 - share * high
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="10">{escape(label)}</text>')
    for index, (name, bars) in enumerate(groups.items()):
        middle, below = _LEFT + (index + 0.5) * step, float(y0)
        width = step * (0.5 if stacked else 0.32)
        parts.append(
            f'<text x="{middle:.1f}" y="{y0 + 16}" text-anchor="end" '
            f'transform="rotate(-30 {middle:.1f} {y0 + 16})">{escape(name)}</text>'
        )
        for place, (kind, share, label) in enumerate(bars):
            x = middle - width / 2 if stacked else middle + (place - len(bars) / 2) * width
            top, tall = below - share * high, share * high
            parts.append(
                f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{tall:.1f}" fill="{colours[kind]}"/>'
            )
            parts.append(_label(label, x + width / 2, top - 3, upright))
            below = top if stacked else y0
    return _svg(_WIDTH, _HEIGHT, parts)


def _label(words: str, x: float, y: float, upright: bool) -> str:
    how = f'transform="rotate(-90 {x + 3:.1f} {y:.1f})"' if upright else 'text-anchor="middle"'
    return f'<text x="{x + 3 * upright:.1f}" y="{y:.1f}" {how} font-size="9">{escape(words)}</text>'


def _title(words: str) -> str:
    return f'<text x="30" y="24" font-size="15" font-weight="bold">{escape(words)}</text>'


def _legend(kinds: Sequence[str], words: Mapping[str, str], colours: Mapping[str, str] = _COLOURS) -> list[str]:
    parts, x = [], 30.0
    for kind in kinds:
        if kind == "start":
            dashes = f'stroke="{colours[kind]}" stroke-width="2" stroke-dasharray="5 3"'
            parts.append(f'<line x1="{x - 8:.0f}" x2="{x + 12:.0f}" y1="44" y2="44" {dashes}/>')
        else:
            parts.append(f'<rect x="{x:.0f}" y="38" width="11" height="11" fill="{colours[kind]}"/>')
        parts.append(f'<text x="{x + 16:.0f}" y="48">{escape(words[kind])}</text>')
        x += 40 + 6.5 * len(words[kind])
    return parts


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    body = "\n".join(['<rect width="100%" height="100%" fill="white"/>', *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_FONT}>\n{body}\n</svg>\n'


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"
