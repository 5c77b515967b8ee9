"""Jobs that have harmed who ran them, and are tried once more: which worker may run them, and when. Pure.

What hung is left to another node, or else to another worker, if there is one: its machine may be the reason. What
lacked memory waits until nothing else runs on its node, and nothing else begins there meanwhile. Both wait in queues
without a worker, until one of those that may run them is idle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from flor_ray.scheduler.jobs import GONE, FloorWorker, Job
from flor_ray.scheduler.messages import SecondTry
from flor_ray.scheduler.node_data import NodeData

Workers = Collection[FloorWorker]  # all that have ever joined


class SecondTries:
    """Of one replay. `jobs` are those that are not settled."""

    def __init__(self) -> None:
        self.jobs: set[Job] = set()

    def add(self, job: Job, worker: FloorWorker, second: SecondTry) -> None:
        """A job has harmed this worker, and is to be tried once more in this way."""
        job.second_tries |= {second}
        job.hung_at = worker if second is SecondTry.ELSEWHERE else job.hung_at
        self.jobs.add(job)

    def cut(self, job: Job, pieces: Iterable[Job]) -> None:
        """Pieces of a job are what the job was."""
        if job in self.jobs:
            self.jobs.discard(job)
            for piece in pieces:
                piece.second_tries, piece.hung_at = job.second_tries, job.hung_at
                self.jobs.add(piece)

    def may_run(self, worker: FloorWorker, job: Job, workers: Workers, data: NodeData) -> bool:
        """Whether the worker may begin with this job now, for which its node has the data."""
        if self.reserves_from(worker, workers):
            return False
        if job.alone and any(other.job is not None for other in _beside(worker, workers)):
            return False
        return job.hung_at is None or not _avoids(worker, job, job.hung_at, workers, data)

    def reserves_from(self, worker: FloorWorker, workers: Workers) -> bool:
        """Whether another worker of its node runs what has to be alone there."""
        return bool(self.jobs) and any(w.job is not None and w.job.alone for w in _beside(worker, workers))


def _avoids(worker: FloorWorker, job: Job, hung_at: FloorWorker, workers: Workers, data: NodeData) -> bool:
    """Whether there is a better place for what hung there."""
    version = job.segment.version
    others = [w for w in workers if w.takes and w is not hung_at and data.may_run(version, w.node)]
    if any(other.node != hung_at.node for other in others):
        return worker.node == hung_at.node
    return bool(others) and worker is hung_at


def _beside(worker: FloorWorker, workers: Workers) -> Iterator[FloorWorker]:
    return (w for w in workers if w is not worker and w.node == worker.node and w.state not in GONE)
