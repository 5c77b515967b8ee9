"""How replays stand, wherever they run, for people."""

from __future__ import annotations

from collections.abc import Sequence

from flor_ray.reports import text_tables
from flor_ray.store.heartbeats import KnownReplay, ReplayState
from flor_ray.wording import counted, duration, roughly

_COLUMNS = ("replay", "features", "state", "rows", "began", "told", "left", "where")


def table(replays: Sequence[KnownReplay], width: int) -> str:
    """One row per replay."""
    if not replays:
        return "No replay is known to the store."
    rows = [
        (
            one.id.removeprefix("replay-"),
            ", ".join(one.last.names),
            one.state.value,
            f"{one.last.answered} of {one.last.wanted}",
            f"{roughly(one.began_seconds)} ago",
            f"{roughly(one.quiet_seconds)} ago",
            roughly(one.last.left_seconds) if one.state is ReplayState.RUNNING else "",
            one.last.submission or f"{one.last.host}, process {one.last.pid}",
        )
        for one in replays
    ]
    return text_tables.render(_COLUMNS, rows, width, whole=("replay",))


def standing(one: KnownReplay) -> str:
    """What is known of one, in lines."""
    last = one.last
    lines = [
        f"{one.id}: {one.state.value}",
        f"Features: {', '.join(last.names)}, in {counted(last.versions, 'version')}",
        f"Rows: {last.answered} of {last.wanted}, with {duration(last.busy_seconds)} of worker time",
        f"Began {roughly(one.began_seconds)} ago, was heard of {roughly(one.quiet_seconds)} ago",
        f"Where: {f'job {last.submission}, ' if last.submission else ''}process {last.pid} of {last.host}",
    ]
    if last.failures:
        lines.append(f"Failed: {counted(last.failures, 'segment')}")
    if one.state is ReplayState.RUNNING:
        lines.append(f"{counted(last.workers, 'worker')}, about {roughly(last.left_seconds)} left")
    elif one.state is ReplayState.FAILED:
        lines.append(f"It ended with: {last.said}")
    elif one.state is ReplayState.LOST:
        lines.append("It is gone without a word. What it had finished is kept; ask again for the rest.")
    return "\n".join(lines)
