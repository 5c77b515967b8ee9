"""What becomes of a replay when Ray raises: by the exception's class, or the nearest class above it that is named here.

    of a segment that runs        of a worker that starts       of a question beside, of Ray itself
    WORKER_LOST    WorkerLost     another one in its place      no answer
    AGAIN          SegmentFailed, another attempt               no answer
    FAILED         SegmentFailed, given up                      no answer
    REPLAY_FAILED  ReplayError: the replay ends, what is finished is kept

Classes go by their names: which of them there are depends on Ray's release, and nothing here needs Ray.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

_ERROR_LINES = 5  # of what pip says


class RayFailure(StrEnum):
    """What an exception of Ray means for a replay."""

    WORKER_LOST = "worker lost"
    AGAIN = "segment failed, to be tried again"
    FAILED = "segment failed"
    REPLAY_FAILED = "replay failed"


_MEANINGS = {
    # The process or the machine is gone, or cannot be had.
    "RayActorError": RayFailure.WORKER_LOST,
    "WorkerCrashedError": RayFailure.WORKER_LOST,
    "NodeDiedError": RayFailure.WORKER_LOST,
    "OwnerDiedError": RayFailure.WORKER_LOST,
    "OutOfMemoryError": RayFailure.WORKER_LOST,  # Ray has killed the worker, to save its machine
    "ActorUnschedulableError": RayFailure.WORKER_LOST,
    "TaskUnschedulableError": RayFailure.WORKER_LOST,
    # The worker is there, and its answer is not.
    "ObjectLostError": RayFailure.AGAIN,
    "OutOfDiskError": RayFailure.AGAIN,
    "ObjectStoreFullError": RayFailure.AGAIN,
    "TaskCancelledError": RayFailure.AGAIN,
    "RaySystemError": RayFailure.AGAIN,
    # What was asked for cannot be done there: it would fail again.
    "RayTaskError": RayFailure.FAILED,
    "RuntimeEnvSetupError": RayFailure.FAILED,
    # Without these nothing can be asked for any more.
    "AuthenticationError": RayFailure.REPLAY_FAILED,
    "LocalRayletDiedError": RayFailure.REPLAY_FAILED,
    "RpcError": RayFailure.REPLAY_FAILED,
    "RayError": RayFailure.AGAIN,  # any other: attempts are counted
}


def meaning(error: BaseException) -> RayFailure:
    """What an exception that Ray has raised means for a replay."""
    return next(_MEANINGS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _MEANINGS)


def words(error: BaseException) -> str:
    """What Ray says of it in one line: the exception at the end of a traceback, if there is one in it; its first line
    otherwise."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit|Interrupt)\b[^(]*: \S", line)]
    return raised[-1] if raised else lines[0] if lines else type(error).__name__


def why_unbuildable(packages: Sequence[str], error: str) -> str:
    """What became of an environment, from what Ray says, which has the installer's own words somewhere in it."""
    lines = [line.strip() for line in error.splitlines()]
    said = [line for line in lines if line.startswith("ERROR: ") or "No module named pip" in line]
    words = said or [line for line in lines if line]
    return (
        f"No environment with the recorded packages could be made: {', '.join(packages)}. "
        f"{' '.join(dict.fromkeys(words[-_ERROR_LINES:]))} Make them available to pip on the cluster's machines (an "
        "index, or find-links in its configuration), or replay with --env current."
    )
