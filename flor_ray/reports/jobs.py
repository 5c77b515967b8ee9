"""How replays stand, wherever they run, for people."""

from __future__ import annotations

from collections.abc import Sequence

from flor_ray.records import Claim
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
            _left(one),
            one.last.submission or f"{_host(one)}, process {one.last.pid}",
        )
        for one in replays
    ]
    return text_tables.render(_COLUMNS, rows, width, whole=("replay",))


def _host(one: KnownReplay) -> str:
    return f"{one.last.user}@{one.last.host}" if one.last.user else one.last.host


def standing(one: KnownReplay, held: Sequence[Claim] = ()) -> str:
    """What is known of one, in lines; what it has `held` others leave to it."""
    last = one.last
    lines = [
        f"{one.id}: {one.state.value}",
        f"Features: {', '.join(last.names)}, in {counted(last.versions, 'version')}",
        f"Rows: {last.answered} of {last.wanted}, with {duration(last.busy_seconds)} of worker time",
        f"Began {roughly(one.began_seconds)} ago, was heard of {roughly(one.quiet_seconds)} ago",
        f"Where: {f'job {last.submission}, ' if last.submission else ''}process {last.pid} of {_host(one)}",
    ]
    if last.failures:
        lines.append(f"Failed: {counted(last.failures, 'segment')}")
    if one.state is ReplayState.RUNNING:
        left = f"overdue: {last.overdue}" if last.overdue else f"about {roughly(last.left_seconds)} left"
        lines.append(f"{counted(last.workers, 'worker')}, {left}")
        lines += [f"Claims {_claimed(claim)}, which other replays leave to it" for claim in held]
    elif one.state is ReplayState.FAILED:
        lines.append(f"It ended with: {last.said}")
    elif one.state is ReplayState.LOST:
        lines.append("It is gone without a word. What it had finished is kept; ask again for the rest.")
    return "\n".join(lines)


def _left(one: KnownReplay) -> str:
    if one.state is not ReplayState.RUNNING:
        return ""
    return "overdue" if one.last.overdue else roughly(one.last.left_seconds)


def _claimed(claim: Claim) -> str:
    """version 1a2b3c4d, epochs 3-5, 8 (grad_norm)"""
    spans = [f"{first}" if first == last else f"{first}-{last}" for first, last in claim.spans if last]
    where = (
        f"epoch{'s' if spans[1:] or '-' in spans[0] else ''} {', '.join(spans)}" if spans else "outside its main loop"
    )
    return f"version {claim.version[:8]}, {where} ({', '.join(name for name, _ in claim.statements)})"
