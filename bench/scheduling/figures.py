"""The paper's Figures 9 and 10 with our numbers, as SVG. Pure; by hand, because no plotting library is needed for two
small charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scheduling import estimates

_WIDTH, _HEIGHT = 720.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 20.0, 60.0, 50.0
_TEXT = 'font-family="Helvetica, Arial, sans-serif" font-size="12"'
_REAL, _SIMULATED, _IDEAL = "#2b6cb0", "#c53030", "#a0a0a0"


def drawn(result: Mapping[str, Any]) -> dict[str, str]:
    """The figures for which there are numbers, by name."""
    found = {}
    if "estimates" in result:
        found["estimates"] = estimates.figure(result["estimates"])
    if "scale_out_measured" in result:
        measured = {int(n): seconds for n, seconds in result["scale_out_measured"].items()}
        simulated = {int(n): seconds for n, seconds in result["scale_out_simulated"].items()}
        found["scale-out"] = scale_out(measured, simulated)
    return found


def scale_out(measured: Mapping[int, Sequence[float]], simulated: Mapping[int, float]) -> str:
    """Makespan over workers, both logarithmic: real ones as points, simulated ones as a line, and 1/n dashed."""
    first = simulated[min(simulated)] * min(simulated)
    every = [*simulated, *measured]
    values = [*simulated.values(), *(s for seconds in measured.values() for s in seconds)]
    widest, low, high = math.log2(max(every)), math.log2(min(values) / 1.3), math.log2(max(values) * 1.3)

    def place(workers: int, seconds: float) -> tuple[float, float]:
        across = _LEFT + math.log2(workers) / widest * (_WIDTH - _LEFT - _RIGHT)
        return across, _TOP + (high - math.log2(seconds)) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    ideal = [place(n, first / n) for n in sorted(simulated) if math.log2(first / n) >= low]
    parts = [
        f'<text x="{_LEFT}" y="22" font-size="15" font-weight="bold">Time of a replay, by number of workers</text>',
        _legend(_LEFT, _REAL, "measured on a local Ray (scripts that sleep)", "point"),
        _legend(_LEFT + 300, _SIMULATED, "simulated", "line"),
        _legend(_LEFT + 410, _IDEAL, "one worker's time / n", "dashes"),
    ]
    for workers in sorted({*simulated, *measured}):
        x, _ = place(workers, 1)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 28}" text-anchor="middle">{workers}</text>')
    for power in range(math.ceil(low), math.floor(high) + 1):
        _, y = place(1, 2.0**power)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{2.0**power:g} s</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">workers</text>')
    parts.append(_path(ideal, _IDEAL, ' stroke-dasharray="4 4"'))
    parts.append(_path([place(n, simulated[n]) for n in sorted(simulated)], _SIMULATED))
    for workers, seconds in measured.items():
        parts += [_point(place(workers, one)) for one in seconds]
    body = "\n".join(parts)
    size = f'width="{_WIDTH:g}" height="{_HEIGHT:g}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_TEXT}>\n{background}\n{body}\n</svg>\n'


def _path(places: Sequence[tuple[float, float]], colour: str, style: str = "") -> str:
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"{style}/>'


def _point(place: tuple[float, float]) -> str:
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4.5" fill="{_REAL}" fill-opacity="0.7"/>'


def _legend(x: float, colour: str, words: str, kind: str) -> str:
    if kind == "point":
        mark = f'<circle cx="{x + 6}" cy="40" r="4.5" fill="{colour}" fill-opacity="0.7"/>'
    else:
        dashes = ' stroke-dasharray="4 4"' if kind == "dashes" else ""
        mark = f'<line x1="{x - 4}" x2="{x + 14}" y1="40" y2="40" stroke="{colour}" stroke-width="2"{dashes}/>'
    return f'{mark}<text x="{x + 20}" y="44">{words}</text>'
