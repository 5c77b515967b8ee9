"""DataFrames of ours as tables for a notebook: what was replayed and how far it can be trusted is marked. Text out.

    recorded     replayed: exact, within tolerance, unverified, diverged, doubtful     NaN: nobody has it

Marks go by a row's version and epoch, so they stay with rows that were picked or sorted; without these columns there
are none. Every name and value is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flor_ray.reports import html
from flor_ray.reports.text_tables import cell

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 60  # of a longer table: the first and the last, as pandas has it
_VERDICTS = ("exact", "within tolerance", "unverified", "diverged", "doubtful")
_STYLE = """<style>
.flor-table { font-variant-numeric: tabular-nums; } .flor-table .n { text-align: right; }
.flor-table td { white-space: pre-wrap; } .flor-table .missing { opacity: 0.5; }
.flor-table .exact, .flor-table .within-tolerance { border-bottom: 2px solid #2e9e5b; }
.flor-table .within-tolerance { border-bottom-style: dashed; }
.flor-table .unverified { border-bottom: 2px dotted #8a93a3; }
.flor-table .doubtful { border-bottom: 2px dashed #c77700; } .flor-table .diverged { border-bottom: 2px solid #d92d20; }
.flor-soft { opacity: 0.7; }
</style>"""


def of(frame: pd.DataFrame) -> str | None:
    """A DataFrame of ours as HTML; None of any other."""
    if "provenance" in frame.attrs and "fidelity" in frame.attrs:
        marks = _CellMarks(frame.attrs)
        return _table(frame, marks, [*marks.legend(frame), *marks.sentences()])
    if "executor" in frame.attrs and "fidelity" in frame.columns:
        said = f"replayed on {frame.attrs['executor']}" if len(frame) else "nothing had to be replayed"
        return _table(frame, None, [said])
    return _table(frame, None, []) if frame.attrs.get("flor") == "versions" else None


def parts(*fragments: str) -> str:
    """HTML fragments as one, with the style of these tables."""
    return f'<div class="flor-table">{_STYLE}{"".join(fragments)}</div>'


class _CellMarks:
    """What `attrs` of `dataframe` say of single cells."""

    def __init__(self, attrs: Mapping[Any, Any]) -> None:
        self._verdicts = {version: str(told["verdict"]) for version, told in attrs["fidelity"].items()}
        self._told: Mapping[str, Mapping[str, Any]] = attrs["fidelity"]
        self._doubtful: Mapping[str, Iterable[str]] = attrs.get("doubtful", {})
        self._replayed: set[tuple[str, str, int | None]] = {
            (name, version, epoch)
            for name, by_replay in attrs["provenance"].items()
            for versions in by_replay.values()
            for version, epochs in versions.items()
            for epoch in epochs
        }

    def of(self, name: str, version: str, epoch: int | None) -> str:
        """How far a cell's value can be trusted; "" of one that was recorded."""
        if (name, version, epoch) not in self._replayed and (name, version, None) not in self._replayed:
            return ""
        if name in self._doubtful.get(version, ()):
            return "doubtful"
        return self._verdicts.get(version, "unverified")

    def legend(self, frame: pd.DataFrame) -> list[str]:
        """What the marks mean, where there are some."""
        shown = set(frame.get("version", []))
        names = {name for name, version, _ in self._replayed if version in shown and name in frame.columns}
        return ["underlined values were replayed; hover says how far they were confirmed"] if names else []

    def sentences(self) -> list[str]:
        """Of versions that did not compute what was recorded."""
        found = []
        for version, told in sorted(self._told.items()):
            if told["verdict"] == "diverged":
                found.append(
                    f"version {version[:8]} did not compute what was recorded: {told.get('cause') or 'unknown why'}"
                )
        return found


def _table(frame: pd.DataFrame, marks: _CellMarks | None, remarks: Iterable[str]) -> str:
    import pandas as pd

    flat = frame.reset_index() if any(name is not None for name in frame.index.names) else frame
    columns = [str(name) for name in flat.columns]
    half = _ROWS // 2
    shown = flat if len(flat) <= _ROWS else pd.concat([flat.head(half), flat.tail(half)])
    right = {name for name, kind in zip(columns, flat.dtypes, strict=True) if pd.api.types.is_numeric_dtype(kind)}
    rows = []
    for number, values in enumerate(shown.itertuples(index=False, name=None)):
        if number == half and len(flat) > _ROWS:
            rows.append(f'<tr><td colspan="{len(columns)}" class="flor-soft">… {len(flat) - _ROWS} rows …</td></tr>')
        rows.append(_row(columns, values, right, marks))
    head = "".join(
        f'<th class="n">{html.text(name)}</th>' if name in right else f"<th>{html.text(name)}</th>" for name in columns
    )
    foot = "".join(f'<p class="flor-soft">{html.text(each)}</p>' for each in [f"{len(flat)} rows", *remarks])
    return parts(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{foot}")


def _row(columns: list[str], values: tuple[Any, ...], right: set[str], marks: _CellMarks | None) -> str:
    by_name = dict(zip(columns, values, strict=True))
    version, epoch = str(by_name.get("version", "")), _whole(by_name.get("epoch"))
    cells = []
    for name, value in by_name.items():
        text = version[:8] if name == "version" else cell(value)
        verdict = marks.of(name, version, epoch) if marks is not None else ""
        if name in ("fidelity", "verdict") and text in _VERDICTS:
            verdict = text
        words = [*(["n"] if name in right else []), *(["missing"] if text == "NaN" else [])]
        title = ""
        if verdict in _VERDICTS:
            words.append(verdict.replace(" ", "-"))
            title = f' title="replayed: {verdict}"'
        elif name == "version":
            title = f' title="{html.text(version)}"'
        style = f' class="{" ".join(words)}"' if words else ""
        cells.append(f"<td{style}{title}>{html.text(text)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
