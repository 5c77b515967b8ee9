"""The floor of a replay: its segments, queues and workers, what is expected of them, and how they change.

Mechanics only: `dispatch` says which event changes what, `helping` who helps whom.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count, groupby, islice
from math import inf, log

from flor_ray.records import LackingFile, Segment, SegmentCost
from flor_ray.scheduler.jobs import (
    BAND,
    GONE,
    PRESENT,
    FloorWorker,
    Job,
    Queue,
    SegmentState,
    WorkerState,
    rows,
    speed_of_all,
)
from flor_ray.scheduler.messages import EstimateCorrected, Fetch, Retire, Run, WorkerJoined
from flor_ray.scheduler.node_data import NodeData
from flor_ray.scheduler.overdue import StepAt
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.remaining import Lane
from flor_ray.scheduler.second_tries import SecondTries
from flor_ray.scheduler.sharing import SegmentPart, Sifted, Whose

_STALE = 0.002  # of the time that is left: estimates of others' ends are used again for so long
_WORTH_FETCHING_SECONDS = 0.05  # of reading: a message to a worker takes a thousandth
_SLOW_AFTER = 2.0  # times the estimate to the end of its first epoch, and a segment is looked at
_SLOW_AFTER_SPREADS = 3.0  # and so many standard deviations of its set-up more
_SLOW_AFTER_UNKNOWN = 5.0  # times the stand-in for an estimate


class Floor:
    """Segments, queues and workers of one replay, and every way in which they change. All times are seconds of the
    clock that `Dispatcher.handle` is given."""

    def __init__(self, schedule: Schedule, cutting: Cutting, slowness: Mapping[str, float]) -> None:
        self.cutting = cutting
        self.jobs: dict[Segment, Job] = {}
        self.workers: dict[str, FloorWorker] = {}
        self.idle: list[tuple[float, int, FloorWorker]] = []  # by slowness; without those that wait for an answer
        self.fresh: list[FloorWorker] = []  # idle since this event, their own queues not looked at yet
        self.busy = 0  # workers with a segment
        self.waiting = 0  # segments
        self.elsewhere = 0  # segments that other replays run
        self.unsettled = 0  # segments, of those that were cut their pieces
        self.rows = self.rows_answered = 0
        self.steps_ended = 0  # epochs and segments, as far as was told
        self.suspects: dict[FloorWorker, float] = {}  # late ones, and when to look at them next
        self.wanted: list[Job] = []  # to be run by a second worker
        self.clones = self.steals = 0
        self.clone_seconds = 0.0
        self.speed = speed_of_all()
        self.data = NodeData()
        self.harmful = SecondTries()
        self._others_end = (-inf, -inf)  # when found out, and what
        self._slowness = dict(slowness)
        self._held: dict[str, set[str]] = {}  # by node: one set for all workers of it, whose cache is one
        self._numbers = count()
        self._late: list[tuple[float, int, FloorWorker]] = []  # heap by end, the last first; old entries are skipped
        self._free: dict[
            float, list[tuple[float, int, Queue]]
        ] = {}  # heaps of queues without a worker, the longest first
        self._factors: dict[str, float] = {}  # of run seconds, by version, as corrected last
        self._base = {cost.segment: cost for assignment in schedule.assignments for cost in assignment}
        self._slots = [self._queue(schedule, number) for number in range(len(schedule.assignments))]
        self.planned_seconds = sum(queue.seconds for queue in self._slots)
        self._prepared = schedule.slots
        self._planned_makespan = self.planned_end = schedule.makespan_seconds  # the end: once somebody has joined

    def _queue(self, schedule: Schedule, number: int) -> Queue:
        queue = Queue(schedule.slots[number].slowness if schedule.slots else 1.0)
        jobs = []
        for cost in schedule.assignments[number]:
            job = Job(cost.segment, cost, cost, tuple(self.cutting.points(cost.segment)))
            self.jobs[job.segment] = job
            jobs.append(job)
            self.rows += rows(cost.segment)
            self.unsettled += 1
            self.waiting += 1
        for job in _longest_stretches_first(jobs):
            queue.add(job)
        self.release(queue)
        return queue

    # -- workers -----------------------------------------------------------------------------------------------------

    def join(self, event: WorkerJoined, now: float) -> None:
        """A worker is there. It gets the queue of its slot, if that is free; `look_after_idle` sees to the rest."""
        name, kind, slot = event.worker, event.kind, event.slot
        if not self.workers:
            self.planned_end = now + self._planned_makespan
        self.workers.pop(name, None)  # whoever comes back is the last to have joined, and cold
        of_kind = self._slowness.get(kind, 1.0)
        queue = Queue(of_kind)
        worker = FloorWorker(name, next(self._numbers), queue, kind, event.node, slowness=of_kind, of_kind=of_kind)
        self.workers[name] = worker
        worker.held = self._held.setdefault(event.node or name, worker.held)
        self._others_end = (-inf, -inf)  # with one more, all ends earlier than was thought
        if slot is not None and 0 <= slot < len(self._slots):
            worker.warm |= self._prepared[slot].warm if self._prepared else frozenset()
            if self._slots[slot].owner is None and len(self._slots[slot]):
                self.take_queue(worker, self._slots[slot])
        self.fresh.append(worker)

    def rest(self, worker: FloorWorker) -> None:
        """A worker is idle, and nothing is in its queue: it is one of those that may help others."""
        worker.state = WorkerState.IDLE
        insort(self.idle, (worker.slowness, worker.order, worker))

    def unrest(self, worker: FloorWorker) -> None:
        """A worker is no longer one of the idle: it has something to do, or waits for an answer."""
        self.idle = [entry for entry in self.idle if entry[2] is not worker]
        self.fresh = [other for other in self.fresh if other is not worker]

    def leave(self, worker: FloorWorker, state: WorkerState) -> None:
        """A worker takes no more segments; what waited in its queue goes to others. `state` is RETIRED or LOST."""
        self.unrest(worker)
        self.release_queue(worker)
        worker.state, worker.awaits = state, None
        worker.draining = False
        worker.stamp = -1

    def retire(self, worker: FloorWorker) -> Retire:
        """A worker is not needed any more; answers with what it is to be told."""
        self.leave(worker, WorkerState.RETIRED)
        return Retire(worker.name)

    def warm(self, worker: FloorWorker, version: str) -> None:
        """A worker has a live process of a version: no set-up from now on."""
        worker.warm.add(version)
        worker.queue.warmed(version)

    def cool(self, worker: FloorWorker, version: str) -> None:
        """A worker's process of a version has ended: the next segment sets it up again."""
        worker.warm.discard(version)
        worker.queue.cooled(version)

    def observe(self, worker: FloorWorker, last: int, run_seconds: float) -> None:
        """Learn from what a worker has answered of its segment, up to epoch `last`."""
        self.steps_ended += 1
        estimated = worker.estimated(last) * worker.of_kind
        if worker.job is not None and estimated > 0:
            version = worker.job.segment.version
            worker.speed.observe(version, worker.kind, run_seconds, estimated)
            self.speed.observe(version, worker.kind, run_seconds, estimated)
        self._judge(worker)

    def observe_left(self, worker: FloorWorker, now: float) -> None:
        """Learn from a segment that was left, if it had taken longer than it should already."""
        measured, estimated = worker.taken(now)
        if worker.job is not None and measured * worker.of_kind > estimated * worker.slowness:
            worker.speed.observe(worker.job.segment.version, worker.kind, measured, estimated)
            self._judge(worker)

    def advance(self, worker: FloorWorker, epoch: int, now: float) -> None:
        """A worker has begun with an epoch: what that says of its speed, and of when it ends."""
        self.steps_ended += worker.first_epoch is not None
        worker.epoch = epoch, now
        worker.first_epoch = worker.first_epoch or worker.epoch
        worker.refused = False
        self._judge(worker)
        self.update(worker, now)
        if not worker.slow:
            self.suspects.pop(worker, None)

    def _judge(self, worker: FloorWorker) -> None:
        own, all_ = worker.speed.ratio(*worker.seen()), self.speed.ratio()
        worker.slow = own > BAND * all_
        worker.slowness = worker.of_kind * (own if worker.slow or own * BAND < all_ else all_)

    def update(self, worker: FloorWorker, now: float) -> None:
        """Note anew when a worker will have ended all that it has."""
        worker.stamp = next(self._numbers)
        heappush(self._late, (-worker.end(now), worker.stamp, worker))

    def latest(self, most: int) -> list[FloorWorker]:
        """Workers that would end last, the last one first."""
        found: list[tuple[float, int, FloorWorker]] = []
        while self._late and len(found) < most:
            entry = heappop(self._late)
            if entry[1] == entry[2].stamp:
                found.append(entry)
        for entry in found:
            heappush(self._late, entry)
        return [worker for _, _, worker in found]

    def ahead(self, name: str) -> Fetch | None:
        """What the worker will most likely run next, if it takes a while to read what that restores."""
        following = next(iter(self.workers[name].queue), None)
        if following is None or following.cost.read_seconds < _WORTH_FETCHING_SECONDS:
            return None
        return Fetch(name, following.segment)

    # -- data --------------------------------------------------------------------------------------------------------

    @property
    def picky(self) -> bool:
        """Whether there are jobs that not every worker may run."""
        return bool(self.data.versions or self.harmful.jobs)

    def may_run(self, worker: FloorWorker, job: Job) -> bool:
        """Whether the worker's node may have the job's data, and it is to run there now."""
        if not self.data.may_run(job.segment.version, worker.node):
            return False
        return not self.harmful.jobs or self.harmful.may_run(worker, job, self.workers.values(), self.data)

    def present(self) -> list[FloorWorker]:
        """Workers that are there and take segments."""
        return [worker for worker in self.workers.values() if worker.takes]

    def lacks(self, worker: FloorWorker, version: str, files: tuple[LackingFile, ...]) -> None:
        """A worker's node lacks a version's data: what of it waits for workers of that node goes to others."""
        self.data.lacks(version, worker.node, files)
        for other in self.workers.values():
            if other.node == worker.node:
                self._hand_on(other)

    def blocked(self) -> dict[str, list[Job]]:
        """By version, what waits and can be run by none of the workers that are there, if there are any."""
        nodes = {worker.node for worker in self.present()}
        versions = {v for v in self.data.versions if nodes and not any(self.data.may_run(v, node) for node in nodes)}
        found: dict[str, list[Job]] = {}
        for job in self.jobs.values() if versions else ():
            if job.state is SegmentState.WAITING and job.segment.version in versions:
                found.setdefault(job.segment.version, []).append(job)
        return found

    def withdraw(self, jobs: Iterable[Job]) -> None:
        """Jobs that wait in queues without a worker are given up."""
        gone = set(jobs)
        for queue in self._free_queues():
            for job in [job for job in queue if job in gone]:
                queue.remove(job)
        for job in gone:
            self.waiting -= 1
            self.settle(job, SegmentState.GIVEN_UP)

    def _hand_on(self, worker: FloorWorker) -> None:
        """What waits for a worker and cannot run there waits for others."""
        jobs = [job for job in worker.queue if not self.may_run(worker, job)] if self.picky else []
        if jobs:
            queue = Queue()
            for job in jobs:
                worker.queue.remove(job)
                queue.add(job)
            self.release(queue)

    # -- queues ------------------------------------------------------------------------------------------------------

    def release(self, queue: Queue) -> None:
        """Leaves a queue to whichever worker takes it."""
        queue.own(None)
        if len(queue):
            queue.stamp = next(self._numbers)
            heappush(self._free.setdefault(queue.slowness, []), (-queue.seconds, queue.stamp, queue))

    def release_queue(self, worker: FloorWorker) -> None:
        """Leaves what waits in the worker's queue to others."""
        if len(worker.queue):
            self.release(worker.queue)
            worker.queue = Queue(worker.slowness)
            worker.queue.own(worker)

    def free_queue(self, worker: FloorWorker) -> Queue | None:
        """Of the queues without a worker one that was made for its speed, of those the longest."""
        for slowness in sorted(self._free, key=lambda s: (abs(log(s / worker.of_kind)), s)):
            heap = self._free[slowness]
            while heap and (heap[0][1] != heap[0][2].stamp or not len(heap[0][2])):
                heappop(heap)
            if not heap:
                del self._free[slowness]
            elif not self.picky:
                return heap[0][2]
            else:
                for _, stamp, queue in sorted(heap):
                    if stamp == queue.stamp and any(self.may_run(worker, job) for job in queue):
                        return queue
        return None

    def take_queue(self, worker: FloorWorker, queue: Queue) -> None:
        """Gives a queue that had no worker to this one."""
        worker.queue, queue.stamp = queue, -1
        queue.own(worker)
        self._hand_on(worker)

    def loose(self, job: Job) -> None:
        """A segment that belongs to no queue waits for whoever is idle first."""
        queue = Queue()
        queue.add(job)
        self.release(queue)

    def next_jobs(self, seconds: float, most: int) -> list[Job]:
        """Waiting jobs that would begin within this time, if each queue went on by itself, and of each at most so many;
        of each the first, too."""
        found: list[Job] = []
        for queue in [*(worker.queue for worker in self.workers.values()), *self._free_queues()]:
            until = 0.0
            for job in islice(queue, most):
                if until > seconds:
                    break
                found.append(job)
                until += queue.slowness * job.cost.run_seconds
        return found

    def free_seconds(self) -> float:
        """Estimated seconds of all that waits in queues without a worker."""
        return sum(queue.seconds for queue in self._free_queues())

    def _free_queues(self) -> list[Queue]:
        return [queue for heap in self._free.values() for _, stamp, queue in heap if stamp == queue.stamp]

    # -- segments ----------------------------------------------------------------------------------------------------

    def start(self, worker: FloorWorker, job: Job, now: float) -> Run:
        """A worker begins with a segment, alone or as a clone; answers with what it is to be told."""
        cost, setup = job.cost, worker.setup_of(job)
        if job.state is SegmentState.WAITING:
            self.waiting -= 1
        else:
            self.clones += 1
            self.clone_seconds += worker.cost(job)
        job.state = SegmentState.RUNNING
        job.runners.append(worker)
        worker.state = WorkerState.BUSY
        worker.job, worker.told, worker.began, worker.setup_seconds = job, job.segment, now, setup
        worker.since = job.segment.first
        job.measure(self.cutting)
        worker.held.add(job.segment.version)
        worker.queue.warmed(job.segment.version)
        self.busy += 1
        self.update(worker, now)
        slow = _SLOW_AFTER if cost.known else _SLOW_AFTER_UNKNOWN
        slow = slow * worker.slowness * worker.first_seconds() + _SLOW_AFTER_SPREADS * cost.setup_spread
        as_it_is = self.data.runs_as_it_is(job.segment.version)
        return Run(worker.name, job.segment, slow, worker.slowness * (setup + cost.run_seconds), as_it_is)

    def end_run(self, worker: FloorWorker) -> Job | None:
        """The worker's segment has ended, however; the job, if it ran one."""
        job = worker.job
        if job is None:
            return None
        self.busy -= 1
        if worker in job.runners:
            job.runners.remove(worker)
        if worker.asked is not None:
            worker.owed["shorten", worker.named] += 1
            self.answered(worker)
        if job.segment.version not in worker.warm:
            worker.queue.cooled(job.segment.version)
        worker.job = worker.told = worker.epoch = worker.first_epoch = None
        worker.refused = False
        worker.stamp = -1
        self.suspects.pop(worker, None)
        return job

    def answered(self, worker: FloorWorker) -> FloorWorker | None:
        """The question is settled; who waited for the answer is idle again."""
        thief, worker.thief, worker.asked = worker.thief, None, None
        if thief is None or thief.awaits is not worker:
            return None
        thief.awaits = None
        self.fresh.append(thief)
        return thief

    def commit(self, worker: FloorWorker, job: Job, last: int, now: float) -> None:
        """What a worker runs is answered up to epoch `last`; it goes on with the rest, and so does a clone. That it got
        so far is worth new attempts."""
        worker.since = last + 1
        if last < job.segment.first:
            return  # its clone has said so before
        head, rest = self._cut(job, last + 1)
        self.settle(head, SegmentState.DONE)
        rest.state, rest.runners = SegmentState.RUNNING, job.runners
        rest.measure(self.cutting)
        self.wanted = [rest if one is job else one for one in self.wanted]
        if worker.at <= last:
            worker.epoch = last + 1, now
        for runner in rest.runners:
            runner.job, runner.first_epoch = rest, runner.epoch
            self.update(runner, now)

    def take_tail(self, worker: FloorWorker, job: Job, point: int) -> Job:
        """What is left of a running segment without the epochs from `point` on, which go to who asked for them."""
        head, tail = self._cut(job, point)
        head.state, head.runners, head.failures = SegmentState.RUNNING, [worker], job.failures
        worker.job = head
        self.waiting += 1
        thief = self.answered(worker)
        if thief is None or not self.may_run(thief, tail):
            self.loose(tail)
        else:
            thief.queue.add(tail, front=True)
            self.steals += 1
        return head

    def cut_waiting(self, job: Job, point: int) -> tuple[Job, Job]:
        """A waiting segment as two: what ends before epoch `point`, and the rest. Neither is in a queue yet."""
        head, tail = self._cut(job, point)
        head.failures = tail.failures = job.failures
        self.waiting += 1
        return head, tail

    def _cut(self, job: Job, point: int) -> tuple[Job, Job]:
        pieces = job.cut(point, self.cutting)
        del self.jobs[job.segment]
        self.jobs |= {piece.segment: piece for piece in pieces}
        self.harmful.cut(job, pieces)
        self.unsettled += 1
        return pieces

    def wait_for_others(self, job: Job) -> None:
        """A segment that a worker could not begin waits for whoever is idle first and can."""
        job.state = SegmentState.WAITING
        self.waiting += 1
        self.loose(job)

    def wait_again(self, job: Job, queue: Queue, front: bool) -> None:
        """A segment that ran, and did not come to its end, waits for another attempt."""
        job.state = SegmentState.WAITING
        self.waiting += 1
        if job in self.harmful.jobs:
            self.loose(job)
        else:
            queue.add(job, front)

    def settle(self, job: Job, state: SegmentState) -> None:
        """A segment is DONE or GIVEN_UP; nothing more becomes of it."""
        job.state = state
        self.harmful.jobs.discard(job)
        self.unsettled -= 1
        self.rows_answered += rows(job.segment) if state is SegmentState.DONE else 0

    # -- other replays -----------------------------------------------------------------------------------------------

    def sift(self, sifted: Iterable[Sifted], now: float) -> None:
        """Leaves parts of segments that no worker is at to other replays, or takes them back."""
        pieces: dict[int, list[Job]] = {}
        back = Queue()
        for one in sifted:
            job = self.jobs.get(one.segment)
            if job is not None and job.state is SegmentState.WAITING:
                self.waiting -= 1
                pieces[id(job)] = self._ours(job, one.parts)
            elif job is not None and job.state is SegmentState.ELSEWHERE:
                self.elsewhere -= 1
                for piece in self._ours(job, one.parts):
                    back.add(piece)
        for worker in self.workers.values():
            if any(id(job) in pieces for job in worker.queue):
                worker.queue.exchange(pieces)
                if worker.job is not None:
                    self.update(worker, now)
        for queue in self._free_queues():
            if any(id(job) in pieces for job in queue):
                queue.exchange(pieces)
                queue.stamp = -1
                self.release(queue)
        self.release(back)

    def _ours(self, job: Job, parts: Sequence[SegmentPart]) -> list[Job]:
        """Cuts a job, which is counted nowhere, into these parts; those that are ours, waiting."""
        found = []
        for part in parts:
            piece, rest = job, job
            if part.last < job.segment.last:
                piece, rest = self._cut(job, part.last + 1)
                piece.failures = rest.failures = job.failures
            job = rest
            if part.whose is Whose.ANSWERED:
                self.settle(piece, SegmentState.DONE)
            elif part.whose is Whose.THEIRS:
                piece.state = SegmentState.ELSEWHERE
                self.elsewhere += 1
            else:
                piece.state = SegmentState.WAITING
                self.waiting += 1
                found.append(piece)
        return found

    # -- estimates ---------------------------------------------------------------------------------------------------

    def correct(self, event: EstimateCorrected, now: float) -> None:
        """New estimates for all that is not settled; pieces that are not named follow their version."""
        given = {cost.segment: cost for cost in event.costs}
        changes = _changes(self._base, event.costs)
        for job in self.jobs.values():
            if job.state in (SegmentState.WAITING, SegmentState.RUNNING):
                job.cost = given.get(job.segment) or _changed(job.base, changes, job.cost)
        versions = {v: factor / self._factors.get(v, 1.0) for v, (factor, _) in changes.items() if factor > 0}
        self._factors |= {version: factor for version, (factor, _) in changes.items() if factor > 0}
        kinds = {kind: slowness / self._slowness.get(kind, 1.0) for kind, slowness in event.slowness.items()}
        self._slowness |= event.slowness
        self.speed.corrected(versions, kinds)
        for worker in self.workers.values():
            if worker.state not in GONE:
                worker.of_kind = self._slowness.get(worker.kind, 1.0)
                worker.speed.corrected(versions, kinds)
                self._judge(worker)
                worker.queue.recount()
                if worker.job is not None:
                    self.update(worker, now)
        self.idle = sorted((worker.slowness, order, worker) for _, order, worker in self.idle)
        free, self._free = self._free_queues(), {}
        for queue in free:
            self.release(queue)

    def lanes(self, now: float) -> tuple[Lane, ...]:
        """What is left for each worker that is there, without the queues that have none."""
        return tuple(worker.lane(now) for worker in self._there())

    def steps(self) -> tuple[StepAt, ...]:
        """What each of the `lanes` is at."""
        return tuple(
            StepAt(worker.name, worker.job.segment.version if worker.job else "", worker.at) for worker in self._there()
        )

    def _there(self) -> list[FloorWorker]:
        return [w for w in self.workers.values() if w.state in PRESENT or w.state is WorkerState.DRAINING]

    def others_end(self, now: float) -> float:
        """When workers that are not slow will have ended all that there is, but for what slow ones run; infinite
        without such workers."""
        moment, end = self._others_end
        if end == inf or not now - moment <= _STALE * (end - now):
            self._others_end = now, self._others_end_now(now)
        return self._others_end[1]

    def _others_end_now(self, now: float) -> float:
        quick = [w for w in self.workers.values() if w.state in PRESENT and not w.slow and not w.draining]
        if not any(worker.job for worker in quick):
            return inf
        slow = (w.queue.seconds for w in self.workers.values() if w.slow and w.state not in GONE)
        seconds = sum(worker.end(now) - now for worker in quick) + self.free_seconds() + sum(slow)
        return now + seconds / len(quick)


