"""Pieces of HTML pages: self-contained files that open offline, readable in light and in dark. Values in, text out.

Everything is well-formed XML too, which is how tests read it. No scripts: details are in tooltips (`<title>`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_COLOURS = 12  # of versions, from yellow to violet: red means failed; with more versions they repeat
_WIDTH = 1200.0  # of a picture, in its own units; the browser scales it
_MARGIN = 120.0  # left of a chart: names, numbers
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)  # seconds
_LEAST_BAR = 0.4  # width: what is shorter would vanish
_LEAST_VALUE = 1e-3  # of a logarithmic scale
_APART = 0.6  # between bars that follow each other
_LABEL_HEIGHT = 10  # rows of a chart that are lower have no room for their names

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #667080; --line: #d5dae2; --paper: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e7ee; --soft: #98a2b3; --line: #3a4250; --paper: #14181f; }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2em auto;
  max-width: 1280px; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15em 0.9em 0.15em 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .n { text-align: right; } tr.marked { font-weight: 700; }
.wide { overflow-x: auto; } .soft { color: var(--soft); }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--ink); }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .axis { stroke: var(--line); stroke-width: 1; } svg .mark { stroke: var(--ink); stroke-dasharray: 5 4; }
svg .idle { fill: var(--line); fill-opacity: 0.35; } svg .failed { fill: #d92d20; } svg .dropped { fill: #98a2b3; }
svg .curve { fill: none; stroke: #3b7ddd; stroke-width: 2; } svg .bound { fill: none; stroke: var(--soft);
  stroke-dasharray: 3 3; } svg .dot { fill: #3b7ddd; } svg .knee { fill: none; stroke: #d92d20; stroke-width: 2; }
"""
_STYLE += "".join(f"svg .c{n} {{ fill: hsl({40 + n * 5 % _COLOURS * 23}, 55%, 55%); }}\n" for n in range(_COLOURS))


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that takes time, in one row of a Gantt chart."""

    row: int
    begin_seconds: float
    end_seconds: float
    style: str  # `colour`, "failed" or "dropped"
    title: str  # shown where the pointer is
    hatched_seconds: float = 0.0  # of its time, first: preparation


def page(title: str, *parts: str) -> str:
    """A whole file, of parts that are HTML already."""
    head = f'<meta charset="utf-8"/><title>{text(title)}</title><style>{_STYLE}</style>'
    body = "\n".join((f"<h1>{text(title)}</h1>", *parts))
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def text(plain: object) -> str:
    """Plain text as HTML; characters that no page may hold are shown as '?'."""
    allowed = "".join(c if c >= " " or c in "\n\t" else "?" for c in str(plain))
    return escape(allowed.encode("utf-8", "replace").decode())


def heading(plain: str) -> str:
    return f"<h2>{text(plain)}</h2>"


def paragraph(plain: str, soft: bool = False) -> str:
    return f'<p class="soft">{text(plain)}</p>' if soft else f"<p>{text(plain)}</p>"


def sentences(plain: Iterable[str]) -> str:
    """A list; nothing for no sentences."""
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in plain)
    return f"<ul>{items}</ul>" if items else ""


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[str] = (), marked: Iterable[int] = ()
) -> str:
    """`numbers` are the columns whose cells are aligned at the right; `marked` rows are bold."""
    right, bold = {columns.index(name) for name in numbers}, set(marked)

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f'<{tag} class="n">{text(cell)}</{tag}>' if index in right else f"<{tag}>{text(cell)}</{tag}>"
            for index, cell in enumerate(cells)
        )

    start = {True: '<tr class="marked">', False: "<tr>"}
    body = "\n".join(f"{start[index in bold]}{line(row, 'td')}</tr>" for index, row in enumerate(rows))
    return (
        f'<div class="wide"><table><thead><tr>{line(columns, "th")}</tr></thead>\n<tbody>{body}</tbody></table></div>'
    )


def colour(number: int) -> str:
    """Style of the bars of version number so many."""
    return f"c{number % _COLOURS}"


def gantt(
    rows: Sequence[tuple[str, str]], bars: Iterable[Bar], until_seconds: float, marks: Mapping[str, float]
) -> str:
    """A Gantt chart as SVG. Each row has a name and what is said at its right end; `marks` are moments with words."""
    until = max([until_seconds, *marks.values()]) or 1.0
    height = 18.0 if len(rows) <= 80 else 10.0 if len(rows) <= 300 else 4.0
    scale = (_WIDTH - 2 * _MARGIN) / until
    bottom = 20 + height * len(rows)
    bar_height = f"{height - max(1.0, height / 6):g}"

    def x(seconds: float) -> str:
        return f"{_MARGIN + seconds * scale:.1f}".removesuffix(".0")

    def rectangle(style: str, begin: float, end: float, row: int, inside: str = "") -> str:
        room = (end - begin) * scale
        width = f"{room - _APART if room > 5 * _APART else max(_LEAST_BAR, room):.1f}".removesuffix(".0")
        place = f'x="{x(begin)}" y="{20 + row * height:g}" width="{width}" height="{bar_height}"'
        return f"<rect {style} {place}>{inside}</rect>" if inside else f"<rect {style} {place}/>"

    drawn = [
        '<defs><pattern id="h" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="2" height="5" fill="#fff" fill-opacity="0.65"/></pattern></defs>'
    ]
    drawn += [rectangle('class="idle"', 0, until_seconds, row) for row in range(len(rows))]
    for second in ticks(until):
        drawn.append(f'<path class="axis" d="M{x(second)} 16V{bottom:g}"/>')
        drawn.append(f'<text class="middle" x="{x(second)}" y="12">{clock(second)}</text>')
    every = math.ceil(_LABEL_HEIGHT / height)
    for row, (name, said) in list(enumerate(rows))[::every]:
        y = f"{20 + row * height + max(height / 2, 5) + 3:g}"
        drawn.append(f'<text class="end" x="{_MARGIN - 6:g}" y="{y}">{text(short(name))}</text>')
        drawn.append(f'<text x="{_WIDTH - _MARGIN + 6:g}" y="{y}">{text(said)}</text>')
    for bar in bars:
        title = f"<title>{text(bar.title)}</title>"
        drawn.append(rectangle(f'class="{bar.style}"', bar.begin_seconds, bar.end_seconds, bar.row, title))
        if bar.hatched_seconds * scale >= _LEAST_BAR:
            hatched = min(bar.end_seconds, bar.begin_seconds + bar.hatched_seconds)
            drawn.append(rectangle('fill="url(#h)" pointer-events="none"', bar.begin_seconds, hatched, bar.row))
    for words, moment in marks.items():
        drawn.append(f'<path class="mark" d="M{x(moment)} 16V{bottom + 4:g}"/>')
        drawn.append(f'<text class="end" x="{x(moment)}" y="{bottom + 16:g}">{text(words)}</text>')
    return _svg(bottom + 24, drawn)


def curve(
    points: Sequence[tuple[int, float]], bounds: Sequence[float], labels: Sequence[str], knee: int, caption: str
) -> str:
    """Numbers over worker counts, both on logarithmic scales, as SVG. `labels` are the points' tooltips; `knee` is the
    index of the one with a ring; `bounds` are drawn as a dashed line."""
    values = [value for _, value in points] + [bound for bound in bounds if bound > 0]
    low = max(_LEAST_VALUE, min(values))
    high = max(low, *values)
    height, top = 260.0, 30.0
    widest = math.log(max(2, points[-1][0]))
    span = math.log(high / low) or 1.0

    def place(workers: int, value: float) -> tuple[float, float]:
        across = _MARGIN + math.log(workers) / widest * (_WIDTH - 2 * _MARGIN)
        return across, top + height * (1 - math.log(max(value, low) / low) / span)

    def path(style: str, line: Iterable[tuple[int, float]]) -> str:
        places = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in line))
        return f'<path class="{style}" d="M{places}"/>'

    drawn = [f'<text x="{_MARGIN:g}" y="14">{text(caption)}</text>']
    for value in sorted({low, high, math.sqrt(low * high)}):
        _, y = place(1, value)
        drawn.append(f'<path class="axis" d="M{_MARGIN:g} {y:.1f}H{_WIDTH - _MARGIN:g}"/>')
        drawn.append(f'<text class="end" x="{_MARGIN - 6:g}" y="{y + 4:.1f}">{clock(value)}</text>')
    last = -math.inf
    for workers, value in points:
        x, _ = place(workers, value)
        if x - last >= 26:
            drawn.append(f'<text class="middle" x="{x:.1f}" y="{top + height + 18:g}">{workers}</text>')
            last = x
    drawn.append(path("bound", zip((workers for workers, _ in points), bounds, strict=True)))
    drawn.append(path("curve", points))
    for index, (point, label) in enumerate(zip(points, labels, strict=True)):
        x, y = place(*point)
        if index == knee:
            drawn.append(f'<circle class="knee" cx="{x:.1f}" cy="{y:.1f}" r="9"/>')
        drawn.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{text(label)}</title></circle>')
    return _svg(top + height + 28, drawn)


def ticks(until_seconds: float, most: int = 10) -> list[float]:
    """Round moments from 0 to `until_seconds`, at most so many and one."""
    steps = [*(10.0**n * k for n in range(-6, 0) for k in (1, 2, 5)), *map(float, _STEPS)]
    step = next((s for s in steps if until_seconds / s <= most), None)
    if step is None:
        step = 86400.0 * math.ceil(until_seconds / most / 86400.0)
    return [index * step for index in range(math.floor(until_seconds / step + 1e-9) + 1)]


def clock(seconds: float) -> str:
    """A moment on an axis: 0, 0.5 s, 45 s, 1:30, 2:05:00."""
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds else "0"
    whole = round(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02d}"
    return minutes if whole < 3600 else f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def short(name: str, most: int = 18) -> str:
    """A long name by its end, where names of one kind differ."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _svg(height: float, drawn: Iterable[str]) -> str:
    body = "\n".join(drawn)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height:g}" role="img">\n{body}\n</svg>'
