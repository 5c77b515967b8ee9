"""What is told of an import: its runs and what became of them. Values in, text out."""

from __future__ import annotations

import datetime
from collections import Counter

from flor_ray.importing.arriving import ImportDone, ImportFate, ImportTerms
from flor_ray.reports.text_tables import render
from flor_ray.wording import counted

_MOST_ROWS = 50  # runs that are listed; of more, the first ones and those with something to tell
_MOST_NAMES = 6  # of a run
_MOST_SENTENCES = 20


def table(done: ImportDone, wanted: ImportTerms, width: int = 0) -> str:
    """A line per run, then how many became what."""
    shown = [
        a for n, a in enumerate(done.arrivals) if n < _MOST_ROWS or a.fate not in (ImportFate.NEW, ImportFate.THERE)
    ]
    rows = []
    for arrival in shown[: 2 * _MOST_ROWS]:
        experiment = arrival.experiment
        names = ", ".join(arrival.names[:_MOST_NAMES]) + (", ..." if len(arrival.names) > _MOST_NAMES else "")
        rows.append(
            [
                arrival.run.version[:8],
                "" if experiment is None else experiment.run,
                "" if experiment is None else _when(experiment.started),
                "" if experiment is None else experiment.status.value,
                str(arrival.values),
                names,
                arrival.fate.value,
            ]
        )
    columns = ["version", "run", "began", "status", "values", "features", "outcome"]
    said = [render(columns, rows, width or 10_000, whole=("version", "began")), ""] if rows else []
    if len(done.arrivals) > len(rows):
        said.insert(-1, f"... and {len(done.arrivals) - len(rows)} more")
    fates = Counter(arrival.fate for arrival in done.arrivals)
    new = fates.pop(ImportFate.NEW, 0)
    what = f"{counted(new, 'run')} {'would be' if wanted.dry_run else 'is' if new == 1 else 'are'} imported"
    others = "".join(f", {count} {fate}" for fate, count in sorted(fates.items()))
    return "\n".join([*said, f"{what} into {wanted.project}{others}."])


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")


def sentences(done: ImportDone) -> list[str]:
    """What could not be read or taken, each once."""
    found = list(dict.fromkeys([*done.notes, *(note for arrival in done.arrivals for note in arrival.notes)]))
    more = len(found) - _MOST_SENTENCES
    return found if more <= 0 else [*found[:_MOST_SENTENCES], f"... and {more} more like these."]
