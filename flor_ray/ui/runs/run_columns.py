"""The columns of the table of runs: what a run is, its arguments, and features. Pure.

    run        version, run, script, status, started, ended, seconds, epochs, error, verdict
    argument   what flor.arg gave, by its name
    feature    the last value of what was logged; <name>_min and <name>_max are its least and greatest

A name that is taken gets the suffix `_logged`, as in DataFrames: an argument `status`, or a feature that is logged
under the name of an argument. Names that differ in case only stay as they are: statements must quote them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flor_ray.relational.naming import folded
from flor_ray.store.compacting.compacted_runs import ListedRun
from flor_ray.store.pivoting import arrow_columns
from flor_ray.ui.runs.last_values import LastValues
from flor_ray.wording import printable

RUN_COLUMNS = ("run", "version", "status", "started", "seconds", "epochs", "verdict", "script", "ended", "error")
_RUN_FOLDED = frozenset(map(folded, RUN_COLUMNS))
TIMES = frozenset({"started", "ended"})
_LARGEST = 2**63
_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """Which names columns have, and what is in them."""

    arguments: Mapping[str, str]  # column -> argument
    features: Mapping[str, tuple[str, str]]  # column -> feature, and "last", "min" or "max"

    @property
    def all(self) -> tuple[str, ...]:
        """In the order in which they are offered."""
        return (*RUN_COLUMNS, *self.arguments, *self.features)

    def kind(self, column: str) -> str:
        """What a column is: "run", "argument" or "feature"."""
        return "argument" if column in self.arguments else "feature" if column in self.features else "run"


def names_of(arguments: Collection[str], features: Collection[str]) -> ColumnNames:
    """The columns of these arguments and features."""
    taken = set(RUN_COLUMNS)

    def free(name: str) -> str:
        found = printable(name).replace("\0", "\\0") or "_logged"
        while found in taken or folded(found) in _RUN_FOLDED:
            found += "_logged"
        taken.add(found)
        return found

    of_arguments = {free(name): name for name in sorted(arguments)}
    ordered = sorted(features)
    of_features = {free(name): (name, "last") for name in ordered}
    for end in ("min", "max"):
        of_features |= {free(f"{name}_{end}"): (name, end) for name in ordered}
    return ColumnNames(of_arguments, of_features)


def arrays_of(runs: Sequence[ListedRun], verdicts: Mapping[str, str]) -> dict[str, Any]:
    """The columns that every run has, as Arrow arrays; `verdicts` are by version, of those that were replayed."""
    texts, made = arrow_columns.texts, arrow_columns.made
    return {
        "version": texts([run.version for run in runs]),
        "run": texts([printable(run.run) for run in runs]),
        "script": _of_few([run.script for run in runs]),
        "status": _of_few([run.status for run in runs]),
        "started": arrow_columns.times([run.started for run in runs]),
        "ended": arrow_columns.times([run.ended for run in runs]),
        "seconds": made("double", [None if run.ended is None else run.ended - run.started for run in runs]),
        "epochs": made("int64", [run.epochs for run in runs]),
        "error": texts([None if run.error is None else printable(run.error) for run in runs]),
        "verdict": texts([verdicts.get(run.version) for run in runs]),
    }


def _of_few(values: Sequence[str]) -> Any:
    """A column of few different texts."""
    known = {text: number for number, text in enumerate(dict.fromkeys(values))}
    codes = np.fromiter((known[text] for text in values), np.int32, len(values))
    return arrow_columns.labels(codes, list(known))


def argument_array(values: Sequence[object]) -> Any:
    """The values of one argument, None where a run has none, in the narrowest type that holds them all."""
    kinds = {type(value) for value in values if value is not None}
    numbers = [value for value in values if isinstance(value, int | float)]
    if kinds == {bool}:
        there = np.array([value is not None for value in values], bool)
        return arrow_columns.booleans(np.array([bool(value) for value in values], bool), there)
    if kinds == {int} and all(-_LARGEST <= value < _LARGEST for value in numbers):
        return arrow_columns.made("int64", values)
    if kinds and kinds <= {int, float} and all(isinstance(v, float) or abs(v) <= _EXACT for v in numbers):
        return arrow_columns.made("double", [None if v is None else float(v) for v in values])  # type: ignore[arg-type]
    return arrow_columns.texts([None if value is None else printable(_said(value)) for value in values])


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=repr)


def feature_array(found: LastValues, which: str) -> arrow_columns.Typed:
    """A column of a feature; NULL where a run has no value."""
    if which == "last":
        return arrow_columns.typed(found.values, found.source, len(found.source))
    numbers = found.least if which == "min" else found.greatest
    if numbers is None:
        return arrow_columns.typed(None, None, len(found.source))
    return arrow_columns.Typed(arrow_columns.floats(numbers, ~np.isnan(numbers)))
