"""The processes in which the ranks of one version are replayed, as if they were one.

    worker ── Segment ──> each rank's process     rank 0's answer is the version's; the others' go with it
           <── all have answered, or one has failed: then the others are ended, which may wait for it in a collective

A rank on another machine is a connection to whoever started it there; when that is closed, it is ended there.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

from flor_ray.errors import ProcessKilled, RestoreFailed, StoreAway
from flor_ray.records import Segment
from flor_ray.replaying.process import ScriptError
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.warm import WarmProcess, describe_status

_ALL_SECONDS = 1.0  # after one rank has failed, for others to fail too: which was the first is told
_END_SECONDS = 5.0  # for a process whose connection is closed to end


@dataclass(frozen=True, slots=True)
class RankEnded:
    """What is said for a rank that ended without an answer."""

    status: int | None  # negative for a signal; None: not known
    at: float  # unix seconds


Answer = SegmentResult | ScriptError | RestoreFailed | StoreAway | RankEnded


@dataclass(slots=True)
class Member:
    """One rank."""

    rank: int
    connection: Connection
    process: WarmProcess | None  # None: on another machine

    def answer(self) -> Answer:
        """What it has said, or that it has ended."""
        try:
            found: Answer = self.connection.recv()
            return found
        except (EOFError, OSError):
            status = None if self.process is None else self.process.wait(_END_SECONDS)
            return RankEnded(status, time.time())


class RankGroup:
    """All ranks of a version. It is to a worker what one process and the connection to it are."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = list(members)
        self._answers: dict[int, Answer] = {}
        self._failed_at = 0.0

    # as a connection

    def send(self, segment: Segment | None) -> None:
        """A segment for all; None: there is none any more."""
        self._answers, self._failed_at = {}, 0.0
        for member in self._members:
            if segment is None:
                with contextlib.suppress(OSError):  # it has ended
                    member.connection.send(segment)
            else:
                member.connection.send(segment)

    def poll(self, seconds: float) -> bool:
        """Whether within the time all have answered, or it is clear that one has failed."""
        until = time.monotonic() + seconds
        while not self._is_decided():
            open_ones = {m.connection: m for m in self._members if m.rank not in self._answers}
            left = until - time.monotonic()
            if self._failed_at:
                left = min(left, self._failed_at + _ALL_SECONDS - time.monotonic())
            for connection in wait(list(open_ones), max(0.0, left)):
                member = open_ones[connection]  # type: ignore[index]  # one of those that were given
                answer = self._answers[member.rank] = member.answer()
                if not isinstance(answer, SegmentResult):
                    self._failed_at = self._failed_at or time.monotonic()
            if time.monotonic() >= until:
                break
        return self._is_decided()

    def _is_decided(self) -> bool:
        if len(self._answers) == len(self._members):
            return True
        return bool(self._failed_at) and time.monotonic() >= self._failed_at + _ALL_SECONDS

    def recv(self) -> SegmentResult | ScriptError | RestoreFailed | StoreAway:
        """What they have said, as one.

        Raises:
            ProcessKilled: a rank was killed.
        """
        size = len(self._members)
        found = merged(self._answers, size)
        if not isinstance(found, SegmentResult):
            self.kill()
        if isinstance(found, RankEnded):
            raise ProcessKilled(f"{found_rank(self._answers, found)} of {size} {_ending(found)}.")
        return found

    def close(self) -> None:
        """Let go of the connections: who has nothing to do any more ends."""
        for member in self._members:
            member.connection.close()

    # as a process

    @property
    def pids(self) -> tuple[int, ...]:
        """Those on this machine; each has a process group of its own with its id."""
        return tuple(member.process.pid for member in self._members if member.process is not None)

    def wait(self, seconds: float) -> int | None:
        """Exit status of all on this machine once they have ended, the first that is not 0; None if one still runs.
        While a segment runs, `poll` tells of those that end."""
        if seconds == 0:
            return None
        until = time.monotonic() + seconds
        here = (member.process for member in self._members if member.process is not None)
        statuses = [process.wait(max(0.01, until - time.monotonic())) for process in here]
        return None if None in statuses else next((status for status in statuses if status), 0)

    def kill(self) -> None:
        """End all of them, those on other machines by their closed connections."""
        for member in self._members:
            if member.process is not None:
                member.process.kill()
            else:
                member.connection.close()


def merged(answers: Mapping[int, Answer], size: int) -> Answer:
    """What the ranks of a version have said of a segment, as one answer. Pure.

    Of failures the first is it: those of the others mostly follow from it. A rank that was killed goes before errors,
    since what is raised where its connection ends says nothing of the script.
    """
    ended = [one for one in answers.values() if isinstance(one, RankEnded)]
    if killed := [one for one in ended if one.status is None or one.status < 0]:
        return min(killed, key=lambda one: one.at)
    errors = {rank: one for rank, one in answers.items() if isinstance(one, ScriptError)}
    refused = [one for one in answers.values() if isinstance(one, RestoreFailed | StoreAway)]
    if refused:
        return refused[0]
    if errors:
        rank = min(errors, key=lambda rank: (errors[rank].at, rank))
        return replace(errors[rank], message=f"Rank {rank} of {size}: {errors[rank].message}")
    if ended:
        first = min(ended, key=lambda one: one.at)
        return ScriptError(f"{found_rank(answers, first)} of {size} {_ending(first)}.", "")
    results = {rank: one for rank, one in answers.items() if isinstance(one, SegmentResult)}
    return _merged_results(results, size)


def _merged_results(results: Mapping[int, SegmentResult], size: int) -> SegmentResult | ScriptError:
    first = results[0]
    apart = [rank for rank, one in results.items() if one.segment != first.segment]
    if apart:
        return ScriptError(
            f"Rank {apart[0]} of {size} ended the segment after epoch {results[apart[0]].segment.last}, and rank 0 "
            f"after epoch {first.segment.last}: the ranks do not run the same epochs.",
            "",
        )
    others = [results[rank] for rank in sorted(results) if rank]
    warnings = list(first.warnings)
    for rank in sorted(results):
        warnings += [f"rank {rank}: {one}" for one in results[rank].warnings if rank and one not in first.warnings]
    mismatch = first.state_mismatch
    for rank in sorted(results):
        found = results[rank].state_mismatch
        if mismatch is None and found is not None:
            mismatch = replace(found, name=f"{found.name} of rank {rank}")
    return replace(
        first,
        warnings=tuple(warnings),
        exhausted=any(one.exhausted for one in results.values()),
        states_compared=sum(one.states_compared for one in results.values()),
        state_mismatch=mismatch,
        others={rank: results[rank].records for rank in sorted(results) if rank},
        read_bytes=first.read_bytes + sum(one.read_bytes for one in others),
        cache_hits=first.cache_hits + sum(one.cache_hits for one in others),
    )


def found_rank(answers: Mapping[int, Answer], answer: Answer) -> str:
    """Which rank said this, in words."""
    return f"Rank {next(rank for rank, one in answers.items() if one is answer)}"


def _ending(ended: RankEnded) -> str:
    return "was lost with its machine or worker" if ended.status is None else describe_status(ended.status)


def free_port() -> int:
    """A port of this machine that nobody has now. Another program may take it before rank 0 does, which then fails."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port
