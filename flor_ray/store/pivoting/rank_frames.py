"""What the ranks of versions logged, side by side: with `data_frames` the door to pandas for tables of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from flor_ray.records import RANKS, Experiment
from flor_ray.store import ranks
from flor_ray.store.pivoting import data_frames, pivots
from flor_ray.store.store import Store

_PLACE = ["version", "rank", "epoch", "step", "iteration"]


def with_ranks(
    first: pd.DataFrame,
    store: Store,
    experiments: Sequence[Experiment],
    names: Sequence[str],
    level: str | None,
    pickles: str | None,
    index: bool,
) -> pd.DataFrame:
    """The rows of first ranks, with those of the others after them, version by version, and a column `rank`. `index` as
    in `data_frames.of`; all else as in `pivots.pivot`."""
    frames = [_numbered(first, 0)]
    wanted = tuple(names) or tuple(sorted(store.names(first["project"].iloc[0]))) if len(first) else tuple(names)
    for rank in range(1, max(map(_size, experiments), default=1)):
        there = [one for one in experiments if _size(one) > rank]
        frame = _of_rank(store, there, rank, wanted, level, pickles)
        if frame is not None:
            frames.append(frame)
    order = {one.version: number for number, one in enumerate(experiments)}
    whole = pd.concat(frames, ignore_index=True)
    whole = whole.sort_values("version", key=lambda column: column.map(order), kind="stable", ignore_index=True)
    whole.attrs = dict(first.attrs)
    return whole.set_index([name for name in _PLACE if name in whole]) if index else whole


def _of_rank(
    store: Store,
    experiments: Sequence[Experiment],
    rank: int,
    names: Sequence[str],
    level: str | None,
    pickles: str | None,
) -> pd.DataFrame | None:
    """What one rank of these versions has logged; None: nothing."""
    project = experiments[0].project
    places = {ranks.place(project, one.version, rank)[1]: one.version for one in experiments}
    of_ranks = ranks.place(project, "", rank)[0]
    standing_in = [
        replace(one, project=of_ranks, version=place) for one, place in zip(experiments, places, strict=True)
    ]
    logged = pivots.read(store, of_ranks, names, standing_in)
    known = [name for name in names if name in logged.names]
    if not known:
        return None
    found = pivots.pivot(store, of_ranks, known, standing_in, None, level=level, pickles=pickles)
    frame = data_frames.of(found)
    frame = frame[frame[known].notna().any(axis=1)] if set(known) <= set(frame.columns) else frame
    frame["project"], frame["version"] = project, frame["version"].map(places)
    return _numbered(frame, rank)


def _numbered(frame: pd.DataFrame, rank: int) -> pd.DataFrame:
    numbered = frame.copy()
    numbered.insert(list(numbered.columns).index("version") + 1, "rank", rank)
    return numbered


def _size(experiment: Experiment) -> int:
    said = experiment.environment.get(RANKS)
    size = said.get("size") if isinstance(said, dict) else 1
    return size if isinstance(size, int) else 1
