"""Who helps whom: what idle workers take from others, and when that pays. The rules are those of `dispatch`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import islice
from math import inf

from flor_ray.scheduler.floor import Floor
from flor_ray.scheduler.jobs import BAND, FloorWorker, Job, SegmentState, WorkerState
from flor_ray.scheduler.messages import Instruction, Run, Shorten

_VICTIMS = 16  # that are looked at for one thief: who would end early is not worth helping
_PASSED_OVER = 64  # at most, of which nothing can be taken
_THIEVES = 32  # that are compared; they are sorted by speed and differ only in which versions are warm
_RELIEVED = 64  # victims that are compared before a worker goes on with its own queue
_SHORT = 0.7  # own stretches are at most this share of what a late worker is relieved of
_LATE = 0.1  # of that stretch, after the others, would the late worker end
_LATEST = 8  # waiting segments of a victim that are compared
_LOOK_AGAIN = 0.1  # of the time that a late segment has taken, later
_LEAST_GAIN_SECONDS = 0.05  # by which help has to end earlier: about what a message takes
_LEAST_GAIN = 0.02  # and this share of what the helper spends
_CLONE_GAIN = 0.7  # a clone takes at most this share of what the original is thought to need still
_CLONE_SHARE = 0.05  # of all planned seconds, which clones may take together


def look_after_idle(floor: Floor, now: float) -> list[Instruction]:
    """What idle workers do, as far as this event has changed it."""
    instructions = look_at_late(floor, now)
    while floor.fresh:
        worker = floor.fresh.pop(0)
        todo = _second(floor, worker, now) or _relieve(floor, worker, now) or _begin(floor, worker, now)
        if todo is None:
            floor.rest(worker)
        else:
            instructions.append(todo)
    for _, _, worker in tuple(floor.idle):
        if not floor.wanted or (run := _second(floor, worker, now)) is None:
            break
        floor.unrest(worker)
        instructions.append(run)
    instructions += _take_queues(floor, now)
    while floor.idle:
        help_ = next((found for victim in _victims(floor, now) if (found := _help(floor, victim, now))), None)
        if help_ is None:
            break
        instructions.append(help_)
    surplus = len(floor.idle) - (floor.busy + floor.waiting + floor.elsewhere if floor.unsettled else 0)
    if floor.unsettled and floor.picky:
        surplus = 0  # what waits may be for one of them alone
    for _, _, worker in floor.idle[-surplus:] if surplus > 0 else []:
        instructions.append(floor.retire(worker))
    return instructions


def look_at_late(floor: Floor, now: float) -> list[Instruction]:
    """Late workers end in time what they run. What they cannot is wanted of a second worker, the next that is free."""
    instructions: list[Instruction] = []
    for worker in [worker for worker, moment in floor.suspects.items() if now >= moment]:
        job = worker.job
        if job is None or len(job.runners) > 1 or worker.state is WorkerState.LEAVING:
            del floor.suspects[worker]
            continue
        floor.suspects[worker] = now + _LOOK_AGAIN * (now - worker.began)
        if not worker.is_late(now):
            continue
        floor.update(worker, now)
        instructions += shorten_to_leave(floor, worker, now)
        if worker.asked is None and job not in floor.wanted and worker.run_end(now) > floor.others_end(now):
            floor.wanted.append(job)
    return instructions


def _second(floor: Floor, worker: FloorWorker, now: float) -> Run | None:
    """A clone that is wanted, and still pays."""
    if worker.slow or not floor.wanted:
        return None
    wanted, floor.wanted = floor.wanted, []
    for number, job in enumerate(wanted):
        if len(job.runners) != 1 or job.runners[0].asked is not None or job.state is not SegmentState.RUNNING:
            continue
        if job.runners[0].job is not job:
            continue  # it is another one since its tail was taken away
        if floor.may_run(worker, job) and _clone_pays(floor, worker, job, job.runners[0].run_end(now), now):
            floor.wanted += wanted[number + 1 :]
            return floor.start(worker, job, now)
        floor.wanted.append(job)
    return None


def _relieve(floor: Floor, worker: FloorWorker, now: float) -> Instruction | None:
    """Before its own queue, if that is of short stretches: a long one of a worker that would end late. At the end
    idle workers can share the short ones out; what is long has to be begun in time."""
    if worker.slow or not len(worker.queue):
        return None
    own = max(job.stretch for job in worker.queue.latest(_LATEST))
    until = max(floor.others_end(now), floor.planned_end)  # as long as all goes as planned nobody is late
    for victim in floor.latest(_RELIEVED):
        job = max(victim.queue.latest(_LATEST), key=lambda job: job.stretch, default=victim.job)
        if job is None or not own <= _SHORT * job.stretch <= _SHORT * min(worker.queue.seconds, until - now):
            continue
        if victim.end(now) - until < _LATE * job.stretch or not _can_lose(floor, victim):
            continue
        if not floor.may_run(worker, job):
            continue
        if job is victim.job:
            points = () if victim.refused or victim.draining else _points_ahead(victim, job)
            if points and victim.asked is None and len(job.runners) == 1:
                return _ask(floor, victim, job, points[-1], worker, now)
        elif not job.points:
            victim.queue.remove(job)
            floor.update(victim, now)
            floor.steals += 1
            return floor.start(worker, job, now)
    return None


def places_for_others(floor: Floor) -> int:
    """How many more workers would find something to do at once: what waits, and tails of what runs."""
    if floor.idle or floor.fresh:
        return 0
    return floor.waiting + sum(
        len(_points_ahead(worker, worker.job))
        for worker in floor.present()
        if worker.job is not None and worker.asked is None and not worker.refused and len(worker.job.runners) == 1
    )


def help_late(floor: Floor, victim: FloorWorker, now: float) -> list[Instruction]:
    """Idle workers help one of whom news have come."""
    help_ = _help(floor, victim, now) if floor.idle else None
    return [] if help_ is None else [help_]


def shorten_to_leave(floor: Floor, worker: FloorWorker, now: float) -> list[Instruction]:
    """One that drains ends its segment at the next border; a slow one at the last that it comes to in time."""
    job = worker.job
    if job is None or worker.asked is not None or len(job.runners) > 1 or worker.state is WorkerState.LEAVING:
        return []
    points = _points_ahead(worker, job)
    if not points or not (worker.draining or worker.is_late(now)):
        return []
    point = points[0]
    if not worker.draining:
        until = _in_time(floor, now) if worker.slow else floor.others_end(now)
        if worker.run_end(now) <= until:
            return []
        point = points[max(0, bisect_right(points, until, key=lambda p: worker.epoch_end(p - 1, now)) - 1)]
    return [_ask(floor, worker, job, point, None, now)]


def _take_queues(floor: Floor, now: float) -> list[Instruction]:
    """Queues without a worker go to idle ones, the fastest first."""
    instructions: list[Instruction] = []
    for _, _, worker in tuple(floor.idle):
        queue = floor.free_queue(worker)
        if queue is None and floor.picky:
            continue  # another worker may run it
        if queue is None:
            break
        floor.unrest(worker)
        floor.take_queue(worker, queue)
        run = _begin(floor, worker, now)
        if run is None:
            floor.rest(worker)
        else:
            instructions.append(run)
    return instructions


def _begin(floor: Floor, worker: FloorWorker, now: float) -> Run | None:
    """The next segment of its own queue. What a slow worker would not end in time it leaves to others."""
    if len(worker.queue) and floor.harmful.reserves_from(worker, floor.workers.values()):
        floor.release_queue(worker)
    if not len(worker.queue):
        return None
    job = worker.queue.pop()
    until = _in_time(floor, now) if worker.slow else inf
    if now + worker.cost(job) > until:
        setup = worker.slowness * worker.setup_of(job)
        fits = bisect_right(
            job.points,
            until - now - setup,
            key=lambda p: worker.slowness * job.piece_seconds(floor.cutting.cut(job.segment, (p,))[0], floor.cutting),
        )
        if not fits:
            worker.queue.add(job, front=True)
            floor.release_queue(worker)
            return None
        job, rest = floor.cut_waiting(job, job.points[fits - 1])
        worker.queue.add(rest, front=True)
        floor.release_queue(worker)
    return floor.start(worker, job, now)


def _victims(floor: Floor, now: float) -> Sequence[FloorWorker]:
    late = [worker for worker in floor.latest(_PASSED_OVER) if _can_lose(floor, worker)]
    return sorted(late[:_VICTIMS], key=lambda worker: -worker.end(now))


def _can_lose(floor: Floor, worker: FloorWorker) -> bool:
    if len(worker.queue):
        return True
    job = worker.job
    if job is None or worker.asked is not None or len(job.runners) > 1 or worker.state is WorkerState.LEAVING:
        return False
    return not floor.waiting or bool(not worker.refused and _points_ahead(worker, job))


def _help(floor: Floor, victim: FloorWorker, now: float) -> Instruction | None:
    if not _can_lose(floor, victim):
        return None
    end = victim.end(now)
    if len(victim.queue):
        run = _take_waiting(floor, victim, end, now) or _cut_waiting(floor, victim, end, now)
        if run is not None:
            return run
    job = victim.job
    if job is None or victim.asked is not None or len(job.runners) > 1 or victim.state is WorkerState.LEAVING:
        return None
    shorten = None if victim.refused or len(victim.queue) else _take_running(floor, victim, job, end, now)
    return shorten or _clone(floor, job, end, now)


def _take_waiting(floor: Floor, victim: FloorWorker, end: float, now: float) -> Run | None:
    """The waiting segment that costs least set-up, of those the first in rank, of those the longest."""
    found = []
    for job in victim.queue.latest(_LATEST):
        thief = _thief(floor, job)
        if thief is not None and _pays(floor, thief, now + thief.cost(job), end, thief.cost(job), now):
            found.append((thief.slowness * thief.setup_of(job), job.cost.rank, -job.cost.run_seconds, job, thief))
    if not found:
        return None
    *_, job, thief = min(found, key=lambda entry: entry[:3])
    victim.queue.remove(job)
    floor.update(victim, now)
    floor.unrest(thief)
    floor.steals += 1
    return floor.start(thief, job, now)


def _cut_waiting(floor: Floor, victim: FloorWorker, end: float, now: float) -> Run | None:
    """The tail of the last waiting segment, so long that both end as early as can be."""
    job = victim.queue.latest(1)[0]
    thief = _thief(floor, job)
    if not job.points or thief is None:
        return None

    def ends(point: int) -> tuple[float, float]:
        seconds = _tail_seconds(floor, job, point)
        return end - victim.slowness * seconds, now + thief.slowness * (thief.setup_of(job) + seconds)

    point, owner_end, thief_end = _balanced(job.points, ends)
    if not _pays(floor, thief, max(owner_end, thief_end), end, thief_end - now, now):
        return None
    head, tail = floor.cut_waiting(job, point)
    victim.queue.replace_last(head)
    floor.update(victim, now)
    floor.unrest(thief)
    floor.steals += 1
    return floor.start(thief, tail, now)


def _take_running(floor: Floor, victim: FloorWorker, job: Job, end: float, now: float) -> Shorten | None:
    """The tail of what it runs, so long that both end as early as can be."""
    points, thief = _points_ahead(victim, job), _thief(floor, job)
    if not points or thief is None:
        return None

    def ends(point: int) -> tuple[float, float]:
        seconds = thief.setup_of(job) + _tail_seconds(floor, job, point)
        return victim.epoch_end(point - 1, now), now + thief.slowness * seconds

    point, owner_end, thief_end = _balanced(points, ends)
    if not _pays(floor, thief, max(owner_end, thief_end), end, thief_end - now, now):
        return None
    return _ask(floor, victim, job, point, thief, now)


def _ask(floor: Floor, worker: FloorWorker, job: Job, point: int, thief: FloorWorker | None, now: float) -> Shorten:
    worker.asked, worker.thief = point - 1, thief
    if thief is not None:
        thief.awaits = worker
        floor.unrest(thief)
    floor.update(worker, now)
    return Shorten(worker.name, worker.named, point - 1)


def _clone(floor: Floor, job: Job, end: float, now: float) -> Run | None:
    """All of it again, once nothing else is left to do and speeds are known."""
    if floor.waiting:
        return None
    thief = _thief(floor, job)
    if thief is None or not _clone_pays(floor, thief, job, end, now):
        return None
    floor.unrest(thief)
    return floor.start(thief, job, now)


def _clone_pays(floor: Floor, thief: FloorWorker, job: Job, end: float, now: float) -> bool:
    seconds = thief.cost(job)
    if seconds > _CLONE_GAIN * (end - now) or seconds + _LEAST_GAIN_SECONDS > end - now:
        return False
    return floor.speed.known and floor.clone_seconds + seconds <= _CLONE_SHARE * floor.planned_seconds


def _thief(floor: Floor, job: Job) -> FloorWorker | None:
    """The idle worker that would end it first, of equals one whose machine has read the version's states before; None
    if none has its data."""
    idle = (worker for _, _, worker in floor.idle if floor.may_run(worker, job))
    return min(islice(idle, _THIEVES), key=lambda w: (w.cost(job), job.segment.version not in w.held), default=None)


def _pays(floor: Floor, thief: FloorWorker, end: float, before: float, spent: float, now: float) -> bool:
    if thief.slow and now + spent > _in_time(floor, now):
        return False
    return end + max(_LEAST_GAIN_SECONDS, _LEAST_GAIN * spent) < before


def _in_time(floor: Floor, now: float) -> float:
    """When a slow worker should have ended, by its estimates; with room for those."""
    return now + (floor.others_end(now) - now) / BAND


def _balanced(points: Sequence[int], ends: Callable[[int], tuple[float, float]]) -> tuple[int, float, float]:
    """The point from which on a tail is taken so that the later one of owner and thief ends first, and their ends.
    Later points: a later end of the owner, an earlier one of the thief."""
    index = bisect_left(points, True, key=lambda point: (pair := ends(point))[0] >= pair[1])
    found = [(point, *ends(point)) for point in points[max(0, index - 1) : index + 1]]
    return min(found, key=lambda entry: max(entry[1:]))


def _tail_seconds(floor: Floor, job: Job, point: int) -> float:
    return job.piece_seconds(floor.cutting.cut(job.segment, (point,))[1], floor.cutting)


def _points_ahead(worker: FloorWorker, job: Job) -> Sequence[int]:
    """Epochs that it has not begun, and that another worker could begin with."""
    return job.points[bisect_right(job.points, worker.at) :]