def _longest_stretches_first(jobs: Sequence[Job]) -> list[Job]:
    """Where ranks do not matter, versions that take long from one border to the next come first: with the others at the
    end, what estimates got wrong is evened out to less. A version's segments stay together and in order."""
    groups = [list(group) for _, group in groupby(jobs, key=lambda job: job.segment.version)]
    if len({job.cost.rank for job in jobs}) > 1 or len(groups) > len({job.segment.version for job in jobs}):
        return list(jobs)
    stretch = {id(group): max(job.cost.run_seconds / (len(job.points) + 1) for job in group) for group in groups}
    return [job for group in sorted(groups, key=lambda group: -stretch[id(group)]) for job in group]


def _changes(bases: Mapping[Segment, SegmentCost], costs: Iterable[SegmentCost]) -> dict[str, tuple[float, float]]:
    """By version: factor of the run seconds, and set-up seconds."""
    sums: dict[str, tuple[float, float, float]] = {}
    for cost in costs:
        base = bases.get(cost.segment)
        if base is not None:
            new, old, _ = sums.get(cost.segment.version, (0.0, 0.0, 0.0))
            sums[cost.segment.version] = new + cost.run_seconds, old + base.run_seconds, cost.setup_seconds
    return {version: (new / old, setup) for version, (new, old, setup) in sums.items() if old > 0}


def _changed(base: SegmentCost, changes: Mapping[str, tuple[float, float]], now: SegmentCost) -> SegmentCost:
    change = changes.get(base.segment.version)
    if change is None:
        return now
    factor, setup = change
    return replace(
        base,
        setup_seconds=setup,
        run_seconds=base.run_seconds * factor,
        run_spread=now.run_spread,
        setup_spread=now.setup_spread,
    )
